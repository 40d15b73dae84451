"""What a process that answers messages does; its client is `Client`."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from dreamer import cli
from dreamer.errors import UserError
from dreamer.npz import Arrays
from dreamer.processes import wire
from dreamer.processes.failure import describe

PR_SET_PDEATHSIG = 1
Reply = tuple[str, dict[str, Any], dict[str, Any]]


class Server:
  """Executes messages: each by the method on_NAME of a subclass.

  These get the arrays, and the rest as keywords; they return the reply's
  kind and content.
  """

  ready = False  # whether it was made what it is to be

  def __init__(self, sock: socket.socket) -> None:
    self._sock = sock

  def serve(self) -> None:
    """Answers until the parent closes, or the code has failed.

    A UserError is passed on as it is; anything else that is raised is a
    failure.
    """
    while True:
      kind, arrays, meta = wire.receive(self._sock)
      if kind == 'close':
        break
      answer, arrays, meta = self._execute(kind, arrays, meta)
      wire.send(self._sock, answer, arrays, **meta)
      if answer == 'failure' or not self.ready:
        break
    self.close()

  def close(self) -> None:
    """Frees what it holds."""

  def remedy(self, error: BaseException) -> str:
    """What may help against a failure, for the end of its line; or ''."""
    del error
    return ''

  def _execute(self, kind, arrays: Arrays, meta) -> Reply:
    try:
      return getattr(self, f'on_{kind}')(arrays, **meta)
    except UserError as error:
      return 'error', {}, {'text': str(error)}
    except (Exception, SystemExit) as error:  # Its state is unknown now.
      text, place = describe(error, self.remedy)
      return 'failure', {}, {'text': text, 'place': place}


def run(
    make: Callable[[socket.socket], Server], argv: Sequence[str]) -> None:
  """Serves the parent until the end of this process.

  argv: number of the socket, and the parent's id.
  """
  sock = socket.socket(fileno=int(argv[0]))
  _end_with_parent(sock, int(argv[1]))
  code = 1
  try:
    with cli.warnings_to(cli.tell):
      make(sock).serve()
    code = 0
  except (EOFError, BrokenPipeError, ConnectionResetError):
    pass
  except BaseException:
    traceback.print_exc()
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(code)  # Some drivers crash in their exit handlers.


def _end_with_parent(sock, parent):
  """Ends this process when the parent is gone, be it in the middle of C code.

  The kernel's signal covers Linux; it follows the thread that started this
  process, which `process.spawn` therefore keeps. The thread here notices the
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
