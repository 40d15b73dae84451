"""Runs beside a reference: differences, intervals, verdicts."""

from __future__ import annotations

import argparse
import itertools
import json
import math
import pathlib
import statistics
from collections.abc import Sequence

import numpy as np

from dreamer.errors import UserError

from . import (
  aggregates,
  atari,
  binning,
  catalog,
  collect,
  comparable,
  intervals,
  references,
  runs,
  verdicts,
)

MARGINS = {'dmc': '50', 'other': '20%'}


def main(args: argparse.Namespace) -> None:
  """Prints the comparison; of training returns too, if both have them."""
  training = catalog.TRAINING.get(args.to)
  names = {args.returns: args.to}
  if args.returns == 'training':
    names['training'] = training or args.to
  elif training and all(pathlib.Path(x).is_dir() for x in args.runs):
    # Files of `collect` don't have it, and it has other bins.
    names.update({} if args.budgets else {'training': training})
  results = []
  for returns, name in names.items():
    found = runs.load(args.runs, returns)
    method = args.method if name == args.to else None  # the one of its kind
    results.append(compare(
        found, references.load(name, method, args.bin, returns), args.margin,
        args.level, args.seed, args.budgets, args.allow, args.learned))
    collect.say_notes(found)
  if args.json:
    first, *others = results
    print(json.dumps(
        {**first, 'training': others[0]} if others else first, indent=1,
        allow_nan=False))
  else:
    print('\n\n\n'.join(map(verdicts.text, results)))


def compare(
    found: list[runs.Run], reference: references.Reference,
    margin: str | None = None, level: float = 0.95, seed: int = 0,
    budgets: Sequence[int] | None = None, allow: Sequence[str] = (),
    learned: float | None = None) -> dict:
  """Returns the comparison as a dict, for JSON.

  found: Runs of one agent. margin: see `margin_of`. budgets: environment
  steps, or None: all that both have. allow: keys of the protocol that may
  differ although comparable.REFUSED. learned: the score from which on a run
  counts as having learned. Margin and this are by default the reference's.
  """
  if not 0.5 <= level < 1:
    raise UserError(f'--level: {level} is not allowed; allowed: 0.5..1')
  if seed < 0:
    raise UserError(f'--seed: {seed} is not allowed; allowed: 0..')
  if learned is not None and not math.isfinite(learned):
    raise UserError(f'--learned: {learned} is not allowed; allowed: a number')
  groups, flags = comparable.check(found, reference, allow)
  scores, skipped = _scores(groups, reference, budgets)
  if not scores:
    raise UserError(
        f'no budget in common with {reference.name}: ' + '; '.join(skipped))
  options = {
      'margin': margin or reference.margin, 'level': level, 'seed': seed,
      'learned': reference.learned if learned is None else learned}
  return {
      'reference': reference.name, 'method': reference.method,
      'remarks': list(reference.remarks), **options,
      'agent': found[0].method, 'flags': flags, 'skipped': skipped,
      'budgets': [
          _budget(budget, tasks, reference, options)
          for budget, tasks in sorted(scores.items())],
      'curves': _curves(scores, reference, options) if (
          reference.curve) else None}


# Scores


def _scores(groups, reference, budgets):
  """Returns {budget: {task: our Sample}} and lines about what is left out."""
  scores: dict = {}
  skipped = []
  for task, group in groups.items():
    known = reference.scores[task]
    furthest = max(run.reached for run in group)
    wanted = [x for x in known if x <= furthest]
    if budgets:
      _check_budgets(budgets, known, task, reference)
      wanted = [x for x in wanted if x in budgets]
    if not wanted:
      steps = comparable.few(f'{x:,}' for x in budgets or known)
      skipped.append(f'{task}: the runs reached {furthest:,}, its scores are '
                     f'at {steps}')
    for budget in wanted:
      sample, why = _sample(group, reference, budget)
      if sample:
        scores.setdefault(budget, {})[task] = sample
      skipped += [f'{task} at {budget:,}: {x}' for x in why]
  return scores, skipped


