"""What ablations at a small size give, beside what the papers say of them.

The runs are those of a `laptop_ablations_*` matrix. A run's score is the mean
return of the episodes that it collected in the last quarter of its steps, taken
over the lines of its log, so that all steps weigh the same.
"""

from __future__ import annotations

import argparse
import itertools
import pathlib
import typing
from collections.abc import Mapping, Sequence

import numpy as np

from dreamer.errors import UserError
from dreamer.files import check_ours, expand
from dreamer.run.run_folder import RunFolder
from dreamer.sweep.jobs import Job, check, config_of
from dreamer.tables import Table, to_markdown, to_text

from . import csv_rows, drawing, intervals, matrix
from .curves import save
from .plot import SUFFIXES
from .references import Sample
from .runs import LAST, last_mean

if typing.TYPE_CHECKING:
  from matplotlib.figure import Figure

LEVEL = 0.95
SMALL = 0.1  # shares of the default below which a paper's effect is none
SAME = 0.2  # within which a difference of ours is none
POINTS = 12  # of a curve
GAMES = 'won', 'lost', 'tied'


class Claim(typing.NamedTuple):
  """What a paper shows of a variant.

  base: the variant of ours that it is compared with. file, source, task:
  where the figures of `theirs` and `their_base` stand. env_steps: of them,
  None: the only ones. Without `their_base`, `theirs` is the name of a contrast
  of which the paper counts games that were won, lost and tied (GAMES).
  """

  variant: str
  base: str
  file: str
  source: str
  task: str
  theirs: str
  their_base: str | None
  env_steps: int | None = None

  @property
  def games(self) -> tuple[int, ...] | None:
    """Won, lost and tied, if that is what the paper says."""
    if self.their_base:
      return None
    return tuple(int(_published(self, self.theirs, f'{self.task}_{x}'))
                 for x in GAMES)

  @property
  def effect(self) -> float:
    """(variant - base) / base, or (won - lost) / games, by the paper."""
    if games := self.games:
      won, lost, _ = games
      return (won - lost) / sum(games)
    value, base = (_published(self, x, self.task)
                   for x in (self.theirs, self.their_base))
    return (value - base) / base

  @property
  def shown(self) -> str:
    """The effect as tables show it."""
    if games := self.games:
      return '{} games better, {} worse'.format(*games)
    return f'{100 * self.effect:+.0f} %'


class Effect(typing.NamedTuple):
  """A claim beside our runs. difference: to the base, in returns."""

  claim: Claim
  base: float
  difference: intervals.Interval
  seeds: tuple[int, int]

  @property
  def relative(self) -> intervals.Interval:
    """The difference as a share of the base."""
    return intervals.Interval(*(x / abs(self.base) for x in self.difference))

  @property
  def verdict(self) -> str:
    """What follows from the interval; see `explain`."""
    ours, paper = self.relative, self.claim.effect
    unknown = f'cannot be told with {min(self.seeds)} seeds'
    if not ours.known:
      return unknown
    if abs(paper) < SMALL:
      if ours.within(SAME):
        return 'as in the paper'
      return 'the other way' if ours.beyond(SMALL) else unknown
    if not ours.beyond(0):
      return unknown
    return 'as in the paper' if (ours.mean > 0) == (paper > 0) else (
        'the other way')


def _figure(name, variant, theirs, base='reconstruction', their_base='dreamer',
            env_steps=200_000, task='dmc_walker_stand'):
  return Claim(variant, base, 'dreamerv1_figures', f'v1_{name}', task, theirs,
               their_base, env_steps)


def _table_2(variant, base='mixed', theirs=None):
  return Claim(variant, base, 'dreamerv2_ablations', 'v2_table_2',
               'atari55_gamer_median', theirs or variant, 'earlier_version')


# Figures 10 and 11 at their first step. Figure 4 does not say when; of its
# four tasks the nearest to ours, and the horizons of about as many environment
# steps: 3 and 10 agent steps of 4 here, 5 and 20 of 2 there.
# Table 2 is about Atari. On control the default has no REINFORCE.
REINFORCE_ONLY = Claim(
    'reinforce_only', 'mixed', 'dreamerv2_ablations', 'v2_section_3_2',
    'atari55_games', 'reinforce_only_over_mixed', None)
