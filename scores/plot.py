"""Figures in the papers' style: curves, bars, aggregates, ablations."""

from __future__ import annotations

import argparse
import itertools
import pathlib
import sys
import typing
from collections.abc import Sequence

from dreamer import files
from dreamer.errors import UserError
from dreamer.run import provenance, resume

from . import (
  binning,
  catalog,
  collect,
  comparable,
  csv_rows,
  drawing,
  omissions,
  references,
  runs,
  series,
)
from .curves import save

if typing.TYPE_CHECKING:
  from matplotlib.figure import Figure

STEPS = 'environment steps; {}: standard deviation over seeds'
SUFFIXES = ('.png', '.svg', '.pdf')
Groups = dict[str, list[runs.Run]]  # by task


def main(args: argparse.Namespace) -> None:
  """Draws a figure into a file."""
  path = pathlib.Path(args.out)
  if path.suffix not in SUFFIXES:
    raise UserError(f'--out: {args.out} has to end with '
                    f'{", ".join(SUFFIXES)}')
  found = runs.load(args.runs, args.returns) if args.runs else []
  collect.say_notes(found)
  reference = references.load(
      args.to, args.method, returns=args.returns) if args.to else None
  if args.kind == 'horizons' and (found or reference):
    raise UserError('horizons: draws Figure 4 alone; leave runs and --to out')
  if not found and reference is None and args.kind != 'horizons':
    raise UserError('nothing to draw: name runs, or a reference by --to')
  files.check_ours(path)
  for line in left_out(args.kind, found, reference, args.allow):
    print(f'note: {line}', file=sys.stderr)
  save(draw(args.kind, found, reference, args.allow), path)
  print(path)


def left_out(kind: str, found: list[runs.Run],
             reference: references.Reference | None,
             allow: Sequence[str] = ()) -> list[str]:
  """Returns lines about what differs, and what a figure will lack, and why.

  Raises UserError as `draw`, and where nothing of the runs would be drawn.
  """
  if kind == 'horizons':
    return []
  groups, flags = comparable.check(
      found, reference, allow, variants=kind == 'ablations')
  tasks = sorted(groups or (reference.scores if reference else ()))
  return [*flags, *omissions.check(kind, groups, reference, tasks)]


def draw(kind: str, found: list[runs.Run],
         reference: references.Reference | None,
         allow: Sequence[str] = ()) -> Figure:
  """Returns a matplotlib Figure. found: Runs; reference: or None.

  Raises UserError for what can't stand beside each other; see `comparable`.
  """
  if kind == 'horizons':
    return horizons()
  groups, _ = comparable.check(
      found, reference, allow, variants=kind == 'ablations')
  tasks = sorted(groups or (reference.scores if reference else ()))
  return {'curves': curves, 'bars': bars, 'aggregate': aggregate,
          'ablations': lambda *_: ablations(found, reference)}[kind](
              groups, reference, tasks)


def curves(groups: Groups, reference: references.Reference | None,
           tasks: Sequence[str]) -> Figure:
  """One panel per task: ours in blue, the reference in green."""
  figure, panels = drawing.grid(len(tasks))
  for axes, task in zip(panels, tasks, strict=True):
    known = reference and series.of_reference(reference, task)
    if known:
      drawing.line(axes, known, drawing.COLORS[0])
    flat = reference and series.level(reference, task)
    if flat:
      axes.axhline(flat[1], color=drawing.COLORS[0], linestyle='--',
                   linewidth=1.2, label=flat[0])
    if task in groups:
      bins = series.rule(reference, groups[task])
      drawing.line(axes, series.ours(groups[task], bins,
                              _ours(groups[task])), drawing.OURS)
      drawing.within(axes, groups[task], known)
    drawing.finish(axes, task)
  return drawing.legend(figure, panels, STEPS.format('shaded'))


def bars(groups: Groups, reference: references.Reference | None,
         tasks: Sequence[str]) -> Figure:
  """Bars per task and method, ours last: Figures 6 and 9."""
  if reference is None:
    raise UserError('bars: name a reference by --to')
  scores = series.bars(reference, tasks) or {reference.method: {
      task: _last(reference.scores[task]) for task in tasks}}
  mine = {task: series.final(group, reference)
          for task, group in groups.items()}
  if any(mine.values()):
    label = _ours(next(iter(groups.values())))
    scores[label] = {k: v for k, v in mine.items() if v}
  scores = dict(sorted(scores.items(), key=_rank))
  if all(task.startswith('dmc_') for task in tasks):
    return drawing.wide_bars(scores, tasks)
  return drawing.small_bars(scores, tasks)


