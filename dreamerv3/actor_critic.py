"""Behaviour learned by imagination: actor and critic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from dreamer.nn import heads, layers, returns
from dreamer.nn.normalise import Normaliser

if TYPE_CHECKING:
  from dreamer.envs.spaces import ActionSpace
  from dreamerv3 import settings

Tensors = dict[str, tf.Tensor]
Actor = heads.Actor


class ActorCritic(layers.Module):
  """The actor maximises lambda returns by reinforce, whatever its actions.

  The critic also learns from what was replayed ("Critic learning"), and
  stays near a slow critic, which is not trained but follows it.
  """

  actor_class: type[Actor] = Actor

  def __init__(self, config: settings.Config, feat: int, act_space: ActionSpace,
               init: layers.ByFan):
    super().__init__('behaviour')
    self.config = config
    self.actor = self.actor_class(
        'actor', feat, config.actor, act_space, init)
    self.critic = heads.Head('critic', feat, config.critic, init)
    self.slow_critic = heads.Head('slow_critic', feat, config.critic, init)
    for fast, slow in self._pairs():
      slow.assign(fast)
    self.return_norm = Normaliser('return_norm', config.return_norm)

  @property
  def groups(self) -> dict[str, dict[str, tf.Variable]]:
    """Variables by optimiser."""
    return {'all': {**self.actor.variables, **self.critic.variables}}

  @property
  def statistics(self) -> dict[str, tf.Variable]:
    return dict(self.return_norm.variables)

  def act(self, model: Any, state: Tensors, noise: Any,
          mode: str) -> tf.Tensor:
    """Actions [n, A] for model states [n, ...]: samples, in all modes."""
    del mode
    dist = self.actor.dist(model.rssm.get_feat(state))
    rows = state['deter'].shape[0]
    return dist.sample(self.actor.draw(noise, 'act', [rows]))

  def loss(self, model: Any, tensors: Mapping[str, Any], data: Tensors,
           noise: Any, unroll: bool = False) -> tuple[Tensors, Tensors]:
    """Losses of actor and critic, imagined and replayed.

    `model` is the world model with its weights frozen, tensors are those of
    its loss on the replayed data [B, T, ...]: `post`, every state of which
    starts a rollout, and `feat`, to which the replayed loss has a gradient.

      imagined i    0     1     2   ...   H-1    H
      state        s0 -> s1 -> s2        sH-1   sH      s0 is the start
      action       a0    a1    a2        aH-1   aH      ai is chosen at si
      reward             r1    r2        rH-1   rH      of the state itself
      discount     d0    d1    d2        dH-1   dH      predicted, d0 too
      value        v0    v1    v2        vH-1   vH
      return       R0    R1    R2        RH-1           bootstrap vH
      weight       d0    d0d1  d0d1d2    d0...dH-1      over gamma
      critic       v0~R0 v1~R1 v2~R2     vH-1~RH-1
      actor        ai by (Ri - vi) / scale

    Returns losses and tensors [H + 1 or less, N, ...] by name.
    """
    start = self._starts(tensors)
    action, feat = self.rollout(model, start, noise, unroll)
    tensors = {**tensors, **self._imagined(model, feat, data)}
    tensors.update(imag_feat=feat, imag_action=action)
    actor, found = self._actor_loss(feat, action, tensors)
    tensors.update(found)
    tensors['critic_target'] = self._target(tensors['returns'])
    critic = self._critic_loss(
        self.critic.dist(feat[:-1]), tensors['critic_target'],
        tensors['weight'][:-1], tensors['imag_slow_value'][:-1],
        self.config.critic.slow_scale)
    replayed, found = self._replay_loss(tensors, data)
    tensors.update(found)
    losses = {'actor': actor, 'critic': critic, **replayed}
    losses = {key: tf.reduce_mean(x) for key, x in losses.items()}
    losses['behaviour'] = self._total(losses)
    return losses, {**tensors, 'actor': actor, 'critic': critic, **replayed}

  def _starts(self, tensors):
    """Posteriors [B, T, ...] as rows b * T + t, gradient stopped: [N, ...]."""
    rows = lambda x: tf.reshape(x, [-1, *x.shape[2:]])
    return {key: tf.stop_gradient(rows(tensors['post'][key]))
            for key in ('deter', 'stoch')}

  def rollout(self, model: Any, start: Tensors, noise: Any,
              unroll: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
    """Imagines from start [N, ...]: actions and features [H + 1, N, ...].

    Nothing is differentiated here.
    """
    rows, horizon = start['deter'].shape[0], self.config.horizon
    prior = model.rssm.draw(noise, 'imagine', [horizon, rows])
    draws = self.actor.draw(noise, 'actor', [horizon + 1, rows])
    actor = self.actor.map(tf.stop_gradient)
    policy = lambda feat, noise: actor.dist(feat).sample(noise)
    states, actions = model.rssm.imagine(
        policy, start, {'prior': prior, 'policy': draws[:-1]}, unroll)
    states = {key: tf.concat([start[key][None], x], 0)
              for key, x in states.items()}
    feat = model.rssm.get_feat(states)
    last = tf.stop_gradient(policy(feat[-1], draws[-1]))
    return tf.concat([actions, last[None]], 0), feat

  def _imagined(self, model, feat, data):
    """What model and critics say of imagined states [H + 1, N, F]."""
    fixed = tf.stop_gradient(feat)
    found = {'imag_reward': model.reward.mean(fixed),
             'imag_discount': self._discounts(model, fixed, data)}
    found.update(self._values(fixed))
    found['returns'] = self._returns(
        found['imag_reward'], found['baseline'], found['imag_discount'])
    found['weight'] = tf.math.cumprod(found['imag_discount'], 0) / model.gamma
    return found

  def _discounts(self, model, feat, data):
    """Those of imagined states [H + 1, N]; data [B, T, ...] is not needed."""
    del data
    return model.imagined_discount(feat)

  def _values(self, feat):
    """Means of both critics, without gradient, and what targets are made of."""
    mean = lambda critic: critic.map(tf.stop_gradient).mean(feat)
    value, slow = mean(self.critic), mean(self.slow_critic)
    return {'imag_value': value, 'imag_slow_value': slow, 'baseline': value}

  def _returns(self, reward, value, discount):
    """Lambda returns [H, N], ended by the last value."""
    return returns.lambda_return(
        reward[1:], value[:-1], discount[1:], value[-1],
        self.config['lambda'])

  def _actor_loss(self, feat, action, tensors):
    """Actor loss by reinforce [H, N], and tensors of the policy.

    Advantages are divided by the range of returns, where that exceeds 1.
    """
    self.return_norm.update(tensors['returns'])
    _, scale = self.return_norm.stats()
    advantage = (tensors['returns'] - tensors['baseline'][:-1]) / scale
    policy = self.actor.dist(feat[:-1])
    objective = self._objective(
        policy, tf.stop_gradient(action[:-1]), tf.stop_gradient(advantage))
    loss = -tf.stop_gradient(tensors['weight'][:-1]) * objective
    entropies = {key: x.entropy() for key, x in policy.parts.items()}
    return loss, {'advantage': advantage, 'policy_entropy': entropies}

  def _objective(self, policy, action, advantage):
    """What the actor raises: likelihood of good actions, and entropy."""
    bonus = self.config.actor_entropy * policy.entropy()
    return policy.log_prob(action) * advantage + bonus

  def _target(self, target):
    """What the critic learns of returns: themselves."""
    return target

  def _critic_loss(self, dist, target, weight, slow, scale):
    """Critic loss [...]: away from the target, and from the slow critic."""
    return tf.stop_gradient(weight) * -(
        dist.log_prob(target) + scale * dist.log_prob(slow))

  def _replay_loss(self, tensors, data):
    """Critic loss of replayed states but the last, [B, T - 1], and tensors.

      replayed t    0     1     2   ...   T-1
      reward             r1    r2         rT-1          as it was
      boot         b0    b1    b2         bT-1          return imagined at t
      return       R0    R1    R2   ... = bootstrap bT-1
      lambda             0 where t is the last step of its episode

    The last step of an episode has no term.
    """
    config = self.config.replay_critic
    lambda_ = self.config['replay_critic']['lambda']
    feat = self.replayed(tensors['feat'])
    feat = feat if config.gradient else tf.stop_gradient(feat)
    swap = lambda x: tf.transpose(self.replayed(tf.cast(x, tf.float32)))
    reward, is_last, is_terminal = (
        swap(data[key]) for key in ('reward', 'is_last', 'is_terminal'))
    boot = tf.transpose(tf.reshape(tensors['returns'][0], feat.shape[:2]))
    discount = (1 - 1 / self.config.discount_horizon) * (1 - is_terminal)
    target = tf.transpose(returns.lambda_return(
        reward[1:], boot[:-1], discount[1:], boot[-1],
        lambda_ * (1 - is_last[1:])))  # [B, T - 1]
    slow = self.slow_critic.map(tf.stop_gradient).mean(
        tf.stop_gradient(feat[:, :-1]))
    loss = self._critic_loss(
        self.critic.dist(feat[:, :-1]), self._target(target),
        tf.transpose(1 - is_last[:-1]), slow, config.slow_scale)
    return {'replay_critic': loss}, {
        'replay_returns': target, 'replay_boot': tf.transpose(boot)}

  def replayed(self, x: tf.Tensor) -> tf.Tensor:
    """The states [B, T, ...] that rollouts began at: all."""
    return x

  def _total(self, losses):
    """The scaled sum."""
    config = self.config
    scales = {'actor': config.actor.scale, 'critic': config.critic.scale,
              'replay_critic': config.replay_critic.scale}
    return sum(scales[key] * value for key, value in losses.items())

  def _pairs(self):
    return list(zip(
        self.critic.variables.values(), self.slow_critic.variables.values(),
        strict=True))

  def update_slow(self, updates: tf.Tensor) -> None:
    """After update number `updates` (an int64 scalar, from 0): moves by the
    share `fraction` towards the critic, every `every_updates`.
    """
    config = self.config.slow_critic
    share = tf.where(
        updates % config.every_updates == 0, config.fraction, 0.0)
    for fast, slow in self._pairs():
      slow.assign_add(share * (fast - slow))

  def summaries(self, tensors: dict[str, Any]) -> Tensors:
    """Metrics of one update from its tensors."""
    mean, entropies = tf.reduce_mean, tensors['policy_entropy']
    offset, scale = self.return_norm.stats()
    returns = (tensors['returns'] - offset) / scale
    metrics = {
        'imag/return': mean(tensors['returns']),
        'imag/return_normed': mean(returns),
        'imag/return_normed_min': tf.reduce_min(returns),
        'imag/return_normed_max': tf.reduce_max(returns),
        'imag/return_large': mean(tf.cast(tf.abs(returns) >= 1, tf.float32)),
        'imag/return_scale': scale,
        'imag/value': mean(tensors['imag_value']),
        'imag/slow_value': mean(tensors['imag_slow_value']),
        'imag/reward': mean(tensors['imag_reward']),
        'imag/discount': mean(tensors['imag_discount']),
        'imag/weight': mean(tensors['weight']),
        'critic/target': mean(tensors['critic_target']),
        'actor/advantage': mean(tensors['advantage']),
        'actor/advantage_std': tf.math.reduce_std(tensors['advantage']),
        'actor/advantage_mag': mean(tf.abs(tensors['advantage'])),
        'actor/entropy': mean(sum(entropies.values()))}
    if len(entropies) > 1:
      metrics.update({
          f'actor/entropy/{key}': mean(x) for key, x in entropies.items()})
    metrics.update({f'actor/randomness/{key}': x for key, x
                    in self.actor.randomness(entropies).items()})
    return metrics
