"""Behaviour learned by imagination: actor and value (Section 3)."""

import numpy as np
import tensorflow as tf

from dreamer.nn import dists, layers, nets, returns
from dreamer.nn.layers import Module


class Actor(nets.MLP):
  """Policy over features: tanh-Normal or one-hot actions."""

  def __init__(self, name, size_in, config, act_space, init):
    self.config = config
    self.discrete = act_space.kind == 'discrete'
    self.actions = act_space.dim
    outs = {'hout': self.actions if self.discrete else 2 * self.actions}
    if config.stats == 'separate':
      outs = {'hmean': self.actions}
      if not self.discrete:
        outs['hstd'] = self.actions
    super().__init__(
        name, size_in, config.layers, config.units, config.act, outs, init)

  def dist(self, feat):
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

  def draw(self, noise, name, shape):
    """Noise [*shape, A] of the kind that `sample` takes."""
    kind = noise.gumbel if self.discrete else noise.normal
    return kind(name, [*shape, self.actions])


class ActorCritic(Module):
  """The actor maximises lambda returns of imagined rollouts, through them."""

  def __init__(self, config, feat, act_space, init):
    super().__init__('behaviour')
    self.config = config
    self.actor = Actor('actor', feat, config.actor, act_space, init)
    if config.behaviour == 'actor_critic':
      self.value = nets.ScalarHead('value', feat, config.value, init)

  @property
  def groups(self):
    """Variables by optimiser."""
    groups = {'actor': self.actor.variables}
    if self.config.behaviour == 'actor_critic':
      groups['value'] = self.value.variables
    return groups

  def act(self, model, state, noise, training):
    """Actions [n, A] for model states [n, ...], before exploration."""
    dist = self.actor.dist(model.dynamics.get_feat(state))
    rows = state['deter'].shape[0]
    if training and self.config.collect == 'sample':
      return dist.sample(self.actor.draw(noise, 'act', [rows]))
    return dist.mode(self.actor.draw(noise, 'act', [100, rows]))

  def loss(self, model, start, noise, unroll=False):
    """Losses of actor and value on rollouts from start states [N, ...].

    `model` is the world model with its weights frozen.

      imagined t    0     1     2   ...   H-2   H-1
      state        s0 -> s1 -> s2        sH-2  sH-1    (start before s0)
      reward       r0    r1    r2        rH-2
      discount     d0    d1    d2        dH-2
      value              v1    v2        vH-2  vH-1
      return       R0    R1    R2        RH-2  = bootstrap v(H-1)
      weight       1     d0    d0d1      d0...dH-3
      value loss   v0~R0 v1~R1 v2~R2     vH-2~RH-2

    Returns losses and tensors by name; tensors are time-major [H, N, ...].
    """
    states, actions, feat = self.rollout(model, start, noise, unroll)
    reward = model.reward(feat)
    discount = model.imagined_discount(feat)
    tensors = {'imag_feat': feat, 'imag_action': actions,
               'imag_reward': reward, 'imag_discount': discount}
    if self.config.behaviour == 'no_value':
      target = self._reward_sum(reward, discount)
      tensors['returns'] = target
      return {'actor': -tf.reduce_mean(target)}, tensors
    value, pred = layers.two_gradients(self.value, feat)
    target, bootstrap = self._returns(reward, value, discount)
    weight = returns.weights(discount[:-1])
    losses = {'actor': -tf.reduce_mean(weight * target),
              'value': self._value_loss(pred[:-1], target, weight)}
    tensors.update(imag_value=value, returns=target, weight=weight,
                   bootstrap=bootstrap)
    return losses, tensors

  def rollout(self, model, start, noise, unroll=False):
    """Imagines H steps from start [N, ...]: states, actions and features."""
    rows, horizon = start['deter'].shape[0], self.config.horizon
    draws = {
        'prior': noise.normal(
            'imagine', [horizon, *model.dynamics.noise_shape(rows)]),
        'policy': self.actor.draw(noise, 'actor', [horizon, rows])}
    policy = lambda feat, noise: self.actor.dist(feat).sample(noise)
    states, actions = model.dynamics.imagine(policy, start, draws, unroll)
    return states, actions, model.dynamics.get_feat(states)

  def summaries(self, tensors):
    """Metrics of one update from all its tensors."""
    mean = tf.reduce_mean
    metrics = {'imag/reward': mean(tensors['imag_reward']),
               'imag/return': mean(tensors['returns'])}
    if 'imag_value' in tensors:
      metrics['imag/value'] = mean(tensors['imag_value'])
    dist = self.actor.dist(tensors['feat'])
    if self.actor.discrete:
      return {**metrics, 'actor/entropy': mean(dist.entropy())}
    return {**metrics, 'actor/std': mean(dist.std)}

  def _returns(self, reward, value, discount):
    """Lambda returns [H-1, N] and the value that ends them [N]."""
    last = {'last': -1, 'second_last': -2}[self.config.bootstrap]
    target = returns.lambda_return(
        reward[:-1], value[:-1], discount[:-1], value[last],
        self.config['lambda'])
    return target, value[last]

  def _reward_sum(self, reward, discount):
    """Imagined rewards from each step on [H, N] (eq. 4, no value head)."""
    if self.config.no_value_returns == 'undiscounted':
      return tf.cumsum(reward, reverse=True)[:1]
    zeros = tf.zeros_like(reward[0])
    return returns.lambda_return(reward, reward, discount, zeros, 1.0)

  def _value_loss(self, pred, target, weight):
    log_prob = dists.unit_normal_log_prob(tf.stop_gradient(target), pred, 0)
    return -tf.reduce_mean(weight * log_prob)
