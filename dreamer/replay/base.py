"""What a run asks of a replay, whatever its agent has it do."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dreamer.npz import Arrays


class Base:
  """A store of experience, and what is drawn from it.

  A subclass holds at least episodes, as `add` hands them over. Those that
  `streams` also see each row of an unfinished episode, as soon as it was
  acted on. Not thread-safe, but for `draw`, which may run beside `refresh`.

  streams: whether `grow` and `cut` are to be called.
  count_resets: whether an episode's reset takes an agent step, see Driver.
  drawn: where the last batch of `draw` or `sample` is from, for `refresh`.
  """

  streams = False
  count_resets = False
  drawn: Any = None

  @property
  def episodes(self) -> int:
    """Finished ones that are stored."""
    raise NotImplementedError

  @property
  def ready(self) -> bool:
    """Whether there is enough to learn from."""
    return self.episodes > 0

  @property
  def wants_save(self) -> bool:
    """Whether a checkpoint would free much of the disk."""
    return False

  # Coming

  def grow(self, stream: int, row: Arrays, action: np.ndarray,
           stored: Arrays) -> None:
    """A row of an environment's unfinished episode.

    row: the observation and, as `action`, the one that led to it. action: the
      one that was chosen there. stored: the agent's arrays, see `Stored`.
    """
    raise NotImplementedError

  def cut(self, stream: int) -> None:
    """The unfinished episode of an environment will not go on."""

  def add(self, episode: Mapping[str, np.ndarray],
          stream: int = 0) -> pathlib.Path | None:
    """Stores a finished episode; returns its path, None if it is not kept.

    episode: dict of arrays of equal length, the reset row first.
    stream: number of its environment.
    Raises UserError when it can't be written.
    """
    raise NotImplementedError

  # Drawing

  def sample(self, batch: int, length: int,
             keys: Sequence[str] | None = None) -> Arrays:
    """A batch of sequences, arrays by name.

    Raises UserError when there is none, or a key is unknown.
    """
    found = self.draw(batch, length, keys)
    return {**found, **self.late(self.drawn, keys)}

  def draw(self, batch: int, length: int,
           keys: Sequence[str] | None = None) -> Arrays:
    """The same, but what `late` returns may be anything yet."""
    raise NotImplementedError

  def late(self, drawn: Any, keys: Sequence[str] | None = None) -> Arrays:
    """What updates change: read when the batch is used, not when drawn."""
    del drawn, keys
    return {}

  def peek(self, batch: int, length: int,
           keys: Sequence[str] | None = None) -> Arrays:
    """A batch that leaves those of `sample` as they would have been."""
    mark = self.mark()
    try:
      return self.sample(batch, length, keys)
    finally:
      self.rewind(mark)

  def refresh(self, drawn: Any, new: Arrays) -> None:
    """Replaces stored arrays of the last T rows of a batch's sequences.

    new: [B, T, ...] by name. Rows that have left since are passed over.
    """
    raise NotImplementedError

  def mark(self) -> Any:
    """Where drawing is, in O(1); for `rewind`."""
    raise NotImplementedError

  def rewind(self, mark: Any) -> None:
    """Draws again what has been drawn since the mark, if nothing was added."""
    raise NotImplementedError

  # State

  def state(self) -> Arrays:
    """All that drawing and naming depend on, but for the files."""
    raise NotImplementedError

  def restore(self, state: Mapping[str, np.ndarray],
              unfinished: Mapping[int, Arrays] | None = None) -> None:
    """Continues as from `state()`: the same batches, bit for bit.

    unfinished: the unfinished episodes by environment, with a last row that
      was not acted on yet.
    """
    raise NotImplementedError

  def saved(self, again: bool = False) -> None:
    """To be called when a checkpoint with `state()` has been written.

    again: in the place of the last one, so that the one before is kept.
    """

  def close(self) -> None:
    """Nothing is asked any more."""

  # For people

  def stats(self) -> dict[str, float]:
    """Numbers for the log."""
    raise NotImplementedError

  def describe(self, steps: int) -> str:
    """What a run of so many agent steps will need; '' if not known."""
    del steps
    return ''

  def missing(self) -> str:
    """Why it is not `ready`; '' if only episodes are missing."""
    return ''
