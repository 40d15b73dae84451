"""The endless streams of environments, and what an agent stores beside them."""

from __future__ import annotations

import pathlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dreamer import files
from dreamer.errors import UserError
from dreamer.npz import Arrays
from dreamer.replay.base import Base
from dreamer.replay.episodes import Episode
from dreamer.replay.items import Items
from dreamer.replay.lanes import Item, Lanes
from dreamer.replay.records import NONE, Records
from dreamer.replay.shelf import Shelf
from dreamer.replay.stored import Packed, Stored

PREFIX = 'stored/'  # of the agent's arrays in a batch
_TRIES = 1000  # sequences that may be lost before there are none


class Drawn(NamedTuple):
  """Where a batch is from.

  items: (stream, first row) of its sequences, [B, 2]. offset: rows of them
  that come before those of the batch. length: of what is trained.
  """

  items: np.ndarray
  offset: int
  length: int

  def rows(self, begin: int, amount: int) -> tuple[np.ndarray, np.ndarray]:
    """Streams and numbers [B * amount] of rows of the batch from one on."""
    streams = np.repeat(self.items[:, 0], amount)
    first = self.items[:, 1:] + self.offset + begin
    return streams, (first + np.arange(amount)).reshape(-1)


class StreamReplay(Base):
  """Sequences of the streams of all environments, over ends of episodes.

  Each row starts one, those of unfinished episodes too. Row t holds the
  observation, reward and flags of t, and the action chosen after it, zeros at
  the end of an episode. `is_first` is true where an episode begins, and in
  the first row of a sequence; `is_last` also where the next row is a first
  one, such as after a crash. New sequences that do not overlap are drawn
  before others, once each (Nature 640, 647-653, Methods / Experience replay).

  A sequence has `context` rows before the `length` ones that are trained; what
  the agent stored with them, `stored/NAME`, is the state it had there.
  `refresh` writes what an update makes of the trained rows, at once:
  danijar/dreamerv3 does it an update later, for speed. With `consec` the
  same sequences go on in so many batches, `consec` in them counts from 0.

  Finished episodes are files as those of Replay, so that they can be exchanged;
  what the agent stored is in `stored.bin` beside them. Recorded episodes that
  are in the folder at the start are one more stream.

  directory, owner, memory_gb: as of Replay. streams: amount of environments.
  length: rows that are trained. least: items before it is `ready`.
  capacity: of items; the oldest leave. spare_gb: of slots that only
    checkpoints need, before it `wants_save`. row_bytes: of a row in the
    files, for `describe`.

  items: which sequences there are. lanes: their rows. records: what the agent
  stored, packed as `packed` does it.
  """

  streams = True

  def __init__(
      self, directory: files.Path, seed: int, streams: int, length: int,
      stored: Mapping[str, Stored], *, least: int = 1,
      capacity: int = 5_000_000, online: bool = True, context: int = 1,
      consec: int = 1, count_resets: bool = False, memory_gb: float = 0.5,
      spare_gb: float = 1.0, row_bytes: int = 0, owner: bool = True) -> None:
    self.directory = pathlib.Path(directory)
    self.count_resets = count_resets
    self._length, self._context, self._consec = length, context, consec
    self._least, self._spare = least, spare_gb * 1e9
    self._row_bytes, self._memory_gb = row_bytes, memory_gb
    items = Items(
        seed, streams + 1, consec * length + context, capacity, online)
    self.lanes = Lanes(
        Shelf(self.directory, owner, seed, memory_gb), items, streams)
    self.items = items
    self.packed = Packed(stored)
    self.records = Records(self.directory / 'stored.bin', self.packed.size)
    self._going: Drawn | None = None  # whose sequences may go on

  @property
  def episodes(self) -> int:
    return self.lanes.episodes

  @property
  def example(self) -> Episode | None:
    """An episode in the folder, if there is any."""
    return self.lanes.example

  @property
  def ready(self) -> bool:
    return len(self.items) >= self._least

  @property
  def wants_save(self) -> bool:
    return self.records.stale * self.records.step > self._spare

  # Coming

  def grow(self, stream: int, row: Arrays, action: np.ndarray,
           stored: Arrays) -> None:
    slot = NONE
    if stored:
      one = {key: x[None] for key, x in stored.items()}
      slot = int(self._write(np.array([NONE]), one)[0])
    self.records.release(self.lanes.grow(stream, row, action, slot))

  def cut(self, stream: int) -> None:
    unfinished = self.lanes.unfinished(stream)
    if unfinished:
      self.add(unfinished, stream)

  def add(self, episode: Mapping[str, np.ndarray],
          stream: int = 0) -> pathlib.Path | None:
    path, gone = self.lanes.add(episode, stream)
    self.records.release(gone)
    return path

  # Drawing

  def draw(self, batch: int, length: int,
           keys: Sequence[str] | None = None) -> Arrays:
    """A new dict of arrays [batch, context + length, ...].

    keys: observations, action, reward, is_first, is_last, is_terminal, and
      consec [batch], stored/NAME [batch, context, ...]; by default all.
    """
    assert length == self._length, (length, self._length)
    drawn = self._goes_on(batch) or self._new(batch, length, self.items.next)
    found, self.drawn = self._collect(drawn, keys, self.items.next)
    self._going = self.drawn
    return found

  def _goes_on(self, batch):
    """The sequences of the last batch, where they do."""
    going = self._going
    if going is None or len(going.items) != batch:
      return None
    offset = going.offset + self._length
    goes_on = offset < self._consec * self._length
    return going._replace(offset=offset) if goes_on else None

  def _new(self, batch, length, next_item):
    if not len(self.items):
      raise UserError(f'batch_length {self._length}: {self.missing()}')
    items = [next_item() for _ in range(batch)]
    return Drawn(np.array(items, np.int64), 0, length)

  def peek(self, batch: int, length: int,
           keys: Sequence[str] | None = None) -> Arrays:
    """As `sample`, but uniform: nothing is taken from the queue."""
    mark = self.mark()
    uniform = self.items.uniform
    found, drawn = self._collect(
        self._new(batch, length, uniform), keys, uniform)
    self.rewind(mark)
    return {**found, **self.late(drawn, keys)}

  def _collect(self, drawn, keys, next_item):
    """Arrays of a batch, and where it is from, as far as it can be read."""
    keys = self._keys if keys is None else tuple(keys)
    out = self._empty(drawn, {*keys, 'is_first'})
    items, after = drawn.items.copy(), np.zeros(len(drawn.items), bool)
    for index, item in enumerate(drawn.items):
      part = {key: x[index] for key, x in out.items() if _is_row(key)}
      items[index] = self._fill(part, item, drawn.offset, next_item)
      after[index] = self._begins(
          items[index], drawn.offset + len(part['is_first']))
      if not drawn.offset or (items[index] != item).any():
        part['is_first'][0] = True
    if 'is_last' in out:  # also where an episode was broken off
      out['is_last'][:, :-1] |= out['is_first'][:, 1:]
      out['is_last'][:, -1] |= after
    return {key: out[key] for key in keys}, drawn._replace(items=items)

  @property
  def _keys(self):
    names = [PREFIX + name for name in self.packed.specs]
    return [*self.lanes.keys, 'consec', *names]

  def _empty(self, drawn, keys):
    """Arrays for rows, and what else there is in a batch."""
    batch, out = len(drawn.items), {}
    for key in keys:
      if key == 'consec':
        out[key] = np.full(batch, drawn.offset // self._length, np.int32)
      elif not _is_row(key):
        spec = self.packed.specs[key.removeprefix(PREFIX)]
        out[key] = np.zeros((batch, self._context, *spec.shape), np.float32)
      else:
        dtype, shape = self.lanes.spec(key)
        out[key] = np.empty(
            (batch, self._context + drawn.length, *shape), dtype)
    return out

  def _fill(self, out: Arrays, item: np.ndarray, offset: int,
            next_item: Callable[[], Item]) -> Item:
    """Reads the rows of an item, or of another one where that is lost."""
    found = int(item[0]), int(item[1])
    for _ in range(_TRIES):
      if self.lanes.read(out, found, offset):
        return found
      found = next_item()
    raise UserError(
        f'{self.directory}: so many episodes are gone or damaged that no '
        'sequence is left to learn from')

  def _begins(self, item, row):
    """Whether a row of an item is the first of an episode."""
    out = {'is_first': np.zeros(1, bool)}
    if row < self.items.length:
      self.lanes.read(out, (int(item[0]), int(item[1])), row)
    return out['is_first'][0]

  def late(self, drawn: Drawn, keys: Sequence[str] | None = None) -> Arrays:
    names = [x for x in self.packed.specs
             if keys is None or PREFIX + x in keys]
    if not names:
      return {}
    streams, rows = drawn.rows(0, self._context)
    records, good = self.records.read(self.lanes.slots(streams, rows))
    found = self.packed.decode(records, good)
    shape = len(drawn.items), self._context
    return {PREFIX + x: found[x].reshape(*shape, *found[x].shape[1:])
            for x in names}

  def refresh(self, drawn: Drawn, new: Arrays) -> None:
    streams, rows = drawn.rows(self._context, drawn.length)
    # Of rows that come twice the last ones count; some may have left.
    backwards = np.stack([streams, rows], 1)[::-1]
    _, last = np.unique(backwards, axis=0, return_index=True)
    chosen = len(rows) - 1 - last
    chosen = np.sort(chosen[self.lanes.are_there(streams, rows)[chosen]])
    places = streams[chosen], rows[chosen]
    slots = self._write(self.lanes.slots(*places), {
        key: x.reshape(-1, *x.shape[2:])[chosen] for key, x in new.items()})
    self.lanes.set_slots(*places, slots)

  def _write(self, slots, arrays):
    """Stores rows [N, ...] by name; returns their slots."""
    records = self.records.blank(len(slots))
    self.packed.encode(arrays, records[:, :self.packed.size])
    return self.records.write(slots, records)

  def mark(self) -> tuple:
    return self.items.mark(), self._going

  def rewind(self, mark: tuple) -> None:
    items, self._going = mark
    self.items.rewind(items)

  # State

  def state(self) -> Arrays:
    self.records.sync()
    going = self._going or Drawn(np.zeros((0, 2), np.int64), 0, 0)
    return {**self.lanes.state(), **self.records.state(),
            'going': going.items, 'offset': np.array(going.offset)}

  def restore(self, state: Mapping[str, np.ndarray],
              unfinished: Mapping[int, Arrays] | None = None) -> None:
    self.lanes.restore(state, unfinished or {})
    self.records.restore(np.asarray(state['slots'], np.int64), state)
    going = Drawn(state['going'], int(state['offset']), self._length)
    self._going = going if len(going.items) else None

  def saved(self, again: bool = False) -> None:
    self.records.saved(again)
    self.lanes.saved(again)

  def close(self) -> None:
    self.records.close()

  # For people

  def stats(self) -> dict[str, float]:
    """Numbers for the log.

    steps: rows that are there; episodes: finished ones; items: sequences that
    can be drawn; queue: those of them that come first; damaged: files that
    could not be used; disk_reads: of rows that were not in memory; memory_gb:
    size of the episodes that are; stored_gb: of what the agent stored.
    """
    shelf = self.lanes.shelf
    return {
        'steps': self.lanes.rows, 'episodes': self.episodes,
        'items': len(self.items), 'queue': len(self.items.queue),
        'damaged': shelf.folder.damaged, 'disk_reads': shelf.disk_reads,
        'memory_gb': shelf.memory.bytes / 1e9,
        'stored_gb': self.records.bytes / 1e9}

  def describe(self, steps: int) -> str:
    """Disk and memory; warns where the disk is too small for them."""
    rows, step = min(steps, self.items.capacity), self.records.step
    disk = (rows * (self._row_bytes + step) + self._spare) / 1e9
    used = self.lanes.rows * (self._row_bytes + step) / 1e9
    free = shutil.disk_usage(self.directory).free / 1e9
    if disk > free + used:
      files.warn(
          f'{self.directory}: {free:.1f} GB are free, the replay will need '
          f'{disk - used:.1f} more; free some, or lower replay.capacity')
    memory = self._memory_gb + 6e-9 * rows  # numbers of slots and streams
    return (
        f'replay: at most {rows:,} rows (capacity {self.items.capacity:,}) of '
        f'{self._row_bytes / 1e3:.1f} kB and {step / 1e3:.1f} kB that the '
        f'agent stores: {disk:.1f} GB of disk, {self._spare / 1e9:.1f} of them '
        f'for checkpoints, {free:.1f} are free; {memory:.1f} GB of memory, and '
        'unfinished episodes')

  def missing(self) -> str:
    return (f'the replay has {self.lanes.rows} rows, in which '
            f'{len(self.items)} sequences of {self.items.length} begin, of '
            f'{self._least} that learning starts with; raise steps, or lower '
            'batch_size or batch_length in a new logdir')


def _is_row(key):
  return key != 'consec' and not key.startswith(PREFIX)
