"""Ctrl-C and SIGTERM as a request that a loop answers when it is ready."""

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

  Outside the main thread Python allows no handlers: there it does nothing.
  """

  SIGNALS = (signal.SIGINT, signal.SIGTERM)

  def __init__(self) -> None:
    self.signum: int | None = None
    self._before: dict[int, Any] = {}

  def __enter__(self) -> Stop:
    if threading.current_thread() is threading.main_thread():
      for signum in self.SIGNALS:
        self._before[signum] = signal.signal(signum, self._handle)
    return self

  def __exit__(self, *_: object) -> None:
    for signum, handler in self._before.items():
      signal.signal(signum, handler)

  def check(self) -> None:
    """Raises Stopped if a signal has come."""
    if self.signum is not None:
      raise Stopped(self.signum)

  def _handle(self, signum, _):
    if self.signum is not None:
      os._exit(128 + signum)  # Workers end when their pipe closes.
    self.signum = signum
    with contextlib.suppress(OSError):
      os.write(2, NOTICE)
