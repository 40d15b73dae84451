"""The next batch is drawn while the last one is learned from.

    learner   sample k | update k .......... | add? | sample k + 1
    thread               draw k + 1, put

It is the batch that would have been drawn later: where an episode comes in
between, it is forgotten and drawn anew, from the same random numbers.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from dreamer.npz import Arrays
from dreamer.replay.replay import Replay


class Prefetch:
  """A Replay, with one batch ahead.

  put: what is done to each batch beside the update, such as moving it to the
  device. All calls come from one thread; `close` ends the other one.
  """

  def __init__(self, replay: Replay,
               put: Callable[[Arrays], Any] = lambda batch: batch) -> None:
    self._replay, self._put = replay, put
    self._thread = ThreadPoolExecutor(1, 'prefetch')
    self._next: tuple[tuple, Any, Future] | None = None  # asked, mark, batch

  @property
  def episodes(self) -> int:
    return self._replay.episodes

  def sample(self, batch: int, length: int,
             keys: Sequence[str] | None = None) -> Any:
    """As that of Replay, and put; draws the next one of the same kind.

    What goes wrong in the thread is raised here, when its batch is due.
    """
    asked = batch, length, tuple(keys) if keys is not None else None
    if self._next and self._next[0] != asked:
      self._forget()
    ahead, self._next = self._next, None
    found = ahead[2].result() if ahead else self._draw(asked)
    self._next = asked, self._replay.mark(), self._thread.submit(
        self._draw, asked)
    return found

  def peek(self, batch: int, length: int,
           keys: Sequence[str] | None = None) -> Arrays:
    """A batch that leaves the order of later ones alone; not put."""
    self._forget()
    mark = self._replay.mark()
    try:
      return self._replay.sample(batch, length, keys)
    finally:
      self._replay.rewind(mark)

  def add(self, episode: Mapping[str, np.ndarray]) -> pathlib.Path | None:
    self._forget()
    return self._replay.add(episode)

  def stats(self) -> dict[str, float]:
    self._wait()
    return self._replay.stats()

  def state(self) -> Arrays:
    self._forget()
    return self._replay.state()

  def restore(self, state: Mapping[str, np.ndarray]) -> None:
    self._forget()
    self._replay.restore(state)

  def saved(self) -> None:
    self._wait()
    self._replay.saved()

  def close(self) -> None:
    """Ends the thread; whatever it was drawing has not been drawn."""
    self._forget()
    self._thread.shutdown()

  def _draw(self, asked):
    return self._put(self._replay.sample(*asked))

  def _wait(self):
    if self._next:
      self._next[2].exception()  # It is raised when its batch is due.

  def _forget(self):
    """Back to before the batch ahead was drawn."""
    if self._next:
      self._wait()
      self._replay.rewind(self._next[1])
      self._next = None
