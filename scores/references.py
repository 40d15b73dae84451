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

from . import binning, collect, csv_rows, runs


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


FULL = {'buffer': 'full', 'shadows': 'full', 'multisampling': True}
VISION = {
    'returns': 'evaluation', 'mode': 'eval', 'action_repeat': 2,
    'time_limit': 1000, 'suite': FULL}
CONTROL = {**VISION, 'every': 10_000, 'episodes': 1}
ATARI = {
    'returns': 'evaluation', 'mode': 'eval', 'action_repeat': 4,
    'time_limit': 108_000, 'sticky': 0.25, 'actions': 'full',
    'life_loss': 'ignore', 'every': 1_000_000, 'episodes': 10}
DISCRETE = {
    'returns': 'evaluation', 'mode': 'eval', 'action_repeat': 4,
    'time_limit': 108_000, 'sticky': 0.25, 'actions': 'minimal',
    'life_loss': 'end'}
NOT_SAID = ('That the scores are evaluations of 10 episodes a bin is read off '
            'their digits (multiples of 0.1); the release does not say it.')
ARXIV_V2 = ('The released runs are those of arXiv v2 (April 2024), not of the '
            'paper in Nature: preset paper_2024. Their returns are those of '
            'training episodes, means over a twentieth of the budget.')
DIGITISED = 'Read off the figure: errors up to 0.1 return.'


class _Source(typing.NamedTuple):
  """Where a named reference comes from.

  episodes: whether its file has single episodes, to be put into bins here; of
    runs that ended nothing is carried forward. more: of a Reference.
  """

  file: str
  method: str
  rule: str
  protocol: dict
  agent: str
  presets: tuple = ()
  source: str = ''
  remarks: tuple = ()
  episodes: bool = False
  more: typing.Mapping = {}


def _pixelpoint(agent, method, rule, **protocol):
  """Returns lie between 0 and 100; margin and level are ours."""
  return _Source(
      f'{agent}_pixelpoint', method, rule, {**protocol, 'time_limit': 100},
      agent, ('pixelpoint',), '', (
          'The reference is the released program itself, see the source '
          f'v{agent[-1]}_pixelpoint; runs count as having learned from half of '
          f'the highest return on.',), True,
      {'margin': '10', 'learned': 50.0, 'curve': True})


def _dreamerv3(suite, **protocol):
  """Training returns; of a reset no more is said than of other steps."""
  return _Source(
      'dreamerv3_released_seeds', 'dreamerv3', f'dreamerv3_{suite}',
      {'returns': 'training', **protocol}, 'dreamerv3', (suite, 'paper_2024'),
      f'v3_{suite}', (ARXIV_V2,))


TRAINING = {f'{agent}/pixelpoint': f'{agent}/pixelpoint_training'
            for agent in ('dreamerv1', 'dreamerv2')}
SOURCES = {
    'dreamerv1/pixelpoint': _pixelpoint(
        'dreamerv1', 'dreamer', 'pixelpoint', returns='evaluation',
        mode='eval', action_repeat=2, every=500, episodes=1),
    'dreamerv1/pixelpoint_training': _pixelpoint(
        'dreamerv1', 'dreamer_training', 'pixelpoint_training',
        returns='training', action_repeat=2),
    'dreamerv2/pixelpoint': _pixelpoint(
        'dreamerv2', 'dreamerv2', 'pixelpoint_discrete', returns='evaluation',
        mode='eval', action_repeat=1, every=250, episodes=1),
    'dreamerv2/pixelpoint_training': _pixelpoint(
        'dreamerv2', 'dreamerv2_training', 'pixelpoint_discrete_training',
        returns='training', action_repeat=1),
    'dreamerv1/table_g': _Source(
        'dreamerv1_table_g', 'dreamer', 'table_g', CONTROL, 'dreamerv1',
        ('paper_code',)),
    'dreamerv1/released': _Source(
        'dreamerv1_released_seeds', 'dreamer', 'dreamerv1_released', CONTROL,
        'dreamerv1', ('released',)),
    'dreamerv1/fig9': _Source(
        'dreamerv1_figures', 'dreamer', 'atari', DISCRETE, 'dreamerv1',
        ('paper_code',), 'v1_fig9', (DIGITISED,)),
    'dreamerv1/fig10': _Source(
        'dreamerv1_figures', 'dreamer', 'figures_10_11', CONTROL, 'dreamerv1',
        ('paper_code',), 'v1_fig10', (DIGITISED,)),
    'dreamerv1/fig11': _Source(
        'dreamerv1_figures', 'reconstruction', 'figures_10_11', CONTROL,
        'dreamerv1', ('paper_code',), 'v1_fig11', (DIGITISED,)),
    'dreamerv1/fig12': _Source(
        'dreamerv1_figures', 'repeat_2', 'figure_12',
        {**CONTROL, 'action_repeat': None}, 'dreamerv1', ('paper_code',),
        'v1_fig12', (DIGITISED,)),
    'dreamerv2/table_k1': _Source(
        'dreamerv2_table_k1', 'dreamerv2', 'atari', ATARI, 'dreamerv2', (),
        'v2_table_k1', (NOT_SAID,)),
    'dreamerv2/released': _Source(
        'dreamerv2_released_seeds', 'dreamerv2', 'atari', ATARI, 'dreamerv2',
        (), '', (NOT_SAID,)),
    'dreamerv2/dmc_vision': _Source(
        'dreamerv2_dmc_vision_curves', 'dreamerv2', 'dmc_vision', VISION,
        'dreamerv2', ('dmc_vision',)),
    'dreamerv2/humanoid': _Source(
        'dreamerv2_humanoid_montezuma', 'dreamerv2', '1000000', VISION,
        'dreamerv2', ('humanoid',), '',
        ("The width of the release's bins is not known: 1e6 is taken.",)),
    'dreamerv2/montezuma': _Source(
        'dreamerv2_humanoid_montezuma', 'montezuma', 'atari', ATARI,
        'dreamerv2', ('montezuma',), '', (NOT_SAID,)),
    'dreamerv3/atari': _dreamerv3(
        'atari', action_repeat=4, time_limit=108_000, sticky=0.25,
        actions='full'),
    'dreamerv3/atari100k': _dreamerv3(
        'atari100k', action_repeat=4, time_limit=108_000, sticky=0.0,
        actions='minimal'),
    'dreamerv3/dmc_vision': _dreamerv3(
        'dmc_vision', action_repeat=2, time_limit=1000),
    'dreamerv3/dmc_proprio': _dreamerv3(
        'dmc_proprio', action_repeat=2, time_limit=1000),
    'dreamerv3/dmlab': _dreamerv3('dmlab', action_repeat=4),
    'dreamerv3/procgen': _dreamerv3('procgen', action_repeat=1),
    'dreamerv3/minecraft': _dreamerv3('minecraft', action_repeat=1)}


