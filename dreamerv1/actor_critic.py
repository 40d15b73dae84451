"""Behaviour learned by imagination: actor and critic (Section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from dreamer.nn import dists, layers, nets, replicas, returns

Tensors = dict[str, tf.Tensor]


class Actor(nets.MLP):
  """Policy over features: one-hot actions or tanh-Normals."""

  def __init__(self, name: str, size_in: int, config: Any, act_space: Any,
               init: layers.Init):
    self.config = config
    self.discrete = act_space.discrete
    self.size = act_space.dim
    outs = {'out': self.size if self.discrete else 2 * self.size}
    if config.stats == 'separate':
      outs = {'mean': self.size}
      if not self.discrete:
        outs['std'] = self.size
    super().__init__(
        name, size_in, [config.units] * config.layers, config.act, outs, init)

  def dist(self, feat: tf.Tensor) -> dists.OneHot | dists.TanhNormal:
    """Features [..., F] to a distribution over actions [..., A]."""
    outs = self(feat)
    if self.discrete:
      return dists.OneHot(outs, self.config.gradient)
    if self.config.stats == 'joint':
      outs = tf.split(outs, 2, -1)
    mean, raw = outs
    scale = self.config.mean_scale
    shift = np.log(np.expm1(self.config.init_std))
    std = tf.nn.softplus(raw + shift) + self.config.min_std
    return dists.TanhNormal(scale * tf.tanh(mean / scale), std)

  def draw(self, noise: Any, name: str, lead: Sequence[int]) -> tf.Tensor:
    """Noise [*lead, A] of the kind that `sample` takes."""
    kind = noise.gumbel if self.discrete else noise.normal
    return replicas.draw(kind, name, [*lead, self.size], len(lead) - 1)


class ActorCritic(layers.Module):
  """The actor maximises lambda returns of imagined rollouts, through them.

  Without a critic (behaviour no_value) it maximises the rewards alone.
  """

  def __init__(self, config: Any, feat: int, act_space: Any,
               init: layers.Init):
    super().__init__('behaviour')
    self.config = config
    self.actor = Actor('actor', feat, config.actor, act_space, init)
    if config.behaviour == 'actor_critic':
      self.critic = nets.ScalarHead('critic', feat, config.critic, init)

  @property
  def groups(self) -> dict[str, dict[str, tf.Variable]]:
    """Variables by optimiser."""
    groups = {'actor': self.actor.variables}
    if self.config.behaviour == 'actor_critic':
      groups['critic'] = self.critic.variables
    return groups

  def act(self, model: Any, state: Tensors, noise: Any,
          mode: str) -> tf.Tensor:
    """Actions [n, A] for model states [n, ...], before exploration."""
    dist = self.actor.dist(model.rssm.get_feat(state))
    rows = state['deter'].shape[0]
    if mode == 'train' and self.config.collect == 'sample':
      return dist.sample(self.actor.draw(noise, 'act', [rows]))
    return dist.mode(self.actor.draw(noise, 'act', [100, rows]))

  def loss(self, model: Any, start: Tensors, noise: Any,
           unroll: bool = False) -> tuple[Tensors, Tensors]:
    """Losses of actor and critic on rollouts from start states [N, ...].

    `model` is the world model with its weights frozen.

      imagined t    0     1     2   ...   H-2   H-1
      state        s0 -> s1 -> s2        sH-2  sH-1     the start before s0
      action       a0    a1    a2        aH-2  aH-1     at led to st
      reward       r0    r1    r2        rH-2           of the state itself
      discount     d0    d1    d2        dH-2
      value              v1    v2        vH-2  vH-1
      return       R0    R1    R2        RH-2  = bootstrap vH-1
      weight       1     d0    d0d1      d0...dH-3
      critic       v0~R0 v1~R1 v2~R2     vH-2~RH-2
      actor        a0.. by R0, a1.. by R1, a2.. by R2, ... by RH-2

    Returns losses and tensors [H or less, N, ...] by name.
    """
    action, feat = self.rollout(model, start, noise, unroll)
    reward = model.reward(feat)
    discount = model.imagined_discount(feat)
    tensors = {'imag_feat': feat, 'imag_action': action,
               'imag_reward': reward, 'imag_discount': discount}
    if self.config.behaviour == 'no_value':
      target = self._reward_sum(reward, discount)
      return {'actor': -tf.reduce_mean(target)}, {**tensors, 'returns': target}
    value, pred = layers.two_gradients(self.critic, feat)
    target = self._returns(reward, value, discount)
    weight = returns.weights(discount[:-1])
    losses = {'actor': -tf.reduce_mean(weight * target),
              'critic': self._critic_loss(pred[:-1], target, weight)}
    tensors.update(imag_value=value, returns=target, weight=weight)
    return losses, tensors

  def rollout(self, model: Any, start: Tensors, noise: Any,
              unroll: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
    """Imagines from start [N, ...]: actions and features [H, N, ...]."""
    rows, horizon = start['deter'].shape[0], self.config.horizon
    draws = {
        'prior': model.rssm.draw(noise, 'imagine', [horizon, rows]),
        'policy': self.actor.draw(noise, 'actor', [horizon, rows])}
    policy = lambda feat, noise: self.actor.dist(feat).sample(noise)
    states, actions = model.rssm.imagine(policy, start, draws, unroll)
    return actions, model.rssm.get_feat(states)

  def _returns(self, reward, value, discount):
    """Lambda returns [H - 1, N], ended by the last value or as by TF1."""
    last = {'last': -1, 'second_last': -2}[self.config.bootstrap]
    return returns.lambda_return(
        reward[:-1], value[:-1], discount[:-1], value[last],
        self.config['lambda'])

  def _reward_sum(self, reward, discount):
    """Imagined rewards from each step on [H, N] (eq. 4, no critic)."""
    if self.config.no_value_returns == 'undiscounted':
      return tf.cumsum(reward, reverse=True)[:1]
    zeros = tf.zeros_like(reward[0])
    return returns.lambda_return(reward, reward, discount, zeros, 1.0)

  def _critic_loss(self, pred, target, weight):
    log_prob = dists.unit_normal_log_prob(tf.stop_gradient(target), pred, 0)
    return -tf.reduce_mean(weight * log_prob)

  def summaries(self, tensors: dict[str, Any]) -> Tensors:
    """Metrics of one update from its tensors and the actor after it."""
    mean = tf.reduce_mean
    metrics = {'imag/reward': mean(tensors['imag_reward']),
               'imag/return': mean(tensors['returns'])}
    if 'imag_value' in tensors:
      metrics['imag/value'] = mean(tensors['imag_value'])
    dist: Any = self.actor.dist(tensors['feat'])
    if self.actor.discrete:
      return {**metrics, 'actor/entropy': mean(dist.entropy())}
    return {**metrics, 'actor/std': mean(dist.std)}
