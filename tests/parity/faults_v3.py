"""Faults of DreamerV3, as in faults.py: of a port, done to our agent."""

from __future__ import annotations

import collections
from unittest import mock

import numpy as np
import tensorflow as tf

from dreamer.errors import UserError
from dreamer.nn import dists
from tests.parity import faults
from tests.parity import faults_updates as updates
from tests.parity.changes import Change
from tests.parity.patches import patch

PYTORCH = 0.9, 0.999  # Adam's betas, by default


# Latents


def no_reset_of_action(agent):
  """The latents are reset at is_first, the action before is not."""
  def observe(right):
    def change(self, embed, action, *args, **kwargs):
      given = tf.transpose(action, [1, 0, 2])
      ahead = lambda right: lambda self, x: right(self, given)
      with patch(type(self), '_ahead', ahead):
        return right(self, embed, action, *args, **kwargs)
    return change
  return patch(type(agent.model.rssm), 'observe', observe)


def from_zeros(agent):
  """Sequences start from zeros, not from the stored latents."""
  def start(self, batch):
    zeros = self.rssm.initial(batch['action'].shape[0])
    return {key: zeros[key] for key in ('deter', 'stoch')}
  return mock.patch.object(type(agent.model), '_start', start)


def unbounded_actions(agent):
  """Actions over 1 are not brought into [-1, 1]."""
  return mock.patch.object(
      type(agent.model.rssm), '_ahead',
      lambda self, action: self.gru.ahead(2, self.action_in(action)))


# Losses


def exchanged_shares(agent):
  """The scales of the two sides of the KL exchanged."""
  def change(right):
    def kl_loss(self, post, prior):
      parts, value = right(self, post, prior)
      names = 'dynamics', 'representation'
      return dict(zip(names, (parts[x] for x in names[::-1]))), value
    return kl_loss
  return patch(type(agent.model), 'kl_loss', change)


def free_of_each(agent):
  """Free nats of each latent variable, before their sum."""
  def divergence(right):
    def change(self, other):
      each = tf.exp(self.log_probs) * (self.log_probs - other.log_probs)
      free = agent.config.kl.free
      return tf.reduce_sum(tf.maximum(tf.reduce_sum(each, -1), free), -1)
    return change
  return patch(dists.OneHots, 'kl_divergence', divergence)


def unmixed_kl(agent):
  """The KL of the latents' distributions without their uniform share."""
  def kl_loss(right):
    def change(self, *args):
      raw = lambda self, state: dists.OneHots(state['logit'])
      with mock.patch.object(type(self.rssm), 'get_dist', raw):
        return right(self, *args)
    return change
  return patch(type(agent.model), 'kl_loss', kl_loss)


# Returns


def weights(change):
  """Other weights; change: of discounts [H + 1, N], which have gamma."""
  def imagined(right):
    def inner(self, model, *args):
      found = right(self, model, *args)
      found['weight'] = change(found['imag_discount'], model.gamma)
      return found
    return inner
  return lambda agent: patch(type(agent.behaviour), '_imagined', imagined)


def from_one(discount, gamma):
  """1, d1, d1 d2, ...: whether the start is an end has no weight."""
  del gamma
  ones = tf.ones_like(discount[:1])
  return tf.math.cumprod(tf.concat([ones, discount[1:]], 0), 0)


def one_later(discount, gamma):
  """1, d0, d0 d1, ..., as in DreamerV2."""
  del gamma
  ones = tf.ones_like(discount[:1])
  return tf.math.cumprod(tf.concat([ones, discount[:-1]], 0), 0)


def with_gamma(discount, gamma):
  """d0, d0 d1, ...: gamma in the first weight, too."""
  del gamma
  return tf.math.cumprod(discount, 0)


def normed_before(agent):
  """Advantages are divided by the range of returns of the update before."""
  def actor_loss(right):
    def change(self, feat, action, tensors):
      stats = self.return_norm.stats()
      stats = tuple(map(tf.identity, stats))
      with mock.patch.object(self.return_norm, 'stats', lambda: stats):
        return right(self, feat, action, tensors)
    return change
  return patch(type(agent.behaviour), '_actor_loss', actor_loss)


def replayed(**changes):
  """The replayed loss of other data; changes: functions of data, by key."""
  def replay_loss(right):
    def change(self, tensors, data):
      other = {key: function(data) for key, function in changes.items()}
      return right(self, tensors, {**data, **other})
    return change
  return lambda agent: patch(
      type(agent.behaviour), '_replay_loss', replay_loss)


def rewards_before(data):
  """The reward of the step itself in place of the next one's."""
  reward = data['reward']
  return tf.concat([reward[:, :1], reward[:, :-1]], 1)


# Updates


def adam(*betas):
  """Adam in place of LaProp: momentum of gradients, divided after.

  betas: those of the config without.
  """
  def fault(agent):
    optimizer, = agent.optimizers.values()
    config = agent.config.opt
    if config.kind == 'adam':
      raise UserError('opt.kind: adam is what the fault would make of laprop')

    def wrap(right):
      del right

      def rule(step):
        lr, eps = optimizer.learning_rate(step - 1), optimizer.eps
        beta1, beta2 = map(
            np.float32, betas or (config.beta1, config.beta2))
        scale1, scale2 = (1 / (1 - tf.pow(x, step)) for x in (beta1, beta2))

        def move(param, grad, rms, momentum):
          rms.assign(beta2 * rms + (1 - beta2) * tf.square(grad))
          momentum.assign(beta1 * momentum + (1 - beta1) * grad)
          param.assign_sub(lr * scale1 * momentum / (
              tf.sqrt(rms * scale2) + np.float32(eps)))
        return move
      return rule
    return patch(optimizer, '_rule', wrap)
  return fault


