"""How many updates a run makes, and who acts before the first one.

A config with `train_every` has blocks of updates behind a prefill by random
actions; one with `train_ratio` has as many updates as its steps ask for, and
the agent itself acts from the first step on.
"""

from __future__ import annotations

from typing import Any, Protocol

from dreamer.config.schema import Config
from dreamer.run.when import Every, Once, Ratio


class Pace(Protocol):
  """When to learn. Counts are those of `Loop`.

  random: whether what comes before the first update is random actions.
  when: what it remembers, by name, for checkpoints.
  per_step: updates per environment step.
  """

  random: bool
  per_step: float
  when: dict[str, Any]

  def early(self, env_steps: int, ready: bool) -> bool:
    """Whether it is too early for updates. ready: there is data for one."""
    ...

  def idle(self, env_steps: int, ready: bool) -> bool:
    """Whether it is so only for want of data."""
    ...

  def due(self, env_steps: int, agent_steps: int) -> int:
    """Updates that have become due since the last call."""
    ...

  def first(self, due: int) -> int:
    """Of the first time: how many of them come before the next step."""
    ...

  def left(self, env_steps: int) -> int:
    """Updates that so many further steps will ask for."""
    ...


class Blocks:
  """`train_updates` every `train_every` environment steps, after `prefill`."""

  random = True

  def __init__(self, config: Config) -> None:
    self._config = config
    self.per_step = config.train_updates / config.train_every
    self._train = Every(config.train_every)
    self.when: dict[str, Any] = {'train': self._train, 'first': Once()}

  def early(self, env_steps: int, ready: bool) -> bool:
    return env_steps < self._config.prefill or not ready

  def idle(self, env_steps: int, ready: bool) -> bool:
    return not ready and env_steps >= self._config.prefill

  def due(self, env_steps: int, agent_steps: int) -> int:
    blocks = periods(self._train, env_steps)
    return blocks * self._config.train_updates

  def first(self, due: int) -> int:
    return self._config.pretrain_updates or self._config.train_updates

  def left(self, env_steps: int) -> int:
    blocks = env_steps // self._config.train_every
    return blocks * self._config.train_updates


class PerStep:
  """Each agent step is trained on `train_ratio` times, in batches."""

  random = False

  def __init__(self, config: Config) -> None:
    ratio = config.train_ratio / (config.batch_size * config.batch_length)
    self.per_step = ratio / config.action_repeat
    self._train = Ratio(ratio)
    self.when: dict[str, Any] = {'train': self._train, 'first': Once()}

  def early(self, env_steps: int, ready: bool) -> bool:
    return not ready

  idle = early

  def due(self, env_steps: int, agent_steps: int) -> int:
    return self._train(agent_steps)

  def first(self, due: int) -> int:
    return due if self.per_step else 0

  def left(self, env_steps: int) -> int:
    return int(env_steps * self.per_step)


def make(config: Config) -> Pace:
  return PerStep(config) if 'train_ratio' in config else Blocks(config)


def periods(trigger: Every, count: int) -> int:
  """How many periods have passed: several, where they are short."""
  amount = 0
  while trigger(count):
    amount += 1
  return amount


def describe(config: Config) -> str:
  """What a run says at its start about a `train_ratio`; '' without one."""
  if 'train_ratio' not in config:
    return ''
  ratio, batch = config.train_ratio, config.batch_size * config.batch_length
  told = f'train_ratio {ratio:g}: no updates are made'
  if ratio:
    told = (f'train_ratio {ratio:g}: each agent step is trained on {ratio:g} '
            f'times, by an update of {config.batch_size} x '
            f'{config.batch_length} steps per {batch / ratio:g} agent steps')
  usual = config.schema.config(
      config.presets or (), {'task': config.task}).train_ratio
  if usual != ratio:
    names = ' '.join(config.presets or ()) or 'defaults'
    told += (f'; the usual one with {names} is {usual:g}: do not compare '
             'scores of different ratios')
  return told
