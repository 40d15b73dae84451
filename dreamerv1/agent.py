"""The DreamerV1 agent: how its parts learn and act together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from dreamer.nn import agent, layers
from dreamerv1.actor_critic import ActorCritic
from dreamerv1.explore import Exploration
from dreamerv1.world_model import WorldModel

if TYPE_CHECKING:
  from dreamer.envs.spaces import ActionSpace, Space
  from dreamerv1 import settings


class Agent(agent.Agent):
  """Learns from images; all losses of an update are taken before it.

  Args are the Config, the observation spaces (dict with `image`
  [64, 64, C]), the ActionSpace, and, for tests, a noise object that replaces
  every random draw.
  """

  signals = 'reward', 'is_terminal'
  model_class: type[WorldModel] = WorldModel
  behaviour_class: type[ActorCritic] = ActorCritic
  explore_class: type[Exploration] = Exploration

  def __init__(self, config: settings.Config, obs_space: Mapping[str, Space],
               act_space: ActionSpace, noise: Any = None):
    super().__init__(config, act_space, noise)
    init = layers.Init(config.seed)
    self.model = self.model_class(config, obs_space, act_space.dim, init)
    feat = self.model.rssm.feat_size
    self.behaviour = self.behaviour_class(config, feat, act_space, init)
    self.explore = self.explore_class(config, act_space)
    self.modules = [self.model, self.behaviour]
    self.optimizers = self._make_optimizers({
        **self.model.groups, **self.behaviour.groups})

  @property
  def opts(self) -> dict[str, Any]:
    """Sections of the optimisers by group."""
    config = self.config
    return {'model': config.model_opt, 'actor': config.actor_opt,
            'critic': config.critic_opt}

  def _learn(self, data, noise, env_steps):
    del env_steps  # no schedule in learning
    update = self._learn_model(data, noise)
    start = self.start_states(update.tensors['post'], update.gradients)
    model = self._bind(self.model).map(tf.stop_gradient)
    update = update.merge(self._learn_behaviour(model, start, noise))
    update = self._apply(update)
    for module in self.model, self.behaviour:
      update.metrics.update(module.summaries(update.tensors))
    return update

  def _learn_model(self, data, noise):
    """The world model's part: losses, gradients and tensors."""
    loss = lambda: self._bind(self.model).loss(
        data, noise, self.config.unroll)
    return self._differentiate(loss, {'model': 'model'})

  def _learn_behaviour(self, model, start, noise):
    """The part of actor and critic, in the world model before its update."""
    loss = lambda: self._bind(self.behaviour).loss(
        model, start, noise, self.config.unroll)
    return self._differentiate(loss, {
        group: group for group in self.behaviour.groups})
