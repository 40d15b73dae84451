"""Means of metrics between two lines of the log: nothing else averages."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np


class Means:
  """Means of metrics between two lines; non-finite values are left out.

  Their state is part of a checkpoint, so that a line is the same where a run
  stopped before it.
  """

  def __init__(self) -> None:
    self._sums: dict[str, list] = {}  # name -> [sum, count]

  def add(self, metrics: Mapping[str, Any], prefix: str = '') -> None:
    """Adds values, of names under `prefix/`: anything that float() takes."""
    for name, value in metrics.items():
      value = float(value)
      entry = self._sums.setdefault(
          f'{prefix}/{name}' if prefix else name, [0.0, 0])
      if math.isfinite(value):
        entry[0] += value
        entry[1] += 1

  def pop(self) -> dict[str, float]:
    """Returns name -> mean, NaN where no value was finite; starts anew."""
    sums, self._sums = self._sums, {}
    return {name: total / count if count else math.nan
            for name, (total, count) in sums.items()}

  def state(self) -> dict[str, np.ndarray]:
    return {
        'names': np.array(list(self._sums), np.str_),
        'sums': np.array([x[0] for x in self._sums.values()], np.float64),
        'counts': np.array([x[1] for x in self._sums.values()], np.int64)}

  def restore(self, state: Mapping[str, np.ndarray]) -> None:
    lists = (state[key].tolist() for key in ('names', 'sums', 'counts'))
    self._sums = {
        name: [total, count]
        for name, total, count in zip(*lists, strict=True)}
