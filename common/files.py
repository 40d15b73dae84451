"""Files that are whole or absent: atomic writes, `.npz` without pickle."""

import contextlib
import errno
import math
import os
import pathlib
import struct
import typing
import warnings
import zipfile
import zlib

import numpy as np

from common.config import UserError

# What reading a damaged `.npz` raises, apart from OSError.
DAMAGE = (
    ValueError, KeyError, EOFError, SyntaxError, struct.error, zlib.error,
    zipfile.BadZipFile, NotImplementedError, RuntimeError)


@contextlib.contextmanager
def atomic_write(path, mode='wb'):
  """A file to write; it becomes `path` when the block ends without an error.

  Yields an open file with a temporary name (`file.name`) in the same folder,
  which is created if need be; afterwards it is flushed, synced and renamed.
  On an error it is removed and what was at `path` before stays.

  mode: 'wb', or 'w' for UTF-8 text.
  Raises UserError when the file system refuses (disk full, no permission).
  """
  path = pathlib.Path(path)
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


def remove_leftovers(folder):
  """Removes temporary files that an interrupted `atomic_write` left behind."""
  for path in pathlib.Path(folder).glob('.*.tmp'):
    with contextlib.suppress(OSError):
      path.unlink()


def move_aside(path, folder):
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


def check_readable(path, error):
  """Raises UserError where `error` is not the fault of the file at `path`."""
  if isinstance(error, OSError) and error.errno not in (
      None, errno.ENOENT, errno.EIO, errno.EINVAL):
    raise UserError(f'can not read {path}: {error.strerror}') from error


def report(message):
  """One line for the user about something that does not stop the run."""
  warnings.warn(message, stacklevel=3)


def write_npz(path, arrays):
  """Writes named arrays atomically, uncompressed: what np.load reads.

  Unlike np.savez it takes any name and no objects, and the same arrays give
  the same bytes.
  """
  with atomic_write(path) as file:
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_STORED) as archive:
      for name, array in arrays.items():
        array = np.asarray(array, order='C')
        with archive.open(f'{name}.npy', 'w', force_zip64=True) as member:
          np.lib.format.write_array(member, array, allow_pickle=False)


def read_npz(path):
  """All arrays of an `.npz`; the zip's checksums are verified.

  Raises OSError or one of `DAMAGE`.
  """
  npz_layout(path)  # before arrays of a wrong size are allocated
  with np.load(path, allow_pickle=False) as data:
    return {name: data[name] for name in data.files}


class Member(typing.NamedTuple):
  """Where one array of an `.npz` lies."""

  offset: int | None  # of the first element in the file; None: not as is
  dtype: np.dtype
  shape: tuple

  @property
  def row_bytes(self):
    return math.prod(self.shape[1:]) * self.dtype.itemsize


def npz_layout(path):
  """Reads the headers of an `.npz`: dict of name -> Member.

  Finds truncated files, and members whose size contradicts their header; the
  elements themselves are not read. Raises OSError or one of `DAMAGE`.
  """
  with open(path, 'rb') as file, zipfile.ZipFile(file) as archive:
    return {
        info.filename.removesuffix('.npy'): _member(file, archive, info)
        for info in archive.infolist()}


def _member(file, archive, info):
  with archive.open(info) as member:
    shape, fortran, dtype = _read_header(member)
    header = member.tell()
  size = math.prod(shape) * dtype.itemsize
  if dtype.hasobject or info.file_size != header + size:
    raise ValueError(f'{info.filename} does not hold the array it announces')
  if info.compress_type != zipfile.ZIP_STORED or fortran and len(shape) > 1:
    return Member(None, dtype, shape)
  # The local header's two name lengths are not those of the directory.
  file.seek(info.header_offset)
  name, extra = struct.unpack('<26x2H', file.read(30))
  return Member(info.header_offset + 30 + name + extra + header, dtype, shape)


def _read_header(file):
  version = np.lib.format.read_magic(file)
  if version == (1, 0):
    return np.lib.format.read_array_header_1_0(file)
  if version == (2, 0):
    return np.lib.format.read_array_header_2_0(file)
  raise ValueError(f'unknown .npy version {version}')


def read_rows(file, member, start, out):
  """Reads len(out) rows from `start` on into the contiguous array `out`.

  file: the `.npz`, opened for binary reading; member.offset is not None.
  Raises EOFError where the file is too short.
  """
  rows = out
  if member.dtype != out.dtype:
    rows = np.empty((len(out), *member.shape[1:]), member.dtype)
  view = memoryview(rows.reshape(-1).view(np.uint8))
  file.seek(member.offset + start * member.row_bytes)
  if file.readinto(view) != len(view):
    raise EOFError('the file ends too early')
  if rows is not out:
    out[...] = rows
