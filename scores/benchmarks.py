"""What the DreamerV3 paper says of whole suites, from the released runs.

  normed   (x - random) / (reference - random), in percent
  capped   min(normed, 100)

Reference is the human gamer on Atari and DMLab and the best possible return on
ProcGen, as the release has them. A task's score is a mean over seeds; then
comes the mean or the median over tasks.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable

import numpy as np

from dreamer.tables import Table, number

from . import csv_rows

METHOD = 'dreamerv3'
SEEDS = 'each seed by its last bin, carried forward where it stopped before'
CURVE = 'the mean of the seeds that reach the last bin'


class Suite(typing.NamedTuple):
  """A suite of the release: its source, and {aggregate: (digits, function)}.

  The function takes scores [tasks], and of normed ones percentages; digits
  after the point are printed, -1: to ten. nature:
  whether the released runs are those of the paper in Nature.
  """

  source: str
  normed: bool
  metrics: dict[str, tuple[int, Callable]]
  nature: bool = True


MEAN, MEDIAN = np.mean, np.median
CAPPED = lambda x: np.minimum(x, 100).mean()
SUITES = {
    'atari': Suite('v3_atari', True, {'gamer_median': (-1, MEDIAN)}),
    'atari100k': Suite('v3_atari100k', True, {
        'gamer_mean': (0, MEAN), 'gamer_median': (0, MEDIAN)}),
    'dmc_vision': Suite('v3_dmc_vision', False, {'mean': (0, MEAN)}, False),
    'dmc_proprio': Suite('v3_dmc_proprio', False, {'mean': (0, MEAN)}, False),
    'dmlab': Suite('v3_dmlab', True, {'capped_mean': (0, CAPPED)}),
    'procgen': Suite('v3_procgen', True, {'normed_mean': (0, MEAN)}, False),
    'minecraft': Suite('v3_minecraft', False, {'mean': (1, MEAN)})}
NOT_RELEASED = ('printed for runs of the paper in Nature; the released ones '
                'are those of arXiv v2')


@functools.cache
def baselines() -> dict[str, tuple[float, float]]:
  """Returns {task: (random play, reference)}, as the release has them."""
  rows = csv_rows.published('dreamerv3_baselines')
  column = lambda method: {
      x.task: x.value for x in rows
      if x.method == method and x.value is not None}
  low, high = column('random'), column('reference')
  return {task: (low[task], high[task]) for task in low}


def methods(suite: str) -> list[str]:
  """Returns the agents that the release has scores of, DreamerV3 first."""
  rows = _rows('curves', suite)
  found = dict.fromkeys(row.method for row in rows)
  return sorted(found, key=lambda name: (name != METHOD, name))


def scores(suite: str, method: str, rule: str = SEEDS) -> dict[str, float]:
  """Returns {task: score} at the end of the budget, by SEEDS or CURVE."""
  rows = _rows('seeds' if rule == SEEDS else 'curves', suite)
  end = max(row.env_steps for row in rows)
  found: dict = {}
  for row in rows:
    if (row.method, row.env_steps) == (method, end) and row.value is not None:
      found.setdefault(row.task, []).append(row.value)
  return {task: float(np.mean(values)) for task, values in found.items()}


def aggregates(
    suite: str, method: str, rule: str = SEEDS) -> dict[str, float]:
  """Returns {aggregate: value} of a suite, see `Suite`."""
  found = scores(suite, method, rule)
  values = np.array(list(found.values()))
  if SUITES[suite].normed:
    low, high = np.array([baselines()[task] for task in found]).T
    values = 100 * (values - low) / (high - low)
  return {name: float(function(values))
          for name, (_, function) in SUITES[suite].metrics.items()}


def cells() -> list[tuple]:
  """Returns [(suite, aggregate, computed, printed, digits)] of DreamerV3."""
  printed = {row.task: row.value
             for row in csv_rows.published('dreamerv3_ed_1')}
  return [
      (suite, name, value, printed[f'{suite}_{name}'],
       SUITES[suite].metrics[name][0])
      for suite in SUITES
      for name, value in aggregates(suite, METHOD).items()]


def table() -> Table:
  """Returns all agents of the release beside what the paper prints."""
  printed = {(suite, name): (value, digits)
             for suite, name, _, value, digits in cells()}
  rows = []
  for suite, about in SUITES.items():
    for method in methods(suite):
      by_seeds = aggregates(suite, method)
      by_curve = aggregates(suite, method, CURVE)
      for name, (digits, _) in about.metrics.items():
        rows.append([
            f'{suite} {name}', method, number(by_seeds[name], 1),
            number(by_curve[name], 1),
            number(printed[suite, name][0], max(digits, 0)) if method == METHOD
            else ''])
  return Table(
      'DreamerV3, aggregates over suites (percent where normed): from the last '
      'of the 20 bins of each budget',
      ('aggregate', 'agent', 'by seeds', 'by curve', 'printed'), rows,
      (f'By seeds: {SEEDS}.', f'By curve: {CURVE}.', *_verdicts()))


def _verdicts():
  found = []
  for suite, name, by_seeds, printed, digits in cells():
    by_curve = aggregates(suite, METHOD, CURVE)[name]
    fit = [rule for rule, x in (('by seeds', by_seeds), ('by curve', by_curve))
           if round(x, digits) == round(printed, digits)]
    text = ' and '.join(fit) + ': the printed number' if fit else (
        'neither gives the printed number')
    why = '' if fit or SUITES[suite].nature else f' ({NOT_RELEASED})'
    found.append(f'{suite} {name}: {text}{why}.')
  return tuple(found)


def _rows(kind, suite):
  return [row for row in csv_rows.published(f'dreamerv3_released_{kind}')
          if row.source == SUITES[suite].source]
