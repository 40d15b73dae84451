"""Behaviour learned by imagination: actor and critic (Section 3)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from dreamer.nn import dists, layers, nets, returns

if TYPE_CHECKING:
  from dreamer.envs.spaces import ActionSpace
  from dreamerv1 import settings

Tensors = dict[str, tf.Tensor]


class Actor(nets.Actor):
  """Policy over features: one-hot actions or tanh-Normals."""

  continuous = dists.TanhNormal

  def _outs(self):
    return {'out': self.size if self.discrete else 2 * self.size}

  def dist(self, feat: tf.Tensor) -> Any:
    """Features [..., F] to a distribution over actions [..., A]."""
    outs, config = self(feat), self.config
    if self.discrete:
      return dists.OneHot(outs)
    mean, raw = tf.split(outs, 2, -1)
    mean = config.mean_scale * tf.tanh(mean / config.mean_scale)
    shift = dists.softplus_inverse(config.init_std)
    std = tf.nn.softplus(raw + shift) + config.min_std
    return dists.TanhNormal(mean, std)


class ActorCritic(layers.Module):
  """The actor maximises lambda returns of imagined rollouts, through them."""

  actor_class: type[Actor] = Actor

  def __init__(self, config: settings.Config, feat: int, act_space: ActionSpace,
               init: layers.Init):
    super().__init__('behaviour')
    self.config = config
    self.actor = self.actor_class(
        'actor', feat, config.actor, act_space, init)
    self.critic = nets.ScalarHead('critic', feat, config.critic, init)

  @property
  def groups(self) -> dict[str, dict[str, tf.Variable]]:
    """Variables by optimiser."""
    return {'actor': self.actor.variables, 'critic': self.critic.variables}

  def act(self, model: Any, state: Tensors, noise: Any,
          mode: str) -> tf.Tensor:
    """Actions [n, A] for model states [n, ...], before exploration."""
    del mode
    dist = self.actor.dist(model.rssm.get_feat(state))
    rows = state['deter'].shape[0]
    return dist.mode(self.actor.draws(noise, 'act', [rows]))

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
    rewards = self.rewards(model, feat, action)
    discount = model.imagined_discount(feat)
    value, pred = layers.two_gradients(self.critic, feat)
    target = self._returns(rewards['imag_reward'], value, discount)
    weight = returns.weights(discount[:-1])
    losses = {'actor': self._actor_loss(target, weight),
              'critic': self._critic_loss(pred[:-1], target, weight)}
    return losses, {
        **rewards, 'imag_feat': feat, 'imag_action': action,
        'imag_discount': discount, 'imag_value': value, 'returns': target,
        'weight': weight}

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

  def rewards(self, model: Any, feat: tf.Tensor,
              action: tf.Tensor) -> Tensors:
    """Tensors by name: rewards of imagined states [H, N]."""
    del action
    return {'imag_reward': model.reward.mean(feat)}

  def _returns(self, reward, value, discount):
    """Lambda returns [H - 1, N], ended by the last value (eq. 6)."""
    return returns.lambda_return(
        reward[:-1], value[:-1], discount[:-1], value[-1],
        self.config['lambda'])

  def _actor_loss(self, target, weight):
    """Minus the returns (eq. 7)."""
    return -tf.reduce_mean(weight * target)

  def _critic_loss(self, pred, target, weight):
    """Regression to the returns (eq. 8)."""
    log_prob = dists.unit_normal_log_prob(tf.stop_gradient(target), pred, 0)
    return -tf.reduce_mean(weight * log_prob)

  def summaries(self, tensors: dict[str, Any]) -> Tensors:
    """Metrics of one update from its tensors and the actor after it.

    How random actions are is measured on the posteriors of the replayed
    sequences, not on imagined states.
    """
    mean = tf.reduce_mean
    metrics = {'imag/return': mean(tensors['returns']),
               'imag/value': mean(tensors['imag_value']),
               'imag/reward': mean(tensors['imag_reward'])}
    dist: Any = self.actor.dist(tensors['feat'])
    if self.actor.discrete:
      return {**metrics, 'actor/replay_entropy': mean(dist.entropy())}
    return {**metrics, 'actor/replay_std': mean(dist.std)}
