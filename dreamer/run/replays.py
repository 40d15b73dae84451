"""The replays that an agent's entry may name."""

from __future__ import annotations

import math
import pathlib
from typing import Any

import numpy as np

from dreamer.config.schema import Config
from dreamer.envs.spaces import ActionSpace
from dreamer.errors import UserError
from dreamer.replay.replay import Replay
from dreamer.replay.stream import StreamReplay
from dreamer.run.protocols import ObsSpace

# Of how many checkpoints' size the older states may be that checkpoints need,
# before one is written for their sake.
CHECKPOINTS = 6


def episodes(
    config: Config, directory: pathlib.Path, agent: Any,
    spaces: tuple[ObsSpace, ActionSpace]) -> Replay:
  """Finished episodes, and sequences that lie in one, or in pieces of some."""
  del agent
  replay = Replay(directory, config.seed, batch_length=config.batch_length,
                  owner=True, **config.replay)
  _check_fits(replay.example, *spaces)
  return replay


def streams(
    config: Config, directory: pathlib.Path, agent: Any,
    spaces: tuple[ObsSpace, ActionSpace]) -> StreamReplay:
  """The endless stream of each environment, with what the agent stores."""
  options = dict(config.replay)
  if not options['spare_gb']:
    # As much as is worth a checkpoint.
    size = sum(np.asarray(x).nbytes for x in agent.state().values())
    options['spare_gb'] = CHECKPOINTS * size / 1e9
  replay = StreamReplay(
      directory, config.seed, config.envs.amount, config.batch_length,
      agent.stored, least=config.batch_size * config.batch_length,
      row_bytes=_row_bytes(*spaces), owner=True, **options)
  _check_fits(replay.example, *spaces)
  return replay


def _check_fits(episode, obs_space, act_space):
  """Raises UserError where recorded episodes are of another task."""
  if episode is None:
    return
  shapes = {key: x.shape for key, x in obs_space.items()}
  for key, shape in {**shapes, 'action': (act_space.dim,)}.items():
    _, theirs = episode.kind.arrays.get(key, (None, shape))
    if tuple(theirs) != tuple(shape):
      raise UserError(
          f'{episode.path}: its {key} has the shape {list(theirs)}, that of '
          f'this run {list(shape)}; remove the episodes of another task, or '
          'name another logdir')


def _row_bytes(obs_space, act_space):
  """Of a row in the files: observations, action, reward, discount, flags."""
  floats = lambda dtype: np.issubdtype(dtype, np.floating)  # as float32
  sizes = [math.prod(x.shape) * (
      4 if floats(x.dtype) else np.dtype(x.dtype).itemsize)
           for x in obs_space.values()]
  return sum(sizes) + 4 * act_space.dim + 11
