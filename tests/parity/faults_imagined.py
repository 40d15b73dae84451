"""What ports of DreamerV2 do otherwise in imagination, and learn from it.

As faults.py: from the start states to the losses of actor and critic.
"""

from __future__ import annotations

import contextlib
from unittest import mock

import numpy as np
import tensorflow as tf

from dreamer.nn import dists, returns
from tests.parity.changes import Change
from tests.parity.patches import patch

ENTROPY = 0.5 * np.log(2 * np.pi * np.e)  # of a Normal of scale 1


def repeated(x, first=False):
  """With its first or last row in time twice."""
  return tf.concat([x[:1], x] if first else [x, x[-1:]], 0)


# Start states


def no_last_start(agent):
  """Imagination does not start from the last step of a sequence."""
  lengths = []

  def start_states(right):
    def change(self, post, after):
      lengths[:] = post['deter'].shape[1],
      return right(self, {key: x[:, :-1] for key, x in post.items()}, after)
    return change

  def learn(right):
    def change(self, model, start, is_terminal, *args):
      ends = tf.reshape(is_terminal, [-1, lengths[0]])[:, :-1]
      return right(self, model, start, tf.reshape(ends, [-1]), *args)
    return change
  stack = contextlib.ExitStack()
  stack.enter_context(patch(type(agent), 'start_states', start_states))
  for name in ('_learn_behaviour', '_learn_explorer'):
    if hasattr(agent, name):
      stack.enter_context(patch(type(agent), name, learn))
  return stack


# The head of discounts


def predicted_start(agent):
  """The discount of the start state is predicted, though it is known."""
  return patch(type(agent.model), 'imagined_discount', lambda right: (
      lambda self, feat, is_terminal: self.discount.mean(feat)))


def ends_predicted(agent):
  """The head predicts ends, hard ones, in place of discounts.

  Discounts are gamma times the probability that it is no end, those of the
  start states too.
  """
  gamma, head = agent.config.discount, agent.model.discount

  def mean(right):
    return lambda self, feat: gamma * (1 - right(self, feat)) if (
        self.name == head.name) else right(self, feat)

  def preprocess(right):
    def change(self, batch, noise):
      ends = tf.cast(batch['is_terminal'], tf.float32)
      return {**right(self, batch, noise), 'discount': ends}
    return change
  stack = contextlib.ExitStack()
  stack.enter_context(patch(type(agent.model), 'preprocess', preprocess))
  stack.enter_context(patch(type(head), 'mean', mean))
  stack.enter_context(predicted_start(agent))
  return stack


# Returns and weights


def reversed_returns(agent):
  """Returns in the opposite order of time."""
  return patch(returns, 'lambda_return', lambda right: (
      lambda *args: right(*args)[::-1]))


def of_next_state(agent):
  """Returns of the reward and the discount of the next state.

  R(t) = r(t+1) + d(t+1) ..., the last one with those of the last state.
  """
  after = lambda x: repeated(x[1:])
  return patch(type(agent.behaviour), '_returns', lambda right: (
      lambda self, reward, value, discount: right(
          self, after(reward), value, after(discount))))


def weights_of_ends(agent):
  """Weights of the chance that no end was reached, the start's too: no gamma.
  """
  gamma = agent.config.discount
  return patch(returns, 'weights', lambda right: (
      lambda discount: tf.stop_gradient(tf.math.cumprod(
          discount / gamma, 0))))


# Losses


def own_returns(agent):
  """The action chosen in state t learns from R(t) - v(t), not R(t+1) - v(t).

  So there is one more of them, and its entropy.
  """
  def actor_loss(right):
    def change(self, feat, action, target, value, weight, *args):
      return right(self, repeated(feat), repeated(action),
                   repeated(target, True), repeated(value), repeated(weight),
                   *args)
    return change
  return patch(type(agent.behaviour), '_actor_loss', actor_loss)


def learned_baseline(agent):
  """The critic itself is the actor's baseline, not the slow one."""
  def actor_loss(right):
    def change(self, feat, action, target, value, *args):
      del value
      return right(self, feat, action, target, self.critic(feat), *args)
    return change
  return patch(type(agent.behaviour), '_actor_loss', actor_loss)


def normal_entropy(agent):
  """The entropy of a Normal, before it is truncated or goes through a tanh."""
  def entropy(scale):
    return lambda self, noise=None: tf.reduce_sum(
        ENTROPY + tf.math.log(getattr(self, scale)), -1)
  stack = contextlib.ExitStack()
  for dist, scale in ((dists.TruncNormal, 'scale'), (dists.TanhNormal, 'std')):
    stack.enter_context(mock.patch.object(dist, 'entropy', entropy(scale)))
  return stack


def of(case) -> list[Change]:
  """The faults that a program may have on a case of DreamerV2."""
  make = lambda words, enter: Change(words, {}, enter)
  found = [
      make('no imagination from the last step of a sequence', no_last_start),
      make('returns in the opposite order of time', reversed_returns),
      make('returns of the reward and the discount of the next state',
           of_next_state),
      make('weights without gamma: of ends alone, the first one too',
           weights_of_ends),
      make("actions that learn from their own state's return, R(t) - v(t)",
           own_returns),
      make("the critic itself as the actor's baseline", learned_baseline)]
  if case.data['action_space']['type'] != 'discrete':
    found.append(make("the policy's entropy that of its Normal, uncut",
                      normal_entropy))
  if case.settings['discount_head']:
    found += [
        make('the discount of the start state predicted, not known',
             predicted_start),
        make('a head of discounts that predicts ends', ends_predicted)]
  return found