def _sample(group, reference, budget):
  """Returns the Sample of a task's runs, or None, and what is left out."""
  rule = reference.rule or catalog.default_rule(
      group[0].task, group[0].method)
  missing: dict = {}
  points, seeds = [], []
  for run in group:
    point = binning.at(
        binning.points(run.evaluations, rule), rule, budget, run.reached)
    if isinstance(point, str):
      missing.setdefault(point, []).append(str(run.seed))
    else:
      points.append(point)
      seeds.append(run.seed)
  why = [f'{text} (seed{"s" * (len(seeds) > 1)} {", ".join(seeds)})'
         for text, seeds in missing.items()]
  if not points:
    return None, why
  carried = sum(point.carried is not None for point in points)
  return references.Sample.of([x.value for x in points], carried, seeds), why


def _check_budgets(budgets, known, task, reference):
  for budget in budgets:
    if budget not in known:
      raise UserError(
          f'--budgets: {reference.name} has no score of {task} at '
          f'{budget:,}; it has {comparable.few([f"{x:,}" for x in known])}')


# Statistics


def _budget(budget, samples, reference, options):
  rows = [
      _task(task, sample, reference.scores[task][budget], options)
      for task, sample in samples.items()]
  found, why = _aggregates(budget, samples, reference, options)
  return {'budget': budget, 'tasks': rows, 'aggregates': found,
          'aggregates_missing': why}


def _task(task, ours, theirs, options):
  level = options['level']
  difference, assumed = intervals.of_difference(ours, theirs, level)
  margin = margin_of(options['margin'], task, theirs.mean)
  found, needed = intervals.verdict(difference, margin), None
  if found == 'too few seeds':
    needed = _needed(intervals.seeds_needed(ours, theirs, margin, level))
  both = ours.values and theirs.values
  return {
      'task': task, 'ours': _entry(ours, level),
      'reference': _entry(theirs, level),
      'difference': _bounds(difference), 'margin': margin,
      'improvement': intervals.improvement(ours, theirs) if both else None,
      'learned': _learned(ours, theirs, options['learned']) if both else None,
      'verdict': found, 'seeds_needed': needed, 'assumed': assumed}


def _learned(ours, theirs, least):
  """How many of the runs reach a score, and how unlikely that is."""
  if least is None:
    return None
  counts = [sum(x >= least for x in sample.values)
            for sample in (ours, theirs)]
  return {'ours': counts[0], 'reference': counts[1],
          'chance': intervals.shares_differ(
              counts[0], ours.n, counts[1], theirs.n)}


def _curves(scores, reference, options):
  """Rows of means over budgets: of each run one number.

  A row for the first budgets up to each after which runs of the reference
  end, with the runs that have all of them.
  """
  rows = []
  for task, known in reference.scores.items():
    budgets = [x for x in known if task in scores.get(x, {})]
    for budget, later in itertools.zip_longest(budgets, budgets[1:]):
      before = [x for x in budgets if x <= budget]
      if len(before) > 1 and (
          later is None or known[later].seeds != known[budget].seeds):
        rows.append({
            'budgets': before, **_task(
                task, _mean([scores[x][task] for x in before]),
                _mean([known[x] for x in before]),
                {**options, 'learned': None})})
  return rows


def _mean(samples):
  """The Sample of each seed's mean, of the seeds that all Samples have."""
  values = [dict(zip(x.seeds, x.values, strict=True)) for x in samples]
  seeds = [x for x in samples[0].seeds if all(x in found for found in values)]
  return references.Sample.of(
      [statistics.fmean(found[x] for found in values) for x in seeds],
      max(x.carried for x in samples), seeds)


