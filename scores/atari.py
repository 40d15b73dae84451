"""Normalised scores of the 55 Atari games, as the DreamerV2 paper has them.

  gamer   (x - random) / (human gamer - random)
  record  (x - random) / (human record - random)

Table 1 takes the mean over seeds first, then aggregates over games. (The
caption of Table K.1 says the opposite order; that gives other numbers.)
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from . import csv_rows

METRICS = {
    'gamer_median': 'Gamer median', 'gamer_mean': 'Gamer mean',
    'record_mean': 'Record mean', 'clipped_record_mean': 'Clipped record mean'}


@functools.cache
def column(method: str) -> dict[str, float]:
  """Returns {task: score} of a column of Table K.1."""
  rows = csv_rows.published('dreamerv2_table_k1')
  return {row.task: row.value for row in rows
          if row.method == method and row.value is not None}


def games() -> list[str]:
  """Returns the 55 tasks: Atari 57 without Defender and Surround."""
  return list(column('random'))


def normalize(
    scores: np.typing.ArrayLike, tasks: Sequence[str],
    base: str = 'human_gamer') -> np.ndarray:
  """Returns scores [..., tasks] relative to random play and a human."""
  low = np.array([column('random')[task] for task in tasks])
  high = np.array([column(base)[task] for task in tasks])
  return (np.asarray(scores, np.float64) - low) / (high - low)


def aggregates(
    means: np.ndarray, tasks: Sequence[str],
    gamer: str = 'human_gamer') -> np.ndarray:
  """Returns Table 1's four numbers over the last axis of means [..., tasks].

  Returns an array [..., 4] in the order of METRICS.
  """
  by_gamer = normalize(means, tasks, gamer)
  record = normalize(means, tasks, 'human_record')
  return np.stack([
      np.median(by_gamer, -1), by_gamer.mean(-1), record.mean(-1),
      np.minimum(record, 1).mean(-1)], -1)


@functools.cache
def released(
    method: str = 'dreamerv2', step: int = 199_000_000) -> np.ndarray:
  """Returns the released scores at a step as an array [seeds, 55]."""
  found: dict = {}
  for row in csv_rows.published('dreamerv2_released_seeds'):
    if (row.method, row.env_steps) == (method, step):
      found.setdefault(row.seed, {})[row.task] = row.value
  return np.array([[scores[task] for task in games()]
                   for scores in found.values()])
