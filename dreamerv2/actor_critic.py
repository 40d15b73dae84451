"""Behaviour learned by imagination: actor and critic (Section 2.2)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from dreamer.nn import dists, layers, nets, replicas, returns
from dreamer.nn.schedules import schedule
from dreamerv2.reward_norm import RewardNorm

Tensors = dict[str, tf.Tensor]
Policy = dists.OneHot | dists.TruncNormal | dists.TanhNormal


class Actor(nets.MLP):
  """Policy over features: one-hot actions, truncated or tanh-Normals."""

  SAMPLES = 100  # stand for what a tanh-Normal has no closed form of
  MEAN_SCALE = 5.0  # bounds the mean of a tanh-Normal

  def __init__(self, name: str, size_in: int, config: Any, act_space: Any,
               init: layers.Init):
    self.config = config
    self.discrete = act_space.discrete
    self.kind = config.dist
    if self.kind == 'auto':
      self.kind = 'onehot' if self.discrete else 'trunc_normal'
    self.size = act_space.dim
    outs = {'out': self.size} if self.discrete else {
        'mean': self.size, 'std': self.size}
    super().__init__(
        name, size_in, [config.units] * config.layers, config.act, outs, init,
        config.norm)

  def dist(self, feat: tf.Tensor) -> Policy:
    """Features [..., F] to a distribution over actions [..., A]."""
    outs = self(feat)
    if self.kind == 'onehot':
      return dists.OneHot(outs)
    mean, raw = outs
    raw += self.config.init_std
    if self.kind == 'tanh_normal':
      scale = self.MEAN_SCALE
      std = tf.nn.softplus(raw) + self.config.min_std
      return dists.TanhNormal(scale * tf.tanh(mean / scale), std)
    std = 2 * tf.sigmoid(raw / 2) + self.config.min_std
    return dists.TruncNormal(tf.tanh(mean), std)

  def draw(self, noise: Any, name: str, lead: Sequence[int]) -> tf.Tensor:
    """Noise [*lead, A] of the kind that `sample` takes."""
    kind = {'onehot': noise.gumbel, 'trunc_normal': noise.uniform,
            'tanh_normal': noise.normal}[self.kind]
    return replicas.draw(kind, name, [*lead, self.size], len(lead) - 1)

  def draws(self, noise: Any, name: str,
            lead: Sequence[int]) -> tf.Tensor | None:
    """Noise [K, *lead, A] that `mode` and `entropy` take, where they do."""
    if self.kind != 'tanh_normal':
      return None
    return self.draw(noise, name, [self.SAMPLES, *lead])


class ActorCritic(layers.Module):
  """The actor maximises lambda returns by reinforce, or through rollouts.

  `prefix` stands before the names of the parameters. Targets and baselines
  are those of a slow critic, which is not trained but copied.
  """

  def __init__(self, config: Any, feat: int, act_space: Any,
               init: layers.Init, prefix: str = ''):
    super().__init__(f'{prefix}behaviour')
    self.config = config
    self.actor = Actor(f'{prefix}actor', feat, config.actor, act_space, init)
    critic = lambda name: nets.ScalarHead(
        f'{prefix}{name}', feat, config.critic, init, config.critic.norm)
    self.critic = critic('critic')
    if config.slow_critic.enabled:
      self.slow_critic = critic('slow_critic')
    self.reward_norm = RewardNorm(f'{prefix}reward_norm', config.reward_norm)
    self.gradient = config.actor_gradient
    if self.gradient == 'auto':
      self.gradient = 'reinforce' if self.actor.discrete else 'dynamics'

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
           reward: Callable, noise: Any, env_steps: tf.Tensor,
           unroll: bool = False) -> tuple[Tensors, Tensors]:
    """Losses of actor and critic on rollouts from start states [N, ...].

    `model` is the world model with its weights frozen, is_terminal [N] that
    of the start states, reward a function (feat, action) -> rewards, and
    env_steps is where schedules are read.

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
    raw = reward(feat, action)
    normed = self.reward_norm(raw)
    discount = model.imagined_discount(feat, is_terminal)
    value = self._target_critic()(feat)
    target = self._returns(normed, value, discount)
    weight = returns.weights(discount)
    actor, tensors = self._actor_loss(
        feat, action, target, value, weight, noise, env_steps)
    pred = self.critic(tf.stop_gradient(feat[:-1]))
    losses = {'actor': actor,
              'critic': self._critic_loss(pred, target, weight[:-1])}
    tensors.update(
        imag_feat=feat, imag_action=action, imag_reward_raw=raw,
        imag_reward=normed, imag_discount=discount, imag_value=value,
        returns=target, weight=weight, critic_pred=pred)
    return losses, tensors

  def rollout(self, model: Any, start: Tensors, noise: Any,
              unroll: bool = False) -> tuple[tf.Tensor, tf.Tensor]:
    """Imagines from start [N, ...]: actions and features [H + 1, N, ...].

    With reinforce nothing is differentiated here.
    """
    rows, horizon = start['deter'].shape[0], self.config.horizon
    draws = {
        'prior': model.rssm.draw(noise, 'imagine', [horizon, rows]),
        'policy': self.actor.draw(noise, 'actor', [horizon, rows])}
    policy = lambda feat, noise: self.actor.dist(feat).sample(noise)
    states, actions = model.rssm.imagine(policy, start, draws, unroll)
    before = lambda first, later: tf.concat([first[None], later], 0)
    states = {key: before(start[key], x) for key, x in states.items()}
    actions = before(tf.zeros_like(actions[0]), actions)
    if self.gradient == 'reinforce':
      states = {key: tf.stop_gradient(x) for key, x in states.items()}
      actions = tf.stop_gradient(actions)
    return actions, model.rssm.get_feat(states)

  def _returns(self, reward, value, discount):
    """Lambda returns [H, N], ended by the last value."""
    return returns.lambda_return(
        reward[:-1], value[:-1], discount[:-1], value[-1],
        self.config['lambda'])

  def _actor_loss(self, feat, action, target, value, weight, noise,
                  env_steps):
    """Actor loss (eq. 6), and tensors of the policy [H - 1, N, ...]."""
    stop = tf.stop_gradient
    policy = self.actor.dist(stop(feat[:-2]))
    advantage = stop(target[1:] - value[:-2])
    taken = action[1:-1]
    if self.gradient == 'both' and not self.actor.discrete:
      log_prob = policy.log_prob(taken)  # As released, through the action too.
    else:
      log_prob = policy.log_prob(stop(taken))
    mix = schedule(self.config.actor_mix, env_steps)
    objective = {
        'reinforce': lambda: log_prob * advantage,
        'dynamics': lambda: target[1:],
        'both': lambda: mix * target[1:] + (1 - mix) * log_prob * advantage,
    }[self.gradient]()
    bonus = policy.entropy(self.actor.draws(
        noise, 'entropy', taken.shape[:2]))
    scale = schedule(self.config.actor_entropy, env_steps)
    loss = -tf.reduce_mean(weight[:-2] * (objective + scale * bonus))
    tensors = {'policy_entropy': bonus, 'policy_logprob': log_prob}
    for key in ('logits', 'loc', 'scale', 'mean', 'std'):
      if hasattr(policy, key):
        tensors[f'policy_{key}'] = getattr(policy, key)
    return loss, tensors

  def _critic_loss(self, pred, target, weight):
    log_prob = dists.unit_normal_log_prob(tf.stop_gradient(target), pred, 0)
    return -tf.reduce_mean(weight * log_prob)

  def _target_critic(self):
    """What gives values: no gradient reaches its weights."""
    slow = self.config.slow_critic.enabled
    critic = self.slow_critic if slow else self.critic
    return critic.map(tf.stop_gradient)

  def update_slow(self, updates: tf.Tensor) -> None:
    """After update number `updates` (an int64 scalar, from 0) of the critic.

    The first copies the critic whole; later ones, every `every_updates`, mix
    in the share `fraction`.
    """
    config = self.config.slow_critic
    if not config.enabled:
      return
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
    """Metrics of one update from its tensors, and of schedules."""
    mean, config = tf.reduce_mean, self.config
    metrics = {'imag/return': mean(tensors['returns']),
               'imag/value': mean(tensors['imag_value']),
               'critic/value': mean(tensors['critic_pred']),
               'actor/entropy': mean(tensors['policy_entropy']),
               'actor/entropy_scale': schedule(
                   config.actor_entropy, env_steps)}
    for key, name in (('imag_reward_raw', 'imag/reward'),
                      ('imag_reward', 'imag/reward_normed')):
      metrics[name] = mean(tensors[key])
      metrics[f'{name}_std'] = tf.math.reduce_std(tensors[key])
    if self.gradient == 'both':
      metrics['actor/mix'] = schedule(config.actor_mix, env_steps)
    return metrics
