"""Behaviour learned by imagination: actor and critic (Section 2.2)."""

import numpy as np
import tensorflow as tf

from dreamer.nn import dists, nets, returns
from dreamer.nn.layers import Module

OUT = {'out': 'out/out', 'hidden': 'dense{}'}  # names inside a head


class Actor(nets.MLP):
  """Policy over features: one-hot actions or truncated Normals."""

  def __init__(self, name, size_in, config, act_space, init):
    self.config = config
    self.discrete = act_space.kind == 'discrete'
    self.size = act_space.dim
    outs = {'out/out': self.size}
    if not self.discrete:
      outs['out/std'] = self.size
    super().__init__(
        name, size_in, config.layers, config.units, config.act, outs, init,
        config.norm, 'dense{}')

  def dist(self, feat):
    """Features [..., F] to a distribution over actions [..., A]."""
    outs = self(feat)
    if self.discrete:
      return dists.OneHot(outs)
    mean, raw = outs
    std = 2 * tf.sigmoid(raw / 2) + self.config.min_std
    return dists.TruncNormal(tf.tanh(mean), std)

  def draw(self, noise, name, shape):
    """Noise [*shape, A] of the kind that `sample` takes."""
    kind = noise.gumbel if self.discrete else noise.uniform
    return kind(name, [*shape, self.size])


class RewardNorm:
  """Divides by a running mean of the magnitude |x|, updated first.

  The magnitude is float64 [*shape] and starts at 1; momentum 1 leaves it
  there. Values are [..., *shape].
  """

  def __init__(self, name, config, shape=()):
    self.name, self.config = name, config
    self.mag = tf.Variable(np.ones(shape))

  @property
  def variables(self):
    return {f'{self.name}/mag': self.mag}

  def __call__(self, x):
    """Returns normalised float32 values, and moments before and after."""
    config = self.config
    axes = list(range(x.shape.rank - self.mag.shape.rank))
    seen = tf.reduce_mean(tf.abs(tf.cast(tf.stop_gradient(x), tf.float64)),
                          axes)
    mag = self.mag.assign(
        config.momentum * self.mag + (1 - config.momentum) * seen)
    out = x / tf.cast(mag + config.eps, tf.float32) * config.scale
    std = tf.math.reduce_std
    return out, {
        'imag/reward': tf.reduce_mean(x), 'imag/reward_std': std(x),
        'imag/reward_normed': tf.reduce_mean(out),
        'imag/reward_normed_std': std(out)}


class ActorCritic(Module):
  """Learns an actor and a critic in the world model's imagination.

  `prefix` stands before the names of the parameters. The slow critic, which
  gives targets and baselines, is not trained but copied.
  """

  def __init__(self, config, feat, act_space, init, prefix=''):
    super().__init__(f'{prefix}behaviour')
    self.config = config
    self.actor = Actor(f'{prefix}actor', feat, config.actor, act_space, init)
    critic = lambda name: nets.ScalarHead(
        f'{prefix}{name}', feat, config.critic, init, norm=config.critic.norm,
        **OUT)
    self.critic = critic('critic')
    if config.slow_critic.enabled:
      self.slow = critic('target_critic')
    self.gradient = config.actor_gradient
    if self.gradient == 'auto':
      self.gradient = 'reinforce' if self.actor.discrete else 'dynamics'

  def loss(self, model, start, is_terminal, reward, noise, entropy, mix,
           unroll=False):
    """Losses of actor and critic on rollouts from start states [N, ...].

    `model` is the world model with its weights frozen, is_terminal [N] that
    of the start states; reward is a function (feat, action) -> (raw rewards,
    normalised ones, metrics), entropy the scale of the bonus and mix the
    share of dynamics.

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

    Returns losses, tensors [H + 1 or less, N, ...] and metrics by name.
    """
    states, action, feat = self.rollout(model, start, noise, unroll)
    raw, normed, metrics = reward(feat, action)
    discount = model.imagined_discount(feat, is_terminal)
    value = self._frozen_slow()(feat)
    target = returns.lambda_return(
        normed[:-1], value[:-1], discount[:-1], value[-1],
        self.config['lambda'])
    weight = returns.weights(discount)
    actor, policy, extra = self._actor_loss(
        feat, action, target, value, weight, entropy, mix)
    pred = self.critic(tf.stop_gradient(feat[:-1]))
    log_prob = dists.unit_normal_log_prob(tf.stop_gradient(target), pred, 0)
    losses = {'actor': actor,
              'critic': -tf.reduce_mean(weight[:-1] * log_prob)}
    tensors = {
        **{f'imag_{key}': x for key, x in states.items()}, **policy,
        'imag_feat': feat, 'imag_action': action, 'imag_reward_raw': raw,
        'imag_reward': normed, 'imag_discount': discount, 'imag_value': value,
        'returns': target, 'weight': weight, 'critic_pred': pred}
    metrics = {**metrics, **extra, 'imag/value': tf.reduce_mean(value),
               'imag/return': tf.reduce_mean(target),
               'critic/value': tf.reduce_mean(pred)}
    return losses, tensors, metrics

  def rollout(self, model, start, noise, unroll=False):
    """Imagines from start [N, ...]: states, actions, feat [H + 1, N, ...].

    With reinforce nothing is differentiated here.
    """
    rows, horizon = start['deter'].shape[0], self.config.horizon
    draws = {
        'prior': model.rssm.draw(noise, 'imagine', [horizon, rows]),
        'policy': self.actor.draw(noise, 'actor', [horizon, rows])}
    policy = lambda feat, noise: self.actor.dist(feat).sample(noise)
    states, actions = model.rssm.imagine(policy, start, draws, unroll)
    if self.gradient == 'reinforce':
      stop = tf.stop_gradient
      states = {key: stop(x) for key, x in states.items()}
      actions = stop(actions)
    return states, actions, model.rssm.get_feat(states)

  def _actor_loss(self, feat, action, target, value, weight, entropy, mix):
    """Actor loss (eq. 6), tensors [H - 1, N] of the policy, metrics."""
    stop = tf.stop_gradient
    policy = self.actor.dist(stop(feat[:-2]))
    advantage = stop(target[1:] - value[:-2])
    taken = action[1:-1]
    if self.gradient == 'both' and not self.actor.discrete:
      log_prob = policy.log_prob(taken)  # As released, through the action too.
    else:
      log_prob = policy.log_prob(stop(taken))
    objective = {
        'reinforce': lambda: log_prob * advantage,
        'dynamics': lambda: target[1:],
        'both': lambda: mix * target[1:] + (1 - mix) * log_prob * advantage,
    }[self.gradient]()
    bonus = policy.entropy()
    loss = -tf.reduce_mean(weight[:-2] * (objective + entropy * bonus))
    tensors = {'policy_entropy': bonus, 'policy_logprob': log_prob}
    for key in ('logits', 'loc', 'scale'):
      if hasattr(policy, key):
        tensors[f'policy_{key}'] = getattr(policy, key)
    return loss, tensors, {'actor/entropy': tf.reduce_mean(bonus)}

  def _frozen_slow(self):
    critic = self.slow if self.config.slow_critic.enabled else self.critic
    return critic.map(tf.stop_gradient)

  def update_slow(self, updates):
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
        self.critic.variables.values(), self.slow.variables.values(),
        strict=True))

    def update():
      for fast, slow in pairs:
        slow.assign(share * fast + (1 - share) * slow)

    tf.cond(due, update, lambda: None)
