"""What arrays are pictures, and how they become uint8 [S, S, C]."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import DTypeLike

from dreamer.envs import resize, spaces
from dreamer.errors import UserError

LEAST = 32  # sides of what is taken for a picture without being named


def sides(shape: tuple) -> int | None:
  """Where height and width are: the first of two neighbouring axes.

  They are the only two neighbours of at least LEAST; all other axes are
  channels: gray [H, W], [H, W, C], [C, H, W], stacked frames [N, H, W, C].
  Returns None where there is no such pair or more than one.
  """
  found = pairs(shape)
  return found[0] if len(found) == 1 else None


def pairs(shape: tuple) -> list[int]:
  """All places where height and width could be; see `sides`."""
  return [i for i in range(len(shape) - 1)
          if min(shape[i], shape[i + 1]) >= LEAST]


def small_sides(shape: tuple) -> int | None:
  """As `sides` for pictures of any size, which somebody has named as such.

  Of three axes the smaller one of first and last has the channels.
  """
  if pairs(shape) or not 2 <= len(shape) <= 3:
    return sides(shape)
  return int(len(shape) == 3 and shape[0] < shape[-1])


class Picture:
  """Brings the pictures of one entry to uint8 [S, S, C].

  Channels stay what they are, none is dropped: four of them may be RGBA or
  four frames. Numbers are stretched from their bounds to 0..255. Shrinks by
  area, enlarges bilinearly.

  Args:
    shape, dtype: Of the entry.
    low, high: Its bounds; None: not known.

  Raises:
    UserError: it can not be read as a picture; says why.
  """

  def __init__(
      self, shape: tuple, dtype: DTypeLike, low: float | None = None,
      high: float | None = None) -> None:
    self._shape, self._dtype = tuple(shape), np.dtype(dtype)
    row = small_sides(self._shape)
    if row is None:
      raise UserError('which of its axes are height and width is not clear')
    self.row = row
    self._low, self._high = self.bounds = self._range(low, high)
    self.channels = math.prod(self._shape) // math.prod(
        self._shape[self.row: self.row + 2])
    self.text = self._describe()

  def __call__(
      self, value: np.ndarray, size: int = spaces.SIZE) -> np.ndarray:
    """Takes an array of the entry's shape and kind; size: S.

    Raises UserError if numbers are outside of the bounds.
    """
    row = self.row
    value = np.moveaxis(self._stretched(value), (row, row + 1), (0, 1))
    value = value.reshape(*value.shape[:2], self.channels)
    return fit(value, size)

  def _range(self, low, high):
    if self._dtype == np.uint8 and low is None:
      return 0, 255
    if self._dtype.kind == 'b':
      return 0, 1
    if low is None or not np.all(np.isfinite([low, high])) or high <= low:
      raise UserError(
          f'it is {self._dtype} without bounds, which can not be brought to '
          '0..255')
    return low, high

  def _stretched(self, value):
    if (self._low, self._high) == (0, 255) and self._dtype == np.uint8:
      return value
    value = value.astype(np.float64)
    slack = 1e-3 * (self._high - self._low)
    if not (value.min() >= self._low - slack
            and value.max() <= self._high + slack):  # NaN too
      raise UserError(
          f'it has numbers from {value.min():g} to {value.max():g}, its '
          f'space says {self._low:g}..{self._high:g}')
    share = (value - self._low) / (self._high - self._low)
    return np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)

  def _describe(self):
    size = 'x'.join(map(str, self._shape))
    text = f'{self._dtype} {size}'
    if (self._low, self._high) != (0, 255):
      text += f', {self._low:g}..{self._high:g} as 0..255'
    if self.channels not in (1, 3):
      text += f', {self.channels} channels'
    elif set(self._shape[:self.row]) == {1} and self._shape[self.row + 2:]:
      text += ', a leading axis of 1 dropped'
    elif self.row:
      text += ', channels first'
    return text


def fit(image: np.ndarray, size: int = spaces.SIZE) -> np.ndarray:
  """Scales uint8 [H, W, C] to [S, S, C]; returns a copy."""
  if image.shape[:2] != (size, size):
    shrinks = min(image.shape[:2]) >= size
    image = (resize.area if shrinks else resize.bilinear)(image, size, size)
  return np.array(image)  # Some environments draw into one array.


def rendered(frame: np.ndarray, size: int = spaces.SIZE) -> np.ndarray:
  """What `render` draws, uint8 [H, W], [H, W, 1], [H, W, 3] or RGBA, as RGB.

  size: pixels of the sides that it gets.

  Raises UserError for any other array.
  """
  gray = frame[..., None] if frame.ndim == 2 else frame
  if frame.dtype != np.uint8 or gray.ndim != 3 or not gray.size or (
      gray.shape[-1] not in (1, 3, 4)):
    raise UserError(
        f'render() gave {frame.dtype} of shape {frame.shape}; it must give '
        'uint8 [H, W, 3]')
  return colored(fit(gray[..., :3], size))


def colored(image: np.ndarray) -> np.ndarray:
  """Gray [H, W, 1] as [H, W, 3]; everything else stays what it is."""
  return np.repeat(image, 3, -1) if image.shape[-1] == 1 else image
