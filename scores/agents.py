"""Agents side by side: the same tasks, steps, and CPU seconds.

A run's score at a budget is the mean return of the episodes that it collected
in the last quarter of it, taken over the lines of its log: what the third paper
reports, and what all have.
CPU seconds are those of the learning process (`cpu` in metrics.jsonl), so they
compare runs of one machine and one number of threads.
"""

from __future__ import annotations

import argparse
import bisect
import typing
from collections.abc import Sequence

from dreamer.errors import UserError
from dreamer.tables import Table, amount, to_text, to_titled_markdown

from . import intervals, runs
from .references import Sample

LEVEL = 0.95


class Kind(typing.NamedTuple):
  """What a budget is counted in."""

  key: str
  title: str
  unit: float  # of the number that is given


STEPS = Kind('step', 'environment steps', 1)
CPU = Kind('cpu', 'CPU minutes of learning', 60)


def main(args: argparse.Namespace) -> None:
  """Prints one table per task and kind of budget."""
  found = runs.load(args.runs, 'training')
  show = to_titled_markdown if args.markdown else to_text
  print('\n\n'.join(
      show(table) for kind, budgets in ((STEPS, args.steps), (CPU, args.cpu))
      for table in tables(found, kind, budgets)))


def tables(found: Sequence[runs.Run], kind: Kind,
           budgets: Sequence[float] | None = None) -> list[Table]:
  """One Table per task that several agents have, at budgets of a kind.

  budgets: None: the most that all runs of the task have reached. Raises
  UserError: no such task, or a budget that some have not reached.
  """
  tasks: dict = {}
  for run in found:
    tasks.setdefault(run.task, {}).setdefault(run.method, []).append(run)
  several = {task: x for task, x in tasks.items() if len(x) > 1}
  if not several:
    raise UserError(
        'no task has runs of several agents; name more runs')
  for groups in several.values():
    for group in groups.values():
      runs.by_task(group)  # of one experiment
  return [table for task, groups in several.items()
          for table in _table(task, groups, kind, budgets)]


def score(run: runs.Run, kind: Kind, budget: float) -> float:
  """Mean return of the episodes of the last quarter of a budget.

  It is taken over the lines of the log, so that all steps weigh the same.
  """
  found = runs.last_mean(run.evaluations, budget, _spent(run, kind))
  if found is None:
    raise UserError(
        f'{run.where}: no episode ended in the last quarter of '
        f'{budget / kind.unit:,.0f} {kind.title}; choose a larger budget')
  return found


def reached(run: runs.Run, kind: Kind) -> float | None:
  """How much of a kind a run has spent; None: it does not say."""
  if kind is STEPS:
    return run.reached
  rows = run.folder.cpu if run.folder else []
  return rows[-1][1] if rows else None


def _table(task, groups, kind, budgets):
  spent = {run.where: reached(run, kind)
           for group in groups.values() for run in group}
  if silent := [where for where, x in spent.items() if x is None]:
    return [Table(f'{task}, by {kind.title}', (), (), [
        f'Not known of {", ".join(silent)}.'])]
  most = min(x for x in spent.values() if x is not None)
  wanted = [x * kind.unit for x in budgets or ()] or [most]
  for budget in wanted:
    if budget > most:
      raise UserError(
          f'{task}: not all runs have reached {budget / kind.unit:,.0f} '
          f'{kind.title}; allowed: up to {most / kind.unit:,.1f}')
  return [Table(
      f'{task}, by {kind.title}',
      ('agent', 'seeds', *(_label(x, kind) for x in wanted)),
      [_row(name, group, kind, wanted) for name, group in groups.items()],
      [f'Mean return of the episodes of the last quarter, over the lines of '
       f'its log, and its '
       f'{LEVEL:.0%} interval over seeds.'])]


def _row(name, group, kind, wanted):
  cells = [intervals.of_mean(
      Sample.of(score(run, kind, x) for run in group), LEVEL) for x in wanted]
  return [name, str(len(group)), *(
      f'{x.mean:.1f}' + (f' [{x.low:.1f}, {x.high:.1f}]' if x.known else '')
      for x in cells)]


def _label(budget, kind):
  return amount(round(budget)) if kind is STEPS else f'{budget / 60:.1f} min'


def _spent(run, kind):
  """Function of an environment step: what was spent by then."""
  if kind is STEPS:
    return lambda step: step
  steps, seconds = zip(*run.folder.cpu, strict=True)
  return lambda step: seconds[min(
      bisect.bisect_left(steps, step), len(seconds) - 1)]
