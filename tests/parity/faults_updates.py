"""What ports of Dreamer do by mistake or on purpose when they update.

As faults.py, of optimisers and of the order of updates.
"""

from __future__ import annotations

import contextlib
import math
from unittest import mock

import tensorflow as tf

from dreamer.nn import dists, optim
from tests.parity.patches import patch


def decay(kind):
  """Another weight decay: `none`, or `l2`, as part of the gradient."""
  def fault(agent):
    stack = contextlib.ExitStack()
    for optimizer in agent.optimizers.values():
      share = optimizer.decay
      stack.enter_context(mock.patch.object(optimizer, 'decay', 0.0))
      if kind == 'l2':
        stack.enter_context(patch(optimizer, '_rule', _l2(share)))
      elif kind == 'times_lr':
        stack.enter_context(mock.patch.object(
            optimizer, 'decay', share * optimizer.lr))
    return stack
  return fault


def _l2(share):
  def wrap(right):
    def rule(step):
      move = right(step)
      return lambda param, grad, *slots: move(
          param, grad + share * param, *slots)
    return rule
  return wrap


def adam_epsilon(value):
  """Another epsilon of all optimisers."""
  def fault(agent):
    stack = contextlib.ExitStack()
    for optimizer in agent.optimizers.values():
      stack.enter_context(mock.patch.object(optimizer, 'eps', value))
    return stack
  return fault


def torch_adam(agent):
  """PyTorch's Adam: epsilon beside the corrected root mean square.

  lr / (1 - b1^t) * m / (sqrt(v / (1 - b2^t)) + eps): for the first steps this
  epsilon is up to 31 times smaller than Keras's.
  """
  stack = contextlib.ExitStack()
  for optimizer in agent.optimizers.values():
    def wrap(right, optimizer=optimizer, eps=optimizer.eps):
      def rule(step):
        smaller = eps * math.sqrt(1 - optim.BETAS[1] ** float(step))
        with mock.patch.object(optimizer, 'eps', smaller):
          return right(step)
      return rule
    stack.enter_context(patch(optimizer, '_rule', wrap))
  return stack


def no_clipping(agent):
  """Gradients as they are."""
  stack = contextlib.ExitStack()
  for optimizer in agent.optimizers.values():
    stack.enter_context(mock.patch.object(optimizer.clip, 'limit', 0.0))
  return stack


def twice(agent):
  """The recurrent model is listed twice: its parameters step twice.

  So they do in PyTorch, each time with a step count of their own, and their
  gradients are scaled down twice.
  """
  optimizer, names = agent.optimizers['model'], (
      'rssm/img_in/', 'rssm/gru/', 'rssm/img_out/', 'rssm/img_dist/')
  listed = {x.ref() for key, x in optimizer.params.items()
            if key.startswith(names)}

  def wrap(right):
    def rule(step):
      once, first, second = right(step), right(2 * step - 1), right(2 * step)

      def move(param, grad, *slots):
        if param.ref() not in listed:
          once(param, grad, *slots)
          return
        first(param, grad, *slots)
        second(param, grad, *slots)
      return move
    return rule

  def factors(right):
    return lambda params, *args: [
        x * x if param.ref() in listed else x
        for param, x in zip(params, right(params, *args))]
  stack = contextlib.ExitStack()
  stack.enter_context(patch(optimizer, '_rule', wrap))
  stack.enter_context(patch(optimizer.clip, 'factors', factors))
  return stack


def updated_first(agent):
  """V1: the model is updated before imagination."""
  optimizer, done = agent.optimizers['model'], []

  def learn(right):
    def change(self, data, noise):
      update = right(self, data, noise)
      done.append(apply(update.gradients['model']))
      return update
    return change
  apply = optimizer.apply
  stack = contextlib.ExitStack()
  stack.enter_context(patch(type(agent), '_learn_model', learn))
  stack.enter_context(mock.patch.object(
      optimizer, 'apply', lambda grads: done.pop()))
  return stack


def updated_last(agent):
  """V2: the model is updated after imagination."""
  optimizer, later = agent.optimizers['model'], []
  params = list(agent.optimizers['model'].params.values())

  def apply(right):
    def change(grads):
      before = [tf.identity(x) for x in params]
      metrics = right(grads)
      later.append([tf.identity(x) for x in params])
      for param, value in zip(params, before):
        param.assign(value)
      return metrics
    return change

  def learn(right):
    def change(self, *args):
      update = right(self, *args)
      for param, value in zip(params, later.pop()):
        param.assign(value)
      return update
    return change
  stack = contextlib.ExitStack()
  stack.enter_context(patch(optimizer, 'apply', apply))
  stack.enter_context(patch(type(agent), '_learn', learn))
  return stack


def copied_before(agent):
  """The slow critic is copied before updates 0, 100, ..., not after them."""
  behaviour, every = agent.behaviour, agent.config.slow_critic.every_updates
  fraction = agent.config.slow_critic.fraction
  pairs = list(zip(behaviour.critic.variables.values(),
                   behaviour.slow_critic.variables.values()))

  def follow(updates):
    count = int(updates)
    if count % every == 0:
      share = 1.0 if count == 0 else fraction
      for fast, slow in pairs:
        slow.assign(share * fast + (1 - share) * slow)
  return follow_before(agent, follow)


def follow_before(agent, follow):
  """The slow critic follows before an update, by follow(updates so far)."""
  def learn(right):
    def change(self, *args):
      follow(self.counters['updates'])
      return right(self, *args)
    return change
  stack = contextlib.ExitStack()
  stack.enter_context(patch(type(agent), '_learn', learn))
  stack.enter_context(mock.patch.object(
      type(agent.behaviour), 'update_slow', lambda self, updates: None))
  return stack


def wrong_group(agent):
  """The actor learns from the critic's loss too: targets not stopped."""
  def differentiate(right):
    def change(self, loss, groups):
      def both():
        losses, tensors = loss()
        if 'critic' in losses and 'actor' in losses:
          losses = {**losses, 'joint': losses['actor'] + losses['critic']}
        return losses, tensors
      if 'actor' not in groups:
        return right(self, loss, groups)
      update = right(self, both, {**groups, 'actor': 'joint'})
      update.losses.pop('joint')
      return update
    return change

  def critic_loss(self, pred, target, weight):
    return -tf.reduce_mean(
        weight * dists.unit_normal_log_prob(target, pred, 0))
  stack = contextlib.ExitStack()
  stack.enter_context(patch(type(agent), '_differentiate', differentiate))
  stack.enter_context(mock.patch.object(
      type(agent.behaviour), '_critic_loss', critic_loss))
  return stack
