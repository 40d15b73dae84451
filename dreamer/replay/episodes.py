"""Recorded episodes: their files, and what is derived from their arrays."""

from __future__ import annotations

import dataclasses
import functools
import math
import pathlib
import re
from collections.abc import Mapping

import numpy as np

from dreamer import npz
from dreamer.errors import UserError
from dreamer.npz import Arrays

FLAGS = ('is_first', 'is_last', 'is_terminal')
KEYS = ('image', 'action', 'reward', 'discount', *FLAGS)

_NAME = re.compile(r'\d{8}T\d{6}-[^-]+-(\d+)\.npz')
Spec = tuple[np.dtype, tuple[int, ...]]  # of an array: dtype, shape of a row


@dataclasses.dataclass(frozen=True)
class Kind:
  """What the files of one task have in common.

  arrays: the recorded ones by key. overhead: bytes of a file beside their
  rows; None where files are compressed, so that sizes tell nothing.
  """

  arrays: dict[str, Spec]
  overhead: int | None

  @functools.cached_property
  def row_bytes(self) -> int:
    return sum(math.prod(shape) * dtype.itemsize
               for dtype, shape in self.arrays.values())

  def length(self, name: str, size: int) -> int | None:
    """Rows of a file that is of this kind by its name and its size.

    None: it is not, or only its headers can tell.
    """
    match = _NAME.fullmatch(name)
    if match and self.overhead is not None:
      named = int(match[1])
      for rows in (named, named + 1):
        if rows and size == self.overhead + rows * self.row_bytes:
          return rows
    return None


class Episode:
  """A file `<time>-<id>-<length>.npz`; its headers are read on first use.

  Arrays have `length` rows, the first is the reset: action, reward, discount,
  is_first, is_last, is_terminal, and observations: image uint8 [H, W, C],
  vectors, whatever was recorded. Of the flags and the discount,
  danijar/dreamer records only discount, danijar/dreamerv2 all but discount;
  what is missing is derived. Floats are read as float32. The length in the
  name counts rows, as danijar/dreamer has it, or rows - 1, as
  danijar/dreamerv2 has it.

  What reads the file raises OSError or one of npz.DAMAGE if it can't be used.
  """

  __slots__ = ('_folder', 'name', 'kind', 'length', '_offsets')

  def __init__(self, folder: pathlib.Path, name: str, kind: Kind,
               length: int) -> None:
    self._folder, self.name, self.kind = folder, name, kind
    self.length = length
    self._offsets: tuple[int | None, ...] | None = None  # not read yet

  @classmethod
  def open(cls, path: pathlib.Path) -> Episode:
    """Takes kind and length from the headers."""
    match = _NAME.fullmatch(path.name)
    if not match:
      raise ValueError('the name is not <time>-<id>-<length>.npz')
    layout = npz.layout(path)
    length = _length(layout, int(match[1]))
    episode = cls(path.parent, path.name, _kind(path, layout, length), length)
    episode._offsets = tuple(x.offset for x in layout.values())
    return episode

  @property
  def path(self) -> pathlib.Path:
    return self._folder / self.name

  @property
  def bytes(self) -> int:
    """Size in memory, nearly."""
    return self.length * self.kind.row_bytes

  @property
  def stored(self) -> bool:
    """Whether rows can be read where they lie; see `verify`."""
    return self._offsets is not None and None not in self._offsets

  @property
  def keys(self) -> list[str]:
    """Those of KEYS that it holds or that are derived: all but the image."""
    return [k for k in KEYS if k != 'image' or k in self.kind.arrays]

  def spec(self, key: str) -> Spec:
    """(dtype, shape of one row) of an array as it is read.

    Raises UserError if the episode does not hold it.
    """
    arrays = self.kind.arrays
    if key in arrays:
      dtype, shape = arrays[key]
      return _as_read(key, dtype), shape
    if key not in KEYS or key == 'image':
      names = ', '.join(sorted(arrays))
      raise UserError(f'{self.path} has no {key}; it holds {names}')
    return _as_read(key, np.dtype(np.float32)), ()

  def check_spec(self, key: str, dtype: np.dtype,
                 shape: tuple[int, ...]) -> None:
    """Raises UserError if an array is not like another episode's."""
    if self.spec(key) != (dtype, shape):
      own = self.spec(key)
      raise UserError(
          f'{key} of {self.path} is {own[0]} {list(own[1])}, of another '
          f'episode {dtype} {list(shape)}; a folder is for one task only')

  def check_like(self, arrays: Arrays) -> None:
    """Raises UserError if another, complete episode is not like this one."""
    for key in self.keys:
      if key not in arrays:
        raise UserError(
            f'an episode has no {key}, others in {self._folder} do; a '
            'folder is for one task only')
      self.check_spec(key, arrays[key].dtype, arrays[key].shape[1:])

  def verify(self) -> None:
    """Reads the headers, unless that was done; they decide on the kind."""
    if self._offsets is None:
      found = Episode.open(self.path)
      if found.length != self.length:
        raise ValueError(f'it has {found.length} rows, not {self.length}')
      self._offsets = found._offsets
      if found.kind != self.kind:  # else one object serves all files
        self.kind = found.kind

  def load(self) -> Arrays:
    """All arrays, the derived ones included; verifies checksums."""
    arrays = complete(npz.read(self.path))
    _check_finite(arrays)
    return arrays

  def read(self, out: Arrays, start: int) -> None:
    """Reads only rows [start, start + T) into out[key], each [T, ...].

    The file must be `stored`.
    """
    with open(self.path, 'rb') as file:
      for key, array in out.items():
        self._read(file, key, start, array)
    _check_finite(out)

  def _read(self, file, key, start, out):
    arrays = self.kind.arrays
    if key in arrays:
      assert self._offsets is not None, 'call verify() first'
      dtype, shape = arrays[key]
      offset = self._offsets[list(arrays).index(key)]
      npz.read_rows(file, npz.Member(offset, dtype, (self.length, *shape)),
                    start, out)
      return

    def rows(other):
      value = np.empty(len(out), self.spec(other)[0])
      self._read(file, other, start, value)
      return value
    out[...] = _derive(key, rows, np.arange(start, start + len(out)),
                       self.length)


