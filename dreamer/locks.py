"""Locks on folders, which end with their process, however that ends.

Each is one on the folder itself, so that no file is left behind; a package
such as filelock keeps a file for each. Where a file system or a machine has
no locks, nothing is held and nobody waits.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from dreamer.files import Path, warn

try:
  import fcntl
except ImportError:  # not on Windows
  fcntl = None  # type: ignore[assignment]


class Lock:
  """The lock of a folder, if it is free.

  held: this process has it, until `close`. taken: another process has it.
  Neither: there are no locks. Raises OSError where the folder can't be opened.
  """

  def __init__(self, folder: Path) -> None:
    self._handle: int | None = os.open(folder, os.O_RDONLY)
    self.held = self.taken = False
    self._take(wait=False)

  def wait(self) -> None:
    """Until other processes have let go of it."""
    if self.taken:
      self._take(wait=True)

  def close(self) -> None:
    """May be called again."""
    if self._handle is not None:
      os.close(self._handle)
    self._handle, self.held = None, False

  def __enter__(self) -> Lock:
    return self

  def __exit__(self, *_: object) -> None:
    self.close()

  def _take(self, wait):
    if not fcntl or self._handle is None:
      return
    try:
      fcntl.flock(self._handle, fcntl.LOCK_EX | (not wait) * fcntl.LOCK_NB)
      self.held, self.taken = True, False
    except BlockingIOError:
      self.taken = True
    except OSError:  # This file system has none.
      pass


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
  """Keeps other processes of ours from changing files of a folder meanwhile.

  For what is read, changed and written again. Waits for them, and says so.
  """
  with Lock(folder) as lock:
    if lock.taken:
      warn(f'waits for another command that changes files in {folder}')
      lock.wait()
    yield
