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

from dreamer.nn import blocks, dists, layers, norms, recurrent, returns
from tests.parity import faults_imagined
from tests.parity import faults_updates as updates
from tests.parity.changes import Change
from tests.parity.patches import both, inside, patch

LOG_2_PI = math.log(2 * math.pi)


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
  """Another epsilon of the norms."""
  def fault(agent):
    stack = contextlib.ExitStack()
    for norm in inside(agent.modules, (norms.LayerNorm, norms.RMSNorm)):
      stack.enter_context(mock.patch.object(norm, 'eps', value))
    return stack
  return fault


def half_sums(agent):
  """Matrix products in half precision."""
  half = lambda x: tf.cast(tf.cast(x, tf.float16), x.dtype)
  rough = lambda right: lambda x, kernel: half(right(half(x), half(kernel)))
  stack = contextlib.ExitStack()
  for module in (blocks, layers, recurrent):
    stack.enter_context(patch(module, 'matmul', rough))
  return stack


# Losses


def exchanged_kl(agent):
  """KL(prior || posterior)."""
  return patch(type(agent.model), 'kl_loss', lambda right: (
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
  return patch(type(agent.model), 'kl_loss', lambda right: change)


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
      make('no clipping of gradients', updates.no_clipping),
      make("PyTorch's Adam: epsilon beside the corrected root",
           updates.torch_adam),
      make("Adam's epsilon 1e-8", updates.adam_epsilon(1e-8)),
      make("PyTorch's Adam with epsilon 1e-8", both(
          updates.torch_adam, updates.adam_epsilon(1e-8))),
      make("the critic's loss in the actor's gradient", updates.wrong_group),
      make('the recurrent model stepped twice per update', updates.twice)]
  if case.agent == 'dreamerv1':
    return [*common, make(
        'the model updated before imagination', updates.updated_first)]
  found = [
      *common,
      make('neither latents nor action reset at is_first', no_reset(True)),
      make('latents not reset at is_first, the action is', no_reset(False)),
      make('the action before is_first not zeroed', no_reset_of_action),
      make('shares of the KL sides exchanged', exchanged_shares),
      make("layer norm's epsilon 1e-5", epsilon(1e-5)),
      make('L2 in place of decoupled weight decay', updates.decay('l2')),
      make('no weight decay', updates.decay('none')),
      make('weight decay times the learning rate', updates.decay('times_lr')),
      make('the model updated after imagination', updates.updated_last),
      *faults_imagined.of(case)]
  if case.data['resolved_config'].get('slow_target', True):
    found.append(make('the slow critic copied before updates 0, 100, ...',
                      updates.copied_before))
  return found
