"""The DreamerV3 agent: how its parts learn and act together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from dreamer.nn import agent, layers
from dreamerv3.actor_critic import ActorCritic
from dreamerv3.explore import Exploration
from dreamerv3.stored import stored
from dreamerv3.world_model import WorldModel

if TYPE_CHECKING:
  from dreamer.envs.spaces import ActionSpace, Space
  from dreamerv3 import settings


class Agent(agent.Agent):
  """Learns from images and vectors; one optimiser for model and behaviour.

  Args are the Config, the observation spaces (dict of images [H, W, C],
  vectors and whole numbers), the ActionSpace or ActionSpaces, and, for tests,
  a noise object that replaces every random draw.
  """

  signals = 'reward', 'is_first', 'is_last', 'is_terminal'
  model_class: type[WorldModel] = WorldModel
  behaviour_class: type[ActorCritic] = ActorCritic
  explore_class: type[Exploration] = Exploration

  def __init__(self, config: settings.Config, obs_space: Mapping[str, Space],
               act_space: ActionSpace, noise: Any = None):
    super().__init__(config, act_space, noise)
    init = layers.ByFan(config.seed)
    self.model = self.model_class(config, obs_space, act_space.dim, init)
    feat = self.model.rssm.feat_size
    self.behaviour = self.behaviour_class(config, feat, act_space, init)
    self.explore = self.explore_class(config, act_space)
    self.modules = [self.model, self.behaviour]
    self.stored = stored(config)
    self.optimizers = self._make_optimizers({'all': {
        **self.model.groups['all'], **self.behaviour.groups['all']}})

  @property
  def opts(self) -> dict[str, Any]:
    """Sections of the optimisers by group: one for all."""
    return {'all': self.config.opt}

  def _learn(self, data, noise, env_steps):
    del env_steps
    update = self._differentiate(
        lambda: self._loss(data, noise), {'all': 'total'})
    update.metrics.update(self.model.summaries(update.tensors))
    update.metrics.update(self.behaviour.summaries(update.tensors))
    update = self._apply(update)
    self.behaviour.update_slow(self.counters['updates'])
    return update

  def fresh(self, tensors: dict[str, Any]) -> dict[str, tf.Tensor]:
    """The new posteriors of the trained rows; latents as class indices."""
    found = {key: tensors['post'][key] for key in self.stored}
    if found:
      found['stoch'] = tf.argmax(found['stoch'], -1, tf.int32)
    return found

  def _loss(self, data, noise):
    """Losses and tensors of model and behaviour, on the same weights."""
    unroll = self.config.unroll
    model, behaviour = self._bind(self.model), self._bind(self.behaviour)
    losses, tensors = model.loss(data, noise, unroll)
    frozen = model.map(tf.stop_gradient)
    others, tensors = behaviour.loss(frozen, tensors, data, noise, unroll)
    losses.update(others)
    losses['total'] = losses['model'] + losses['behaviour']
    return losses, tensors

  @property
  def batch_keys(self) -> tuple[str, ...]:
    """Names of the replayed arrays that `train` and `report` read."""
    return *super().batch_keys, *self.model.context_keys

  def report(
      self, batch: Mapping[str, np.ndarray],
      context: int | None = None) -> dict[str, np.ndarray]:
    """As in the other agents; by default half of the rows are observed."""
    rows = batch['action'].shape[1] - self.config.replay.context
    return super().report(batch, context or rows // 2)
