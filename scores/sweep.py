"""A sweep over a table or a file, and a comparison of what has finished."""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import sys
from collections.abc import Mapping, Sequence

from dreamer.errors import UserError
from dreamer.files import expand
from dreamer.sweep import own_runs, run_all
from dreamer.sweep.jobs import Job

from . import compare, matrix, references
from .__main__ import parse


def main(args: argparse.Namespace) -> None:
  """Runs what is unfinished; a table of all while it goes; a comparison.

  Exits with 1 where a run has failed.
  """
  jobs, reference, name = _planned(args)
  if args.to:
    references.check(args.to)  # Not only when all runs are over.
  root = str(pathlib.Path(expand(args.logdir or f'runs/{name}')).resolve())
  states, signum = run_all.run(name, jobs, root, run_all.Options(
      args.address, args.cpus_per_run, args.gpus_per_run, args.retries))
  _tell(states, jobs, root, args.to or reference)
  if signum:
    print('Stopped, with checkpoints; the same command goes on',
          file=sys.stderr)
    sys.exit(128 + signum)
  sys.exit(int('failed' in states.values()))


def _planned(args):
  """The jobs, what they are compared with, and a name for their folder."""
  given = args.seeds, args.tasks, args.methods
  if args.seeds is not None and args.seeds < 1:
    raise UserError(f'--seeds: {args.seeds} is not allowed; allowed: 1..')
  if args.name in matrix.EXPERIMENTS:
    found = matrix.jobs(args.name, *given, args.profile)
    return found, matrix.EXPERIMENTS[args.name].reference, args.name
  path = pathlib.Path(args.name)
  if path.suffix not in ('.yaml', '.yml'):
    raise UserError(
        f'unknown table or figure {args.name!r}; allowed: '
        f'{", ".join(matrix.EXPERIMENTS)}, or a .yaml file of own runs')
  if args.profile:
    raise UserError(f'--profile: is for tables; write it into {path} as one '
                    'of the presets')
  return own_runs.jobs(args.name, *given), None, path.stem


def _tell(states: Mapping[str, str], jobs: Sequence[Job], root: str,
          reference: str | None) -> None:
  """What has become of the runs, and how they compare."""
  finished = [x for x in jobs if states[x.folder] == 'finished']
  print(f'{len(finished)} of {len(jobs)} runs are finished')
  if not reference:
    return
  for method in dict.fromkeys(x.method for x in finished):
    folders = [str(pathlib.Path(root) / x.folder) for x in finished
               if x.method == method]
    print(f'\n{method}, {len(folders)} runs, beside {reference}:\n')
    options = ['compare', *folders, '--to', reference]
    try:
      with contextlib.suppress(_NotThere):
        _compare(options, method)
        continue
      compare.main(parse(options))
    except UserError as e:
      print(f'no comparison: {e}')


class _NotThere(Exception):
  """The reference has no such method."""


def _compare(options, method):
  try:
    compare.main(parse([*options, '--method', method]))
  except UserError as e:
    if 'method' not in str(e):
      raise
    raise _NotThere from None
