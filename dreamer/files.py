"""Files that are whole or absent: atomic writes, names out of the way."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
import re
import warnings
from collections.abc import Iterator
from typing import IO, Any

from dreamer.errors import UserError

ROOT = pathlib.Path(__file__).resolve().parent.parent  # of the checkout
# Where configs/ and scores/ are: in a checkout at its top; installed in the
# package, because others may have packages of these names.
DATA = ROOT / 'dreamer' if (ROOT / 'dreamer' / 'configs').is_dir() else ROOT
Path = str | os.PathLike[str]
# In files that commands write where users name them: such ones may be replaced.
MARK = 'dreamer-reproduced'


def expand(path: Path) -> str:
  """Returns a path as text, with the home folder for `~` as shells do it."""
  return os.path.expanduser(os.fspath(path))


def here() -> str:
  """Returns the working folder. Raises UserError where it was deleted."""
  try:
    return os.getcwd()
  except FileNotFoundError:
    raise UserError(
        'the folder you are in was deleted; cd to another one (also if one '
        'of its name is there again)') from None


def check_ours(path: Path, mark: bytes = MARK.encode()) -> None:
  """Raises UserError where a file would be replaced that we have not written.

  mark: what ours hold. Empty files may be replaced.
  """
  path = pathlib.Path(path)
  try:
    content = path.read_bytes() if path.is_file() else b''
  except OSError as error:
    raise UserError(_why(path, error)) from error
  if content and mark not in content:
    raise UserError(
        f'{path}: is there already, and was not written by this command; move '
        'it away, or name another file') from FileExistsError(path)


@contextlib.contextmanager
def atomic_write(path: Path, mode: str = 'wb') -> Iterator[IO[Any]]:
  """A file to write; it becomes `path` when the block ends without an error.

  Yields an open file with a temporary name (`file.name`) in the same folder,
  which is created if need be; afterwards it is flushed, synced and renamed.
  On an error it is removed and what was at `path` before stays. A link stays
  one: what it leads to is written.

  mode: 'wb', or 'w' for UTF-8 text.
  Raises UserError when the file system refuses (disk full, no permission).
  """
  path = pathlib.Path(os.path.realpath(path))
  if path.exists() and not path.is_file():
    raise UserError(f'can not write {path}: it is no ordinary file'
                    ) from FileExistsError(path)
  temp = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(temp, mode, encoding=None if 'b' in mode else 'utf-8') as file:
      yield file
      file.flush()
      os.fsync(file.fileno())
    os.replace(temp, path)
    _sync_folder(path.parent)
  except OSError as error:
    raise UserError(_why(path, error)) from error
  finally:
    with contextlib.suppress(OSError):
      temp.unlink(missing_ok=True)


def replace_section(path: Path, name: str, content: str) -> str:
  """Returns a file's text with `content` between the marks of a section.

  The marks are the lines `<!-- name -->` and `<!-- /name -->`. Raises
  UserError where they are missing.
  """
  marks = f'<!-- {name} -->', f'<!-- /{name} -->'
  text = pathlib.Path(path).read_text(encoding='utf-8')
  start, end = map(text.find, marks)
  if start < 0 or end < start:
    raise UserError(f'{path}: needs the lines {" and ".join(marks)}')
  return f'{text[:start]}{marks[0]}\n{content}\n{text[end:]}'


def _why(path, error):
  if error.errno in (errno.ENOSPC, errno.EDQUOT):
    return f'disk full: {path} was not written; free some space and resume'
  return f'can not write {path}: {error.strerror or error}'


def _sync_folder(folder):
  """Makes a rename survive a power failure, where the system can."""
  with contextlib.suppress(OSError):
    handle = os.open(folder, os.O_RDONLY)
    try:
      os.fsync(handle)
    finally:
      os.close(handle)


def whole_name(path: Path) -> str | None:
  """The name that a temporary file of `atomic_write` would get; or None."""
  found = re.fullmatch(r'\.(.+)\.\d+\.tmp', os.path.basename(path))
  return found and found[1]


def remove_leftovers(folder: Path, suffix: str) -> None:
  """Removes temporary files that an interrupted `atomic_write` left behind.

  suffix: of the files that are written into this folder.
  """
  for path in pathlib.Path(folder).glob('.*.tmp'):
    if (whole_name(path) or '').endswith(suffix):
      with contextlib.suppress(OSError):
        path.unlink()


def move_aside(path: Path, folder: str) -> pathlib.Path | None:
  """Moves a file into a subfolder of its own folder, overwriting nothing.

  Returns its new path, or None where it is gone or can't be moved.
  """
  path = pathlib.Path(path)
  target = path.parent / folder / path.name
  count = 0
  while target.exists():
    count += 1
    target = target.with_name(f'{path.name}.{count}')
  try:
    target.parent.mkdir(exist_ok=True)
    os.replace(path, target)
  except OSError:
    return None
  return target


def check_readable(path: Path, error: Exception) -> None:
  """Raises UserError where `error` is not the fault of the file at `path`."""
  if isinstance(error, OSError) and error.errno not in (
      None, errno.ENOENT, errno.EIO, errno.EINVAL):
    raise UserError(f'can not read {path}: {error.strerror}') from error


def warn(message: str, times: int = 1) -> None:
  """One line for the user about something that does not stop the run.

  times: how often it has happened by now. The line says it from the second
  time on, so that Python's filter, which drops what was shown before, shows
  it again.
  """
  warnings.warn(
      f'{message} ({ordinal(times)} time)' if times > 1 else message,
      stacklevel=3)


def ordinal(number: int) -> str:
  """1 -> 1st, 12 -> 12th, 23 -> 23rd."""
  endings = {1: 'st', 2: 'nd', 3: 'rd'}
  teens = number // 10 % 10 == 1
  return f'{number}{"th" if teens else endings.get(number % 10, "th")}'
