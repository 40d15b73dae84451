"""A temporary folder that dies with its process, however that ends."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import tempfile

from dreamer.locks import Lock

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
    self._lock = Lock(new)
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
    self._lock.close()


def _remove_abandoned(base, prefix):
  for path in base.glob(f'{prefix}*/{MARK}'):
    with contextlib.suppress(OSError), Lock(path.parent) as lock:
      if lock.held:
        shutil.rmtree(path.parent, ignore_errors=True)
