"""What stands in place of the paper's parts: one key each, in any mixture.

Ablations of the paper, what its release does otherwise (danijar/dreamerv2), and
the explorers of plan2explore.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from dreamer.config.choices import Choices
from dreamer.nn import actions, dists, layers, nets, replicas, variants
from dreamer.nn.schedules import schedule
from dreamerv2.actor_critic import Actor, ActorCritic, Tensors
from dreamerv2.agent import Agent
from dreamerv2.explore import Exploration
from dreamerv2.plan2explore import (
  ExploringAgent,
  InPhases,
  ModelLoss,
  Plan2Explore,
)
from dreamerv2.reward_norm import RewardNorm
from dreamerv2.rssm import RSSM, State
from dreamerv2.world_model import WorldModel

if TYPE_CHECKING:
  from dreamer.envs.spaces import ActionSpace, Space
  from dreamerv2 import settings

# Latents

STD_ACTS = Choices('rssm.std_act', {
    'sigmoid2': lambda x: 2 * tf.sigmoid(x / 2),
    'softplus': tf.nn.softplus, 'sigmoid': tf.sigmoid})


class GaussianLatents(RSSM):
  """Those of the first paper: stoch [B, S], mean and std (Table 2)."""

  STATS = 'mean', 'std'

  @property
  def stoch_shape(self) -> list[int]:
    return [self.config.stoch]

  def flat(self, stoch: tf.Tensor) -> tf.Tensor:
    return stoch

  def get_dist(self, state: State) -> Any:
    return dists.Normals(state['mean'], state['std'])

  def draw(self, noise: Any, name: str, lead: Sequence[int]) -> tf.Tensor:
    return replicas.draw(
        noise.normal, name, [*lead, *self.stoch_shape], len(lead) - 1)

  def _masked(self, state, keep):
    return {'deter': state['deter'] * keep, 'stoch': state['stoch'] * keep}

  def _stats(self, dist, x):
    mean, raw = tf.split(tf.cast(dist(x), tf.float32), 2, -1)
    std = STD_ACTS[self.config.std_act](raw) + self.config.min_std
    return {'mean': mean, 'std': std}

  def _sample(self, stats, noise):
    mean = stats['mean']
    return mean if noise is None else mean + stats['std'] * noise


# World model


class FreeElement(WorldModel):
  """Free nats of each step."""

  def _free(self, kl):
    return tf.reduce_mean(tf.maximum(kl, self.config.kl.free))


class ForwardKL(WorldModel):
  """KL(prior || posterior), and the shares exchanged."""

  def kl_loss(self, post: State,
              prior: State) -> tuple[tf.Tensor, tf.Tensor]:
    return self._balanced(prior, post, self.config.kl.balance)


class PlainKL(WorldModel):
  """No balancing (Table 2); free nats are of each step, as released."""

  def _balanced(self, left, right, share):
    value = self.rssm.get_dist(left).kl_divergence(self.rssm.get_dist(right))
    return tf.reduce_mean(tf.maximum(value, self.config.kl.free)), value


class NormalDiscount(WorldModel):
  """The discount is the mean of a Normal, no probability."""

  def _make_heads(self, feat, init):
    super()._make_heads(feat, init)
    if self.learns_ends:
      self.discount = nets.ScalarHead(
          'discount', feat, self.config.discount_head, init)


# Behaviour


class TanhNormalActor(Actor):
  """The actor of the first paper."""

  continuous: Any = dists.TanhNormal

  def dist(self, feat: tf.Tensor) -> Any:
    mean, raw = self(feat)
    config = self.config
    mean = config.mean_scale * tf.tanh(mean / config.mean_scale)
    std = tf.nn.softplus(raw + config.init_std) + config.min_std
    return dists.TanhNormal(mean, std)


class Reinforce(ActorCritic):
  """Reinforce, whatever the actions."""

  def _objective(self, policy, taken, advantage, target, env_steps):
    return policy.log_prob(tf.stop_gradient(taken)) * advantage


class Dynamics(ActorCritic):
  """Gradients through the rollout, whatever the actions."""

  def _objective(self, policy, taken, advantage, target, env_steps):
    return target


class Mixed(ActorCritic):
  """Both, by a schedule (the paper's first version)."""

  def _objective(self, policy, taken, advantage, target, env_steps):
    # As released, a continuous action gets a gradient from its density too.
    log_prob = policy.log_prob(
        tf.stop_gradient(taken) if self.actor.discrete else taken)
    mix = schedule(self.config.actor_mix, env_steps)
    return mix * target + (1 - mix) * log_prob * advantage

  def summaries(self, tensors: dict[str, Any],
                env_steps: tf.Tensor) -> Tensors:
    return {**super().summaries(tensors, env_steps),
            'actor/mix': schedule(self.config.actor_mix, env_steps)}


class NoSlowCritic(ActorCritic):
  """Targets and baselines by the critic itself."""

  def __init__(self, config: settings.Config, feat: int, act_space: ActionSpace,
               init: layers.Init):
    super().__init__(config, feat, act_space, init)
    del self.slow_critic

  def _target_critic(self):
    return self.critic.map(tf.stop_gradient)

  def update_slow(self, updates: tf.Tensor) -> None:
    del updates


class NormedRewards(ActorCritic):
  """Imagined rewards by a running mean of their magnitude."""

  def __init__(self, config: settings.Config, feat: int, act_space: ActionSpace,
               init: layers.Init):
    super().__init__(config, feat, act_space, init)
    self.reward_norm = RewardNorm(
        f'{self.prefix}reward_norm', config.reward_norm)

  def rewards(self, model: Any, feat: tf.Tensor,
              action: tf.Tensor) -> Tensors:
    raw = super().rewards(model, feat, action)['imag_reward']
    return {'imag_reward_raw': raw, 'imag_reward': self.reward_norm(raw)}

  def summaries(self, tensors: dict[str, Any],
                env_steps: tf.Tensor) -> Tensors:
    found, raw = super().summaries(tensors, env_steps), (
        tensors['imag_reward_raw'])
    return {**found, 'imag/reward': tf.reduce_mean(raw),
            'imag/reward_std': tf.math.reduce_std(raw),
            'imag/reward_normed': found['imag/reward'],
            'imag/reward_normed_std': found['imag/reward_std']}


# Acting


class LatentModes(Agent):
  """Latents are modes, but where the task's actor collects."""

  def _latent_noise(self, rssm, rows, noise, mode):
    if mode != 'train':
      return None
    return super()._latent_noise(rssm, rows, noise, mode)


class ActionNoise(Exploration):
  """Gaussian noise, or uniform actions at times where they are discrete."""

  def now(self, mode: str, env_steps: int, updates: int) -> tuple[str, float]:
    config = self.config
    return mode, config.eval_noise if mode == 'eval' else config.noise

  def __call__(self, action: tf.Tensor, amount: tf.Tensor, noise: Any,
               mode: str) -> tf.Tensor:
    if self.discrete:
      return actions.epsilon(action, amount, self.discrete, noise)
    return actions.gaussian(action, amount, noise)


class RandomActions(Exploration):
  """Uniform actions while it explores."""

  def __call__(self, action: tf.Tensor, amount: tf.Tensor, noise: Any,
               mode: str) -> tf.Tensor:
    if mode != 'explore':
      return super().__call__(action, amount, noise, mode)
    return actions.uniform(action.shape, self.discrete, noise)


TABLE: variants.Table = {
    'rssm.latents': {'gaussian': GaussianLatents},
    'kl.free_by': {'element': FreeElement},
    'kl.forward': {True: ForwardKL},
    'kl.balance': {0.5: PlainKL},
    'discount_head.dist': {'mse': NormalDiscount},
    'actor.dist': {'tanh_normal': TanhNormalActor},
    'actor_gradient': {
        'reinforce': Reinforce, 'dynamics': Dynamics, 'both': Mixed},
    'slow_critic.enabled': {False: NoSlowCritic},
    'reward_norm.momentum': variants.Unless(1.0, NormedRewards),
    'reward_norm.scale': variants.Unless(1.0, NormedRewards),
    'eval_state_mean': {True: LatentModes},
    'expl.noise': variants.Unless(0.0, ActionNoise),
    'expl.eval_noise': variants.Unless(0.0, ActionNoise),
    'expl.kind': {
        'plan2explore': (ExploringAgent, InPhases, Plan2Explore),
        'model_loss': (ExploringAgent, InPhases, ModelLoss),
        'random': (InPhases, RandomActions)},
}


def choose(kind: type[variants.C], config: settings.Config) -> type[variants.C]:
  """A class of the paper, with its variants that a config asks for."""
  return variants.choose(kind, TABLE, config)


def make_agent(config: settings.Config, obs_space: Mapping[str, Space],
               act_space: ActionSpace, noise: Any = None) -> Agent:
  """The agent of a config; args as those of Agent."""
  return choose(Agent, config)(config, obs_space, act_space, noise)
