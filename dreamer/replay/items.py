"""Which sequences of endless streams can be drawn, and in which order.

Every row of a stream starts an item of `length` rows, once they are there:

  row      0  1  2  3  4  5  6  7  8  9 10 11     length 5
  items    |-----------|
              |-----------|                       one more with each row
  queue       |-----------|  |-----------|        rows 1, 6, 11 ...

The queue holds the items that do not overlap, and so each row but the first
of a stream once; they are drawn before others, as in danijar/dreamerv3. Items
leave in the order in which they came, over all streams.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np

from dreamer.npz import Arrays
from dreamer.replay.numbers import Numbers
from dreamer.rng import pack_rng, unpack_rng


class Items:
  """Items by stream and first row; both are counted from 0 on.

  streams: how many. capacity: of items. online: whether there is a queue.

  rows: of each stream, so far. first: the first item of each that is there.
  """

  def __init__(self, seed: int, streams: int, length: int, capacity: int,
               online: bool = True) -> None:
    assert 0 < streams < 2 ** 16, streams
    self.length, self.capacity, self.online = length, capacity, online
    self.rows = np.zeros(streams, np.int64)
    self.first = np.zeros(streams, np.int64)
    self._order = Numbers([], np.uint16)  # streams of the items as they came
    self._queue: list[tuple[int, int]] = []
    self._head = 0  # of the queue
    self._rng = np.random.default_rng([seed, zlib.crc32(b'replay')])

  def __len__(self) -> int:
    return len(self._order)

  @property
  def queue(self) -> list[tuple[int, int]]:
    """What will be drawn first, if it is still there then."""
    return [x for x in self._queue[self._head:] if self._is_there(*x)]

  def append(self, stream: int, queues: bool = True) -> int | None:
    """A stream has one more row; returns the one whose oldest item left.

    queues: whether an item may be queued.
    """
    self.rows[stream] += 1
    start = int(self.rows[stream]) - self.length
    if start < 0:
      return None
    left = self._leave() if len(self) >= self.capacity else None
    self._order.append(stream)
    # The row that completes it has a number that `length` divides.
    if self.online and queues and (start - 1) % self.length == 0:
      self._skip()
      self._queue, self._head = self._queue[self._head:], 0
      self._queue.append((stream, start))
    return left

  def _skip(self):
    """Passes over what has left before it was drawn."""
    while self._head < len(self._queue) and not (
        self._is_there(*self._queue[self._head])):
      self._head += 1

  def _leave(self):
    stream = int(self._order.drop()[0])
    self.first[stream] += 1
    return stream

  def next(self) -> tuple[int, int]:
    """(stream, first row) of the queue, or uniform where that is empty."""
    self._skip()
    if self._head == len(self._queue):
      return self.uniform()
    self._head += 1
    return self._queue[self._head - 1]

  def uniform(self) -> tuple[int, int]:
    """(stream, first row) of any item."""
    number = int(self._rng.integers(len(self)))
    ends = np.cumsum(self._amounts())
    stream = int(np.searchsorted(ends, number, side='right'))
    before = int(ends[stream - 1]) if stream else 0
    return stream, int(self.first[stream]) + number - before

  def _amounts(self):
    """Items of each stream."""
    return np.maximum(self.rows - self.length + 1 - self.first, 0)

  def _is_there(self, stream, start):
    return self.first[stream] <= start

  def mark(self) -> tuple:
    """Where drawing is, until a row comes; for `rewind`."""
    return self._rng.bit_generator.state, self._head

  def rewind(self, mark: tuple) -> None:
    self._rng.bit_generator.state, self._head = mark

  def state(self) -> Arrays:
    return {
        'rng': pack_rng(self._rng), 'rows': self.rows.copy(),
        'first': self.first.copy(), 'order': self._order.array.copy(),
        'queue': np.array(self.queue, np.int64).reshape(-1, 2)}

  def restore(self, state: Mapping[str, np.ndarray]) -> None:
    unpack_rng(self._rng, state['rng'])
    self.rows = np.array(state['rows'], np.int64)
    self.first = np.array(state['first'], np.int64)
    self._order = Numbers(state['order'], np.uint16)
    self._queue = [(int(x), int(y)) for x, y in state['queue']]
    self._head = 0
