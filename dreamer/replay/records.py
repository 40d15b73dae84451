"""Records in one file that change, while checkpoints keep what they were.

A record has a slot of the file. One that changes gets another slot, unless its
own was written since the last checkpoint; so what a checkpoint's slots hold
stays as it was, and nothing has to be undone to go back to it. Slots that only
checkpoints before the last two need are used again.

  checkpoint 1   write, write   checkpoint 2   write      checkpoint 3
  row 7: slot 0  1, 1           1              2          2: slot 0 is free
"""

from __future__ import annotations

import errno
import os
import zlib
from collections.abc import Mapping

import numpy as np

from dreamer import files
from dreamer.errors import UserError
from dreamer.npz import Arrays
from dreamer.replay.numbers import Numbers

NONE = -1  # no slot


class Records:
  """Slots of `size` bytes and a checksum each, numbered from 0 on.

  path: of the file, made when the first record is written. What its disk
  refuses raises UserError. Slots that can't be read, or have changed on the
  disk, are not good; the first time warns.

  step: bytes of a slot. stale: slots that only checkpoints need.
  """

  def __init__(self, path: files.Path, size: int) -> None:
    self.path, self.size = path, size
    self.step = size + 4
    self._handle: int | None = None
    self._total = 0  # slots that the file has, or will have
    self._free = Numbers([])
    self._fresh = np.zeros(0, bool)  # by slot: written since the checkpoint
    self._old: list[np.ndarray] = []  # left since the last checkpoint
    self._older = np.zeros(0, np.int64)  # left between the last two
    self._warned = False

  @property
  def stale(self) -> int:
    return len(self._older) + sum(map(len, self._old))

  @property
  def bytes(self) -> int:
    """Of the file."""
    return self._total * self.step

  def blank(self, amount: int) -> np.ndarray:
    """Room for records to write, uint8 [N, step]; the last bytes are ours."""
    return np.zeros((amount, self.step), np.uint8)

  def write(self, slots: np.ndarray, records: np.ndarray) -> np.ndarray:
    """Writes records for what has these slots; returns the new ones.

    slots: [N], no slot twice; NONE for what has none. records: of `blank`.
    """
    keeps = (slots != NONE) & self._fresh[slots] if len(self._fresh) else (
        np.zeros(len(slots), bool))
    new = slots.copy()
    new[~keeps] = self._allocate(int((~keeps).sum()))
    self._leave(slots[~keeps & (slots != NONE)])
    self._write(new, records)
    return new

  def read(self, slots: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Records [N, size] of slots [N], and which are good, bool [N].

    NONE is not good.
    """
    found = np.zeros((len(slots), self.step), np.uint8)
    for part in _runs(slots):
      content = self._read(int(slots[part[0]]), len(part))
      found[part[:len(content)]] = content
    records = found[:, :self.size]
    sums = np.ascontiguousarray(found[:, self.size:]).view(np.uint32)[:, 0]
    good = slots != NONE
    wrong = good & (_checksums(records) != sums)
    if wrong.any() and not self._warned:
      self._warned = True
      files.warn(f'{self.path}: {wrong.sum()} stored state(s) of the agent can '
                 'not be read; zeros stand for them until they are learned '
                 'from again')
    return records, good & ~wrong

  def release(self, slots: np.ndarray) -> None:
    """What has these slots is gone."""
    slots = slots[slots != NONE]
    fresh = self._fresh[slots]
    self._leave(slots[~fresh])
    self._free.extend(slots[fresh])
    self._fresh[slots] = False

  def sync(self) -> None:
    """All that was written is on the disk."""
    if self._handle is not None:
      self._checked(os.fsync, self._handle)

  def state(self) -> Arrays:
    """What a restored store must not use, beside the slots in use."""
    return {'stale': np.concatenate([self._older, *self._old])}

  def restore(self, slots: np.ndarray, state: Mapping[str, np.ndarray]) -> None:
    """Goes back to a checkpoint, in which these slots were in use."""
    self.close()
    self._old, self._older = [], np.asarray(state['stale'], np.int64)
    used = np.concatenate([slots[slots != NONE], self._older])
    size = os.path.getsize(self.path) if os.path.exists(self.path) else 0
    self._total = max(size // self.step, int(used.max(initial=NONE)) + 1)
    free = np.ones(self._total, bool)
    free[used] = False
    self._free = Numbers(np.flatnonzero(free))
    self._fresh = np.zeros(self._total, bool)

  def saved(self, again: bool = False) -> None:
    """A checkpoint with `state()` was written.

    again: in the place of the last one: the one before is still there.
    """
    if not again:
      self._free.extend(self._older)
      self._older = self._older[:0]
    self._older = np.concatenate([self._older, *self._old])
    self._old = []
    self._fresh[:] = False

  def close(self) -> None:
    if self._handle is not None:
      os.close(self._handle)
      self._handle = None

  def _allocate(self, amount):
    """Slots that nothing needs, marked as fresh."""
    found = self._free.take(amount)
    more = amount - len(found)
    found = np.concatenate([found, self._total + np.arange(more)])
    self._total += more
    if self._total > len(self._fresh):  # twice as much room
      room = np.zeros(2 * self._total, bool)
      room[:len(self._fresh)] = self._fresh
      self._fresh = room
    self._fresh[found] = True
    return found

  def _leave(self, slots):
    if len(slots):
      self._old.append(slots.astype(np.int64))

  def _write(self, slots, records):
    records[:, self.size:] = _checksums(
        records[:, :self.size])[:, None].view(np.uint8)
    for part in _runs(slots):
      in_order = len(part) == 1 or (np.diff(part) == 1).all()
      rows = slice(part[0], part[-1] + 1) if in_order else part
      data = np.ascontiguousarray(records[rows]).data.cast('B')
      place = int(slots[part[0]]) * self.step
      while len(data):
        written = self._checked(os.pwrite, self._open(), data, place)
        data, place = data[written:], place + written

  def _read(self, first, amount):
    """Whole records from a slot on, as far as the file has them."""
    try:
      content = os.pread(
          self._open(), amount * self.step, first * self.step)
    except OSError:
      content = b''
    whole = len(content) // self.step * self.step
    return np.frombuffer(content[:whole], np.uint8).reshape(-1, self.step)

  def _open(self):
    if self._handle is None:
      self._handle = self._checked(
          os.open, self.path, os.O_RDWR | os.O_CREAT, 0o666)
    return self._handle

  def _checked(self, function, *args):
    try:
      return function(*args)
    except OSError as error:
      if error.errno in (errno.ENOSPC, errno.EDQUOT):
        raise UserError(
            f'disk full: {self.path} can not grow; free some space and '
            'resume') from error
      raise UserError(
          f'can not write {self.path}: {error.strerror}') from error


def _checksums(records):
  return np.array([zlib.crc32(x) for x in records], np.uint32)


def _runs(slots: np.ndarray) -> list[np.ndarray]:
  """Indices of slots that are neighbours, in order, in one array each."""
  if len(slots) == 1:
    return [np.zeros(1, np.int64)] if slots[0] != NONE else []
  order = np.argsort(slots, kind='stable')
  order = order[slots[order] != NONE]
  if not len(order):
    return []
  return np.split(order, np.flatnonzero(np.diff(slots[order]) != 1) + 1)
