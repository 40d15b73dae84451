"""What a figure would lack, and why: said, or refused where it is all."""

from __future__ import annotations

from collections.abc import Sequence

from dreamer.errors import UserError

from . import references, runs, series

Groups = dict[str, list[runs.Run]]  # by task
NO_CURVE = 'no evaluation during training'


def check(kind: str, groups: Groups, reference: references.Reference | None,
          tasks: Sequence[str]) -> list[str]:
  """Returns lines about what is left out of a figure of this kind.

  Raises UserError where nothing of the runs would be in it.
  """
  ours = {'curves': _curves, 'bars': _bars, 'aggregate': _aggregate,
          'ablations': _curves}[kind](groups, reference)
  whole = ours and (kind == 'aggregate' or len(ours) == len(groups))
  lines = [f'{task}: {why}' for task, why in ours.items()]
  if whole:
    raise UserError(f'{kind}: nothing of these runs can be drawn: '
                    f'{"; ".join(lines)}')
  if kind == 'aggregate' and reference is not None:
    lines += _of_reference(reference, tasks)
  return lines


def _curves(groups, reference):
  return {task: NO_CURVE for task, group in groups.items()
          if series.ours(group, series.rule(reference, group), '') is None}


def _bars(groups, reference):
  found = {}
  for task, group in groups.items() if reference else ():
    if series.final(group, reference) is None:
      reached = max(run.reached for run in group)
      found[task] = (
          f'the runs reached {reached:,}, the last score of {reference.name} '
          f'is at {max(reference.scores[task]):,}')
  return found


def _aggregate(groups, reference):
  """A line of means needs all tasks, and a step that all of them have."""
  found = _curves(groups, reference)
  if not found and groups and not series.common({
      task: series.ours(group, series.rule(reference, group), '')
      for task, group in groups.items()}):
    return dict.fromkeys(groups, 'no step at which all tasks have a score')
  return found


def _of_reference(reference, tasks):
  curves = {task: series.of_reference(reference, task) for task in tasks}
  missing = [task for task, curve in curves.items() if curve is None]
  if missing:
    return [f'{reference.name}: left out, as it has no curve of '
            f'{", ".join(missing[:3])}{" and others" * (len(missing) > 3)}']
  if not series.common(curves):
    return [f'{reference.name}: left out, as its curves have no step in '
            'common']
  return []
