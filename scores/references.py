"""What runs are compared with: published scores, or a file, at budgets."""

from __future__ import annotations

import functools
import math
import pathlib
import statistics
import typing
from collections.abc import Iterable

from dreamer.errors import UserError
from dreamer.tables import amount

from . import binning, catalog, collect, csv_rows, runs


class Sample(typing.NamedTuple):
  """Scores of one task at one budget.

  std: over seeds, unbiased; None: not known. n: seeds; None: not known.
  values: of single seeds, or None where only their mean is known.
  carried: how many are carried forward from runs that stopped before.
  seeds: whose the values are, where that is known.
  """

  mean: float
  std: float | None = None
  n: int | None = None
  values: tuple | None = None
  carried: int = 0
  seeds: tuple | None = None

  @classmethod
  def of(cls, values: Iterable[float], carried: int = 0,
         seeds: Iterable | None = None) -> Sample:
    """Makes a Sample of one score per seed."""
    values = tuple(map(float, values))
    std = statistics.stdev(values) if len(values) > 1 else None
    return cls(statistics.fmean(values), std, len(values), values, carried,
               tuple(map(str, seeds)) if seeds is not None else None)


class Reference(typing.NamedTuple):
  """Scores to compare with.

  scores: {task: {budget in environment steps: Sample}}.
  rule: the bins our evaluations go into; None: the task's own.
  protocol: what is known about how it was measured; presets: the ones of
  this project that stand for its code; agent: the paper's agent.
  remarks: what a reader has to know. margin: see compare; None: by suite.
  learned: the score from which on a run counts as having learned, or None.
  curve: whether scores of a run at all budgets make up one curve, whose mean
  is compared as well.
  """

  name: str
  method: str
  scores: dict
  rule: binning.Rule | None
  protocol: dict
  presets: tuple = ()
  agent: str = ''
  remarks: tuple = ()
  margin: str | None = None
  learned: float | None = None
  curve: bool = False


class Paper(typing.NamedTuple):
  """A paper's mean score and the environment steps it was reached at."""

  score: float
  steps: int

  @property
  def when(self) -> str:
    return f'{amount(self.steps)} steps'


def paper(run: runs.Run) -> Paper | None:
  """Returns the last score that the paper of a run's agent has of its task."""
  return paper_of(run.method, run.task, run.presets)


def paper_of(agent: str, task: str, presets: Iterable[str]) -> Paper | None:
  """Returns the last score that the paper of an agent has of a task."""
  reference = of_paper(agent, task, presets)
  points = reference.scores.get(csv_rows.task_name(task)) if reference else None
  return Paper(points[max(points)].mean, max(points)) if points else None


def of_paper(
    agent: str, task: str, presets: Iterable[str]) -> Reference | None:
  """Returns what the paper of an agent has of tasks such as this one."""
  found = catalog.published(agent, task, presets)
  if not found or not found.reference:
    return None
  return _loaded(found.reference, found.method)


@functools.cache
def _loaded(name, method):
  return load(name, method)


def check(name: str) -> None:
  """Raises UserError for what is neither a known reference nor a file."""
  if name not in catalog.SOURCES and not pathlib.Path(name).is_file():
    raise UserError(
        f'--to: {name} is no file and no known reference; known: '
        f'{", ".join(catalog.SOURCES)}')


def load(name: str, method: str | None = None, width: str | None = None,
         returns: str = 'evaluation') -> Reference:
  """Returns the Reference of a name or a file. Raises UserError.

  method: of those that the source has; None: the paper's agent. width: see
    binning.rule; only for files, whose bins are not known. returns: which ones
    a file of runs has to hold; others say it themselves.
  """
  check(name)
  if name not in catalog.SOURCES:
    return _from_file(name, method, width, returns)
  if width:
    raise UserError(f'--bin: {name} has its own bins; leave --bin out')
  source = catalog.SOURCES[name]
  rows = [row for row in csv_rows.published(source.file)
          if (not source.source or row.source == source.source)
          and (not source.alone or row.method == source.method)]
  method = method or source.method
  rows = _of_method(name, rows, method)
  if (name, method) == ('dreamerv2/table_k1', 'dreamerv2'):
    rows = [row for row in csv_rows.published('dreamerv2_released_seeds')
            if (row.method, row.env_steps) == (method, 199_000_000)]
  protocol = dict(source.protocol)
  if method.startswith('repeat_'):
    protocol['action_repeat'] = int(method.removeprefix('repeat_'))
  if method != source.method and not method.startswith('repeat_'):
    protocol = {'returns': protocol['returns']}  # of baselines no more is known
  rule = binning.rule(source.rule)
  return Reference(
      name, method, _scores(name, _binned(rows, rule) if source.episodes else (
          rows)), rule, protocol, source.presets, source.agent, source.remarks,
      **source.more)


