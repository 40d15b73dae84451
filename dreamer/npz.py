"""Arrays by name in `.npz` files, without pickle."""

from __future__ import annotations

import io
import math
import struct
import tokenize
import typing
import zipfile
import zlib
from collections.abc import Mapping

import numpy as np

from dreamer.files import Path, atomic_write

Arrays = dict[str, np.ndarray]

# What reading a damaged `.npz` raises, apart from OSError.
DAMAGE = (
    ValueError, KeyError, EOFError, SyntaxError, struct.error, zlib.error,
    zipfile.BadZipFile, NotImplementedError, RuntimeError,
    tokenize.TokenError)


def write(path: Path, arrays: Mapping[str, typing.Any],
          mark: str = '') -> None:
  """Writes named arrays atomically, uncompressed: what np.load reads.

  Unlike np.savez it takes any name and no objects, and the same arrays give
  the same bytes. mark: see files.check_ours; readers do not see it.
  """
  with atomic_write(path) as file:
    with zipfile.ZipFile(file, 'w', zipfile.ZIP_STORED) as archive:
      archive.comment = mark.encode()
      for name, array in arrays.items():
        array = np.asarray(array, order='C')
        with archive.open(f'{name}.npy', 'w', force_zip64=True) as member:
          np.lib.format.write_array(member, array, allow_pickle=False)


def read(path: Path) -> Arrays:
  """All arrays of an `.npz`; the zip's checksums are verified.

  Raises OSError or one of `DAMAGE`.
  """
  layout(path)  # before arrays of a wrong size are allocated
  with np.load(path, allow_pickle=False) as data:
    return {name: data[name] for name in data.files}


class Member(typing.NamedTuple):
  """Where one array of an `.npz` lies."""

  offset: int | None  # of the first element in the file; None: not as is
  dtype: np.dtype
  shape: tuple[int, ...]

  @property
  def row_bytes(self) -> int:
    return math.prod(self.shape[1:]) * self.dtype.itemsize


def layout(path: Path) -> dict[str, Member]:
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


def read_rows(file: io.BufferedReader, member: Member, start: int,
              out: np.ndarray) -> None:
  """Reads len(out) rows from `start` on into the contiguous array `out`.

  file: the `.npz`, opened for binary reading; member.offset is not None.
  Raises EOFError where the file is too short.
  """
  assert member.offset is not None, member
  rows = out
  if member.dtype != out.dtype:
    rows = np.empty((len(out), *member.shape[1:]), member.dtype)
  view = rows.reshape(-1).view(np.uint8).data
  file.seek(member.offset + start * member.row_bytes)
  if file.readinto(view) != len(view):
    raise EOFError('the file ends too early')
  if rows is not out:
    out[...] = rows
