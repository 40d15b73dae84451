"""Runs, from their folders or from files that `collect` made, checked."""

from __future__ import annotations

import collections
import json
import os
import pathlib
import typing
from collections.abc import Callable, Iterable, Sequence

from dreamer.errors import UserError
from dreamer.run.run_folder import (
  RETURNS,
  RunFolder,
  final_entry,
  finite,
  modern,
)

from . import csv_rows

FORMAT = 'dreamer scores 1'
POLICIES = {'trained': 'trained agent', 'untrained': 'untrained agent',
            'random': 'random policy'}


LAST = 0.25  # share of a budget whose episodes are a run's score at it


class Run(typing.NamedTuple):
  """One run of one seed.

  where: its label. It is what tables show; two runs of one call never share
    it, but it is not what a run is known by: that is `identity`.
  task, method: '' where they are not known; seed: None. method is the agent.
  evaluations: [(env steps, [returns])], in the order of steps.
  reached: environment steps of its last line.
  final: {policy: evaluation after training}, see eval.jsonl.
  commits: of the code, all that took part. notes: what was left out, why.
  identity: the parts of its resolved path; of a run in a file those of the
    file, and its label there.
  folder: the RunFolder, or None for a run in a file.
  faults: what makes its scores meaningless.
  """

  where: str
  task: str
  method: str
  seed: int | None
  reached: int
  protocol: dict
  presets: list
  config: str
  commits: list
  evaluations: list
  final: dict
  notes: list
  identity: tuple = ()
  folder: RunFolder | None = None
  faults: tuple = ()

  @property
  def key(self) -> tuple:
    """What no other run of an experiment may have."""
    return self.method, self.task, self.config, self.seed


def last_mean(
    points: Iterable[tuple[int, list[float]]], budget: float,
    spent: Callable[[int], float] = lambda step: step) -> float | None:
  """Mean of the returns in the last quarter of a budget; None: none ended.

  points: [(env steps, [returns])]. spent: how much of the budget a step is.
  """
  values = [x for step, returns in points for x in returns
            if (1 - LAST) * budget < spent(step) <= budget]
  return sum(values) / len(values) if values else None


KEPT = Run._fields[:-3]  # in files of `collect`


def load(paths: Sequence[str | os.PathLike], returns: str = 'evaluation',
         strict: bool = True) -> list[Run]:
  """Returns the Runs of folders and collected files; checks them together.

  returns: evaluation, or training: the returns of the episodes that the
    agent learned from.
  strict: whether the runs have to be fit for scores; see `check`.
  Raises UserError: nothing there, a run twice, what `check` finds.
  """
  if not paths:
    raise UserError('no run named; name logdirs or files of `scores collect`')
  runs: list[Run] = []
  for path in (pathlib.Path(path).expanduser() for path in paths):
    runs += [of_folder(RunFolder(path), returns)] if path.is_dir() else (
        read_file(path, returns))
  _check_once(runs)
  found = [run._replace(where=where)
           for run, where in zip(runs, labels(runs), strict=True)]
  if strict:
    check(found)
  return sorted(found, key=lambda run: (
      run.method, run.task, str(run.seed).zfill(9), run.config, run.where))


def of_folder(folder: RunFolder, returns: str = 'evaluation') -> Run:
  """Returns the Run of a RunFolder. returns: see `load`."""
  faults = [text for (what, _), text in folder.faults.items()
            if what in ('run', returns)]
  evaluations, protocol = folder.evaluations, folder.protocol
  if returns == 'training':
    evaluations, protocol = folder.training, {**protocol, 'returns': returns}
  for name, value in (('task', folder.task), ('agent', folder.agent),
                      ('seed', folder.seed)):
    if value is None:
      faults.insert(0, f'no {name} is known: config.yaml is missing, and no '
                    'line says it')
  if not evaluations and (returns == 'training' or not folder.final):
    faults.append(f'no {returns} returns; ' + (
        'no episode has ended' if returns == 'training' else
        'evaluate the run by ./run.sh eval, or train with eval_every'))
  return Run(
      '/'.join(folder.path.parts[-2:]), csv_rows.task_name(folder.task or ''),
      folder.agent or '', folder.seed, folder.reached, protocol,
      folder.presets, folder.hash, folder.commits, evaluations, folder.final,
      folder.notes, folder.path.parts, folder, tuple(faults))


