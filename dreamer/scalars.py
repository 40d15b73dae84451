"""Named scalars of many updates, read from a device at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np


class Scalars(Mapping[str, Any]):
  """Scalars by name, in one array [K] of whoever computed them.

  stack: makes one array [N, K] of N arrays, where they are.
  """

  def __init__(self, names: Sequence[str], array: Any,
               stack: Callable[[list], Any] = np.stack) -> None:
    self.names, self.array, self.stacked = tuple(names), array, stack

  def __getitem__(self, name: str) -> Any:
    try:
      return self.array[self.names.index(name)]
    except ValueError:
      raise KeyError(name) from None

  def __iter__(self) -> Iterator[str]:
    return iter(self.names)

  def __len__(self) -> int:
    return len(self.names)


def read(updates: Sequence[Mapping[str, Any]]) -> list[dict[str, float]]:
  """The numbers of updates of one agent; waits for the device once."""
  if not updates:
    return []
  first = updates[0]
  if not isinstance(first, Scalars):
    return [{key: float(x) for key, x in update.items()} for update in updates]
  arrays = [x.array for x in updates if isinstance(x, Scalars)]
  table = np.asarray(first.stacked(arrays), np.float64)
  return [dict(zip(first.names, row, strict=True)) for row in table.tolist()]