def kind_of_returns(name: str | None) -> str:
  """Returns which returns of runs a reference is to be compared with."""
  if name in catalog.SOURCES:
    return catalog.SOURCES[name].protocol['returns']
  return runs.kind_of_file(pathlib.Path(name)) if name else 'evaluation'


def check_tasks(reference: Reference, tasks: Iterable[str]) -> None:
  """Raises UserError where the reference lacks a task."""
  missing = [task for task in tasks if task not in reference.scores]
  if missing:
    known = sorted(reference.scores)
    more = f' and {len(known) - 3} more' if known[3:] else ''
    raise UserError(
        f'{reference.name} has no score of {reference.method} for '
        f'{", ".join(missing)}; it has {", ".join(known[:3])}{more}: leave '
        'the other runs out, or choose another reference')


def _of_method(name, rows, method):
  known = list(dict.fromkeys(row.method for row in rows))
  if method not in known:
    raise UserError(
        f'--method: {name} has no {method!r}; allowed: {", ".join(known)}')
  return [row for row in rows if row.method == method]


def _binned(rows, rule):
  """Rows of the bins that single episodes complete."""
  runs_of: dict = {}
  for row in rows:
    runs_of.setdefault((row.task, row.method, row.seed), []).append(row)
  return [
      csv_rows.Row(task, method, seed, edge, point.value, n=point.episodes)
      for (task, method, seed), episodes in runs_of.items()
      for edge, point in binning.points(
          [(x.env_steps, [x.value]) for x in episodes], rule).items()
      if edge <= max(x.env_steps for x in episodes)]


def _scores(name, rows):
  """Returns {task: {budget: Sample}} of rows of one method."""
  found: dict = {}
  for row in rows:
    if row.env_steps is None or row.task == 'dmc_mean':
      continue
    if row.value is not None and row.seed not in ('min', 'max'):
      found.setdefault(row.task, {}).setdefault(row.env_steps, []).append(row)
  return {task: {budget: _sample(name, group)
                 for budget, group in sorted(budgets.items())}
          for task, budgets in found.items()}


def _sample(name, rows):
  first = rows[0]
  if first.seed != 'mean':
    seeds = [row.seed for row in rows]
    if len(set(seeds)) < len(seeds):
      raise UserError(
          f'{name}: {first.task} has a seed twice at {first.env_steps:,} '
          'steps; remove one')
    carried = sum(row.carried is not None for row in rows)
    return Sample.of([row.value for row in rows], carried, seeds)
  if len(rows) > 1:
    raise UserError(
        f'{name}: {first.task} has {len(rows)} rows at {first.env_steps:,} '
        'steps, but its first is a mean; keep one')
  std = None
  if first.std is not None and (first.n or 0) > 1:
    std = first.std * math.sqrt(first.n / (first.n - 1))
  return Sample(first.value, std, first.n)


def _from_file(path, method, width, returns):
  path = pathlib.Path(path)
  if path.suffix == '.csv':
    rows = csv_rows.read(path)
    if not rows:
      raise UserError(f'--to: {path} has no row; name another file')
    methods = list(dict.fromkeys(row.method for row in rows))
    if len(methods) > 1 and not method:
      raise UserError(f'--method: choose one of {path}: {", ".join(methods)}')
    rows = _of_method(path, rows, method or ''.join(methods))
    return Reference(
        str(path), rows[0].method, _scores(path, rows),
        binning.rule(width) if width else None, {}, remarks=(
            f'{path} does not say how it was measured.',))
  return _of_runs(path, method, width, returns)


def _of_runs(path, method, width, returns):
  """Runs of another file as a reference, at all edges of their bins."""
  found = runs.load([path], returns)
  groups = runs.by_task(found)
  first = found[0]
  if method not in (None, first.method):
    raise UserError(
        f'--method: {path} has no {method!r}; allowed: {first.method}')
  reached = collect.furthest(found)
  scores = {}
  for task, group in groups.items():
    rule = binning.rule(width) if width else catalog.default_rule(
        task, first.method)
    edges: dict = {}
    for run in group:
      for point in collect.run_points(run, rule, reached[task]):
        edges.setdefault(point.edge, []).append((point, run.seed))
    scores[task] = {edge: Sample.of(
        [x.value for x, _ in points],
        sum(x.carried is not None for x, _ in points),
        [seed for _, seed in points]) for edge, points in sorted(edges.items())}
  return Reference(
      str(path), first.method, scores, binning.rule(width) if width else None,
      first.protocol, tuple(first.presets), first.method)