# What the paper says of a run: by its agent, the start of its task, and a
# preset that has to hold. The first that fits counts.
PAPERS = (
    ('dreamerv1', 'dmc_', 'planet', 'dreamerv1/table_g', 'planet'),
    ('dreamerv1', 'dmc_', None, 'dreamerv1/table_g', None),
    ('dreamerv1', 'atari_', None, 'dreamerv1/fig9', None),
    ('dreamerv1', 'dmlab_', None, 'dreamerv1/fig9', None),
    ('dreamerv2', 'dmc_', 'dmc_proprio', None, None),  # from vectors
    ('dreamerv2', 'dmc_humanoid_walk', None, 'dreamerv2/humanoid', None),
    ('dreamerv2', 'dmc_', None, 'dreamerv2/dmc_vision', None),
    ('dreamerv2', 'atari_', None, 'dreamerv2/table_k1', None),
    ('dreamerv3', 'dmc_', 'dmc_proprio', 'dreamerv3/dmc_proprio', None),
    ('dreamerv3', 'dmc_', None, 'dreamerv3/dmc_vision', None),
    ('dreamerv3', 'atari_', 'atari100k', 'dreamerv3/atari100k', None),
    ('dreamerv3', 'atari_', None, 'dreamerv3/atari', None),
    ('dreamerv3', 'dmlab_', None, 'dreamerv3/dmlab', None))


def paper(run: runs.Run) -> Paper | None:
  """Returns the last score that the paper of a run's agent has of its task."""
  return paper_of(run.method, run.task, run.presets)


def paper_of(agent: str, task: str, presets: Iterable[str]) -> Paper | None:
  """Returns the last score that the paper of an agent has of a task."""
  task = task.replace('dmc_ball_in_cup_', 'dmc_cup_')
  for known, start, preset, name, method in PAPERS:
    if known == agent and task.startswith(start) and (
        preset is None or preset in presets):
      points = _points(name, method).get(task) if name else None
      return Paper(points[max(points)].mean, max(points)) if points else None
  return None


@functools.cache
def _points(name, method):
  return load(name, method).scores


def load(name: str, method: str | None = None,
         width: str | None = None) -> Reference:
  """Returns the Reference of a name or a file. Raises UserError.

  method: of those that the source has; None: the paper's agent. width: see
    binning.rule; only for files, whose bins are not known.
  """
  if name not in SOURCES:
    return _from_file(name, method, width)
  if width:
    raise UserError(f'--bin: {name} has its own bins; leave --bin out')
  source = SOURCES[name]
  rows = [row for row in csv_rows.published(source.file)
          if not source.source or row.source == source.source]
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
  source = SOURCES.get(name or '')
  return source.protocol['returns'] if source else 'evaluation'


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


def _from_file(path, method, width):
  path = pathlib.Path(path)
  if not path.is_file():
    raise UserError(
        f'--to: {path} is no file and no known reference; known: '
        f'{", ".join(SOURCES)}')
  if path.suffix == '.csv':
    rows = csv_rows.read(path)
    methods = list(dict.fromkeys(row.method for row in rows))
    if len(methods) > 1 and not method:
      raise UserError(f'--method: choose one of {path}: {", ".join(methods)}')
    rows = _of_method(path, rows, method or ''.join(methods))
    return Reference(
        str(path), rows[0].method if rows else '', _scores(path, rows),
        binning.rule(width) if width else None, {}, remarks=(
            f'{path} does not say how it was measured.',))
  return _of_runs(path, method, width)


def _of_runs(path, method, width):
  """Runs of another file as a reference, at all edges of their bins."""
  found = runs.load([path])
  groups = runs.by_task(found)
  first = found[0]
  if method not in (None, first.method):
    raise UserError(
        f'--method: {path} has no {method!r}; allowed: {first.method}')
  reached = collect.furthest(found)
  scores = {}
  for task, group in groups.items():
    rule = binning.rule(width) if width else binning.default_rule(
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
