"""The DreamerV2 agent: how its parts learn and act together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from dreamer.nn import agent, layers
from dreamerv2.actor_critic import ActorCritic
from dreamerv2.explore import Exploration, make_explorer
from dreamerv2.world_model import WorldModel


class Agent(agent.Agent):
  """Learns from images and vectors; behaviours in the updated world model.

  Args are the Config, the observation spaces (dict of images [64, 64, C] and
  vectors [V]), the ActionSpace, and, for tests, a noise object that replaces
  every random draw.
  """

  signals = 'reward', 'is_first', 'is_terminal'

  def __init__(self, config: Any, obs_space: Mapping[str, Any],
               act_space: Any, noise: Any = None):
    super().__init__(config, act_space, noise)
    init = layers.Init(config.seed)
    self.model = WorldModel(config, obs_space, act_space.dim, init)
    feat, embed = self.model.rssm.feat_size, self.model.encoder.size
    self.behaviour = ActorCritic(config, feat, act_space, init)
    self.explore = Exploration(config, act_space)
    self.explorer: Any = make_explorer(
        config, feat, embed, act_space, init)
    self.modules = [self.model, self.behaviour]
    self.statistics = dict(self.behaviour.reward_norm.variables)
    if self.explorer:
      self.modules.append(self.explorer)
      self.statistics.update(self.explorer.statistics)
    self.optimizers = self._make_optimizers()

  def _make_optimizers(self):
    """Groups: model, actor, critic and those of the explorer."""
    config = self.config
    groups = {**self.model.groups, **self.behaviour.groups}
    if self.explorer:
      groups.update({
          f'expl_{key}': x for key, x in self.explorer.groups.items()})
    opts = {'model': config.model_opt, 'actor': config.actor_opt,
            'critic': config.critic_opt, 'heads': config.expl_opt}
    opts = {key: opts[key.removeprefix('expl_')] for key in groups}
    return {key: self._optimizer(
        key, x, opts[key], opts[key].kind, opts[key].decay)
            for key, x in groups.items()}

  def _learn(self, data, noise, env_steps):
    update = self._learn_model(data, noise)
    start = self._start_states(update.tensors['post'], update.gradients)
    model = self._bind(self.model).map(tf.stop_gradient)
    imagine = model, start, tf.reshape(data['is_terminal'], [-1])
    reward = lambda feat, action: model.reward(feat)
    update = update.merge(self._learn_behaviour(
        self.behaviour, '', reward, *imagine, noise, env_steps))
    if not self.explorer:
      return update
    update = update.merge(self._learn_explorer(update.tensors, data))
    reward = self._bind(self.explorer).reward(model.reward)
    return update.merge(self._learn_behaviour(
        self.explorer.behaviour, 'expl_', reward, *imagine,
        noise.named('expl'), env_steps))

  def _learn_model(self, data, noise):
    """The world model's update."""
    loss = lambda: self._bind(self.model).loss(
        data, noise, self.config.unroll)
    update = self._apply(self._differentiate(loss, {'model': 'model'}))
    update.metrics.update(self.model.summaries(update.tensors))
    return update

  def _learn_explorer(self, tensors, data):
    """The update of the explorer's heads, on posteriors of the old model."""
    loss = lambda: self._bind(self.explorer).loss(tensors, data)
    update = self._differentiate(loss, {'expl_heads': 'heads'})
    return self._apply(update.prefixed('expl_'))

  def _learn_behaviour(self, behaviour, prefix, reward, model, start,
                       is_terminal, noise, env_steps):
    """The update of an actor and a critic, in the updated world model."""
    loss = lambda: self._bind(behaviour).loss(
        model, start, is_terminal, reward, noise, env_steps,
        self.config.unroll)
    update = self._differentiate(
        loss, {prefix + group: group for group in behaviour.groups})
    update.metrics.update(behaviour.summaries(update.tensors, env_steps))
    update = self._apply(update.prefixed(prefix))
    behaviour.update_slow(self.counters['updates'])
    return update

  def _latent_noise(self, rssm, rows, noise, mode):
    if self.config.eval_state_mean and mode != 'train':
      return None
    return super()._latent_noise(rssm, rows, noise, mode)

  def _act(self, model, post, noise, mode):
    explores = mode == 'explore' and self.explorer
    behaviour = self.explorer.behaviour if explores else self.behaviour
    return self._bind(behaviour).act(model, post, noise, mode)
