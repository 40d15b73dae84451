"""One environment in a process of its own, without TensorFlow.

Started by RemoteEnv as `python -m dreamer.envs.workers.worker <socket>
<parent>`. It answers the messages of its parent one by one and ends with it,
however the parent ends. What libraries print goes to standard error.
"""

import ctypes
import importlib
import os
import select
import signal
import socket
import sys
import threading
import traceback

from dreamer.config.schema import Section
from dreamer.envs import make_env
from dreamer.envs.workers import wire
from dreamer.errors import UserError

PR_SET_PDEATHSIG = 1


class Server:
  """Executes messages; every method returns the reply's kind and content."""

  def __init__(self, sock):
    self._sock = sock
    self._env = None

  def serve(self):
    """Answers until the parent closes; UserErrors are passed on."""
    while True:
      kind, arrays, meta = wire.receive(self._sock)
      if kind == 'close':
        break
      try:
        reply = getattr(self, f'on_{kind}')(arrays, **meta)
        wire.send(self._sock, reply[0], reply[1], **reply[2])
      except UserError as error:
        wire.send(self._sock, 'error', text=str(error))
        if self._env is None:
          break
    if self._env:
      self._env.close()

  def on_make(self, arrays, config, mode, index, factory, path, folder):
    sys.path.extend(x for x in path if x not in sys.path)
    os.chdir(folder)
    factory = factory and load_factory(factory)
    self._env = make_env(Section(config), mode, index, factory)
    obs = {k: v.describe() for k, v in self._env.obs_space.items()}
    act = self._env.act_space
    return 'spaces', {}, {'obs': obs, 'act': [act.kind, act.dim]}

  def on_reset(self, arrays, seed):
    return 'obs', self._env.reset(seed), {}

  def on_step(self, arrays):
    return 'obs', self._env.step(arrays['action']), {}

  def on_replay(self, arrays, seed):
    return 'obs', self._env.replay(seed, arrays['actions']), {}

  def on_modules(self, arrays):
    return 'modules', {}, {'names': sorted(sys.modules)}


def load_factory(name):
  """Imports the callable that `module:function` names."""
  module, _, function = name.partition(':')
  factory = importlib.import_module(module)
  for part in function.split('.'):
    factory = getattr(factory, part)
  if 'tensorflow' in sys.modules:
    raise UserError(
        f'factory {name}: its module imports TensorFlow, beside which '
        'OpenGL crashes; move the factory to a module without that import, '
        'or set envs.worker=inline')
  return factory


def end_with_parent(sock, parent):
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


def main(argv):
  sock = socket.socket(fileno=int(argv[0]))
  end_with_parent(sock, int(argv[1]))
  code = 1
  try:
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
