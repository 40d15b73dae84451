"""A run of a sweep: what it is, its command, how far it has come."""

from __future__ import annotations

import functools
import pathlib
import shlex
import typing

from dreamer.config import agents
from dreamer.config.schema import Config
from dreamer.errors import UserError
from dreamer.run.run_folder import RunFolder


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

  Raises UserError where its folder holds another run.
  """
  logdir = pathlib.Path(root) / job.folder
  if not (logdir / 'config.yaml').exists():
    return 0
  folder = RunFolder(logdir)
  for key in ('agent', 'task', 'seed'):
    if getattr(folder, key) != getattr(job, key):
      raise UserError(
          f'{logdir}: holds a run of {key} {getattr(folder, key)}, not '
          f'{getattr(job, key)}; move it away')
  return folder.reached


@functools.cache
def _schema(agent):
  return agents.schema(agent)
