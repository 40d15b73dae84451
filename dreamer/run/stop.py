"""Signals as a request to stop that a loop answers when it is ready."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from typing import Any

NOTICE = b'\nStopping after this step; once more to stop at once.\n'


class Stopped(Exception):
  """Somebody asked to stop; `code` is the exit status shells expect."""

  def __init__(self, signum: int) -> None:
    super().__init__(signal.Signals(signum).name)
    self.code = 128 + signum


class Stop:
  """Context in which the first signal asks and the second one ends at once.

  SIGHUP, of a terminal that has gone, only asks: shells and the kernel send
  it several times. Where it is ignored, as under nohup, it stays so. Outside
  the main thread Python allows no handlers: there this does nothing.
  """

  SIGNALS = (signal.SIGINT, signal.SIGTERM)
  HANGUP = getattr(signal, 'SIGHUP', None)  # not on Windows

  def __init__(self) -> None:
    self.signum: int | None = None
    self._asked = False  # by somebody, not only by a lost terminal
    self._before: dict[int, Any] = {}

  def __enter__(self) -> Stop:
    if threading.current_thread() is threading.main_thread():
      for signum in self.SIGNALS:
        self._before[signum] = signal.signal(signum, self._handle)
      if self.HANGUP and signal.getsignal(self.HANGUP) != signal.SIG_IGN:
        self._before[self.HANGUP] = signal.signal(
            self.HANGUP, self._handle)
    return self

  def __exit__(self, *_: object) -> None:
    for signum, handler in self._before.items():
      signal.signal(signum, handler)

  def check(self) -> None:
    """Raises Stopped if a signal has come."""
    if self.signum is not None:
      raise Stopped(self.signum)

  def _handle(self, signum, _):
    if signum != self.HANGUP:
      if self._asked:
        os._exit(128 + signum)  # Workers end when their pipe closes.
      self._asked = True
    if self.signum is not None:
      return
    self.signum = signum
    with contextlib.suppress(OSError):
      os.write(2, NOTICE)
