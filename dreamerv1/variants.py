"""What stands in place of the paper's parts: one key each, in any mixture.

What its two releases do otherwise: google-research/dreamer (TF1) and
danijar/dreamer (TF2). The paper's own experiments have files of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from dreamer.nn import (
  actions,
  dists,
  layers,
  recurrent,
  replicas,
  returns,
  variants,
)
from dreamerv1.actor_critic import Actor, ActorCritic, Tensors
from dreamerv1.agent import Agent
from dreamerv1.contrastive import ContrastiveModel
from dreamerv1.explore import Exploration
from dreamerv1.no_value import NoValue
from dreamerv1.planner import PlanningAgent
from dreamerv1.rssm import RSSM
from dreamerv1.world_model import WorldModel

if TYPE_CHECKING:
  from dreamer.envs.spaces import ActionSpace, Space
  from dreamerv1 import settings

# Latents


class BlockCell(RSSM):
  """The cell of TF1: the reset before the matmul."""

  gru_class = recurrent.TF1GRU


class SeparateStats(RSSM):
  """A layer each for mean and deviation (TF1)."""

  def __init__(self, name: str, config: settings.Rssm, embed: int, action: int,
               init: layers.Init):
    super().__init__(name, config, embed, action, init)
    for key in 'img_dist', 'obs_dist':
      setattr(self, key, _Separate(
          f'{name}/{key}', config.hidden, self.stoch_size, init))


class _Separate(layers.Module):
  """Linear layers `mean` and `std`, their outputs side by side."""

  def __init__(self, name, size_in, size_out, init):
    super().__init__(name)
    self.layers = [layers.Dense(f'{name}/{key}', size_in, size_out, init)
                   for key in RSSM.STATS]

  def __call__(self, x):
    return tf.concat([layer(x) for layer in self.layers], -1)


class SharedNoise(RSSM):
  """One noise vector for all rows of a batch: a fault of TF2's sampler."""

  def draw(self, noise: Any, name: str, lead: Sequence[int]) -> tf.Tensor:
    return noise.normal(name, [*lead[:-1], 1, *self.stoch_shape])


# World model


class GreyNoise(WorldModel):
  """Fills the steps between grey levels by noise, but in pictures (TF1)."""

  def preprocess_obs(self, obs: Tensors, noise: Any = None) -> Tensors:
    if noise is None:
      return super().preprocess_obs(obs)
    image = tf.cast(obs['image'], tf.float32)
    image += replicas.draw(noise.coarse, 'image', image.shape, 0)
    return {'image': image / 256 - 0.5}


class FreeAbove(WorldModel):
  """Counts what is above the free nats: of the same gradient (TF1)."""

  def _free(self, kl):
    return tf.reduce_mean(tf.maximum(kl - self.config.kl.free, 0))


class FreeMean(WorldModel):
  """Free nats of the mean KL (TF2)."""

  def _free(self, kl):
    mean = replicas.mean(tf.reduce_mean(kl))
    return tf.maximum(mean, self.config.kl.free)


class DiagnosticHeads(WorldModel):
  """Heads whose `gradient` is off: outside the model loss, unused (TF1)."""

  @property
  def diagnostic_heads(self) -> dict[str, str]:
    """Names of such heads, and of their losses."""
    config, found = self.config, {}
    if self.decoder.images and not config.decoder.gradient:
      found['decoder'] = 'image'
    if config.discount_head.enabled and not config.discount_head.gradient:
      found['discount'] = 'discount'
    return found

  @property
  def groups(self) -> dict[str, dict[str, tf.Variable]]:
    rest, groups = self.variables, {}
    for head in self.diagnostic_heads:
      groups[head] = getattr(self, head).variables
      rest = {key: x for key, x in rest.items() if key not in groups[head]}
    return {'model': rest, **groups}

  @property
  def learns_ends(self) -> bool:
    return super().learns_ends and self.config.discount_head.gradient

  def _total(self, losses):
    apart = self.diagnostic_heads.values()
    return super()._total(
        {key: x for key, x in losses.items() if key not in apart})


class DiagnosticAgent(Agent):
  """An optimiser of its own for each of them."""

  @property
  def opts(self) -> dict[str, Any]:
    heads = self.model.diagnostic_heads
    return {**super().opts, **dict.fromkeys(heads, self.config.diagnostic_opt)}

  def _learn_model(self, data, noise):
    loss = lambda: self._bind(self.model).loss(
        data, noise, self.config.unroll)
    return self._differentiate(
        loss, {'model': 'model', **self.model.diagnostic_heads})


class SkipLast(Agent):
  """No imagination from the last step where ends are learned (both)."""

  def start_states(self, post: Tensors, after: Any) -> Tensors:
    drop = self.model.learns_ends
    post = {key: x[:, :-1] if drop else x for key, x in post.items()}
    return super().start_states(post, after)


# Behaviour


