"""One environment in a process of its own, without TensorFlow.

Started by RemoteEnv as `python -m dreamer.envs.workers.worker <socket>
<parent>`. It answers the messages of its parent one by one and ends with it,
however the parent ends. What libraries print goes to standard error.
"""

from __future__ import annotations

import importlib
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

from dreamer import files
from dreamer.config.schema import Section
from dreamer.envs import gl, make_env
from dreamer.errors import UserError
from dreamer.npz import Arrays
from dreamer.processes import nested, server
from dreamer.processes.failure import describe
from dreamer.processes.server import Reply


class EnvServer(server.Server):
  """Makes the environment, resets and steps it."""

  def __init__(self, sock: socket.socket) -> None:
    super().__init__(sock)
    self._env: Any = None
    self._name = 'environment'

  def close(self) -> None:
    try:
      if self._env:
        self._env.close()
    except Exception as error:  # Whatever it raises: it is over.
      text, _ = describe(error, gl.remedy)
      files.warn(f'{self._name}: close() failed: {text}')

  def remedy(self, error: BaseException) -> str:
    return gl.remedy(error)

  def on_make(
      self, arrays: Arrays, config: dict, mode: str, index: int,
      factory: str | None, path: list[str], folder: str) -> Reply:
    # In the parent's order: the same names lead to the same files.
    sys.path[:] = [*path, *(x for x in sys.path if x not in path)]
    os.chdir(folder)
    self._name = f'{mode} environment {index} ({factory or config["task"]})'
    try:
      make = load_factory(factory) if factory else None
      self._env = make_env(Section(config), mode, index, make)
    except SystemExit as error:  # A script that is one when imported too.
      raise UserError(
          f'{describe(error)[0]}: the process of {self._name} was ended by '
          f'what it imports; {nested.GUARD}') from error
    self.ready = True
    obs = {k: v.describe() for k, v in self._env.obs_space.items()}
    act = self._env.act_space
    return 'spaces', {}, {
        'obs': obs, 'act': [act.kind, act.dim],
        'resets': self._env.resets_per_process}

  def on_reset(self, arrays: Arrays, seed: int | None) -> Reply:
    return 'obs', self._env.reset(seed), {}

  def on_step(self, arrays: Arrays) -> Reply:
    return 'obs', self._env.step(arrays['action']), {}

  def on_replay(self, arrays: Arrays, seed: int) -> Reply:
    return 'obs', self._env.replay(seed, arrays['actions']), {}

  def on_about(self, arrays: Arrays) -> Reply:
    return 'about', {}, {'about': self._env.about()}


def load_factory(name: str) -> Callable:
  """Imports the callable that `module:function` names.

  Raises UserError where it can't be had here.
  """
  module, _, function = name.partition(':')
  try:
    factory: Any = importlib.import_module(module)
    for part in function.split('.'):
      factory = getattr(factory, part)
  except (ModuleNotFoundError, AttributeError) as error:
    text, _ = describe(error)
    raise UserError(
        f'factory {name}: a worker can not import it: {text}; let its module '
        'be importable, with all that it needs, from a fresh Python in any '
        'folder, or set envs.worker=inline') from error
  if 'tensorflow' in sys.modules:
    raise UserError(
        f'factory {name}: its module imports TensorFlow, beside which '
        'OpenGL crashes; move the factory to a module without that import, '
        'or set envs.worker=inline')
  return factory


if __name__ == '__main__':
  server.run(EnvServer, sys.argv[1:])