def _length(layout, named):
  """Rows of the arrays, which must fit each other and the name."""
  if 'action' not in layout:
    raise ValueError('it has no action')
  shape = layout['action'].shape
  if not shape or not shape[0] or named not in (shape[0], shape[0] - 1):
    raise ValueError(f'action has shape {shape}, the name says {named} rows')
  if 'reward' not in layout:
    raise ValueError('it has no reward')
  if not {'discount', 'is_terminal'} & set(layout):
    raise ValueError('it has neither discount nor is_terminal')
  for key, member in layout.items():
    if member.shape[:1] != shape[:1]:
      raise ValueError(f'{key} has shape {member.shape}, action has '
                       f'{shape[0]} rows')
  image = layout.get('image')
  if image and image.dtype != np.uint8:
    raise ValueError(f'image is {image.dtype}, not uint8')
  return shape[0]


def _kind(path, layout, length):
  kind = Kind({k: (x.dtype, x.shape[1:]) for k, x in layout.items()}, None)
  if any(x.offset is None for x in layout.values()):
    return kind
  return dataclasses.replace(
      kind, overhead=path.stat().st_size - length * kind.row_bytes)


def complete(arrays: Mapping[str, np.ndarray]) -> Arrays:
  """An episode with every key of KEYS derived and floats as float32."""
  length = len(arrays['action'])
  for key, value in arrays.items():
    assert len(value) == length > 0, (key, len(value), length)
  arrays = {
      k: np.ascontiguousarray(v, _as_read(k, v.dtype))
      for k, v in arrays.items()}
  for key in ('discount', 'is_first', 'is_last', 'is_terminal'):
    if key not in arrays:
      value = _derive(key, arrays.__getitem__, np.arange(length), length)
      arrays[key] = value.astype(_as_read(key, value.dtype))
  return arrays


def _check_finite(arrays):
  for key, value in arrays.items():
    if value.dtype.kind == 'f' and not np.isfinite(value).all():
      raise ValueError(f'{key} is not finite everywhere')


def _as_read(key, dtype):
  if key in FLAGS:  # and no observation that begins like them
    return np.dtype(bool)
  floating = np.issubdtype(dtype, np.floating)
  return np.dtype(np.float32) if floating else dtype


def _derive(key, rows, index, length):
  """The rows `index` of a missing array from other rows of the episode."""
  if key == 'is_first':
    return index == 0
  if key == 'is_last':
    return index == length - 1
  if key == 'is_terminal':
    return rows('discount') == 0
  assert key == 'discount', key
  return 1.0 - rows('is_terminal').astype(np.float32)
