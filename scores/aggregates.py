"""What is computed over all tasks of a suite."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from . import atari
from .intervals import Metric, iqm, optimality_gap

CONTROL = (
    'Mean return', 'Median return', 'IQM return', 'Optimality gap to 1000')


def of(tasks: Sequence[str]) -> list[Metric]:
  """Returns the Metrics for tasks; none where they share no scale."""
  if all(task in atari.column('random') for task in tasks):
    return _atari(tasks)
  if all(task.startswith('dmc_') for task in tasks):
    return _control()
  return []


def _control():
  """Returns run from 0 to 1000 in all tasks: no normalisation."""
  mean, median, middle, gap = CONTROL
  return [
      Metric(mean, lambda x: x.mean((-2, -1)), True),
      Metric(median, lambda x: np.median(x.mean(-2), -1), True),
      Metric(middle, iqm),
      Metric(gap, lambda x: optimality_gap(x, 1000))]


def _atari(tasks):
  """Table 1's four, then two of arXiv 2108.13264, by the human gamer."""

  def table_1(index):
    return lambda x: atari.aggregates(x.mean(-2), tasks)[..., index]

  def gamer(x):
    return atari.normalize(x, tasks)

  return [
      *(Metric(name, table_1(i), True)
        for i, name in enumerate(atari.METRICS.values())),
      Metric('Gamer IQM', lambda x: iqm(gamer(x))),
      Metric('Gamer optimality gap to 1',
             lambda x: optimality_gap(gamer(x), 1))]
