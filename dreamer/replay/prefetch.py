"""The next batch is drawn while the last one is learned from.

    learner   sample k | update k .......... | add? | sample k + 1
    thread               draw k + 1, put

It is the batch that would have been drawn later: where a row or an episode
comes in between, it is forgotten and drawn anew, from the same random numbers.
What an update changes in the replay is written before the next batch is due,
and read for it then.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from dreamer.npz import Arrays
from dreamer.replay.base import Base


class Prefetch:
  """A Replay, with one batch ahead.

  put: what is done to each batch beside the update, such as moving it to the
  device. All calls come from one thread; `close` ends the other one.
  """

  def __init__(self, replay: Base,
               put: Callable[[Arrays], Any] = lambda batch: batch) -> None:
    self._replay, self._put = replay, put
    self._thread = ThreadPoolExecutor(1, 'prefetch')
    # What was asked, where drawing was, and the batch with where it is from.
    self._next: tuple[tuple, Any, Future] | None = None
    self._drawn: Any = None  # where the last batch is from
    self._new: tuple[Any, Mapping[str, Any]] | None = None  # for its rows

  @property
  def streams(self) -> bool:
    return self._replay.streams

  @property
  def count_resets(self) -> bool:
    return self._replay.count_resets

  @property
  def ready(self) -> bool:
    return self._replay.ready

  @property
  def wants_save(self) -> bool:
    return self._replay.wants_save

  @property
  def episodes(self) -> int:
    return self._replay.episodes

  def sample(self, batch: int, length: int, keys: Sequence[str] | None = None,
             ahead: bool = True) -> Any:
    """As that of Replay, and put; draws the next one of the same kind.

    ahead: whether that one will be due before anything is added.
    What goes wrong in the thread is raised here, when its batch is due.
    """
    self._write()
    asked = batch, length, tuple(keys) if keys is not None else None
    if self._next and self._next[0] != asked:
      self._forget()
    waiting, self._next = self._next, None
    found, self._drawn = waiting[2].result() if waiting else self._draw(asked)
    late = self._replay.late(self._drawn, keys)
    found = {**found, **late} if late else found
    if ahead:
      self._next = asked, self._replay.mark(), self._thread.submit(
          self._draw, asked)
    return found

  def refresh(self, new: Mapping[str, Any]) -> None:
    """What an update makes of the stored arrays of the last batch's rows.

    new: [B, T, ...] by name, of the last T rows of each sequence; read when
    the replay is needed next.
    """
    self._new = self._drawn, new

  def peek(self, batch: int, length: int,
           keys: Sequence[str] | None = None) -> Arrays:
    """A batch that leaves the order of later ones alone; not put."""
    self._forget()
    return self._replay.peek(batch, length, keys)

  def grow(self, stream: int, row: Arrays, action: np.ndarray,
           stored: Arrays) -> None:
    self._forget()
    self._replay.grow(stream, row, action, stored)

  def cut(self, stream: int) -> None:
    self._forget()
    self._replay.cut(stream)

  def add(self, episode: Mapping[str, np.ndarray],
          stream: int = 0) -> pathlib.Path | None:
    self._forget()
    return self._replay.add(episode, stream)

  def stats(self) -> dict[str, float]:
    self._wait()
    return self._replay.stats()

  def describe(self, steps: int) -> str:
    return self._replay.describe(steps)

  def missing(self) -> str:
    return self._replay.missing()

  def state(self) -> Arrays:
    self._forget()
    return self._replay.state()

  def restore(self, state: Mapping[str, np.ndarray],
              unfinished: Mapping[int, Arrays] | None = None) -> None:
    self._new = None
    self._forget()
    self._replay.restore(state, unfinished or {})

  def saved(self, again: bool = False) -> None:
    self._wait()
    self._replay.saved(again)

  def close(self) -> None:
    """Ends the thread; whatever it was drawing has not been drawn."""
    self._forget()
    self._thread.shutdown()
    self._replay.close()

  def _draw(self, asked):
    batch = self._replay.draw(*asked)
    return self._put(batch), self._replay.drawn

  def _wait(self):
    if self._next:
      self._next[2].exception()  # It is raised when its batch is due.

  def _forget(self):
    """Back to before the batch ahead was drawn; all is written."""
    if self._next:
      self._wait()
      self._replay.rewind(self._next[1])
      self._next = None
    self._write()

  def _write(self):
    """What the last update has changed; other rows may be read meanwhile."""
    if self._new:
      (drawn, new), self._new = self._new, None
      self._replay.refresh(drawn, {
          key: np.asarray(value) for key, value in new.items()})
