"""Exploration: action noise, random actions, Plan2Explore and model loss.

The last two learn. Both are an actor and a critic of their own, trained in
imagination like those of the task, on an intrinsic reward that a head on the
features gives.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from dreamer.nn import actions, dists, layers, nets
from dreamer.run.when import Until
from dreamerv2.actor_critic import ActorCritic
from dreamerv2.reward_norm import RewardNorm

Tensors = dict[str, tf.Tensor]


class Exploration:
  """Who acts, and noise on the actions: Gaussian, or uniform ones at times."""

  def __init__(self, config: Any, act_space: Any):
    self.config = config.expl
    self.discrete = act_space.discrete
    self.exploring = Until(self.config.until)

  def now(self, mode: str, env_steps: int, updates: int) -> tuple[str, float]:
    """The mode, now perhaps `explore`, and how much noise actions get."""
    del updates
    if mode == 'eval':
      return mode, self.config.eval_noise
    if self.config.behaviour != 'greedy' and self.exploring(env_steps):
      mode = 'explore'
    return mode, self.config.noise

  def __call__(self, action: tf.Tensor, amount: float, noise: Any,
               mode: str) -> tf.Tensor:
    """Actions [n, A] of the policy to those that are executed."""
    if mode == 'explore' and self.config.behaviour == 'random':
      return actions.uniform(action.shape, self.discrete, noise)
    if not amount:
      return action
    if self.discrete:
      return actions.epsilon(action, amount, self.discrete, noise)
    return actions.gaussian(action, amount, noise)


class Explorer(layers.Module):
  """What both that learn have in common; a subclass makes heads and uses them.

  Groups of parameters, each with an optimiser: heads, actor, critic.
  """

  normed = True  # rewards by their running means

  def __init__(self, config: Any, feat: int, embed: int, act_space: Any,
               init: layers.Init):
    super().__init__('expl')
    self.config = config
    self.behaviour = ActorCritic(config, feat, act_space, init, 'expl/')
    self.heads = self._make_heads(feat, embed, act_space.dim, init)
    norm = lambda name: RewardNorm(f'expl/{name}', config.expl.reward_norm)
    self.intrinsic_norm = norm('intrinsic')
    self.extrinsic_norm = norm('extrinsic')

  def _make_heads(self, feat, embed, action, init):
    raise NotImplementedError

  @property
  def statistics(self) -> dict[str, tf.Variable]:
    """Running statistics of the rewards."""
    norms = (self.intrinsic_norm, self.extrinsic_norm,
             self.behaviour.reward_norm)
    return {key: x for norm in norms for key, x in norm.variables.items()}

  @property
  def groups(self) -> dict[str, dict[str, tf.Variable]]:
    """Variables by optimiser."""
    heads = {key: value for head in self.heads
             for key, value in head.variables.items()}
    return {'heads': heads, **self.behaviour.groups}

  def loss(self, tensors: dict[str, Any],
           data: Tensors) -> tuple[Tensors, Tensors]:
    """Loss of the heads on posteriors [B, T, ...], and tensors, by name."""
    raise NotImplementedError

  def intrinsic(self, feat: tf.Tensor, action: tf.Tensor) -> tf.Tensor:
    """Intrinsic rewards [...] before scaling, differentiable."""
    raise NotImplementedError

  def reward(self, task_reward: Callable) -> Callable:
    """The function (feat, action) -> rewards, for a behaviour's imagination.

    task_reward is a function of feat. The heads get no gradient from it.
    """
    config, heads = self.config.expl, self.map(tf.stop_gradient)

    def reward(feat, action):
      inner = heads.intrinsic(feat, action)
      inner = self.intrinsic_norm(inner) if self.normed else inner
      total = config.intrinsic_scale * inner
      if config.extrinsic_scale:
        outer = task_reward(feat)
        outer = self.extrinsic_norm(outer) if self.normed else outer
        total += config.extrinsic_scale * outer
      return total

    return reward


class Plan2Explore(Explorer):
  """Disagreement of one-step predictions (arXiv 2005.05960).

  Each head of the ensemble predicts, from the feature at t and the action
  that led there (as released), the target at t + offset.
  """

  def _make_heads(self, feat, embed, action, init):
    config = self.config
    deter, head = config.rssm.deter, config.expl.head
    size = {'stoch': feat - deter, 'deter': deter, 'feat': feat,
            'embed': embed}[config.expl.target]
    inputs = feat + (action if config.expl.action else 0)
    return [nets.MLP(
        f'expl/head{i + 1}', inputs, [head.units] * head.layers, head.act,
        {'out': size}, init, head.norm) for i in range(config.expl.models)]

  def _inputs(self, feat, action):
    if not self.config.expl.action:
      return feat
    return tf.concat([feat, action], -1)

  def loss(self, tensors: dict[str, Any],
           data: Tensors) -> tuple[Tensors, Tensors]:
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
    return {'heads': sum(losses)}, {
        'ensemble_inputs': inputs, 'ensemble_targets': target}

  def intrinsic(self, feat: tf.Tensor, action: tf.Tensor) -> tf.Tensor:
    inputs = self._inputs(feat, action)
    preds = tf.stack([head(inputs) for head in self.heads])
    disagreement = tf.reduce_mean(tf.math.reduce_std(preds, 0), -1)
    if self.config.expl.log:
      return tf.math.log(disagreement)
    return disagreement


class ModelLoss(Explorer):
  """Predicted loss of the world model: its KL, or that of a head."""

  normed = False  # as released

  def _make_heads(self, feat, embed, action, init):
    del embed, action
    head = self.config.expl.head
    return [nets.ScalarHead('expl/head1', feat, head, init, head.norm)]

  def loss(self, tensors: dict[str, Any],
           data: Tensors) -> tuple[Tensors, Tensors]:
    del data
    known = {'kl': tensors['kl'],
             **{key: -value for key, value in tensors['like'].items()}}
    target = tf.stop_gradient(known[self.config.expl.loss])
    pred = self.heads[0](tf.stop_gradient(tensors['feat']))
    return {'heads': -tf.reduce_mean(
        dists.unit_normal_log_prob(target, pred, 0))}, {}

  def intrinsic(self, feat: tf.Tensor, action: tf.Tensor) -> tf.Tensor:
    del action
    return self.heads[0](feat)


def make_explorer(config: Any, feat: int, embed: int, act_space: Any,
                  init: layers.Init) -> Explorer | None:
  """The explorer of a config, or None where nothing is learned for it."""
  kinds = {'plan2explore': Plan2Explore, 'model_loss': ModelLoss}
  kind = kinds.get(config.expl.behaviour)
  return kind and kind(config, feat, embed, act_space, init)