CLAIMS: Mapping[str, Sequence[Claim]] = {
    'laptop_ablations_v1': (
        _figure('fig11', 'contrastive', 'contrastive',
                their_base='reconstruction'),
        _figure('fig11', 'reward_only', 'reward_only',
                their_base='reconstruction'),
        _figure('fig10', 'no_value', 'no_value'),
        _figure('fig10', 'planet', 'planet'),
        _figure('fig4', 'no_value_horizon_3', 'no_value_horizon_5',
                'horizon_3', 'dreamer_horizon_5', None, 'dmc_walker_walk'),
        _figure('fig4', 'horizon_3', 'dreamer_horizon_5', 'reconstruction',
                'dreamer_horizon_20', None, 'dmc_walker_walk')),
    'laptop_ablations_v2': (
        REINFORCE_ONLY._replace(variant='default'),  # see the matrix's note
        *(_table_2(x) for x in (*matrix.LEFT_OUT, 'no_reinforce'))),
    'laptop_ablations_v2_control': (
        REINFORCE_ONLY, *(_table_2(x, 'default') for x in matrix.LEFT_OUT),
        _table_2('default', 'mixed', 'no_reinforce'))}


def main(args: argparse.Namespace) -> None:
  """Prints the table of an experiment's finished runs; draws it."""
  if args.name not in CLAIMS:
    raise UserError(f'unknown ablations {args.name!r}; allowed: '
                    f'{", ".join(CLAIMS)}')
  out = _out(args.out)
  root = pathlib.Path(expand(args.logdir or f'runs/{args.name}'))
  jobs = matrix.jobs(args.name, args.seeds)
  found = collect(jobs, root)
  budget = jobs[0].steps
  scores = {method: [_score(x, budget) for x in folders]
            for method, folders in found.items()}
  shown = table(args.name, scores)
  print((to_markdown if args.markdown else to_text)(shown))
  if out:
    save(draw(args.name, scores, {
        method: _curve(folders, budget)
        for method, folders in found.items() if folders}), out)
    print(f'\n{out}')


def _out(name):
  if name is None:
    return None
  path = pathlib.Path(expand(name))
  if path.suffix not in SUFFIXES:
    raise UserError(f'--out: {name} has to end with {", ".join(SUFFIXES)}')
  check_ours(path)
  return path


def collect(jobs: Sequence[Job],
            root: pathlib.Path) -> dict[str, list[RunFolder]]:
  """{method: its finished runs}, in the order of the matrix."""
  found: dict[str, list[RunFolder]] = {}
  settings = [config_of(job).flat for job in jobs]
  keys = _varied(settings)
  for job, flat in zip(jobs, settings, strict=True):
    found.setdefault(job.method, [])
    kept = f'{job.method}/seed{job.seed}'  # by `scores keep`
    for folder in (root / job.folder, root / kept):
      if (folder / 'config.yaml').exists():
        run = RunFolder(folder)
        check(job, run, {key: flat[key] for key in keys})
        if _score(run, job.steps) is not None:
          found[job.method].append(run)
        break
  if not any(found.values()):
    raise UserError(f'{root}: no finished run; run `./run.sh sweep` first, or '
                    'name its folder by --logdir')
  return found


def _varied(settings):
  """The keys that tell the variants of an experiment from each other."""
  first, *others = settings
  return [key for key in first if key not in ('logdir', 'seed') and any(
      x[key] != first[key] for x in others)]


def _score(folder, steps):
  """Of a run; None where it is not finished."""
  if folder.reached < steps:
    return None
  return last_mean(folder.training, steps)


def _curve(folders, budget):
  """[(step, mean over runs of the returns since the last one)]."""
  width = budget / POINTS
  found = []
  for end in np.linspace(width, budget, POINTS):
    means = [np.mean(values) for folder in folders if (values := [
        x for step, returns in folder.training for x in returns
        if end - width < step <= end])]
    found += [(end, np.mean(means))] if means else []
  return found


def effects(name: str, scores: Mapping[str, Sequence[float]]) -> list[Effect]:
  """The claims of an experiment that there are runs for."""
  found = []
  for claim in CLAIMS[name]:
    ours, base = scores[claim.variant], scores[claim.base]
    if ours and base:
      difference, _ = intervals.of_difference(
          Sample.of(ours), Sample.of(base), LEVEL)
      found.append(Effect(claim, float(np.mean(base)), difference,
                          (len(ours), len(base))))
  return found


