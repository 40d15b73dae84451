"""Learned exploration: Plan2Explore (arXiv 2005.05960), and by model loss.

A third paper, and what danijar/dreamerv2 offers beside it. Either is an actor
and a critic of its own, trained in imagination like those of the task, on an
intrinsic reward that heads on the features give.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from dreamer.nn import dists, layers, nets
from dreamer.run.when import Until
from dreamerv2.actor_critic import ActorCritic
from dreamerv2.agent import Agent
from dreamerv2.explore import Exploration
from dreamerv2.reward_norm import RewardNorm

if TYPE_CHECKING:
  from dreamer.envs.spaces import ActionSpace, Space
  from dreamerv2 import settings

Tensors = dict[str, tf.Tensor]


class InPhases(Exploration):
  """Explores before step `until`; 0: always."""

  def __init__(self, config: settings.Config, act_space: ActionSpace):
    super().__init__(config, act_space)
    self.exploring = Until(self.config.until)

  def now(self, mode: str, env_steps: int, updates: int) -> tuple[str, float]:
    """The mode, now perhaps `explore`, and how much noise actions get."""
    name, amount = super().now(mode, env_steps, updates)
    explores = mode != 'eval' and self.exploring(env_steps)
    return 'explore' if explores else name, amount


class Explorer(ActorCritic):
  """What both have in common; a subclass makes heads and uses them.

  Groups of parameters, each with an optimiser: heads, actor, critic.
  """

  prefix = 'expl/'
  heads: list[Any]

  def __init__(self, config: settings.Config, feat: int, act_space: ActionSpace,
               init: layers.Init):
    super().__init__(config, feat, act_space, init)
    self.feat = feat  # size of the features

  def make_heads(self, embed: int, action: int, init: layers.Init) -> None:
    """Adds the list `heads`; args are sizes of embeds and of actions."""
    raise NotImplementedError

  @property
  def groups(self) -> dict[str, dict[str, tf.Variable]]:
    """Variables by optimiser."""
    heads = {key: value for head in self.heads
             for key, value in head.variables.items()}
    return {'heads': heads, **super().groups}

  def heads_loss(self, tensors: dict[str, Any],
                 data: Tensors) -> tuple[Tensors, Tensors]:
    """Loss of the heads on posteriors [B, T, ...], and tensors, by name."""
    raise NotImplementedError

  def intrinsic(self, feat: tf.Tensor, action: tf.Tensor) -> tf.Tensor:
    """Intrinsic rewards [...] before scaling, differentiable."""
    raise NotImplementedError

  def rewards(self, model: Any, feat: tf.Tensor,
              action: tf.Tensor) -> Tensors:
    """Intrinsic rewards beside those of the task; the heads stand still."""
    config, heads = self.config.expl, self.map(tf.stop_gradient)
    inner = self._normed('intrinsic', heads.intrinsic(feat, action))
    reward = config.intrinsic_scale * inner
    if config.extrinsic_scale:
      task = super().rewards(model, feat, action)['imag_reward']
      reward += config.extrinsic_scale * self._normed('extrinsic', task)
    return {'imag_reward': reward}

  def _normed(self, name, reward):
    """Rewards as they are."""
    del name
    return reward


class Plan2Explore(Explorer):
  """Disagreement of one-step predictions.

  Each head of the ensemble predicts, from the feature at t and the action
  that led there (as released), the target at t + offset.
  """

  def make_heads(self, embed: int, action: int, init: layers.Init) -> None:
    config, expl = self.config, self.config.expl
    feat, deter = self.feat, config.rssm.deter
    size = {'stoch': feat - deter, 'deter': deter, 'feat': feat,
            'embed': embed}[expl.target]
    inputs = feat + (action if expl.action else 0)
    self.heads = [nets.MLP(
        f'expl/head{i + 1}', inputs, [expl.head.units] * expl.head.layers,
        outs={'out': size}, init=init, **layers.style(expl.head))
                  for i in range(expl.models)]
    self.norms = [RewardNorm(f'expl/{name}', expl.reward_norm)
                  for name in ('intrinsic', 'extrinsic')]

  def _normed(self, name, reward):
    """By the running mean of its magnitude."""
    return self.norms[['intrinsic', 'extrinsic'].index(name)](reward)

  def _inputs(self, feat, action):
    if not self.config.expl.action:
      return feat
    return tf.concat([feat, action], -1)

  def heads_loss(self, tensors: dict[str, Any],
                 data: Tensors) -> tuple[Tensors, Tensors]:
    feat, offset = tensors['feat'], self.config.expl.offset
    targets = {'stoch': feat[..., :-self.config.rssm.deter],
               'deter': tensors['post']['deter'],
               'feat': feat, 'embed': tensors['embed']}
    target = tf.stop_gradient(targets[self.config.expl.target])
    inputs = self._inputs(feat, data['action'])
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

  def make_heads(self, embed: int, action: int, init: layers.Init) -> None:
    del embed, action
    self.heads = [nets.ScalarHead(
        'expl/head1', self.feat, self.config.expl.head, init)]

  def heads_loss(self, tensors: dict[str, Any],
                 data: Tensors) -> tuple[Tensors, Tensors]:
    del data
    known = {'kl': tensors['kl'],
             **{key: -value for key, value in tensors['like'].items()}}
    target = tf.stop_gradient(known[self.config.expl.loss])
    like = self.heads[0].log_prob(tf.stop_gradient(tensors['feat']), target)
    return {'heads': -tf.reduce_mean(like)}, {}

  def intrinsic(self, feat: tf.Tensor, action: tf.Tensor) -> tf.Tensor:
    del action
    return self.heads[0](feat)


class ExploringAgent(Agent):
  """Collects by an explorer, which learns beside the task's behaviour."""

  explorer_class: type[Explorer] = Explorer

  def __init__(self, config: settings.Config, obs_space: Mapping[str, Space],
               act_space: ActionSpace, noise: Any = None):
    super().__init__(config, obs_space, act_space, noise)
    init = layers.Init(config.seed)
    self.explorer = self.explorer_class(
        config, self.model.rssm.feat_size, act_space, init)
    self.explorer.make_heads(self.model.encoder.size, act_space.dim, init)
    self.modules.append(self.explorer)
    self.optimizers.update(self._make_optimizers({
        f'expl_{key}': x for key, x in self.explorer.groups.items()}))

  @property
  def opts(self) -> dict[str, Any]:
    """Sections of the optimisers by group."""
    found = super().opts
    return {**found, 'expl_heads': self.config.expl_opt,
            'expl_actor': found['actor'], 'expl_critic': found['critic']}

  def _learn(self, data, noise, env_steps):
    """As always; then the heads, on posteriors of the old model."""
    update = super()._learn(data, noise, env_steps)
    update = update.merge(self._learn_heads(update.tensors, data))
    start = self.start_states(update.tensors['post'], update.gradients)
    model = self._bind(self.model).map(tf.stop_gradient)
    is_terminal = tf.reshape(data['is_terminal'], [-1])
    return update.merge(self._learn_explorer(
        model, start, is_terminal, noise.named('expl'), env_steps))

  def _learn_heads(self, tensors, data):
    loss = lambda: self._bind(self.explorer).heads_loss(tensors, data)
    update = self._differentiate(loss, {'expl_heads': 'heads'})
    return self._apply(update.prefixed('expl_'))

  def _learn_explorer(self, model, start, is_terminal, noise, env_steps):
    """The update of the explorer's actor and critic, by the new heads."""
    loss = lambda: self._bind(self.explorer).loss(
        model, start, is_terminal, noise, env_steps, self.config.unroll)
    update = self._differentiate(
        loss, {'expl_actor': 'actor', 'expl_critic': 'critic'})
    update.metrics.update(self.explorer.summaries(update.tensors, env_steps))
    update = self._apply(update.prefixed('expl_'))
    self.explorer.update_slow(self.counters['updates'])
    return update

  def _act(self, model, post, noise, mode):
    if mode != 'explore':
      return super()._act(model, post, noise, mode)
    return self._bind(self.explorer).act(model, post, noise, mode)
