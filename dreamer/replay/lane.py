"""The endless stream of one environment: its episodes, and a running one."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from dreamer.npz import Arrays
from dreamer.replay.episodes import Episode
from dreamer.replay.numbers import Numbers
from dreamer.replay.records import NONE
from dreamer.replay.shelf import DAMAGE, Shelf


class Part(NamedTuple):
  """Consecutive rows of a stream, from one episode.

  episode: None: the running one, or one whose file is gone.
  """

  first: int  # row of the stream
  length: int
  episode: Episode | None


class Lost(Exception):
  """Rows whose file can't be used; error: what was found now, or None."""

  def __init__(self, part: Part, error: Exception | None = None) -> None:
    super().__init__(part, error)
    self.part, self.error = part, error


class Lane:
  """Rows are numbered from the stream's beginning on, whatever has left.

  Files say which action led to a row; here the one that was chosen there
  counts, zeros at the end of an episode.

  begin: the first row that is there. end: how many there were.
  slots: of the agent's arrays by row, see Records.
  """

  def __init__(self, begin: int = 0) -> None:
    self.begin = self.end = begin
    self.slots = Numbers([], np.int32)
    self.parts: list[Part] = []
    self.running: list[Arrays] = []
    self._action = np.zeros(0, np.float32)  # chosen at the last running row
    self._begins: list[int] = []  # first rows of the parts

  @property
  def start(self) -> int:
    """The first row of the running episode."""
    return self.end - len(self.running)

  def grow(self, row: Arrays, action: np.ndarray, slot: int = NONE) -> None:
    """A row was acted on."""
    self.running.append(row)
    self._action = action
    self.slots.append(slot)
    self.end += 1

  def resume(self, rows: Mapping[str, np.ndarray]) -> None:
    """Takes back the running episode; its last row was not acted on."""
    amount = len(rows['action']) - 1
    self.running = [{key: x[i] for key, x in rows.items()}
                    for i in range(amount)]
    self._action = rows['action'][-1]
    self.end += amount

  def unfinished(self) -> Arrays:
    """The rows of the running episode, as of a finished one."""
    return {key: np.stack([x[key] for x in self.running])
            for key in self.running[0]}

  def finish(self, episode: Episode | None, length: int) -> None:
    """The running episode has ended, with so many rows, and is stored."""
    for _ in range(length - len(self.running)):
      self.slots.append(NONE)  # rows that were not acted on
    self.end += length - len(self.running)
    self.running = []
    self.append(Part(self.end - length, length, episode))

  def append(self, part: Part) -> None:
    self.parts.append(part)
    self._begins.append(part.first)

  def leave(self, first: int) -> tuple[list[Episode], np.ndarray]:
    """Episodes that end before a row are no more; they and their slots."""
    gone = []
    while self.parts and self.parts[0].first + self.parts[0].length <= first:
      gone.append(self.parts.pop(0))
      self._begins.pop(0)
    amount = sum(x.length for x in gone)
    self.begin += amount
    return ([x.episode for x in gone if x.episode],
            self.slots.drop(amount).copy())

  def lose(self, part: Part) -> None:
    """The file of a part can't be used; its rows stay, without content."""
    index = self.parts.index(part)
    self.parts[index] = part._replace(episode=None)

  def pieces(self, first: int, amount: int) -> Iterator[tuple[Part, int, int]]:
    """Parts of rows [first, first + amount): (part, its row, how many)."""
    index = bisect.bisect_right(self._begins, first) - 1
    while amount:
      if first >= self.start:
        part = Part(self.start, len(self.running), None)
      else:
        part = self.parts[index]
      row = first - part.first
      rows = min(amount, part.length - row)
      assert rows > 0, (first, amount, part)
      yield part, row, rows
      first, amount, index = first + rows, amount - rows, index + 1

  def read(self, shelf: Shelf, out: Arrays, first: int) -> None:
    """Reads rows from `first` on into out[key], each [T, ...].

    Raises Lost where their file can't be used.
    """
    place, total = 0, len(next(iter(out.values())))
    for part, row, rows in self.pieces(first, total):
      inside = {key: x[place: place + rows] for key, x in out.items()}
      if part.first == self.start:
        self._read_running(inside, row)
      else:
        _read_stored(shelf, part, inside, row)
      place += rows

  def _read_running(self, out, first):
    for key, array in out.items():
      for index in range(len(array)):
        row = first + index
        array[index] = self._chosen(row) if key == 'action' else (
            self.running[row][key])

  def _chosen(self, number):
    later = number + 1 < len(self.running)
    return self.running[number + 1]['action'] if later else self._action


def _read_stored(shelf, part, out, first):
  """The action that was chosen at a row is the one that led to the next."""
  if part.episode is None:
    raise Lost(part)
  parts = [({key: x for key, x in out.items() if key != 'action'}, first)]
  if 'action' in out:
    out['action'][-1] = 0
    later = min(len(out['action']), part.length - first - 1)
    parts.append(({'action': out['action'][:later]}, first + 1))
  try:
    for arrays, row in parts:
      if arrays and len(next(iter(arrays.values()))):
        shelf.read(part.episode, arrays, row)
  except DAMAGE as error:
    raise Lost(part, error) from error