def table(name: str, scores: Mapping[str, Sequence[float]]) -> Table:
  """Means with intervals, differences, what the paper says, verdicts."""
  by_variant = {x.claim.variant: x for x in effects(name, scores)}
  rows = []
  for method, values in scores.items():
    mean = intervals.of_mean(Sample.of(values), LEVEL) if (
        values) else None
    row = [method, str(len(values)), _interval(mean) if mean else '-']
    rows.append([*row, *_columns(by_variant.get(method))])
  return Table(
      '', ['variant', 'seeds', 'return', 'beside', 'difference',
           'of it, here', 'of it, paper', 'verdict'], rows, explain(name))


def _columns(effect):
  if effect is None:
    return ['', '', '', '', '']
  claim, share = effect.claim, effect.relative
  return [claim.base, _interval(effect.difference),
          f'{100 * share.mean:+.0f} %', claim.shown, effect.verdict]


def _interval(x):
  digits = 1 if abs(x.mean) < 100 else 0
  text = f'{x.mean:.{digits}f}'
  return f'{text} [{x.low:.{digits}f}, {x.high:.{digits}f}]' if (
      x.known) else text


def explain(name: str) -> list[str]:
  """Lines that say how to read the table."""
  places = dict.fromkeys(
      f'{x.source} ({x.task}' + (
          f', at {x.env_steps:,} steps)' if x.env_steps else ')')
      for x in CLAIMS[name])
  return [
      f'return: of the episodes in the last {LAST:.0%} of the steps, a mean '
      f'over the lines of the log; mean over seeds with its {LEVEL:.0%} '
      'interval. difference: to the variant named beside it, with the interval '
      'of Welch.',
      f'as in the paper: the interval is on its side of zero, or, where the '
      f'paper shows less than {SMALL:.0%}, within {SAME:.0%}. the other way: '
      f'it is on the other side, or beyond {SMALL:.0%} where the paper shows '
      'less.',
      f'paper: {"; ".join(places)}.']


def draw(name: str, scores: Mapping[str, Sequence[float]],
         curves: Mapping[str, Sequence[tuple[float, float]]]) -> Figure:
  """Curves of all variants; our differences beside the paper's.

  curves: {variant: [(env steps, return)]}.
  """
  figure, (left, right) = drawing.grid(2)
  figure.set_size_inches(11, 3.6)
  for color, (method, points) in zip(
      itertools.cycle((drawing.OURS, *drawing.COLORS)), curves.items(),
      strict=False):
    left.plot(*zip(*points, strict=True), color=color, label=method,
              linewidth=1.4)
  drawing.finish(left, 'return of training episodes, mean over seeds')
  _bars(right, effects(name, scores))
  return drawing.legend(
      figure, [left, right], 'left: environment steps; right: ours with 95 % '
      'intervals over seeds')


def _bars(axes, found):
  """Our differences as shares, with intervals; the paper's beside."""
  places = np.arange(len(found))
  ours = [x.relative for x in found]
  half = [[x.mean - x.low, x.high - x.mean] if x.known else [0, 0]
          for x in ours]
  axes.bar(places - 0.2, [100 * x.mean for x in ours], 0.38,
           yerr=100 * np.transpose(half), color=drawing.OURS, label='ours',
           error_kw={'elinewidth': 0.8})
  axes.bar(places + 0.2, [100 * x.claim.effect for x in found], 0.38,
           color=drawing.COLORS[0], label='paper')
  axes.axhline(0, color='black', linewidth=0.6)
  drawing.finish(axes, 'difference, % of what stands beside')
  axes.set_xlim(-0.6, len(found) - 0.4)
  axes.set_xticks(places, [
      f'{x.claim.variant}\nbeside {x.claim.base}'.replace('_', ' ')
      for x in found], fontsize=6, rotation=30, ha='right')


def _published(claim, method, task):
  found = [x.value for x in csv_rows.published(claim.file)
           if (x.source, x.task, x.method) == (claim.source, task, method)
           and claim.env_steps in (None, x.env_steps)]
  value, = found
  return value
