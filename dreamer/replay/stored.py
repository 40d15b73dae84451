"""Arrays of an agent beside the rows of a replay: how they are kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from dreamer.npz import Arrays

DTYPES = 'float32', 'float16', 'bfloat16'


class Stored(NamedTuple):
  """One of them. The agent gives and gets float32 arrays of `shape` per row.

  dtype: what it is kept in, a name of DTYPES.
  onehot: whether its last axis is one-hot, or all zeros where nothing was
    stored; kept are the indices along it. The agent may also give those.
  """

  shape: tuple[int, ...]
  dtype: str = 'float32'
  onehot: bool = False

  @property
  def kept(self) -> tuple[np.dtype, tuple[int, ...]]:
    """The dtype and shape of a row as it is kept."""
    if self.onehot:
      wide = self.shape[-1] > 256
      return np.dtype(np.uint16 if wide else np.uint8), self.shape[:-1]
    name = 'uint16' if self.dtype == 'bfloat16' else self.dtype
    return np.dtype(name), self.shape

  def encode(self, value: np.ndarray) -> np.ndarray:
    """Rows [N, ...] as they are kept."""
    value = np.asarray(value)
    dtype, shape = self.kept
    if self.onehot:
      if value.shape[1:] == self.shape:
        value = _comparable(value).argmax(-1)
    elif self.dtype == 'bfloat16':
      value = _to_bfloat16(value)
    assert value.shape[1:] == shape, (value.shape, shape)
    return value.astype(dtype)

  def decode(self, kept: np.ndarray) -> np.ndarray:
    """The inverse, float32; what encoding has rounded stays so."""
    if self.onehot:
      return (kept[..., None] == np.arange(self.shape[-1])).astype(np.float32)
    if self.dtype == 'bfloat16':
      return (kept.astype(np.uint32) << 16).view(np.float32)
    return kept.astype(np.float32)


class Packed:
  """Several of them in one record of bytes per row.

  size: bytes of a record.
  """

  def __init__(self, specs: Mapping[str, Stored]) -> None:
    self.specs = dict(specs)
    self._places: dict[str, tuple[int, int]] = {}
    self.size = 0
    for name, spec in self.specs.items():
      dtype, shape = spec.kept
      begin, self.size = self.size, (
          self.size + dtype.itemsize * math.prod(shape))
      self._places[name] = begin, self.size

  def encode(self, arrays: Mapping[str, np.ndarray], out: np.ndarray) -> None:
    """Rows [N, ...] by name to records, out: uint8 [N, size]."""
    for name, spec in self.specs.items():
      begin, end = self._places[name]
      kept = np.ascontiguousarray(spec.encode(arrays[name]))
      out[:, begin: end] = kept.reshape(len(out), -1).view(np.uint8)

  def decode(self, records: np.ndarray, good: np.ndarray) -> Arrays:
    """The inverse; zeros where not `good`, bool [N]."""
    found = {}
    for name, spec in self.specs.items():
      dtype, shape = spec.kept
      begin, end = self._places[name]
      kept = np.ascontiguousarray(records[:, begin: end]).view(dtype)
      value = spec.decode(kept.reshape(len(records), *shape))
      value[~good] = 0
      found[name] = value
    return found


def _comparable(value):
  """One-hot values in a type that argmax is fast for."""
  if value.dtype.itemsize == 2 and value.dtype.kind != 'u':
    return value.view(np.uint16)  # in the order of non-negative floats
  return value


def _to_bfloat16(value):
  """The upper halves of float32, rounded to nearest, ties to even."""
  if value.dtype.name == 'bfloat16':
    return value.view(np.uint16)
  bits = np.ascontiguousarray(value, np.float32).view(np.uint32)
  return ((bits + (0x7fff + ((bits >> 16) & 1))) >> 16).astype(np.uint16)