def clipped_together(limit):
  """All gradients clipped by their global norm, not each by its parameter's."""
  def fault(agent):
    optimizer, = agent.optimizers.values()
    factor = lambda params, grads, norm: [
        limit / tf.maximum(norm, limit)] * len(grads)
    return mock.patch.object(optimizer.clip, 'factors', factor)
  return fault


def clipped_side_by_side(agent):
  """What reads the same input is one layer, and its gradient clipped as one.

  Predictions of all vectors; mean and standard deviation of actions.
  """
  optimizer, = agent.optimizers.values()
  side = lambda key: key.rsplit('/', 2)[::2] if key.startswith((
      'decoder/out/', 'actor/action/')) else [key]
  sides = [tuple(side(key)) for key in optimizer.params]
  flat = lambda xs: tf.concat([tf.reshape(x, [-1]) for x in xs], 0)

  def factors(right):
    def change(params, grads, norm):
      groups = collections.defaultdict(list)
      for key, *pair in zip(sides, params, grads, strict=True):
        groups[key].append(pair)
      joined = zip(*(map(flat, zip(*pairs)) for pairs in groups.values()))
      found = dict(zip(groups, right(*joined, norm)))
      return [found[key] for key in sides]
    return change
  return patch(optimizer.clip, 'factors', factors)


def slow_before(agent):
  """The slow critic follows before the update, not after it."""
  return updates.follow_before(agent, agent.behaviour.update_slow)


# Settings that ports leave out, though no source names another value.
LEFT_OUT = {
    'no uniform share in the latents': {'rssm.unimix': 0.0},
    'no uniform share in the actions': {'actor.unimix': 0.0},
    'no free nats': {'kl.free': 0.0},
    'no entropy of the actor': {'actor_entropy': 0.0},
    'nothing keeps the critic near the slow one': {
        'critic.slow_scale': 0.0, 'replay_critic.slow_scale': 0.0},
    'the critic replayed at the scale of the imagined one': {
        'replay_critic.scale': 1.0},
    'the representation moves as fast as the prior': {
        'kl.representation': 1.0}}


def of(case) -> list[Change]:
  """The faults that a program may have on a case of DreamerV3."""
  settings = [Change(words, x) for words, x in LEFT_OUT.items()]
  if case.data['action_space'].get('type') == 'continuous':
    settings = [x for x in settings if 'actor.unimix' not in x.settings]
  found = {
      'the action shifted by one step': faults.shifted_action,
      'actions over 1 not brought into [-1, 1]': unbounded_actions,
      'neither latents nor action reset at is_first': faults.no_reset(True),
      'latents not reset at is_first, the action is': faults.no_reset(False),
      'the action before is_first not zeroed': no_reset_of_action,
      'sequences start from zeros, not from stored latents': from_zeros,
      'matrix products in half precision': faults.half_sums,
      "RMS norm's epsilon 1e-5": faults.epsilon(1e-5),
      "RMS norm's epsilon 1e-6": faults.epsilon(1e-6),
      "RMS norm's epsilon 1e-3": faults.epsilon(1e-3),
      'KL(prior || posterior): the sides exchanged': faults.exchanged_kl,
      'scales of the KL sides exchanged': exchanged_shares,
      'free nats of each latent variable': free_of_each,
      'KL of latents without their uniform share': unmixed_kl,
      'weights 1, d1, d1 d2, ...: not of the start': weights(from_one),
      'weights 1, d0, d0 d1, ...: one step later': weights(one_later),
      'gamma in the first weight, too': weights(with_gamma),
      'the last state bootstrapped twice': faults.bootstrapped_twice,
      'no bootstrap': faults.no_bootstrap,
      'advantages over the range of the update before': normed_before,
      'replayed returns of the rewards of the step itself': replayed(
          reward=rewards_before),
      'replayed returns across the ends of episodes': replayed(
          is_last=lambda data: tf.zeros_like(data['is_last'])),
      'replayed returns that end with the last step, not the terminal one':
          replayed(is_terminal=lambda data: data['is_last']),
      'no clipping of gradients': updates.no_clipping,
      'gradients clipped by their global norm, 1000': clipped_together(1000.0),
      'gradients clipped by their global norm, 100': clipped_together(100.0),
      'outputs of one input clipped as one layer': clipped_side_by_side,
      'Adam in place of LaProp': adam(),
      "LaProp's epsilon 1e-8": updates.adam_epsilon(1e-8),
      'the slow critic follows before the update': slow_before}
  config = case.data['resolved_config']
  if (config['agent.opt.beta1'], config['agent.opt.beta2']) != PYTORCH:
    found['Adam with betas 0.9 and 0.999 in place of LaProp'] = adam(*PYTORCH)
  return [*settings, *(Change(words, {}, enter)
                       for words, enter in found.items())]
