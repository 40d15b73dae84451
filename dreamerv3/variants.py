"""What the releases do otherwise than the paper, each chosen by a key."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from dreamer.nn import layers, variants
from dreamer.nn.normalise import Normaliser
from dreamerv3.actor_critic import ActorCritic
from dreamerv3.agent import Agent
from dreamerv3.rssm import RSSM
from dreamerv3.world_model import WorldModel

if TYPE_CHECKING:
  from dreamer.envs.spaces import ActionSpace, Space
  from dreamerv3 import settings


class AbsoluteRSSM(RSSM):
  """The posterior sees the embed alone (`rssm.absolute`)."""

  @property
  def obs_deter(self) -> int:
    return 0


class DiscountedEnds(WorldModel):
  """The discount head learns gamma as well (`discount_head.label`).

  Its labels are gamma (1 - is_terminal), and imagined discounts are what it
  says.
  """

  @property
  def gamma(self) -> float:
    return 1.0

  def preprocess(self, batch: Any, noise: Any) -> dict[str, tf.Tensor]:
    data = super().preprocess(batch, noise)
    data['discount'] *= super().gamma
    return data


class LimitsEnd(WorldModel):
  """To the agent, episodes that stop are episodes that end (`limits_end`)."""

  def preprocess(self, batch: Any, noise: Any) -> dict[str, tf.Tensor]:
    return super().preprocess(
        {**batch, 'is_terminal': batch['is_terminal'] | batch['is_last']},
        noise)


class Consecutive(WorldModel):
  """Sequences go on in the next batch (`replay.consec`).

  Rows with consec > 0 start from the last posterior of the update before, and
  without context from its last action.
  """

  def __init__(self, config: settings.Config,
               obs_space: Mapping[str, Space], action: int,
               init: layers.ByFan):
    super().__init__(config, obs_space, action, init)
    rows = config.batch_size // config.devices
    zeros = self.rssm.initial(rows)
    zeros = {key: zeros[key] for key in ('deter', 'stoch')}
    zeros['action'] = tf.zeros([rows, action])
    self.carry = {key: tf.Variable(x) for key, x in zeros.items()}

  @property
  def statistics(self) -> dict[str, tf.Variable]:
    return {f'carry/{key}': x for key, x in self.carry.items()}

  @property
  def context_keys(self) -> tuple[str, ...]:
    return *super().context_keys, 'consec'

  def _start(self, batch):
    return {key: self._goes_on(batch, self.carry[key], x)
            for key, x in super()._start(batch).items()}

  def _led(self, batch, length):
    action = super()._led(batch, length)
    if self.config.replay.context:
      return action
    first = self._goes_on(batch, self.carry['action'], action[:, 0])
    return tf.concat([first[:, None], action[:, 1:]], 1)

  def _goes_on(self, batch, carry, other):
    rows = tf.shape(other)[0]  # fewer in a report
    goes_on = tf.reshape(
        batch['consec'] > 0, [-1] + [1] * (other.shape.rank - 1))
    return tf.where(goes_on, tf.convert_to_tensor(carry)[:rows], other)

  def loss(self, data: Any, noise: Any, unroll: bool = False) -> tuple:
    losses, tensors = super().loss(data, noise, unroll)
    for key in ('deter', 'stoch'):
      self.carry[key].assign(tensors['post'][key][:, -1])
    self.carry['action'].assign(data['last_action'])
    return losses, tensors

  def preprocess(self, batch: Any, noise: Any) -> dict[str, tf.Tensor]:
    last = batch['action'][:, -1]
    return {**super().preprocess(batch, noise), 'last_action': last}


class StartGradients(ActorCritic):
  """The losses at the first state reach the model (`start_gradients`)."""

  def _starts(self, tensors):
    rows = lambda x: tf.reshape(x, [-1, *x.shape[2:]])
    return {key: rows(tensors['post'][key]) for key in ('deter', 'stoch')}


class LastStarts(ActorCritic):
  """Rollouts begin at the last states of each sequence (`last_starts`)."""

  def _starts(self, tensors):
    post = {key: self.replayed(x) for key, x in tensors['post'].items()}
    return super()._starts({**tensors, 'post': post})

  def replayed(self, x: tf.Tensor) -> tf.Tensor:
    return x[:, -self.config.last_starts:]


class KnownStart(ActorCritic):
  """Whether the start is an end is taken from the replay (`start_discount`)."""

  def _discounts(self, model, feat, data):
    found = super()._discounts(model, feat, data)
    ends = tf.cast(self.replayed(data['is_terminal']), tf.float32)
    known = model.gamma * (1 - tf.reshape(ends, [1, -1]))
    return tf.concat([known, found[1:]], 0)


class SlowTargets(ActorCritic):
  """Targets and baselines are the slow critic's (`slow_critic.targets`)."""

  def _values(self, feat):
    found = super()._values(feat)
    return {**found, 'baseline': found['imag_slow_value']}


