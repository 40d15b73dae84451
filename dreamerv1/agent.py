"""The DreamerV1 agent: how its parts learn and act together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from dreamer.nn import agent, layers
from dreamerv1.actor_critic import ActorCritic
from dreamerv1.explore import Exploration
from dreamerv1.planner import Planner
from dreamerv1.world_model import WorldModel


class Agent(agent.Agent):
  """Learns from images; all losses of an update are taken before it.

  Args are the Config, the observation spaces (dict with `image`
  [64, 64, C]), the ActionSpace, and, for tests, a noise object that replaces
  every random draw.
  """

  signals = 'reward', 'discount'

  def __init__(self, config: Any, obs_space: Mapping[str, Any],
               act_space: Any, noise: Any = None):
    super().__init__(config, act_space, noise)
    init = layers.Init(config.seed)
    self.model = WorldModel(config, obs_space, act_space.dim, init)
    feat = self.model.rssm.feat_size
    if config.behaviour == 'planner':
      self.behaviour = Planner(config, act_space)
    else:
      self.behaviour = ActorCritic(config, feat, act_space, init)
    self.explore = Exploration(config, act_space)
    self.modules = [self.model, self.behaviour]
    self.optimizers = self._make_optimizers()

  def _make_optimizers(self):
    """Groups: model, its diagnostic heads, actor, critic."""
    config = self.config
    groups = {**self.model.groups, **self.behaviour.groups}
    opts = {'model': config.model_opt, 'actor': config.actor_opt,
            'critic': config.critic_opt}
    opts = {key: opts.get(key, config.diagnostic_opt) for key in groups}
    return {key: self._optimizer(key, x, opts[key])
            for key, x in groups.items()}

  def _learn(self, data, noise, env_steps):
    del env_steps  # no schedule in learning
    update = self._learn_model(data, noise)
    if self.behaviour.groups:
      start = self._start_states(self._starts(update), update.gradients)
      update = update.merge(self._learn_behaviour(start, noise))
    update = self._apply(update)
    for module in (self.model, self.behaviour):
      update.metrics.update(module.summaries(update.tensors))
    return update

  def _learn_model(self, data, noise):
    """The world model's part: losses, gradients and tensors."""
    loss = lambda: self._bind(self.model).loss(
        data, noise, self.config.unroll)
    return self._differentiate(
        loss, {'model': 'model', **self.model.diagnostic_heads})

  def _starts(self, update):
    """Posteriors to imagine from; without the last if the discount is used."""
    drop = self.model.learns_ends
    post = update.tensors['post']
    return {key: x[:, :-1] if drop else x for key, x in post.items()}

  def _learn_behaviour(self, start, noise):
    """The part of actor and critic, in the world model before its update."""
    model = self._bind(self.model).map(tf.stop_gradient)
    loss = lambda: self._bind(self.behaviour).loss(
        model, start, noise, self.config.unroll)
    return self._differentiate(
        loss, {group: group for group in self.behaviour.groups})

  def _act(self, model, post, noise, mode):
    return self._bind(self.behaviour).act(model, post, noise, mode)
