"""Exploration: action noise, random actions, Plan2Explore and model loss.

The last two learn. Both are an actor and a critic of their own, trained in
imagination like those of the task, on an intrinsic reward that a head on the
features gives.
"""

import tensorflow as tf

from dreamer.nn import dists, nets
from dreamer.nn.layers import Module
from dreamerv2.actor_critic import OUT, ActorCritic, RewardNorm


class Explorer(Module):
  """What both have in common; a subclass makes `heads` and their use.

  Groups of parameters, each with an optimiser: expl_expl (the heads),
  expl_actor, expl_critic.
  """

  def __init__(self, config, feat, embed, act_space, init):
    super().__init__('expl')
    self.config = config
    self.behaviour = ActorCritic(config, feat, act_space, init, 'expl/')
    self.heads = self._make_heads(feat, embed, act_space.dim, init)
    norm = lambda name, config: RewardNorm(f'expl/{name}', config)
    expl = config.expl.reward_norm
    self.norms = {'intrinsic': norm('intrinsic', expl),
                  'extrinsic': norm('extrinsic', expl),
                  'reward': norm('reward', config.reward_norm)}

  def _make_heads(self, feat, embed, actions, init):
    raise NotImplementedError

  def loss(self, tensors, data):
    """Loss of the heads on posteriors [B, T, ...], and tensors by name."""
    raise NotImplementedError

  def intrinsic(self, feat, action):
    """Intrinsic rewards [...] before scaling, differentiable."""
    raise NotImplementedError

  def frozen(self):
    """A copy whose heads take no gradient, for rewards in imagination."""
    return self.map(tf.stop_gradient)

  def reward(self, task_reward):
    """The function (feat, action) -> raw, normed rewards and metrics.

    task_reward is a function of feat.
    """
    config, heads = self.config.expl, self.frozen()

    def reward(feat, action):
      inner, _ = self.norms['intrinsic'](heads.intrinsic(feat, action))
      raw = config.intrinsic_scale * inner
      if config.extrinsic_scale:
        outer, _ = self.norms['extrinsic'](task_reward(feat))
        raw += config.extrinsic_scale * outer
      return raw, *self.norms['reward'](raw)

    return reward


class Plan2Explore(Explorer):
  """Disagreement of one-step predictions (arXiv 2005.05960).

  Each head of the ensemble predicts, from the feature at t and the action
  that led there (as released), the target at t + offset.
  """

  def _make_heads(self, feat, embed, actions, init):
    config = self.config
    deter, head = config.rssm.deter, config.expl.head
    size = {'stoch': feat - deter, 'deter': deter, 'feat': feat,
            'embed': embed}[config.expl.target]
    inputs = feat + (actions if config.expl.action else 0)
    return [nets.MLP(
        f'expl/networks{i}', inputs, head.layers, head.units, head.act,
        {'out/out': size}, init, head.norm, 'dense{}')
            for i in range(config.expl.models)]

  def _inputs(self, feat, action):
    if not self.config.expl.action:
      return feat
    return tf.concat([feat, action], -1)

  def loss(self, tensors, data):
    post, offset = tensors['post'], self.config.expl.offset
    stoch = post['stoch']
    if self.config.rssm.latents == 'discrete':
      stoch = tf.reshape(stoch, [*stoch.shape[:-2], -1])
    targets = {'stoch': stoch, 'deter': post['deter'],
               'feat': tensors['feat'], 'embed': tensors['embed']}
    target = tf.stop_gradient(targets[self.config.expl.target])
    inputs = self._inputs(tensors['feat'], data['action'])
    length = target.shape[1] - offset
    inputs = tf.stop_gradient(inputs)[:, :length]  # [B, T - offset, F + A]
    target = tf.cast(target[:, offset:], tf.float32)
    losses = [-tf.reduce_mean(dists.unit_normal_log_prob(
        target, head(inputs), 1)) for head in self.heads]
    return sum(losses), {'expl_ensemble_inputs': inputs,
                         'expl_ensemble_targets': target}

  def intrinsic(self, feat, action):
    inputs = self._inputs(feat, action)
    preds = tf.stack([head(inputs) for head in self.heads])
    disagreement = tf.reduce_mean(tf.math.reduce_std(preds, 0), -1)
    if self.config.expl.log:
      return tf.math.log(disagreement)
    return disagreement


class ModelLoss(Explorer):
  """Predicted loss of the world model: its KL, or that of a head."""

  def _make_heads(self, feat, embed, actions, init):
    del embed, actions
    head = self.config.expl.head
    return [nets.ScalarHead(
        'expl/head', feat, head, init, norm=head.norm, **OUT)]

  def loss(self, tensors, data):
    del data
    known = {'kl': tensors['kl'],
             **{key: -value for key, value in tensors['like'].items()}}
    target = tf.stop_gradient(known[self.config.expl.loss])
    pred = self.heads[0](tf.stop_gradient(tensors['feat']))
    return -tf.reduce_mean(
        dists.unit_normal_log_prob(target, pred, 0)), {}

  def intrinsic(self, feat, action):
    del action
    return self.heads[0](feat)


def noisy_probs(action, amount):
  """Where one-hot rows [n, A] are uniform actions with this probability."""
  return amount / action.shape[-1] + (1 - amount) * action


def noisy(action, amount, noise):
  """One-hot rows [n, A] drawn anew from `noisy_probs`."""
  logits = tf.math.log(noisy_probs(action, amount))
  drawn = tf.argmax(logits + noise.gumbel('action_noise', action.shape), -1)
  return tf.one_hot(drawn, action.shape[-1])


def noisy_continuous(action, amount, noise):
  """Gaussian noise of standard deviation `amount`, cut to [-1, 1]."""
  draw = noise.normal('action_noise', action.shape)
  return tf.clip_by_value(action + amount * draw, -1, 1)


def random_actions(rows, act_space, noise):
  """Uniform actions [rows, A]."""
  shape = [rows, act_space.dim]
  if not act_space.discrete:
    return 2 * noise.uniform('random', shape) - 1
  return tf.one_hot(
      tf.argmax(noise.gumbel('random', shape), -1), act_space.dim)


def make(config, feat, embed, act_space, init):
  """The explorer of a config, or None where nothing is learned for it."""
  kinds = {'plan2explore': Plan2Explore, 'model_loss': ModelLoss}
  kind = kinds.get(config.expl.behaviour)
  return kind and kind(config, feat, embed, act_space, init)