class NormedValues(ActorCritic):
  """Critics predict returns in units of a running scale (`value_norm`)."""

  def __init__(self, *args: Any):
    super().__init__(*args)
    self.value_norm = Normaliser('value_norm', self.config.value_norm)

  @property
  def statistics(self) -> dict[str, tf.Variable]:
    return {**super().statistics, **self.value_norm.variables}

  def _values(self, feat):
    found, (offset, scale) = super()._values(feat), self.value_norm.stats()
    return {**found, 'baseline': found['baseline'] * scale + offset,
            'value_offset': offset, 'value_scale': scale}

  def _target(self, target):
    self.value_norm.update(target)
    offset, scale = self.value_norm.stats()
    return (super()._target(target) - offset) / scale

  def summaries(self, tensors: Any) -> dict[str, tf.Tensor]:
    metrics = super().summaries(tensors)
    for key in ('imag/value', 'imag/slow_value'):
      metrics[key] *= tensors['value_scale']
      metrics[key] += tensors['value_offset']
    return metrics


class NormedAdvantages(ActorCritic):
  """Advantages in units of a running scale (`advantage_norm`)."""

  def __init__(self, *args: Any):
    super().__init__(*args)
    self.advantage_norm = Normaliser(
        'advantage_norm', self.config.advantage_norm)

  @property
  def statistics(self) -> dict[str, tf.Variable]:
    return {**super().statistics, **self.advantage_norm.variables}

  def _objective(self, policy, action, advantage):
    self.advantage_norm.update(advantage)
    offset, scale = self.advantage_norm.stats()
    return super()._objective(policy, action, (advantage - offset) / scale)


class NoReplayLoss(ActorCritic):
  """The critic learns from imagination alone (`replay_critic.enabled`)."""

  def _replay_loss(self, tensors, data):
    return {}, {}


TABLE: variants.Table = {
    'rssm.absolute': {True: AbsoluteRSSM},
    'discount_head.label': {'discounted': DiscountedEnds},
    'limits_end': {True: LimitsEnd},
    'replay.consec': variants.Unless(1, Consecutive),
    'start_gradients': {True: StartGradients},
    'last_starts': variants.Unless(0, LastStarts),
    'start_discount': {'replayed': KnownStart},
    'slow_critic.targets': {True: SlowTargets},
    'value_norm.kind': variants.Unless('none', NormedValues),
    'advantage_norm.kind': variants.Unless('none', NormedAdvantages),
    'replay_critic.enabled': {False: NoReplayLoss},
}


def choose(kind: type[variants.C], config: settings.Config) -> type[variants.C]:
  """A class of the paper, with its variants that a config asks for."""
  return variants.choose(kind, TABLE, config)


def make_agent(config: settings.Config, obs_space: Mapping[str, Space],
               act_space: ActionSpace, noise: Any = None) -> Agent:
  """The agent of a config; args as those of Agent."""
  return choose(Agent, config)(config, obs_space, act_space, noise)
