"""The episodes that are held in memory."""

from __future__ import annotations

import collections

from dreamer.npz import Arrays


class Memory:
  """Loaded episodes by name, up to `limit` bytes; the least used go first."""

  def __init__(self, limit: float) -> None:
    self.limit = limit
    self.bytes = 0
    self._items: collections.OrderedDict[str, Arrays] = (
        collections.OrderedDict())

  def get(self, name: str) -> Arrays | None:
    if name in self._items:
      self._items.move_to_end(name)
    return self._items.get(name)

  def has_room(self, size: int) -> bool:
    return self.bytes + size <= self.limit

  def put(self, name: str, arrays: Arrays) -> None:
    """Keeps an episode, unless it alone exceeds the limit."""
    self.remove(name)
    size = _size(arrays)
    if size > self.limit:
      return
    while not self.has_room(size):
      self.remove(next(iter(self._items)))
    self._items[name] = arrays
    self.bytes += size

  def remove(self, name: str) -> None:
    if name in self._items:
      self.bytes -= _size(self._items.pop(name))


def _size(arrays: Arrays) -> int:
  return sum(x.nbytes for x in arrays.values())
