"""A temporary folder that dies with its process, however that ends."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import tempfile

try:
  import fcntl
except ImportError:  # not on Windows
  fcntl = None  # type: ignore[assignment]

MARK = '.made-by-dreamer'  # Others are left alone, whatever their names.


class TempFolder:
  """A folder that this process keeps locked, named by TMPDIR.

  So what libraries leave behind lies in it. Removed by `close`, and if the
  process was killed before, by the next one that makes such a folder: the
  lock ended with the process, and a file in it says who made it. File systems
  without locks keep it.

  Args:
    prefix: Begins the names of all such folders.
  """

  def __init__(self, prefix: str) -> None:
    base = pathlib.Path(tempfile.gettempdir())
    _remove_abandoned(base, prefix)
    # Renamed only when it is locked: nobody may take it for abandoned.
    new = pathlib.Path(tempfile.mkdtemp(prefix=f'.{prefix}', dir=base))
    self._handle = _lock(new)
    (new / MARK).touch()
    self.path = new.rename(new.with_name(new.name[1:]))
    self._before: dict[str, str | None] | None = {
        key: os.environ.get(key) for key in ('TMPDIR', 'TEST_TMPDIR')}
    os.environ.update(TMPDIR=str(self.path), TEST_TMPDIR=str(self.path))

  def close(self) -> None:
    """May be called again."""
    if self._before is None:
      return
    for key, value in self._before.items():
      os.environ.pop(key, None)
      if value is not None:
        os.environ[key] = value
    self._before = None
    shutil.rmtree(self.path, ignore_errors=True)
    if self._handle is not None:
      os.close(self._handle)


def _remove_abandoned(base, prefix):
  for path in base.glob(f'{prefix}*/{MARK}'):
    path = path.parent
    handle = _lock(path)
    if handle is not None:
      shutil.rmtree(path, ignore_errors=True)
      os.close(handle)


def _lock(path):
  """An open handle that holds the lock, or None where it can't be had."""
  with contextlib.suppress(OSError):
    handle = os.open(path, os.O_RDONLY)
    try:
      if fcntl:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return handle
    except OSError:
      pass
    os.close(handle)
  return None
