"""Curves: means over seeds with their spread, ours and of references."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from dreamer.errors import UserError
from dreamer.tables import amount

from . import atari, binning, catalog, csv_rows, references, runs

CURVES = {  # where a reference has curves beside its scores
    'dreamerv1/table_g': ('dreamerv1_released_curves', 'dreamer',
                          'TF2 rerun'),
    'dreamerv1/released': ('dreamerv1_released_curves', 'dreamer', None),
    'dreamerv2/table_k1': ('dreamerv2_released_curves', 'dreamerv2', None),
    'dreamerv2/released': ('dreamerv2_released_curves', 'dreamerv2', None),
    'dreamerv2/dmc_vision': ('dreamerv2_dmc_vision_curves', 'dreamerv2', None)}
FEW = 10  # bins below which a curve shows single evaluations


class Curve(typing.NamedTuple):
  """steps [N], mean [N], std [N] over seeds (divided by n), and seeds."""

  label: str
  steps: np.ndarray
  mean: np.ndarray
  std: np.ndarray
  seeds: int


def ours(
    group: list[runs.Run], rule: binning.Rule, label: str) -> Curve | None:
  """Returns the Curve of the runs of one task; None without evaluations.

  Runs shorter than FEW bins are shown at the steps of their evaluations.
  """
  rule = _width(group, rule)
  found = [binning.points(run.evaluations, rule) for run in group]
  edges = sorted({edge for points in found for edge in points})
  values = [[points[edge].value for points in found if edge in points]
            for edge in edges]
  if not edges:
    return None
  return Curve(
      label, np.array(edges, float), np.array([np.mean(x) for x in values]),
      np.array([np.std(x) for x in values]), len(group))


def of_reference(
    reference: references.Reference, task: str) -> Curve | None:
  """Returns the Curve of a task, or None where only one score is known."""
  file, method, label = CURVES.get(reference.name, (None, None, None))
  if file and reference.method == method or label:
    rows = [x for x in csv_rows.published(file)
            if (x.task, x.method) == (task, method)]
    return _curve(label or reference.method, [
        (x.env_steps, x.value, x.std, x.n) for x in rows])
  points = reference.scores.get(task, {})
  if len(points) < 2:
    return None
  return _curve(reference.method, [
      (step, x.mean, x.std, x.n) for step, x in points.items()])


def level(
    reference: references.Reference, task: str) -> tuple[str, float] | None:
  """Returns (label, score) of a reference with a single budget, or None."""
  points = reference.scores.get(task, {})
  if len(points) != 1:
    return None
  (step, sample), = points.items()
  return f'{reference.method} at {amount(step)}', sample.mean


def rule(reference: references.Reference | None,
         group: list[runs.Run]) -> binning.Rule:
  """The bins that our runs of a task go into."""
  if reference is not None and reference.rule is not None:
    return reference.rule
  return catalog.default_rule(group[0].task, group[0].method)


def final(group: list[runs.Run], reference: references.Reference
          ) -> tuple[float, float] | None:
  """Our (score, std) at the reference's last budget, or None."""
  points = reference.scores[group[0].task]
  budget, bins = max(points), rule(reference, group)
  if max(run.reached for run in group) < budget:
    return None
  found = [binning.at(binning.points(run.evaluations, bins), bins, budget,
                      run.reached) for run in group]
  values = [x.value for x in found if isinstance(x, binning.Point)]
  return (float(np.mean(values)), float(np.std(values))) if values else None


def aggregate(
    curves: dict[str, Curve], function: Callable,
) -> tuple[np.ndarray, np.ndarray]:
  """Returns (steps, function of means [N, tasks]) where all tasks have one.

  curves: {task: Curve}.
  """
  steps = common(curves)
  means = [[dict(zip(curve.steps.tolist(), curve.mean, strict=True))[step]
            for curve in curves.values()] for step in steps]
  if not steps:
    return np.zeros(0), np.zeros((0, 1))
  return np.array(steps), function(np.array(means))


def common(curves: Mapping[str, Curve | None]) -> list[float]:
  """Returns the steps that all curves have."""
  return sorted(set.intersection(*(
      set(curve.steps.tolist()) if curve else set()
      for curve in curves.values())))


def scale(tasks: Iterable[str]) -> bool:
  """Do scores of the tasks share a scale?"""
  return len({task.split('_')[0] for task in tasks}) == 1 and (
      next(iter(tasks)).startswith('dmc_')
      or all(task in atari.column('random') for task in tasks))


def normalizers(tasks: Sequence[str]) -> dict[str, Callable]:
  """Returns {name: function of means [..., tasks]} for aggregate curves."""
  if not scale(tasks):
    raise UserError('aggregate: the tasks share no scale; draw control tasks '
                    'or Atari games')
  if all(task in atari.column('random') for task in tasks):
    return {name: lambda x, i=i: atari.aggregates(x, tasks)[..., i]
            for i, name in enumerate(atari.METRICS.values())}
  return {'Mean return': lambda x: x.mean(-1),
          'Median return': lambda x: np.median(x, -1)}


def bars(reference: references.Reference, tasks: Iterable[str]) -> dict:
  """Returns {method: {task: (score, std or None)}} of a reference's file.

  Only methods with one score per task: the columns of a table.
  """
  source = catalog.SOURCES.get(reference.name)
  if not source or reference.name not in (
      'dreamerv1/table_g', 'dreamerv1/fig9', 'dreamerv2/table_k1'):
    return {}
  skip = ('human_gamer', 'human_record', 'human_gamer_release', 'dreamer_max')
  found: dict = {}
  for row in csv_rows.published(source.file):
    if (not source.source or row.source == source.source) and (
        row.task in tasks and row.method not in skip):
      found.setdefault(row.method, {})[row.task] = row.value, row.std
  return found


def _width(group, rule):
  furthest = max(run.reached for run in group)
  if furthest >= FEW * rule.width:
    return rule
  return binning.Rule('evaluations', 1)


def _curve(label, points):
  if not points:
    return None
  steps, mean, std, seeds = zip(*points, strict=True)
  return Curve(
      label, np.array(steps, float), np.array(mean, float),
      np.array([x or 0 for x in std], float), max(x or 0 for x in seeds))
