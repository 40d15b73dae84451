"""Questions a schedule asks: is it time? All counts are non-negative.

Those that remember have `state()`, a dict of small arrays, and its inverse
`restore(state)`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np


class Every:
  """True at the first call, then once per `every` counts; never if 0.

  A trigger moves the next due time by `every`, not to the count it was asked
  at: triggers do not drift. A caller that is several periods behind catches
  up by one trigger per call (both releases do so):

    every = Every(100)
    [every(step) for step in (0, 50, 130, 350, 360, 370)]
    [True, False, True, True, True, False]
  """

  def __init__(self, every: int) -> None:
    self.every = every
    self._last: int | None = None

  def __call__(self, count: int) -> bool:
    if not self.every:
      return False
    if self._last is None:
      self._last = count
      return True
    if count < self._last + self.every:
      return False
    self._last += self.every
    return True

  def state(self) -> dict[str, np.ndarray]:
    last = -1 if self._last is None else self._last
    return {'last': np.array(last, np.int64)}

  def restore(self, state: Mapping[str, np.ndarray]) -> None:
    last = int(state['last'])
    self._last = None if last < 0 else last


class Once:
  """True at the first call only."""

  def __init__(self) -> None:
    self._done = False

  def __call__(self) -> bool:
    done, self._done = self._done, True
    return not done

  def state(self) -> dict[str, np.ndarray]:
    return {'done': np.array(self._done)}

  def restore(self, state: Mapping[str, np.ndarray]) -> None:
    self._done = bool(state['done'])


class Until:
  """True while the count is below `until`; always if 0 (as in V2)."""

  def __init__(self, until: int) -> None:
    self.until = until

  def __call__(self, count: int) -> bool:
    return not self.until or count < self.until


class Ratio:
  """How often something is due: once at first, then `ratio` times per count.

  What is left of a whole number is kept for the next call. Below 0 it is due
  once at each call, whatever the count; 0: never.
  """

  def __init__(self, ratio: float) -> None:
    self.ratio = ratio
    self._done = math.nan  # the count that it was done for

  def __call__(self, count: int) -> int:
    if self.ratio <= 0:
      return int(self.ratio < 0)
    if math.isnan(self._done):
      self._done = count
      return 1
    times = int((count - self._done) * self.ratio)
    self._done += times / self.ratio
    return times

  def state(self) -> dict[str, np.ndarray]:
    return {'last': np.array(self._done, np.float64)}

  def restore(self, state: Mapping[str, np.ndarray]) -> None:
    self._done = float(state['last'])