def aggregate(groups: Groups, reference: references.Reference | None,
              tasks: Sequence[str]) -> Figure:
  """Aggregates over tasks against steps, for the tasks of the runs."""
  metrics = series.normalizers(tasks)
  figure, panels = drawing.grid(len(metrics))
  lines: list = []
  if reference is not None:
    lines.append((reference.method, drawing.COLORS[0], {
        task: series.of_reference(reference, task) for task in tasks}))
  if groups:
    lines.append(('ours', drawing.OURS, {task: series.ours(
        groups[task], series.rule(reference, groups[task]), '')
        for task in tasks}))
  for axes, (name, function) in zip(panels, metrics.items(), strict=True):
    for label, color, found in lines:
      if all(found.values()):
        axes.plot(*series.aggregate(found, function), color=color,
                  label=f'{label}, {len(tasks)} tasks', linewidth=1.6)
    drawing.finish(axes, name)
  return drawing.legend(
      figure, panels, 'environment steps; of means over seeds')


def ablations(found: list[runs.Run],
              reference: references.Reference | None) -> Figure:
  """Panels per task with one line per variant, ours dotted."""
  source = reference and catalog.SOURCES.get(reference.name)
  if not reference or not source or not source.source.startswith('v1_fig'):
    raise UserError('ablations: choose a figure by --to: dreamerv1/fig10, '
                    'fig11 or fig12')
  rows = [row for row in csv_rows.published(source.file)
          if row.source == source.source and row.value is not None]
  tasks = list(dict.fromkeys(row.task for row in rows))
  known = {run.task for run in found}
  tasks = [task for task in tasks if not known or task in known]
  figure, panels = drawing.grid(len(tasks))
  for axes, task in zip(panels, tasks, strict=True):
    methods = dict.fromkeys(row.method for row in rows)
    for color, method in zip(drawing.COLORS, methods, strict=False):
      points = [row for row in rows if (row.task, row.method) == (task, method)]
      axes.errorbar(
          [x.env_steps for x in points], [x.value for x in points],
          [x.std or 0 for x in points], color=color, label=method,
          marker='o', markersize=3, linewidth=1.4, capsize=2)
    _our_variants(axes, task, found, source)
    drawing.finish(axes, task)
  return drawing.legend(figure, panels, STEPS.format('bars'))


def horizons() -> Figure:
  """Figure 4: final return against the imagination horizon."""
  rows = [row for row in csv_rows.published('dreamerv1_figures')
          if row.source == 'v1_fig4']
  tasks = list(dict.fromkeys(row.task for row in rows))
  figure, panels = drawing.grid(len(tasks))
  for axes, task in zip(panels, tasks, strict=True):
    lines: dict = {}
    for row in rows:
      if row.task == task:
        method, horizon = row.method.split('_horizon_')
        lines.setdefault(method, []).append((int(horizon), row.value))
    for color, (method, points) in zip(
        drawing.COLORS, lines.items(), strict=False):
      axes.plot(*zip(*points, strict=True), color=color, label=method,
                marker='o', markersize=3, linewidth=1.4)
    drawing.finish(axes, task)
  return drawing.legend(figure, panels, 'imagination horizon')


def _our_variants(axes, task, found, source):
  """The lines of one task; a variant has its color in all of them."""
  labels = variants(found)
  palette = itertools.cycle((drawing.OURS, *drawing.COLORS[::-1]))
  colors = dict(zip(dict.fromkeys(labels), palette, strict=False))
  groups: dict = {}
  for run, label in zip(found, labels, strict=True):
    if run.task == task:
      groups.setdefault(label, []).append(run)
  for label, group in groups.items():
    curve = series.ours(group, binning.rule(source.rule), label)
    if curve:
      marker = 's' if len(curve.steps) < 15 else None
      axes.plot(curve.steps, curve.mean, color=colors[label], linestyle=':',
                marker=marker, markersize=3, label=label)


def variants(found: list[runs.Run]) -> list[str]:
  """Returns the variant that each run is of.

  The presets tell; where several experiments have the same, their settings.
  """
  names = [f'ours: {" ".join(run.presets) or "paper"}' for run in found]
  groups: dict = {}
  for run, name in zip(found, names, strict=True):
    groups.setdefault((run.task, name), []).append(run)
  return [name + _special(run, groups[run.task, name])
          for run, name in zip(found, names, strict=True)]


def _special(run, group):
  """What the settings of a run have that not all of its group have."""
  if len({other.config for other in group}) == 1:
    return ''
  flats = [other.folder.config.flat if (
      other.folder and other.folder.config) else {} for other in group]
  own = flats[group.index(run)]
  if not all(flats):
    return f', {run.config[:4]}'
  keys = [key for key, value in own.items()
          if key not in (*resume.HARMLESS, *provenance.VARYING)
          and any(flat.get(key) != value for flat in flats)]
  return ''.join(f', {key} {own[key]}' for key in keys)


def _rank(entry):
  """Baselines first, then the paper's agent, then ours."""
  return [entry[0].startswith(x) for x in ('ours', 'dreamer')]


def _ours(group):
  return f'ours, {group[0].method}'


def _last(points):
  sample = points[max(points)]
  return sample.mean, sample.std
