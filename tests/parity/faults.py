"""What ports of Dreamer do by mistake or on purpose, done to our agent.

Each is a function of an agent, made and not yet trained, that returns a
context manager; inside, the agent computes as such a port does. They say
what is seen in programs of others, and what their tests would find.
"""

from __future__ import annotations

import contextlib
import math
from unittest import mock

import tensorflow as tf

from dreamer.nn import dists, layers, norms, optim, recurrent, returns
from tests.parity.changes import Change

LOG_2_PI = math.log(2 * math.pi)


def patch(owner, name, make):
  """A context in which owner.name is make(what it is)."""
  return mock.patch.object(owner, name, make(getattr(owner, name)))


# Latents


def no_reset(action):
  """Latents pass is_first; action: whether the action before it does, too."""
  def fault(agent):
    def infer(right):
      def change(self, data, noise, unroll=False):
        data, first = dict(data), data['is_first']
        if not action:
          keep = 1 - tf.cast(first, tf.float32)
          data['action'] = data['action'] * keep[..., None]
        data['is_first'] = tf.zeros_like(first)
        return right(self, data, noise, unroll)
      return change
    return patch(type(agent.model), 'infer', infer)
  return fault


def no_reset_of_action(agent):
  """The latents are reset at is_first, the action before is not."""
  def observe(right):
    def change(self, embed, action, is_first, noise, unroll=False):
      given, layer = tf.transpose(action, [1, 0, 2]), self.img_in
      ahead = lambda right: lambda self, x: right(
          self, given if self is layer else x)
      with patch(type(layer), 'ahead', ahead):
        return right(self, embed, action, is_first, noise, unroll)
    return change
  return patch(type(agent.model.rssm), 'observe', observe)


def shifted_action(agent):
  """The action chosen at t leads to the state at t, not that before it."""
  def infer(right):
    def change(self, data, noise, unroll=False):
      action = data['action']
      action = tf.concat([action[:, 1:], 0 * action[:, :1]], 1)
      return right(self, {**data, 'action': action}, noise, unroll)
    return change
  return patch(type(agent.model), 'infer', infer)


def epsilon(value):
  """Another epsilon of the layer norms."""
  def fault(agent):
    stack = contextlib.ExitStack()
    for norm in inside(agent.modules, norms.LayerNorm):
      stack.enter_context(mock.patch.object(norm, 'eps', value))
    return stack
  return fault


def inside(modules, kind):
  """All modules of a kind within others."""
  for module in modules:
    if isinstance(module, kind):
      yield module
    yield from inside(module.children, kind)


def half_sums(agent):
  """Matrix products in half precision."""
  half = lambda x: tf.cast(tf.cast(x, tf.float16), x.dtype)
  rough = lambda right: lambda x, kernel: half(right(half(x), half(kernel)))
  stack = contextlib.ExitStack()
  for module in (layers, recurrent):
    stack.enter_context(patch(module, 'matmul', rough))
  return stack


# Losses


def exchanged_kl(agent):
  """KL(prior || posterior)."""
  return patch(type(agent.model), '_kl_loss', lambda right: (
      lambda self, post, prior: right(self, prior, post)))


def exchanged_shares(agent):
  """The shares of the two sides of a balanced KL exchanged."""
  stop = lambda state: {k: tf.stop_gradient(v) for k, v in state.items()}

  def change(self, post, prior):
    get, config = self.rssm.get_dist, self.config.kl
    value = get(post).kl_divergence(get(stop(prior)))
    other = get(stop(post)).kl_divergence(get(prior))
    return config.balance * self._free(value) + (
        1 - config.balance) * self._free(other), value
  return patch(type(agent.model), '_kl_loss', lambda right: change)


def no_constants(agent):
  """Gaussian likelihoods without log sqrt(2 pi): squared errors / 2."""
  def change(right):
    def log_prob(target, mean, event_dims):
      shape = mean.shape[mean.shape.rank - event_dims:]
      return right(target, mean, event_dims) + (
          0.5 * LOG_2_PI * math.prod(shape))
    return log_prob
  return patch(dists, 'unit_normal_log_prob', change)