class SeparateOuts(Actor):
  """A layer each for mean and deviation (TF1)."""

  def _outs(self):
    return dict.fromkeys(
        ['mean'] if self.discrete else ['mean', 'std'], self.size)

  def __call__(self, feat: tf.Tensor) -> Any:
    outs = super().__call__(feat)
    return outs if self.discrete else tf.concat(outs, -1)


class ScoreGradient(Actor):
  """Gradients of discrete actions by the score function (TF1)."""

  def dist(self, feat: tf.Tensor) -> Any:
    dist = super().dist(feat)
    return dists.OneHot(dist.logits, 'score') if self.discrete else dist


class SecondLast(ActorCritic):
  """Returns end with the last value but one (TF1)."""

  def _returns(self, reward, value, discount):
    return returns.lambda_return(
        reward[:-1], value[:-1], discount[:-1], value[-2],
        self.config['lambda'])


class SampledActions(ActorCritic):
  """Collects by samples instead of modes (both)."""

  def act(self, model: Any, state: Tensors, noise: Any,
          mode: str) -> tf.Tensor:
    if mode != 'train':
      return super().act(model, state, noise, mode)
    dist = self.actor.dist(model.rssm.get_feat(state))
    rows = state['deter'].shape[0]
    return dist.sample(self.actor.draw(noise, 'act', [rows]))


class DiscountedSum(NoValue):
  """Discounted sums from each step on, [H, N] (TF1)."""

  def _sum(self, reward, discount):
    zeros = tf.zeros_like(reward[0])
    return returns.lambda_return(reward, reward, discount, zeros, 1.0)


# Exploration


class HalfLife(Exploration):
  """noise / 2^(env_steps / decay), at least min; 0: no decay (TF2)."""

  def _noise(self, env_steps, updates):
    config, value = self.config, np.float32(self.config.noise)
    if config.decay:
      value *= np.float32(0.5) ** np.float32(env_steps / config.decay)
    return max(value, config.min)


class RelativeDecay(Exploration):
  """noise * max(min, 1 - updates / decay_updates) (TF1)."""

  def _noise(self, env_steps, updates):
    config = self.config
    share = max(config.min, 1 - updates / config.decay_updates)
    return np.float32(config.noise) * share


class GaussianNoise(Exploration):
  """Gaussian noise, whatever the actions."""

  def __call__(self, action: tf.Tensor, amount: tf.Tensor, noise: Any,
               mode: str) -> tf.Tensor:
    return actions.gaussian(action, amount, noise)


class EpsilonGreedy(Exploration):
  """Uniform actions at times, whatever the actions (TF2)."""

  def __call__(self, action: tf.Tensor, amount: tf.Tensor, noise: Any,
               mode: str) -> tf.Tensor:
    return actions.epsilon(action, amount, self.discrete, noise)


class RandomActions(Exploration):
  """Uniform actions while collecting (TF2)."""

  def __call__(self, action: tf.Tensor, amount: tf.Tensor, noise: Any,
               mode: str) -> tf.Tensor:
    if mode != 'train':
      return action
    return actions.uniform(action.shape, self.discrete, noise)


class NoExploration(Exploration):
  """The policy alone."""

  def __call__(self, action: tf.Tensor, amount: tf.Tensor, noise: Any,
               mode: str) -> tf.Tensor:
    return action


TABLE: variants.Table = {
    'rssm.gru': {'reset_before': BlockCell},
    'rssm.stats': {'separate': SeparateStats},
    'rssm.shared_latent_noise': {True: SharedNoise},
    'image_noise': {True: GreyNoise},
    'kl.free_by': {'element_over': FreeAbove, 'mean': FreeMean},
    'cpc.enabled': {True: ContrastiveModel},
    'decoder.gradient': {False: (DiagnosticHeads, DiagnosticAgent)},
    'discount_head.gradient': {
        False: (DiagnosticHeads, DiagnosticAgent), True: SkipLast},
    'actor.stats': {'separate': SeparateOuts},
    'actor.gradient': {'score': ScoreGradient},
    'behaviour': {'no_value': NoValue, 'planner': PlanningAgent},
    'no_value_returns': {'discounted': DiscountedSum},
    'bootstrap': {'second_last': SecondLast},
    'collect': {'sample': SampledActions},
    'expl.kind': {
        'gaussian': GaussianNoise, 'epsilon': EpsilonGreedy,
        'random': RandomActions, 'none': NoExploration},
    'expl.schedule': {'half_life': HalfLife, 'relative': RelativeDecay},
}


def choose(kind: type[variants.C], config: settings.Config) -> type[variants.C]:
  """A class of the paper, with its variants that a config asks for."""
  return variants.choose(kind, TABLE, config)


def make_agent(config: settings.Config, obs_space: Mapping[str, Space],
               act_space: ActionSpace, noise: Any = None) -> Agent:
  """The agent of a config; args as those of Agent."""
  return choose(Agent, config)(config, obs_space, act_space, noise)
