"""Recorded episodes: their files, and those that are held in memory."""

import collections
import contextlib
import math
import os
import pathlib
import re

import numpy as np

from dreamer import npz
from dreamer.errors import UserError

KEYS = ('image', 'action', 'reward', 'discount',
        'is_first', 'is_last', 'is_terminal')

_NAME = re.compile(r'\d{8}T\d{6}-[^-]+-(\d+)\.npz')


class Episode:
  """A file `<time>-<id>-<length>.npz`; only its headers are in memory.

  Arrays have `length` rows, the first is the reset: action, reward, discount,
  is_first, is_last, is_terminal, and observations: image uint8 [H, W, C],
  vectors, whatever was recorded. Of the flags and the discount,
  danijar/dreamer records only discount, danijar/dreamerv2 all but discount;
  what is missing is derived. Floats are read as float32. The length in the
  name counts rows, as danijar/dreamer has it, or rows - 1, as
  danijar/dreamerv2 has it.

  Raises OSError or one of npz.DAMAGE if the file can't be used.
  """

  def __init__(self, path):
    self.path = pathlib.Path(path)
    match = _NAME.fullmatch(self.path.name)
    if not match:
      raise ValueError('the name is not <time>-<id>-<length>.npz')
    self._layout = npz.layout(path)
    self.length = self._rows(int(match[1]))
    self._check()
    sizes = [math.prod(x.shape) * x.dtype.itemsize
             for x in self._layout.values()]
    self.bytes = sum(sizes)  # in memory, nearly
    self.stored = all(x.offset is not None for x in self._layout.values())

  def _rows(self, named):
    if 'action' not in self._layout:
      raise ValueError('it has no action')
    shape = self._layout['action'].shape
    if not shape or not shape[0] or named not in (shape[0], shape[0] - 1):
      raise ValueError(
          f'action has shape {shape}, the name says {named} rows')
    return shape[0]

  def _check(self):
    if 'reward' not in self._layout:
      raise ValueError('it has no reward')
    if not {'discount', 'is_terminal'} & set(self._layout):
      raise ValueError('it has neither discount nor is_terminal')
    for key, member in self._layout.items():
      if member.shape[:1] != (self.length,):
        raise ValueError(f'{key} has shape {member.shape}, action has '
                         f'{self.length} rows')
    image = self._layout.get('image')
    if image and image.dtype != np.uint8:
      raise ValueError(f'image is {image.dtype}, not uint8')

  @property
  def keys(self):
    """Those of KEYS that it holds or that are derived: all but the image."""
    return [k for k in KEYS if k != 'image' or k in self._layout]

  def spec(self, key):
    """(dtype, shape of one row) of an array as it is read.

    Raises UserError if the episode does not hold it.
    """
    if key in self._layout:
      member = self._layout[key]
      return _as_read(key, member.dtype), member.shape[1:]
    if key not in KEYS or key == 'image':
      names = ', '.join(sorted(self._layout))
      raise UserError(f'{self.path} has no {key}; it holds {names}')
    return _as_read(key, np.dtype(np.float32)), ()

  def check_spec(self, key, dtype, shape):
    """Raises UserError if an array is not like another episode's."""
    if self.spec(key) != (dtype, shape):
      own = self.spec(key)
      raise UserError(
          f'{key} of {self.path} is {own[0]} {list(own[1])}, of another '
          f'episode {dtype} {list(shape)}; a folder is for one task only')

  def load(self):
    """All arrays, the derived ones included; verifies checksums."""
    arrays = complete(npz.read(self.path))
    _check_finite(arrays)
    return arrays

  def read(self, out, start):
    """Reads only rows [start, start + T) into out[key], each [T, ...].

    The file must be `stored`.
    """
    with open(self.path, 'rb') as file:
      for key, array in out.items():
        self._read(file, key, start, array)
    _check_finite(out)

  def _read(self, file, key, start, out):
    if key in self._layout:
      return npz.read_rows(file, self._layout[key], start, out)

    def rows(other):
      value = np.empty(len(out), self.spec(other)[0])
      self._read(file, other, start, value)
      return value
    out[...] = _derive(key, rows, np.arange(start, start + len(out)),
                       self.length)


def complete(arrays):
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
  if key.startswith('is_'):
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


class Memory:
  """Loaded episodes by name, up to `limit` bytes; the least used go first."""

  def __init__(self, limit):
    self.limit = limit
    self.bytes = 0
    self._items = collections.OrderedDict()

  def get(self, name):
    if name in self._items:
      self._items.move_to_end(name)
    return self._items.get(name)

  def has_room(self, size):
    return self.bytes + size <= self.limit

  def put(self, name, arrays):
    """Keeps an episode, unless it alone exceeds the limit."""
    self.remove(name)
    size = _size(arrays)
    if size > self.limit:
      return
    while not self.has_room(size):
      self.remove(next(iter(self._items)))
    self._items[name] = arrays
    self.bytes += size

  def remove(self, name):
    if name in self._items:
      self.bytes -= _size(self._items.pop(name))


def _size(arrays):
  return sum(x.nbytes for x in arrays.values())


class Evicted:
  """Episodes beyond the capacity, in a folder of their own.

  A checkpoint needs the episodes it knows, so files are not deleted when they
  leave the store: `expire` does it once the checkpoint that was written after
  them is no longer the newest.
  """

  def __init__(self, folder):
    self._folder = pathlib.Path(folder)
    self._names = set()  # left since the last `expire`
    self._old = {x.name for x in self._folder.glob('*.npz')}  # before it

  def put(self, path):
    """Moves a file here; one that can't be moved stays."""
    with contextlib.suppress(OSError):
      self._folder.mkdir(exist_ok=True)
      os.replace(path, self._folder / path.name)
      self._names.add(path.name)

  def take_back(self, name, folder):
    """Moves a file into a folder; returns its path there, None if not here."""
    if name not in self._names | self._old:
      return None
    os.replace(self._folder / name, folder / name)
    self._names.discard(name)
    self._old.discard(name)
    return folder / name

  def expire(self):
    """Deletes the files that were here at the last call already."""
    for name in self._old:
      with contextlib.suppress(OSError):
        (self._folder / name).unlink()
    self._old, self._names = self._names, set()
