"""The client of a process that answers messages."""

from __future__ import annotations

import atexit
import collections
import contextlib
import os
import signal
import socket
import subprocess
import time
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from dreamer import files
from dreamer.errors import UserError
from dreamer.npz import Arrays
from dreamer.processes import nested, process, wire
from dreamer.processes.failure import WorkerError

CLOSE_SECONDS = 2.0  # of a process that has nothing left to do
TAIL_LINES = 3


class Client:
  """A process of our own that answers one message after the other.

  What its code raises and what becomes of it appear where an answer is
  waited for. A subclass says in `_patience` how long that may be, and sends
  the first message in `_greet`.

  Args:
    name: For messages.
    command: What `python -m` runs, given a socket and this process's id.
    environ: Variables of its environment, beside those of this process.

  Raises:
    UserError: what its code raised as such, with the same text.
    WorkerError: its code raised anything else, or the process crashed (with
      its last words) or hangs.
  """

  def __init__(
      self, name: str, command: Sequence[str],
      environ: Mapping[str, str] | None = None) -> None:
    self._name = name
    self._command, self._environ = command, environ or {}
    self._process: subprocess.Popen | None = None
    self._waiting = False
    self.owner = os.getpid()
    self._start()

  @property
  def pid(self) -> int:
    assert self._process, f'{self._name} is closed'
    return self._process.pid

  @property
  def closed(self) -> bool:
    """Whether it has no process: it was closed, or could not start."""
    return self._process is None

  def restart(self) -> None:
    """Replaces the process by a fresh one."""
    self._kill()
    self._start()

  def close(self) -> None:
    """Lets the process end itself; kills it if that takes long."""
    if self.closed:
      return
    self._ask_to_close()
    self._finish(self._closing)

  @property
  def _closing(self):
    """Seconds that closing may take; a subclass may give more."""
    return CLOSE_SECONDS

  def _greet(self):
    """Sends the first message."""
    raise NotImplementedError

  def _patience(self):
    """Seconds until a silent process counts as hanging, and their key."""
    raise NotImplementedError

  def _start(self):
    self._waiting = False
    self._failure: UserError | None = None
    self._tail: collections.deque[str] = collections.deque(maxlen=TAIL_LINES)
    self._socket, theirs = socket.socketpair()
    with theirs:
      try:
        self._process = started = process.spawn(
            theirs.fileno(), self._command,
            {**self._environ, **nested.environ(self._name)})
      except OSError as error:
        self._failure = WorkerError(f'{self._name} cannot start: {error}')
        raise self._failure from error
    assert started.stdout
    self._printer = process.forward(started.stdout, self._tail)
    self._remember()
    self._greet()

  def _remember(self):
    """For the end of this process."""
    _LIVE.add(self)
    atexit.unregister(_close_all)
    atexit.register(_close_all)

  def _send(
      self, kind: str, arrays: Arrays | None = None, **meta: Any) -> None:
    assert not self._waiting, 'receive() the last answer first'
    self._waiting = True
    self._write(kind, arrays, **meta)

  def _write(self, kind, arrays=None, **meta):
    if self._failure is not None:
      return  # receive() tells.
    try:
      self._asked = kind
      self._socket.settimeout(self._patience()[0])
      wire.send(self._socket, kind, arrays, **meta)
    except OSError:
      pass  # It is gone or stuck: so will be the answer.

  def _answer(self, expected):
    """Returns (arrays, meta) of the next answer."""
    if self._failure is not None:
      raise self._failure
    seconds, key = self._patience()
    try:
      kind, arrays, meta = wire.receive(self._socket, seconds)
    except EOFError:
      raise self._fail(self._crash()) from None
    except TimeoutError:
      raise self._fail(
          f'{self._name} gave no answer for {seconds:g} seconds; if it is '
          f'only slow, raise {key}') from None
    if kind == 'failure':
      raise self._fail(
          f'{self._name}: {meta["text"]}', meta['place'], self._finish)
    if kind == 'error':
      raise self._refusal(UserError(meta['text']), expected)
    assert kind == expected, (kind, expected)
    return arrays, meta

  def _refusal(self, error, expected):
    """What its code raised as such, in place of an answer."""
    del expected
    return error

  def _fail(self, text, place=None, end=None):
    (end or self._kill)()
    self._failure = WorkerError(text, place)
    return self._failure

  def _crash(self):
    assert self._process
    code: int | str = 'unknown'
    with contextlib.suppress(subprocess.TimeoutExpired):
      code = self._process.wait(CLOSE_SECONDS)
    self._printer.join(1.0)
    words = ' | '.join(self._tail) or 'it printed nothing'
    how = f'signal {-code}' if isinstance(code, int) and code < 0 else (
        f'status {code}')
    return f'{self._name} ended with {how}; last output: {words}'

  def _ask_to_close(self):
    self._write('close')

  def _finish(self, seconds=CLOSE_SECONDS):
    assert self._process
    try:
      self._process.wait(seconds)
    except subprocess.TimeoutExpired:
      if self._closing > CLOSE_SECONDS:
        files.warn(f'{self._name}: closing took over {seconds:g} seconds and '
                   'was ended')
    self._kill()

  def _kill(self):
    if self._process is None:
      return
    # It leads its group, in which what it has started may outlive it.
    with contextlib.suppress(ProcessLookupError, PermissionError):
      os.killpg(self._process.pid, signal.SIGKILL)
    self._process.wait()
    self._socket.close()
    self._process = None
    self._failure = WorkerError(f'{self._name} is closed; restart() it')
    _LIVE.discard(self)


_LIVE: weakref.WeakSet[Client] = weakref.WeakSet()


def _close_all():
  """At exit; a forked child leaves its parent's workers alone."""
  live = [x for x in _LIVE if x.owner == os.getpid()]
  for client in live:
    client._ask_to_close()
  start = time.monotonic()  # They close at the same time.
  for client in live:
    left = client._closing - (time.monotonic() - start)
    client._finish(max(left, CLOSE_SECONDS))