# Returns


def weights(later=False, stopped=True):
  """Other weights of imagined states.

  later: the discount of state i weighs state i itself, but for the first.
  stopped: whether no gradient goes through them.
  """
  def change(discount):
    ones, shift = tf.ones_like(discount[:1]), 1 if later else 0
    found = tf.math.cumprod(tf.concat(
        [ones, discount[shift:len(discount) - 1 + shift]], 0), 0)
    return tf.stop_gradient(found) if stopped else found
  return lambda agent: patch(returns, 'weights', lambda right: change)


def weights_at_once(agent):
  """The first weight is the first discount in place of 1."""
  return patch(returns, 'weights', lambda right: (
      lambda discount: tf.stop_gradient(tf.math.cumprod(discount, 0))))


def bootstrapped_twice(agent):
  """The last return ends with the value of its own state."""
  return patch(returns, 'lambda_return', lambda right: (
      lambda reward, value, discount, last, *args: right(
          reward, value, discount, value[-1], *args)))


def no_bootstrap(agent):
  """The last return ends without a value."""
  return patch(returns, 'lambda_return', lambda right: (
      lambda reward, value, discount, last, *args: right(
          reward, value, discount, tf.zeros_like(last), *args)))


# Updates


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

  def learn(right):
    def change(self, *args):
      count = int(self.counters['updates'])
      if count % every == 0:
        share = 1.0 if count == 0 else fraction
        for fast, slow in pairs:
          slow.assign(share * fast + (1 - share) * slow)
      return right(self, *args)
    return change
  stack = contextlib.ExitStack()
  stack.enter_context(patch(type(agent), '_learn', learn))
  stack.enter_context(mock.patch.object(
      type(behaviour), 'update_slow', lambda self, updates: None))
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


def both(*faults):
  """Several faults at once; the last one holds first."""
  def fault(agent):
    stack = contextlib.ExitStack()
    for each in reversed(faults):
      stack.enter_context(each(agent))
    return stack
  return fault


def of(case) -> list[Change]:
  """The faults that a program may have on a case of our agents."""
  make = lambda words, enter: Change(words, {}, enter)
  common = [
      make('the action shifted by one step', shifted_action),
      make('matrix products in half precision', half_sums),
      make('KL(prior || posterior): the sides exchanged', exchanged_kl),
      make('squared errors without the constant of a Gaussian', no_constants),
      make('weights shifted by one: 1, d1, d1 d2, ...', weights(later=True)),
      make('weights with their gradient', weights(stopped=False)),
      make('weights shifted by one, 1, d1, d1 d2, ..., with their gradient',
           weights(later=True, stopped=False)),
      make('weights shifted by one: d0, d0 d1, ...', weights_at_once),
      make('the last state bootstrapped twice', bootstrapped_twice),
      make('no bootstrap', no_bootstrap),
      make('no clipping of gradients', no_clipping),
      make("PyTorch's Adam: epsilon beside the corrected root", torch_adam),
      make("Adam's epsilon 1e-8", adam_epsilon(1e-8)),
      make("PyTorch's Adam with epsilon 1e-8", both(
          torch_adam, adam_epsilon(1e-8))),
      make("the critic's loss in the actor's gradient", wrong_group),
      make('the recurrent model stepped twice per update', twice)]
  if case.agent == 'dreamerv1':
    return [*common, make(
        'the model updated before imagination', updated_first)]
  found = [
      *common,
      make('neither latents nor action reset at is_first', no_reset(True)),
      make('latents not reset at is_first, the action is', no_reset(False)),
      make('the action before is_first not zeroed', no_reset_of_action),
      make('shares of the KL sides exchanged', exchanged_shares),
      make("layer norm's epsilon 1e-5", epsilon(1e-5)),
      make('L2 in place of decoupled weight decay', decay('l2')),
      make('no weight decay', decay('none')),
      make('weight decay times the learning rate', decay('times_lr')),
      make('the model updated after imagination', updated_last)]
  if case.data['resolved_config'].get('slow_target', True):
    found.append(make('the slow critic copied before updates 0, 100, ...',
                      copied_before))
  return found


