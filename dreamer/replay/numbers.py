"""Whole numbers in a row that grows at its end and shrinks at both."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import DTypeLike


class Numbers:
  """One more, or the first one less, in O(1)."""

  def __init__(self, values: Iterable[int],
               dtype: DTypeLike = np.int64) -> None:
    self._data = np.array(
        values if isinstance(values, np.ndarray) else list(values), dtype)
    self._begin, self._end = 0, len(self._data)

  def __len__(self) -> int:
    return self._end - self._begin

  @property
  def array(self) -> np.ndarray:
    """A view, until the next change."""
    return self._data[self._begin: self._end]

  def append(self, value: int) -> None:
    self._grow(1)
    self._data[self._end] = value
    self._end += 1

  def extend(self, values: np.ndarray) -> None:
    self._grow(len(values))
    self._data[self._end: self._end + len(values)] = values
    self._end += len(values)

  def drop(self, amount: int = 1) -> np.ndarray:
    """The first ones, which are no more; a view."""
    self._begin += amount
    return self._data[self._begin - amount: self._begin]

  def take(self, most: int) -> np.ndarray:
    """As many of the last ones, which are no more; a copy."""
    amount = min(most, len(self))
    found = self._data[self._end - amount: self._end].copy()
    self._end -= amount
    return found

  def _grow(self, amount):
    """Makes room at the end, twice as much as there is, without the gone."""
    if self._end + amount <= len(self._data):
      return
    array = self.array
    room = np.zeros(len(array) + max(amount, 16), self._data.dtype)
    self._data = np.concatenate([array, room])
    self._begin, self._end = 0, len(array)
