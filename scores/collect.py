"""Runs -> one file: every evaluation, protocol, and scores in bins."""

from __future__ import annotations

import argparse
import json
import sys

from dreamer import files

from . import binning, catalog, csv_rows, runs


def main(args: argparse.Namespace) -> None:
  """Writes the file, or prints it."""
  if args.out:
    files.check_ours(args.out, runs.FORMAT.encode())
  if args.csv:
    files.check_ours(args.csv, csv_rows.text([]).encode())
  found = runs.load(args.runs, args.returns)
  content = collect(found, args.bin)
  _say_missing(content['runs'])
  if args.csv:
    csv_rows.write(args.csv, rows(found, args.bin))
  text = dumps(content)
  if args.out:
    with files.atomic_write(args.out, 'w') as file:
      file.write(text)
  elif not args.csv:
    print(text, end='')


def _say_missing(content):
  """Says on stderr what is missing in the runs of a file."""
  for run in content:
    _say(run['where'], run['notes'])
    if not run['points']:
      _say(run['where'], [
          f'no bin is complete at step {run["reached"]:,} ({run["rule"]}); '
          'choose shorter ones by --bin'])


def say_notes(found: list[runs.Run]) -> None:
  """Says on stderr what was left out of Runs."""
  for run in found:
    _say(run.where, run.notes)


def _say(where, notes):
  for note in notes:
    print(f'note: {where}: {note}', file=sys.stderr)


def collect(found: list[runs.Run], width: str | None = None) -> dict:
  """Returns the content of a file of scores as a dict.

  width: name of a rule, or environment steps; by default the rule of the
    paper that has the task.
  """
  reached = furthest(found)
  content = []
  for run in found:
    rule = _rule(run, width)
    content.append({
        **runs.to_json(run), 'rule': rule.text(),
        'points': [list(point) for point in run_points(
            run, rule, reached[run.task])]})
  return {'format': runs.FORMAT, 'runs': content}


def dumps(content: dict) -> str:
  """Returns the file's text: JSON, a line per key of each run."""
  texts = ('{' + ',\n '.join(
      f'{json.dumps(key)}: {json.dumps(value, allow_nan=False)}'
      for key, value in run.items()) + '}' for run in content['runs'])
  head = json.dumps(content['format'])
  return f'{{"format": {head}, "runs": [\n' + ',\n'.join(texts) + '\n]}\n'


def furthest(found: list[runs.Run]) -> dict[str, int]:
  """Returns {task: the step that its longest run reached}."""
  reached: dict = {}
  for run in found:
    reached[run.task] = max(run.reached, reached.get(run.task, 0))
  return reached


def run_points(
    run: runs.Run, rule: binning.Rule, until: int) -> list[binning.Point]:
  """Returns the Points of a run; carried forward where others go on."""
  points = binning.points(run.evaluations, rule)
  edges = range(rule.offset + rule.width, until + 1, rule.width)
  wanted = {*(x for x in points if x <= until), *edges}
  found = [binning.at(points, rule, edge, run.reached)
           for edge in sorted(wanted)]
  return [point for point in found if isinstance(point, binning.Point)]


def rows(
    found: list[runs.Run], width: str | None = None) -> list[csv_rows.Row]:
  """Returns the scores of runs in the flat form."""
  reached = furthest(found)
  return [
      csv_rows.Row(run.task, run.method, str(run.seed), point.edge, point.value,
               n=point.episodes, source=run.where,
               note=f'carried:{point.carried}' if point.carried else '')
      for run in found
      for point in run_points(run, _rule(run, width), reached[run.task])]


def _rule(run, width):
  if width:
    return binning.rule(width)
  return catalog.default_rule(run.task, run.method)
