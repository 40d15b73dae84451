"""How often an environment of a user's repeats an action itself.

What wrappers do is seen: in the first steps, the calls that reach the
innermost environment are counted. What that one does inside of its own step
only its attributes tell; before the first step, those of the wrappers too.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from dreamer.envs import objects

NAMES = (
    'frameskip', 'frame_skip', 'skip', 'action_repeat', 'action_repeats',
    'num_action_repeats', 'repeat', 'repeats', 'num_repeats')
SEEN = 8  # so many steps are looked at

Range = tuple[int, int]


class Repeats:
  """Watches the first steps of an environment.

  Args:
    env: The object, with its wrappers.
  """

  def __init__(self, env: Any) -> None:
    self._chain = objects.chain(env)
    self._inner = self._chain[-1]
    self._watches = len(self._chain) > 1
    self._seen: list[int] = []  # calls of the innermost, by step

  def step(self, step: Callable[..., Any], *args: Any) -> Any:
    """Calls a step that returns (obs, reward, discount, last)."""
    if not self._watches or len(self._seen) >= SEEN:
      return step(*args)
    with _counted(self._inner) as actions:
      result = step(*args)
    if actions and not result[3]:  # The last one may have been cut.
      self._seen.append(len(actions) if _alike(actions) else 1)
    return result

  def range(self) -> Range:
    """The least and the most repeats of an action."""
    if not self._seen:
      return _product(*map(_own, self._chain))
    return _product(
        (min(self._seen), max(self._seen)), _own(self._inner))


def _own(env) -> Range:
  """What the attributes of one environment or wrapper say."""
  own = objects.fields(env)
  found = [_range(value) for name, value in own.items()
           if isinstance(name, str) and name.lstrip('_') in NAMES]
  return max([(1, 1), *found], key=lambda pair: pair[1])


def _range(value) -> Range:
  """A number, or a pair of which the second is one too many, as in ALE."""
  if objects.is_a(value, (int, np.integer)):
    return int(value), int(value)
  pair = objects.is_a(value, (tuple, list)) and len(value) == 2 and all(
      objects.is_a(x, (int, np.integer)) for x in value)
  return (int(value[0]), int(value[1]) - 1) if pair else (1, 1)


def _product(*ranges: Range) -> Range:
  lows, highs = zip(*ranges, strict=True)
  return int(np.prod(lows)), int(np.prod(highs))


@contextlib.contextmanager
def _counted(env) -> Iterator[list]:
  """Collects the actions that reach an environment, while this lasts."""
  actions: list = []
  step, before = env.step, objects.fields(env).get('step')

  def count(*args, **kwargs):
    actions.append([*args, *kwargs.values()])
    return step(*args, **kwargs)

  objects.guard(setattr, env, 'step', count)
  try:
    yield actions
  finally:
    if before is not None:
      objects.guard(setattr, env, 'step', before)
    else:
      objects.guard(delattr, env, 'step')


def _alike(actions) -> bool:
  """Whether all are the same: what differs is no repeat."""
  first = actions[0]
  return all(objects.guard(
      lambda one: all(np.array_equal(x, y) for x, y in zip(
          first, one, strict=True)), one, default=False) for one in actions)
