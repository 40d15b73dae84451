"""Shrinks pictures as the published agents' preprocessing does."""

from __future__ import annotations

import functools

import numpy as np


def area(image: np.ndarray, height: int, width: int) -> np.ndarray:
  """Every new pixel is the mean of the old ones it covers, by their share.

  The convention of OpenCV's INTER_AREA, from which it differs by no level of
  gray on Atari's screens. Pillow's BOX is another one: it weighs each old
  pixel with all or nothing, and rounds after each direction.

  Args:
    image: uint8 [H, W] or [H, W, C].

  Returns:
    uint8 [height, width] or [height, width, C], halves rounded to even.
  """
  result = _shrink(image.astype(np.float32), height)
  result = _shrink(np.moveaxis(result, 1, 0), width)
  return np.rint(np.moveaxis(result, 1, 0)).astype(np.uint8)


def _shrink(image, target):
  """Shares along the first axis; a product of matrices would use threads."""
  index, share = taps(image.shape[0], target)
  share = share.reshape(*share.shape, *[1] * (image.ndim - 1))
  return sum(share[:, k] * image[index[:, k]] for k in range(index.shape[1]))


def bilinear(image: np.ndarray, height: int, width: int) -> np.ndarray:
  """Pillow's BILINEAR: a triangle that is two new pixels wide.

  Takes and returns the same shapes as `area`. Rounds after each direction.
  """
  from PIL import Image  # Only for pictures of another size.
  if image.ndim == 3 and image.shape[-1] != 3:
    return np.stack([bilinear(x, height, width)
                     for x in np.moveaxis(image, -1, 0)], -1)
  picture = Image.fromarray(np.ascontiguousarray(image))
  return np.array(
      picture.resize((width, height), Image.Resampling.BILINEAR))


@functools.lru_cache(16)
def taps(source: int, target: int) -> tuple[np.ndarray, np.ndarray]:
  """Old pixels under each new one [target, K] and their shares."""
  full = weights(source, target)
  amount = (full > 0).sum(1).max()
  first = np.minimum((full > 0).argmax(1), source - amount)
  index = first[:, None] + np.arange(amount)
  return index, np.take_along_axis(full, index, 1)


@functools.lru_cache(16)
def weights(source: int, target: int) -> np.ndarray:
  """float32 [target, source]: the share of each old pixel in a new one."""
  edges = np.arange(target + 1) * (source / target)
  low, high = edges[:-1, None], edges[1:, None]
  start = np.arange(source)[None]
  covered = np.minimum(high, start + 1) - np.maximum(low, start)
  result = (np.maximum(covered, 0) * (target / source)).astype(np.float32)
  result.flags.writeable = False
  return result
