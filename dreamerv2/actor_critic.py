"""Behaviour learned by imagination: actor and critic (Section 2.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from dreamer.nn import dists, layers, nets, returns
from dreamer.nn.schedules import schedule

if TYPE_CHECKING:
  from dreamer.envs.spaces import ActionSpace
  from dreamerv2 import settings

Tensors = dict[str, tf.Tensor]


class Actor(nets.Actor):
  """Policy over features: one-hot actions or truncated Normals."""

  continuous = dists.TruncNormal

  def _outs(self):
    if self.discrete:
      return {'out': self.size}
    return {'mean': self.size, 'std': self.size}

  def dist(self, feat: tf.Tensor) -> Any:
    """Features [..., F] to a distribution over actions [..., A]."""
    outs, config = self(feat), self.config
    if self.discrete:
      return dists.OneHot(outs)
    mean, raw = outs
    std = 2 * tf.sigmoid((raw + config.init_std) / 2) + config.min_std
    return dists.TruncNormal(tf.tanh(mean), std)


class ActorCritic(layers.Module):
  """The actor maximises lambda returns by reinforce, or through rollouts.

  Targets and baselines are those of a slow critic, which is not trained but
  copied. `prefix` stands before the names of the parameters.
  """

  actor_class: type[Actor] = Actor
  prefix = ''

  def __init__(self, config: settings.Config, feat: int, act_space: ActionSpace,
               init: layers.Init):
    super().__init__(f'{self.prefix}behaviour')
    self.config = config
    self.actor = self.actor_class(
        f'{self.prefix}actor', feat, config.actor, act_space, init)
    self.critic = nets.ScalarHead(
        f'{self.prefix}critic', feat, config.critic, init)
    self.slow_critic = nets.ScalarHead(
        f'{self.prefix}slow_critic', feat, config.critic, init)

  @property
  def groups(self) -> dict[str, dict[str, tf.Variable]]:
    """Variables by optimiser."""
    return {'actor': self.actor.variables, 'critic': self.critic.variables}

  def act(self, model: Any, state: Tensors, noise: Any,
          mode: str) -> tf.Tensor:
    """Actions [n, A] for model states [n, ...], before exploration."""
    dist = self.actor.dist(model.rssm.get_feat(state))
    rows = state['deter'].shape[0]
    if mode == 'eval':
      return dist.mode(self.actor.draws(noise, 'act', [rows]))
    return dist.sample(self.actor.draw(noise, 'act', [rows]))

  def loss(self, model: Any, start: Tensors, is_terminal: tf.Tensor,
           noise: Any, env_steps: tf.Tensor,
           unroll: bool = False) -> tuple[Tensors, Tensors]:
    """Losses of actor and critic on rollouts from start states [N, ...].

    `model` is the world model with its weights frozen, is_terminal [N] that
    of the start states, and env_steps is where schedules are read.

      imagined t    0     1     2   ...   H-1    H
      state        s0 -> s1 -> s2        sH-1   sH      s0 is the start
      action       0     a1    a2        aH-1   aH      at led to st
      reward       r0    r1    r2        rH-1           of the state itself
      discount     d0    d1    d2        dH-1           d0 is known
      slow value   v0    v1    v2        vH-1   vH
      return       R0    R1    R2        RH-1  = bootstrap vH
      weight       1     d0    d0d1      d0...dH-2
      critic       c0~R0 c1~R1 c2~R2     cH-1~RH-1
      actor        a1 by R1 - v0, a2 by R2 - v1, ... aH-1 by RH-1 - vH-2

    Returns losses and tensors [H + 1 or less, N, ...] by name.
    """
    action, feat = self.rollout(model, start, noise, unroll)
    rewards = self.rewards(model, feat, action)
    discount = model.imagined_discount(feat, is_terminal)
    value = self._target_critic()(feat)
    target = self._returns(rewards['imag_reward'], value, discount)
    weight = returns.weights(discount)
    actor, entropy = self._actor_loss(
        feat, action, target, value, weight, noise, env_steps)
    pred = self.critic(tf.stop_gradient(feat[:-1]))
    losses = {'actor': actor,
              'critic': self._critic_loss(pred, target, weight[:-1])}
    return losses, {
        **rewards, 'imag_feat': feat, 'imag_action': action,
        'imag_discount': discount, 'imag_value': value, 'returns': target,
        'weight': weight, 'critic_pred': pred, 'policy_entropy': entropy}

  def rollout(self, model: Any, start: Tensors, noise: Any,
              unroll: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
    """Imagines from start [N, ...]: actions and features [H + 1, N, ...]."""
    rows, horizon = start['deter'].shape[0], self.config.horizon
    draws = {
        'prior': model.rssm.draw(noise, 'imagine', [horizon, rows]),
        'policy': self.actor.draw(noise, 'actor', [horizon, rows])}
    policy = lambda feat, noise: self.actor.dist(feat).sample(noise)
    states, actions = model.rssm.imagine(policy, start, draws, unroll)
    before = lambda first, later: tf.concat([first[None], later], 0)
    states = {key: before(start[key], x) for key, x in states.items()}
    actions = before(tf.zeros_like(actions[0]), actions)
    return actions, model.rssm.get_feat(states)

  def rewards(self, model: Any, feat: tf.Tensor,
              action: tf.Tensor) -> Tensors:
    """Tensors by name: rewards of imagined states [H + 1, N]."""
    del action
    return {'imag_reward': model.reward.mean(feat)}

  def _returns(self, reward, value, discount):
    """Lambda returns [H, N], ended by the last value (eq. 4)."""
    return returns.lambda_return(
        reward[:-1], value[:-1], discount[:-1], value[-1],
        self.config['lambda'])

  def _actor_loss(self, feat, action, target, value, weight, noise,
                  env_steps):
    """Actor loss (eq. 6), and the policy's entropy, [H - 1, N]."""
    stop = tf.stop_gradient
    policy, taken = self.actor.dist(stop(feat[:-2])), action[1:-1]
    advantage = stop(target[1:] - value[:-2])
    objective = self._objective(
        policy, taken, advantage, target[1:], env_steps)
    entropy = policy.entropy(self.actor.draws(
        noise, 'entropy', taken.shape[:2]))
    scale = schedule(self.config.actor_entropy, env_steps)
    loss = -tf.reduce_mean(weight[:-2] * (objective + scale * entropy))
    return loss, entropy

  def _objective(self, policy, taken, advantage, target, env_steps):
    """Reinforce for discrete actions, returns through the others."""
    del env_steps
    if self.actor.discrete:
      return policy.log_prob(tf.stop_gradient(taken)) * advantage
    return target

  def _critic_loss(self, pred, target, weight):
    """Regression to the returns (eq. 5)."""
    log_prob = dists.unit_normal_log_prob(tf.stop_gradient(target), pred, 0)
    return -tf.reduce_mean(weight * log_prob)

  def _target_critic(self):
    """What gives values: no gradient reaches its weights."""
    return self.slow_critic.map(tf.stop_gradient)

  def update_slow(self, updates: tf.Tensor) -> None:
    """After update number `updates` (an int64 scalar, from 0) of the critic.

    The first copies the critic whole; later ones, every `every_updates`, mix
    in the share `fraction`.
    """
    config = self.config.slow_critic
    due = updates % config.every_updates == 0
    share = tf.where(updates == 0, 1.0, config.fraction)
    pairs = list(zip(
        self.critic.variables.values(), self.slow_critic.variables.values(),
        strict=True))

    def update():
      for fast, slow in pairs:
        slow.assign(share * fast + (1 - share) * slow)

    tf.cond(due, update, lambda: None)

  def summaries(self, tensors: dict[str, Any],
                env_steps: tf.Tensor) -> Tensors:
    """Metrics of one update from its tensors, and of schedules.

    The entropy is measured on imagined states.
    """
    mean, reward = tf.reduce_mean, tensors['imag_reward']
    return {'imag/return': mean(tensors['returns']),
            'imag/value': mean(tensors['imag_value']),
            'imag/reward': mean(reward),
            'imag/reward_std': tf.math.reduce_std(reward),
            'critic/value': mean(tensors['critic_pred']),
            'actor/entropy': mean(tensors['policy_entropy']),
            'actor/entropy_scale': schedule(
                self.config.actor_entropy, env_steps)}
