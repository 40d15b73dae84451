"""Vectors of environments that hold one: what the one shows and takes.

gymnasium's vector environments, those of simulators on a GPU and older ones
with `step_async` give all arrays a leading axis, which has length 1 here.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from dreamer.envs import objects
from dreamer.envs.observations import Entry
from dreamer.errors import UserError

FINAL = ('final_obs', 'final_observation', 'terminal_observation')


def check(env: Any) -> bool:
  """Whether it is a vector of one; raises UserError for more than one."""
  amount = objects.amount(env)
  if amount not in (None, 1):
    raise UserError(
        f'it holds {amount} environments; make a single one, and several by '
        'envs.amount')
  return amount == 1


class One:
  """The only environment of a vector.

  Attributes:
    observation_space, action_space: Of the one.
    single: Whether its space is known without the axis of the vector.
  """

  def __init__(self, env: Any) -> None:
    self._env = env
    one = objects.ask(env, 'single_observation_space')
    self.observation_space = one or env.observation_space
    self.single = one is not None or objects.has(env, 'step_async')
    single = objects.ask(env, 'single_action_space')
    self.action_space = single or env.action_space
    shapes = [getattr(x, 'shape', None) for x in (
        env.action_space, self.action_space)]
    older = single is None and objects.has(env, 'step_async')
    self.stacks = older or shapes[0] == (1, *(shapes[1] or ()))

  def action(self, action: Any) -> Any:
    """As `step` takes it, with the leading axis where it wants one."""
    return np.asarray(action)[None] if self.stacks else action

  def result(self, result: tuple) -> tuple:
    """What `step` returned, with the last observation of an episode.

    Where the vector has begun the next one, it is in the info.
    """
    obs, *others, info = result
    info = _only(info)
    ended = any(np.any(np.asarray(flag)) for flag in others[1:])
    for name in FINAL if ended and isinstance(info, dict) else ():
      if info.get(name) is not None:
        obs = _only(info[name])
    return (obs, *others, info)


def frame(drawn: Any) -> Any:
  """What `render` of a vector drew of its one environment."""
  drawn = _only(drawn)
  axes = getattr(drawn, 'ndim', 0)
  return drawn[0] if axes == 4 and len(drawn) == 1 else drawn


def entries(found: list[Entry], single: bool = False) -> list[Entry]:
  """Entries without the leading axis of 1, if all with axes have it.

  single: they are those of the one environment, whose axes are its own.
  """
  axes = [entry.shape for entry in found if len(entry.shape) > 1]
  has_axis = not single and bool(axes) and all(shape[0] == 1 for shape in axes)
  return [dataclasses.replace(
      entry, alone=True, shape=entry.shape[1:] if has_axis and len(
          entry.shape) > 1 else entry.shape) for entry in found]


def _only(value):
  """The one that a list, a tuple or an array of objects holds."""
  array = isinstance(value, np.ndarray) and value.dtype == object
  if (array or isinstance(value, (list, tuple))) and len(value) == 1:
    return value[0]
  return value
