"""What may stand beside what: the one rule of all that reads runs."""

from __future__ import annotations

import typing
from collections.abc import Iterable, Sequence

from dreamer.errors import UserError
from dreamer.run.provenance import EMULATOR

from . import references, runs

# Keys of the protocol whose difference makes a comparison meaningless.
REFUSED = ('returns', 'actions', 'sticky', 'time_limit')


class Comparable(typing.NamedTuple):
  """groups: {task: runs}; flags: lines about what differs all the same."""

  groups: dict[str, list[runs.Run]]
  flags: list[str]


def check(
    found: Sequence[runs.Run], reference: references.Reference | None = None,
    allow: Sequence[str] = (), variants: bool = False) -> Comparable:
  """Returns what may be shown together, or raises UserError.

  found: Runs. reference: what they stand beside, or None. allow: keys of the
  protocol that may differ although they are REFUSED. variants: whether the
  runs of a task may have different settings.
  """
  for key in allow:
    if key not in REFUSED:
      raise UserError(f'--allow: {key!r} is not allowed; allowed: '
                      f'{", ".join(REFUSED)}')
  groups = runs.by_task(found, variants)
  if reference is None or not groups:
    return Comparable(groups, [])
  references.check_tasks(reference, groups)
  return Comparable(groups, _protocol(groups, reference, allow))


def paper_differs(run: runs.Run) -> str:
  """How the paper measured its score of a run's task otherwise, or ''.

  Only what makes its score another one, where both are known. Of the run these
  are evaluations, whichever returns it was loaded with.
  """
  reference = references.of_paper(run.method, run.task, run.presets)
  if reference is None:
    return ''
  return ', '.join(
      f'{key} is {_show(ours)} here, {_show(theirs)} there'
      for key, ours, theirs in _mismatches(
          {**run.protocol, 'returns': 'evaluation'},
          _applies(reference.protocol, run.task))
      if key in REFUSED and ours is not None)


def few(texts: Iterable[str]) -> str:
  """Some words with commas; of many the first and the last."""
  texts = list(texts)
  return ', '.join(texts if len(texts) < 9 else [
      *texts[:3], '...', texts[-1]])


def _protocol(groups, reference, allow):
  """Returns lines about what differs; raises where nothing can be said."""
  first = next(iter(groups.values()))[0]
  found: dict = {}
  for task, group in groups.items():
    for run in group:
      for difference in _mismatches(
          run.protocol, _applies(reference.protocol, task)):
        found.setdefault(difference, {})[task] = None
  lines = {difference: _difference(difference, tasks, groups)
           for difference, tasks in found.items()}
  refused = {key: line for (key, *_), line in lines.items()
             if key in REFUSED and key not in allow}
  if refused:
    raise UserError(
        f'{reference.name} was measured in another way: '
        f'{"; ".join(refused.values())}. Such numbers can not be compared; '
        f'to do it all the same: --allow {" ".join(refused)}')
  return [*_origin_flags(first, reference), *lines.values()]


def _applies(protocol, task):
  """Drops what says something about Atari's emulator only."""
  if task.startswith('atari_'):
    return protocol
  return {key: value for key, value in protocol.items()
          if key not in EMULATOR}


def _difference(difference, tasks, groups):
  key, ours, theirs = difference
  every = len(tasks) == len(groups) > 1
  where = 'all tasks' if every else few(sorted(tasks))
  return f'{where}: {key} is {_show(ours)} here, {_show(theirs)} there'


def _origin_flags(run, reference):
  flags = []
  if reference.agent and run.method != reference.agent:
    flags.append(f'the runs are of {run.method}, the reference is of '
                 f'{reference.agent}')
  if reference.agent and set(run.presets) != set(reference.presets):
    flags.append(
        f'the runs have the presets {" ".join(run.presets) or "paper"}, the '
        f'reference {" ".join(reference.presets) or "paper"}')
  return flags


def _mismatches(ours, theirs):
  """Yields (key, our value, their value); their None is not known."""
  for key, value in theirs.items():
    if isinstance(value, dict):
      inner = _mismatches(ours.get(key) or {}, value)
      yield from ((f'{key}.{x}', a, b) for x, a, b in inner)
    elif value is not None and ours.get(key) != value:
      yield key, ours.get(key), value


def _show(value):
  return 'not known' if value is None else str(value).lower()
