"""One environment in a process of its own, without TensorFlow.

Started by RemoteEnv as `python -m dreamer.envs.workers.worker <socket>
<parent>`. It answers the messages of its parent one by one and ends with it,
however the parent ends. What libraries print goes to standard error.
"""

from __future__ import annotations

import ctypes
import importlib
import os
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

from dreamer import cli, files
from dreamer.config.schema import Section
from dreamer.envs import make_env
from dreamer.envs.workers import wire
from dreamer.envs.workers.failure import describe
from dreamer.errors import UserError

PR_SET_PDEATHSIG = 1
Arrays = dict[str, np.ndarray]
Reply = tuple[str, dict[str, Any], dict[str, Any]]


class Server:
  """Executes messages; every method returns the reply's kind and content."""

  def __init__(self, sock: socket.socket) -> None:
    self._sock = sock
    self._env: Any = None
    self._name = 'environment'

  def serve(self) -> None:
    """Answers until the parent closes, or the environment has failed.

    A UserError is passed on as it is; anything else that the environment
    raises is a failure.
    """
    while True:
      kind, arrays, meta = wire.receive(self._sock)
      if kind == 'close':
        break
      answer, arrays, meta = self._execute(kind, arrays, meta)
      wire.send(self._sock, answer, arrays, **meta)
      if answer == 'failure' or self._env is None:
        break
    self._close()

  def _execute(self, kind, arrays, meta):
    try:
      return getattr(self, f'on_{kind}')(arrays, **meta)
    except UserError as error:
      return 'error', {}, {'text': str(error)}
    except Exception as error:  # The environment's state is unknown now.
      text, place = describe(error)
      return 'failure', {}, {'text': text, 'place': place}

  def _close(self):
    try:
      if self._env:
        self._env.close()
    except Exception as error:  # Whatever it raises: it is over.
      files.warn(f'{self._name}: close() failed: {describe(error)[0]}')

  def on_make(
      self, arrays: Arrays, config: dict, mode: str, index: int,
      factory: str | None, path: list[str], folder: str) -> Reply:
    sys.path.extend(x for x in path if x not in sys.path)
    os.chdir(folder)
    self._name = f'{mode} environment {index} ({factory or config["task"]})'
    make = load_factory(factory) if factory else None
    self._env = make_env(Section(config), mode, index, make)
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
  """Imports the callable that `module:function` names."""
  module, _, function = name.partition(':')
  factory: Any = importlib.import_module(module)
  for part in function.split('.'):
    factory = getattr(factory, part)
  if 'tensorflow' in sys.modules:
    raise UserError(
        f'factory {name}: its module imports TensorFlow, beside which '
        'OpenGL crashes; move the factory to a module without that import, '
        'or set envs.worker=inline')
  return factory


def end_with_parent(sock: socket.socket, parent: int) -> None:
  """Ends this process when the parent is gone, be it in the middle of C code.

  The kernel's signal covers Linux; it follows the thread that started this
  process, which RemoteEnv therefore keeps. The thread here notices the
  closed socket on any system.
  """
  if sys.platform == 'linux':
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
  if os.getppid() != parent:
    os._exit(1)
  threading.Thread(target=_watch, args=(sock.fileno(),), daemon=True).start()


def _watch(fd):
  poll = select.poll()
  poll.register(fd, 0)  # Reports a hang-up only.
  while not poll.poll():
    pass
  os._exit(1)


def main(argv: list[str]) -> None:
  sock = socket.socket(fileno=int(argv[0]))
  end_with_parent(sock, int(argv[1]))
  code = 1
  try:
    with cli.warnings_to(lambda text: print(text, file=sys.stderr)):
      Server(sock).serve()
    code = 0
  except (EOFError, BrokenPipeError, ConnectionResetError):
    pass
  except BaseException:
    traceback.print_exc()
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(code)  # Some drivers crash in their exit handlers.


if __name__ == '__main__':
  main(sys.argv[1:])