def _needed(seeds):
  """What JSON can hold: a number, or a text."""
  if seeds is None:
    return 'no number'
  return 'unknown' if math.isnan(seeds) else seeds


def margin_of(text: str | None, task: str, reference: float) -> float:
  """Returns the margin in units of the score.

  text: a return, or `10%` of the reference's score above random play (of
    Atari; elsewhere above 0); None: by suite. reference: its score.
  Raises UserError where the text is neither.
  """
  text = text or MARGINS.get(task.split('_')[0], MARGINS['other'])
  try:
    number = float(text.removesuffix('%'))
  except ValueError:
    number = math.nan
  if not 0 < number < math.inf:
    raise UserError(
        f'--margin: {text!r} is not allowed; allowed: a return above 0, as '
        "50, or a share of the reference's score, as 10%")
  if not text.endswith('%'):
    return number
  low = atari.column('random').get(task, 0)
  return abs(reference - low) * number / 100


def _entry(sample, level):
  return {**_bounds(intervals.of_mean(sample, level)), 'n': sample.n,
          'carried': sample.carried,
          'values': list(sample.values) if sample.values else None}


def _bounds(interval):
  known = interval.known
  return {'mean': interval.mean, 'low': interval.low if known else None,
          'high': interval.high if known else None}


# Aggregates


def _aggregates(budget, samples, reference, options):
  """Returns (rows, None), or ([], why there are none)."""
  tasks = sorted(samples)
  metrics = aggregates.of(tasks)
  if len(tasks) < 2 or not metrics:
    return [], 'aggregates need at least two tasks of one suite'
  ours = _matrix([samples[task] for task in tasks])
  if ours is None:
    counts = ', '.join(f'{task} {samples[task].n}' for task in tasks)
    return [], ('aggregates need the same number of seeds for each task: '
                f'{counts}')
  theirs = [reference.scores[task][budget] for task in tasks]
  rng = np.random.default_rng([options['seed'], budget])
  return _aggregate_rows(metrics, ours, theirs, options, rng), None


def _aggregate_rows(metrics, ours, samples, options, rng):
  """ours: scores [seeds, tasks]; samples: the reference's, by task."""
  level, inflation = options['level'], 1.0
  theirs = _matrix(samples)
  if theirs is None:
    metrics = [metric for metric in metrics if metric.of_means]
    theirs = np.array([[sample.mean for sample in samples]])
    if all(sample.n for sample in samples):
      inflation = math.sqrt(1 + len(ours) / min(x.n for x in samples))
  a = intervals.aggregate(ours, metrics, level, rng)
  b = intervals.aggregate(theirs, metrics, level, rng)
  differences = intervals.aggregate_difference(a, b, level, inflation)
  rows = [_aggregate_row(*row, options) for row in zip(
      metrics, a.intervals(level), b.intervals(level), differences,
      strict=True)]
  if min(len(ours), len(theirs)) > 1:
    rows.append({
        'metric': 'Probability of improvement', 'ours': None,
        'reference': None, 'verdict': None, 'difference': _bounds(
            intervals.aggregate_improvement(ours, theirs, level, rng))})
  return rows


def _aggregate_row(metric, ours, reference, difference, options):
  margin = _aggregate_margin(options['margin'], metric.name, reference.mean)
  return {
      'metric': metric.name, 'ours': _bounds(ours),
      'reference': _bounds(reference), 'difference': _bounds(difference),
      'margin': margin, 'verdict': intervals.verdict(difference, margin)}


def _aggregate_margin(text, name, reference):
  if name in aggregates.CONTROL:
    return margin_of(text, 'dmc', reference)
  share = text if text and text.endswith('%') else MARGINS['other']
  return margin_of(share, '', reference)


def _matrix(samples):
  """Returns scores [seeds, tasks], or None where seeds are missing."""
  if not all(x.values for x in samples) or len({x.n for x in samples}) > 1:
    return None
  return np.array([x.values for x in samples]).T
