"""A run of a sweep: what it is, its command, how far it has come."""

from __future__ import annotations

import functools
import pathlib
import shlex
import typing
from collections.abc import Mapping

from dreamer.config import agents
from dreamer.config.schema import Config
from dreamer.errors import UserError
from dreamer.run.resume import HARMLESS, checkpoints
from dreamer.run.run_folder import RunFolder

LOGS = 'logs'  # the folder of a sweep for what its runs print


class Job(typing.NamedTuple):
  """One run. keys: settings beside presets, task, seed, steps and logdir.

  options: of a command line, before them.
  """

  agent: str
  presets: tuple
  task: str
  seed: int
  steps: int
  method: str
  keys: dict
  options: tuple = ()

  @property
  def folder(self) -> str:
    return f'{self.method}/{self.task}/seed{self.seed}'

  def argv(self, root: str) -> list[str]:
    """Returns the command behind `./run.sh train`."""
    keys = {'task': self.task, 'seed': self.seed, 'steps': self.steps,
            **self.keys, 'logdir': str(pathlib.Path(root) / self.folder)}
    options = [x for key, value in keys.items() for x in (
        f'--{key}', str(value))]
    presets = ['--configs', *self.presets] if self.presets else []
    return [self.agent, *presets, *self.options, *options]

  def command(self, root: str, program: str = './run.sh') -> str:
    return shlex.join([program, 'train', *self.argv(root)])


def config_of(job: Job) -> Config:
  """Returns the Config that the training command makes of a Job."""
  return _schema(job.agent).parse(job.argv('runs')[1:])


def progress(job: Job, root: str) -> int:
  """Returns the environment steps that a run has done.

  Raises UserError where its folder holds another run, or has done something
  by other settings.
  """
  logdir = pathlib.Path(root) / job.folder
  if not (logdir / 'config.yaml').exists():
    return 0
  folder = RunFolder(logdir)
  newest = checkpoints(logdir).newest  # None: a run that was kept without.
  done = folder.reached if newest is None else min(newest, folder.reached)
  check(job, folder, {
      key: value for key, value in config_of(job).flat.items()
      if key not in HARMLESS} if done else None)
  return done


def check(job: Job, folder: RunFolder,
          settings: Mapping[str, object] | None = None) -> None:
  """Raises UserError where a folder holds another run than the Job's.

  settings: which it has to have as well.
  """
  pairs = [(key, getattr(folder, key), getattr(job, key))
           for key in ('agent', 'task', 'seed')]
  if folder.config:
    pairs += [(key, folder.config.flat[key], value) for key, value in (
        settings or {}).items() if key in folder.config.flat]
  for key, theirs, ours in pairs:
    if theirs != ours:
      raise UserError(f'{folder.name}: holds a run of {key} {theirs}, not '
                      f'{ours}; move it away')


@functools.cache
def _schema(agent):
  return agents.schema(agent)