def read_file(path: pathlib.Path, returns: str = 'evaluation') -> list[Run]:
  """Returns the Runs of a file that `collect` wrote."""
  try:
    content = json.loads(path.read_text(encoding='utf-8'))
  except (OSError, ValueError, RecursionError) as e:
    what = e.strerror if isinstance(e, OSError) else 'no JSON'
    raise UserError(
        f'{path}: cannot read: {what}; name a logdir or a file of `scores '
        'collect`') from None
  if not isinstance(content, dict) or content.get('format') != FORMAT:
    raise UserError(
        f'{path}: no file of `scores collect` (format {FORMAT!r})')
  found: list[Run] = []
  for row in content['runs']:
    found.append(_from_json(path, row, {run.where for run in found}))
  for run in found:
    if run.protocol.get('returns') != returns:
      kind = run.protocol.get('returns')
      raise UserError(
          f'{path}: {run.where} holds {kind} returns, not {returns}; write '
          f'--returns {kind}, or collect it again from its logdir')
  return found


def kind_of_file(path: pathlib.Path) -> str:
  """Returns which returns a file of `collect` holds, as far as it says."""
  try:
    content = json.loads(path.read_text(encoding='utf-8'))
    kind = content['runs'][0]['protocol']['returns']
  except (OSError, ValueError, RecursionError, LookupError, TypeError):
    kind = None
  return kind if kind in RETURNS else 'evaluation'


def to_json(run: Run) -> dict:
  """Returns a Run as a dict; `read_file` takes it back."""
  return {**{key: getattr(run, key) for key in KEPT}, 'evaluations': [
      [step, list(returns)] for step, returns in run.evaluations]}


def by_task(
    runs: Iterable[Run], variants: bool = False) -> dict[str, list[Run]]:
  """Returns {task: runs}; raises where the seeds are of two experiments.

  variants: they may be; of one agent all the same.
  """
  methods = {run.method for run in runs}
  if len(methods) > 1:
    raise UserError(
        f'runs of {" and ".join(sorted(methods))}; compare one agent at a '
        'time')
  groups = collections.defaultdict(list)
  for run in runs:
    groups[run.task].append(run)
  for task, group in groups.items() if not variants else ():
    for run in group[1:]:
      if run.config != group[0].config:
        raise UserError(
            f'{task}: {run.where} has other settings than {group[0].where} '
            '(see their config.yaml); compare one experiment at a time')
  return dict(groups)


def check(runs: Iterable[Run]) -> None:
  """Raises UserError where scores of runs would be meaningless."""
  seen: dict = {}
  for run in runs:
    if run.faults:
      raise UserError(f'{run.where}: {run.faults[0]}')
    if run.key in seen:
      raise UserError(
          f'{run.where}: seed {run.seed} of {run.method} on {run.task} is '
          f'also in {seen[run.key]}; leave one of them out')
    seen[run.key] = run.where


# Which run is which


def labels(runs: Sequence[Run]) -> list[str]:
  """Returns a label for each run; no two are equal.

  A label is the end of the run's path, nothing more about the machine: two
  folders, or as many as tell it from the others.
  """
  found = [run.where for run in runs]
  length = 3
  while len(set(found)) < len(found) and length <= max(
      len(run.identity) for run in runs):
    twice = {x for x, n in collections.Counter(found).items() if n > 1}
    found = ['/'.join(run.identity[-length:]) if label in twice
             else label for run, label in zip(runs, found, strict=True)]
    length += 1
  return found


def _check_once(runs):
  seen = set()
  for run in runs:
    if run.identity in seen:
      raise UserError(f'{run.where}: is named twice; name it once')
    seen.add(run.identity)


def _from_json(path, row, known):
  missing = [key for key in KEPT if key not in row]
  if missing:
    raise UserError(f'{path}: a run lacks {", ".join(missing)}; collect again')
  run = Run(**{key: row[key] for key in KEPT})
  if run.where in known:
    run = run._replace(where=f'{run.where} ({len(known) + 1})')
  where = f'{path}: {run.where}'
  evaluations = [
      (step, finite(values, f'{where}: step {step}'))
      for step, values in run.evaluations]
  final = {policy: final_entry(modern(entry), finite(
      entry.get('returns'), f'{where}: {policy}'))
           for policy, entry in run.final.items()}
  return run._replace(
      evaluations=evaluations, final=final,
      identity=(*path.resolve().parts, *run.where.split('/')))
