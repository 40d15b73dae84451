"""How long a run still takes."""

from __future__ import annotations

import collections
import contextlib
import time
from collections.abc import Iterator

WINDOW = 300.0  # seconds: longer than a block of updates, shorter than a run


class Eta:
  """Seconds until a run ends, at the rates since its updates began.

  The prefill, which is many times faster than what follows, tells nothing
  about it: before the first update there is no estimate. Evaluations count by
  themselves, at their mean time. Rates are those of the last minutes.
  """

  def __init__(self) -> None:
    # Seconds without evaluations, environment steps, updates.
    self._samples: collections.deque[tuple[float, int, int]] = (
        collections.deque())
    self._evaluations = 0
    self._evaluating = 0.0  # seconds

  @contextlib.contextmanager
  def evaluation(self) -> Iterator[None]:
    """Around one, if it comes to its end."""
    start = time.monotonic()
    yield
    self._evaluating += time.monotonic() - start
    self._evaluations += 1

  def add(self, steps: int, updates: int) -> None:
    """Tells environment steps and updates of the run so far."""
    now = time.monotonic() - self._evaluating
    samples = self._samples
    if not updates:
      samples.clear()
    elif not samples or now - samples[-1][0] >= 1:
      samples.append((now, steps, updates))
      while samples[-1][0] - samples[0][0] > WINDOW:
        samples.popleft()

  def left(self, steps: int, updates: int,
           evaluations: int) -> float | None:
    """Seconds for so many more; None: nothing tells it yet."""
    if not (steps or updates or evaluations):
      return 0.0
    if len(self._samples) < 2:
      return None
    first, last = self._samples[0], self._samples[-1]
    seconds, *done = (y - x for x, y in zip(first, last, strict=True))
    # Both go on together: what is slower by its own rate decides.
    found = [seconds / amount * rest for amount, rest in zip(
        done, (0 if updates else steps, updates), strict=True)
             if amount and rest]
    if not found and (steps or updates):
      return None
    each = self._evaluating / self._evaluations if self._evaluations else 0.0
    return max(found, default=0.0) + evaluations * each
