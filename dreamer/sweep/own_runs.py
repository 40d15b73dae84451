"""A YAML file of own runs: names, and what follows `./run.sh train`.

    walker: dreamerv1 --configs dmc laptop --task dmc_walker_walk
    fewer_nats: dreamerv1 --configs dmc laptop --kl.free 1
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from dreamer.config import agents, yaml_files
from dreamer.errors import UserError
from dreamer.sweep.jobs import LOGS, Job

GIVEN = ('logdir', 'seed')  # by the sweep
EXAMPLE = 'walker: dreamerv1 --configs dmc laptop --task dmc_walker_walk'


def jobs(path: str, seeds: int | None = None,
         tasks: Sequence[str] | None = None,
         methods: Sequence[str] | None = None) -> list[Job]:
  """Returns the Jobs of a file, each with seeds 0, 1, ... (default: one).

  tasks: instead of those that the commands have. methods: names, of those in
  the file. Raises UserError for what training would refuse as well.
  """
  content = yaml_files.read(path)
  for name in content:
    if not isinstance(name, str):
      raise UserError(
          f'{path}: {_written(name)}: is no text to YAML; write the name in '
          f"quotes: '{_written(name)}': ...")
  for name in methods or ():
    if name not in content:
      raise UserError(f'--methods: {name!r} is not in {path}; allowed: '
                      f'{", ".join(map(str, content))}')
  found = []
  for name, command in content.items():
    if methods and name not in methods:
      continue
    for task in dict.fromkeys(tasks or (None,)):
      found += [_job(path, name, command, task, seed)
                for seed in range(seeds or 1)]
  if not found:
    raise UserError(f'{path}: names no run; a line is {EXAMPLE!r}')
  return found


def _written(name):
  """A name that is no text, as it stands in a file."""
  return 'null' if name is None else (
      str(name).lower() if isinstance(name, bool) else str(name))


def _job(path, name, command, task, seed):
  where = f'{path}: {name}'
  if not re.fullmatch(r'[\w.-]*\w[\w.-]*', name):
    raise UserError(f'{where}: no name of a folder; use letters, digits, _ . -')
  if name == LOGS:
    raise UserError(f'{where}: is the folder of what runs print; use another')
  agent, *options = _words(where, command)
  for key in GIVEN:
    if any(x.split('=')[0] == f'--{key}' for x in options):
      raise UserError(f'{where}: --{key} is given by the sweep; leave it out')
  if task:
    options += ['--task', task]
  try:
    entry = agents.find(agent)
    config = entry.schema().parse(
        [*options, '--seed', str(seed), '--logdir', 'runs'])
    entry.validate(config)
  except UserError as e:
    raise UserError(f'{where}: {e}') from None
  return Job(agent, (), config.task, seed, config.steps, name, {},
             tuple(options))


def _words(where, command):
  if not isinstance(command, str):
    raise UserError(f'{where}: no command; a line is {EXAMPLE!r}')
  try:
    words = shlex.split(command)
  except ValueError as e:
    raise UserError(f'{where}: {e}') from None
  for start in (['./run.sh', 'train'], ['python', '-m']):
    if words[:2] == start:
      words = words[2:]
  if words[1:2] == ['train']:
    del words[1]
  if not words:
    raise UserError(f'{where}: no command; a line is {EXAMPLE!r}')
  return words
