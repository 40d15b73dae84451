"""The streams of all environments: their files, what leaves, what is there."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

import numpy as np

from dreamer import files
from dreamer.errors import UserError
from dreamer.npz import Arrays
from dreamer.replay import episodes as eps
from dreamer.replay.items import Items
from dreamer.replay.lane import Lane, Lost, Part
from dreamer.replay.numbers import Numbers
from dreamer.replay.records import NONE
from dreamer.replay.shelf import Shelf

Item = tuple[int, int]  # stream and first row


class Lanes:
  """Rows of streams come, and leave in the order in which they came.

  amount: of environments. Episodes that are in the folder at the start are
  one more stream, the last one. What adds rows returns the slots of those
  that left for them, see Records.

  items: which sequences there are. shelf: the files. lanes: the streams.
  """

  def __init__(self, shelf: Shelf, items: Items, amount: int) -> None:
    self.shelf, self.items = shelf, items
    self.lanes = [Lane() for _ in range(amount + 1)]
    self._counter = 0  # number of the next episode
    self._saved: int | None = None  # the counter in the newest checkpoint
    for episode in shelf.folder.scan():
      self._counter += 1
      self._recorded(episode)

  def _recorded(self, episode):
    lane = self.lanes[-1]
    lane.finish(episode, episode.length)
    self._advance(len(self.lanes) - 1, episode.length, queues=False)

  @property
  def rows(self) -> int:
    """Those that are there."""
    return sum(x.end - x.begin for x in self.lanes)

  @property
  def episodes(self) -> int:
    return sum(len(x.parts) for x in self.lanes)

  # Coming and going

  def grow(self, stream: int, row: Arrays, action: np.ndarray,
           slot: int) -> np.ndarray:
    """A row of an unfinished episode."""
    self.lanes[stream].grow(row, action, slot)
    return self._advance(stream, 1)

  def unfinished(self, stream: int) -> Arrays | None:
    """The rows so far of an unfinished episode, if there are any."""
    lane = self.lanes[stream]
    return lane.unfinished() if lane.running else None

  def add(self, episode: Mapping[str, np.ndarray],
          stream: int) -> tuple[pathlib.Path, np.ndarray]:
    """Stores what was the unfinished episode, and its last rows."""
    lane, arrays = self.lanes[stream], eps.complete(episode)
    self._check_like_others(arrays)
    path, found = self.shelf.write(arrays, self._counter)
    self._counter += 1
    length = len(arrays['action'])
    new = length - len(lane.running)
    lane.finish(found, length)
    return path, self._advance(stream, new)

  def _check_like_others(self, arrays):
    for lane in self.lanes:
      for part in lane.parts[:1]:
        if part.episode:
          part.episode.check_like(arrays)
          return

  def _advance(self, stream, rows, queues=True):
    """A stream has more rows, and the oldest items may leave for them."""
    gone = [np.zeros(0, np.int64)]
    for _ in range(rows):
      left = self.items.append(stream, queues)
      if left is not None:
        first = int(self.items.first[left])
        episodes, slots = self.lanes[left].leave(first)
        gone.append(slots)
        for episode in episodes:
          self.shelf.evict(episode)
    return np.concatenate(gone)

  # Reading

  def spec(self, key: str) -> eps.Spec:
    """(dtype, shape of a row) of an array. Raises UserError for unknown ones.
    """
    first = self._first()
    if isinstance(first, eps.Episode):
      return first.spec(key)
    if key not in first:
      raise UserError(f'{self.shelf.folder.path} has no {key}; its rows hold '
                      f'{", ".join(sorted(first))}')
    value = np.asarray(first[key])
    return value.dtype, value.shape

  @property
  def keys(self) -> list[str]:
    """All arrays that there are; the discount follows from is_terminal."""
    first = self._first()
    names = first.kind.arrays if isinstance(first, eps.Episode) else first
    keys = dict.fromkeys([*eps.KEYS, *names])
    return [key for key in keys if key != 'image' or 'image' in names]

  def _first(self) -> eps.Episode | Arrays:
    """An episode, or a row of one, that is like all others."""
    return self.example or next(
        lane.running[0] for lane in self.lanes if lane.running)

  @property
  def example(self) -> eps.Episode | None:
    """An episode in the folder, if there is any."""
    return next((part.episode for lane in self.lanes for part in lane.parts
                 if part.episode), None)

  def read(self, out: Arrays, item: Item, offset: int) -> bool:
    """Reads rows of an item into out[key], each [T, ...].

    False: they are lost, with a file that can't be used.
    """
    stream, first = item
    try:
      self.lanes[stream].read(self.shelf, out, first + offset)
    except Lost as lost:
      if lost.error and lost.part.episode:
        self.shelf.set_aside(lost.part.episode, lost.error)
        self.lanes[stream].lose(lost.part)
      return False
    return True

  def slots(self, streams: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Those of rows [N]; NONE of rows that have left."""
    found = np.full(len(rows), NONE, np.int64)
    for stream in np.unique(streams):
      lane, here = self.lanes[stream], np.flatnonzero(streams == stream)
      here = here[rows[here] >= lane.begin]
      found[here] = lane.slots.array[rows[here] - lane.begin]
    return found

  def are_there(self, streams: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Which of rows [N] have not left, bool [N]."""
    return rows >= np.array([x.begin for x in self.lanes])[streams]

  def set_slots(self, streams: np.ndarray, rows: np.ndarray,
                slots: np.ndarray) -> None:
    """Those of rows [N] that are there."""
    for stream in np.unique(streams):
      lane, here = self.lanes[stream], streams == stream
      lane.slots.array[rows[here] - lane.begin] = slots[here]

  # State

  def state(self) -> Arrays:
    parts = [x for lane in self.lanes for x in lane.parts]
    names = [x.episode.name if x.episode else '' for x in parts]
    return {
        **self.items.state(), 'counter': np.array(self._counter),
        'begins': np.array([x.begin for x in self.lanes]),
        'parts': np.array([len(x.parts) for x in self.lanes]),
        'names': np.array(names, np.bytes_),
        'lengths': np.array([x.length for x in parts], np.int64),
        'slots': np.concatenate([x.slots.array for x in self.lanes])}

  def restore(self, state: Mapping[str, np.ndarray],
              unfinished: Mapping[int, Arrays]) -> None:
    """As of StreamReplay."""
    self.items.restore(state)
    self._counter = int(state['counter'])
    if self._saved is None:
      self._saved = self._counter
    names = [x.decode() for x in state['names']]
    there = {x.episode.name: x.episode for lane in self.lanes
             for x in lane.parts if x.episode}
    found = self.shelf.only([x for x in names if x], there)
    missing = sum(map(bool, names)) - len(found)
    if missing:
      files.warn(f'{missing} of {len(names)} episodes that the checkpoint '
                 f'knows are missing in {self.shelf.folder.path}')
    self._restore_lanes(state, [found.get(x) for x in names], unfinished)

  def _restore_lanes(self, state, episodes, unfinished):
    left = iter(zip(episodes, state['lengths'], strict=True))
    slots = Numbers(state['slots'], np.int32)
    self.lanes = [Lane(int(begin)) for begin in state['begins']]
    for index, lane in enumerate(self.lanes):
      for _ in range(int(state['parts'][index])):
        episode, length = next(left)
        lane.append(Part(lane.end, int(length), episode))
        lane.end += int(length)
      if index in unfinished:
        lane.resume(unfinished[index])
      lane.slots = Numbers(slots.drop(lane.end - lane.begin), np.int32)
      assert lane.end == self.items.rows[index], (index, lane.end)

  def saved(self, again: bool) -> None:
    """As of StreamReplay."""
    if self._counter != self._saved and not again:
      self._saved = self._counter
      self.shelf.folder.expire()
