"""Checks that agents share: of settings that have to fit each other.

What one setting may be stands beside it in the schema. What a setting rules
out for another one, or an environment for a setting, is checked by the
`validate` of each agent (`checks.py` in its folder): settings among each other
before anything starts, settings and spaces as soon as the environment is
known, before TensorFlow is imported. Constructors check neither.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeAlias

from dreamer.config.schema import Config
from dreamer.envs.spaces import ActionSpace, Space
from dreamer.errors import UserError
from dreamer.replay import sampling

Spaces: TypeAlias = tuple[Mapping[str, Space], ActionSpace]


def devices(config: Config) -> None:
  """Raises UserError where a batch can't be shared among devices."""
  if config.devices == 1:
    return
  if config.batch_size % config.devices:
    raise UserError(
        f'devices: {config.devices} can not share batch_size '
        f'{config.batch_size} evenly; use a divisor of it')
  if config.jit == 'on':
    raise UserError(f'jit: on is for one device; use auto, or devices 1 '
                    f'instead of {config.devices}')


def shares(config: Config, act_space: ActionSpace) -> None:
  """Raises UserError where noise on discrete actions, a share, is above 1."""
  for key in ('noise', 'eval_noise'):
    if act_space.discrete and config.expl[key] > 1:
      raise UserError(
          f'expl.{key}: {config.expl[key]} is no share of discrete actions; '
          'choose 0..1')


def schedule(config: Config) -> None:
  """Raises UserError for a run that would fail, or learn nothing, later."""
  _bounds(config)
  if 'train_ratio' in config:
    _streams(config)
  else:
    _episodes(config)


def _bounds(config):
  least, most = config.update_ratio.least, config.update_ratio.most
  if least > most > 0:
    raise UserError(
        f'update_ratio.least: {least} is more than update_ratio.most {most}, '
        'acting and learning would wait for each other; lower it')


def _streams(config):
  """Learning starts when there are as many sequences as rows of a batch."""
  least = config.batch_size * config.batch_length
  if config.replay.capacity < least:
    raise UserError(
        f'replay.capacity: {config.replay.capacity} is less than batch_size * '
        f'batch_length, {least}, with which learning starts; raise it')


def _episodes(config):
  if config.steps < config.prefill:
    raise UserError(
        f'steps: {config.steps} is less than prefill {config.prefill}, nothing '
        'would be learned; raise steps or lower prefill')
  rows = math.ceil(config.time_limit / config.action_repeat) + 1
  replay, length = config.replay, config.batch_length
  shortest = replay.get('min_length', 0)
  sampling.bounds(length, shortest, replay.get('max_length', 0))
  if rows < sampling.least_rows(length, replay.starts, shortest):
    key = 'replay.min_length' if shortest else 'batch_length'
    raise UserError(
        f'{key}: {shortest or length} is longer than an episode '
        f'({rows} rows by time_limit {config.time_limit} and action_repeat '
        f'{config.action_repeat}); lower it')
