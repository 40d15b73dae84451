"""Which observations an agent reads and predicts, and through what layers.

Convolutions are VALID and have stride 2, but for images of any size: those
are SAME and halve them a number of times.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from dreamer.errors import UserError

Sizes = dict[str, int]

PIXELS = 64  # of the side of an image
ENCODER, DECODER = (4, 4, 4, 4), (5, 5, 6, 6)  # of the first two papers


def choose(
    name: str, config: Any, obs_space: Mapping[str, Any],
    check: Callable[[str, tuple], object] | None = None
) -> tuple[Sizes, Sizes]:
  """Sizes of the images and vectors that encoder or decoder use.

  config has `images` and `vectors`: names with commas, `all` or `none`; a
  section without them means `image` and no vector. Returns dicts of key to
  channels and of key to length, whole numbers being one-hot. Raises UserError
  for names that the environment doesn't have, or that have another shape (of
  images by `check(key, shape)`), and for no name where there could be some of
  both.
  """
  images = {key: space.shape[-1] for key, space in obs_space.items()
            if len(space.shape) == 3}
  vectors = {key: math.prod(space.shape) * (choices(space) or 1)
             for key, space in obs_space.items() if len(space.shape) < 3}
  found = (
      _named(f'{name}.images', config.get('images', 'image'), images),
      _named(f'{name}.vectors', config.get('vectors', 'none'), vectors))
  for key in found[0]:
    (check or check_image)(key, obs_space[key].shape)
  if not found[0] and not found[1] and 'vectors' in config:
    raise UserError(
        f'{name}.images, {name}.vectors: nothing is named; the environment '
        f'has {", ".join(obs_space)}')
  return found


def choices(space: Any) -> int:
  """How many values each number of an observation has; 0: it is no choice."""
  if np.dtype(space.dtype).kind not in 'iu' or len(space.shape) > 2:
    return 0
  return int(space.high) + 1 if np.isfinite(space.high) else 0


def halved(
    name: str, config: Any, obs_space: Mapping[str, Any]
) -> tuple[Sizes, Sizes, tuple[int, int]]:
  """As `choose`, for images of one size that are halved several times.

  config has `multiples`, one number for each convolution, and `outer`, by
  which one of them leaves the size alone. Returns as well height and width
  after all of them, of images.
  """
  times = len(multiples(name, config)) - config.outer
  shapes: dict[tuple, str] = {}

  def check(key, shape):
    shapes.setdefault(tuple(shape[:2]), key)
    if any(size % 2 ** times for size in shape[:2]):
      raise UserError(
          f'{key}: shape {tuple(shape)}; {name}.multiples '
          f'{config.multiples} halve images {times} times, so height and '
          f'width have to be multiples of {2 ** times}; choose such an '
          'image_size, or give fewer')
    if len(shapes) > 1:
      (one, first), (two, second) = list(shapes.items())[:2]
      raise UserError(
          f'{name}.images: {first} is {one[0]} x {one[1]} and {second} '
          f'{two[0]} x {two[1]}, but all have to be of one size; resize one, '
          'or name others')

  images, vectors = choose(name, config, obs_space, check)
  height, width = next(iter(shapes), (0, 0))
  small = height // 2 ** times, width // 2 ** times
  return dict(sorted(images.items())), dict(sorted(vectors.items())), small


def multiples(name: str, config: Any) -> list[int]:
  """Channels of each convolution, in units of `depth`, from `multiples`."""
  return _sizes(f'{name}.multiples', config.multiples)


def check_image(key: str, shape: tuple) -> None:
  """Raises UserError for an image that the networks do not fit."""
  if len(shape) != 3 or tuple(shape[:2]) != (PIXELS, PIXELS):
    raise UserError(
        f'{key}: shape {tuple(shape)}; the networks need (64, 64, C), resize '
        'it')


def encoded(kernels: Sequence[int]) -> list[int]:
  """Pixels of the side after each convolution; 0 or less: nothing left."""
  sides = [PIXELS]
  for kernel in kernels:
    sides.append((sides[-1] - kernel) // 2 + 1)
  return sides[1:]


def decoded(kernels: Sequence[int]) -> list[int]:
  """Pixels of the side after each transposed convolution, from one pixel."""
  sides = [1]
  for kernel in kernels:
    sides.append(2 * (sides[-1] - 1) + kernel)
  return sides[1:]


def embed_size(depth: int, kernels: Sequence[int] = ENCODER) -> int:
  """Numbers that the convolutions make of an image."""
  return encoded(kernels)[-1] ** 2 * depth * 2 ** (len(kernels) - 1)


def kernels(name: str, config: Any) -> list[int]:
  """Sizes of the kernels of `encoder` or `decoder`, from its `kernels`.

  Those of the first two papers for a section without. Raises UserError where
  they don't fit the image.
  """
  if 'kernels' not in config:
    return list({'encoder': ENCODER, 'decoder': DECODER}[name])
  found = _sizes(f'{name}.kernels', config.kernels)
  sides = {'encoder': encoded, 'decoder': decoded}[name](found)
  if name == 'encoder' and min(sides) < 1:
    raise UserError(
        f'encoder.kernels: {config.kernels} leave {min(sides)} of {PIXELS} '
        'pixels; choose fewer or smaller ones')
  if name == 'decoder' and sides[-1] != PIXELS:
    raise UserError(
        f'decoder.kernels: {config.kernels} make images of {sides[-1]} x '
        f'{sides[-1]} pixels, not {PIXELS} x {PIXELS}; one pixel more in the '
        'last kernel is one pixel more')
  return found


def widths(name: str, config: Any) -> list[int]:
  """Units of each dense layer, from `widths` or else `layers` and `units`.

  None for a section without, which reads and predicts no vectors.
  """
  if 'widths' not in config:
    return []
  if not config.widths:
    return [config.units] * config.layers
  return _sizes(f'{name}.widths', config.widths)


def _sizes(key, text):
  """Whole numbers above 0 of a comma-separated list."""
  words = [word.strip() for word in text.split(',')]
  if not all(word.isdecimal() and int(word) for word in words):
    raise UserError(
        f'{key}: {text!r} are no whole numbers above 0, with commas')
  return [int(word) for word in words]


def _named(key, names, known):
  """Those of `known` that a comma-separated list names."""
  if names in ('all', 'none'):
    return dict(known) if names == 'all' else {}
  chosen = [name.strip() for name in names.split(',')]
  for name in chosen:
    if name not in known:
      raise UserError(
          f'{key}: the environment has no {name!r} of this kind; it has '
          f'{", ".join(known) or "none"}; allowed are names, all, none')
  return {name: known[name] for name in chosen}
