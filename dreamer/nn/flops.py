"""Products (multiplications) of layers, for one row of their input.

Each function gives one number for each layer in turn. Of a layer's three
products in an update (forward, gradient of the input, gradient of the
weights; all equal in size) the caller counts those that its losses need.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dreamer.config import inputs


def dense(*sizes: int) -> list[int]:
  """Dense layers of these sizes, the input's first."""
  return [x * y for x, y in zip(sizes[:-1], sizes[1:], strict=True)]


def mlp(size_in: int, config: Any, out: int = 1) -> list[int]:
  """A head with `layers` of `units` in its config."""
  return dense(size_in, *[config.units] * config.layers, out)


def conv_encoder(channels: int, depth: int,
                 kernels: Sequence[int] = inputs.ENCODER) -> list[int]:
  """The convolutions of nets.ConvEncoder."""
  sizes = [channels] + [depth * 2 ** i for i in range(len(kernels))]
  shapes = zip(inputs.encoded(kernels), kernels, strict=True)
  return [(pixels * kernel) ** 2 * sizes[i] * sizes[i + 1]
          for i, (pixels, kernel) in enumerate(shapes)]


def conv_decoder(size_in: int, channels: int, depth: int,
                 kernels: Sequence[int] = inputs.DECODER) -> list[int]:
  """The dense layer and the convolutions of nets.ConvDecoder."""
  depths = [depth * 2 ** i for i in reversed(range(len(kernels) - 1))]
  sizes = [32 * depth, *depths, channels]
  shapes = zip([1, *inputs.decoded(kernels)], kernels, strict=False)
  return [size_in * sizes[0]] + [
      (pixels * kernel) ** 2 * sizes[i] * sizes[i + 1]
      for i, (pixels, kernel) in enumerate(shapes)]


def same_encoder(config: Any, channels: int, side: int) -> list[int]:
  """The convolutions of codec.ConvEncoder, for images of a side."""
  sizes = [channels, *(config.depth * x for x in inputs.multiples(
      'encoder', config))]
  found = []
  for index, pair in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
    halves = not (config.outer and index == 0)
    side //= 2 if halves else 1
    pixels = side * (2 if halves and config.down == 'pool' else 1)
    found.append((pixels * config.kernel) ** 2 * pair[0] * pair[1])
  return found


def same_decoder(config: Any, deter: int, stoch: int, channels: int,
                 side: int) -> list[int]:
  """The first map's layers and the convolutions of codec.ConvDecoder."""
  depths = [config.depth * x for x in inputs.multiples('decoder', config)]
  side //= 2 ** (len(depths) - config.outer)
  size = side ** 2 * depths[-1]
  found = [deter * size // config.blocks, *dense(
      stoch, 2 * config.units, size)]
  sizes = [*reversed(depths), channels]
  taps = (config.kernel + 1) // 2  # of the small image, for 4 pixels each
  for index, pair in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
    last = index == len(sizes) - 2
    if config.outer and last:
      found.append((side * config.kernel) ** 2 * pair[0] * pair[1])
    else:
      found.append((side * taps) ** 2 * pair[0] * 4 * pair[1])
      side *= 2
  return found


def learned(products: Sequence[int], to_input: bool = True) -> int:
  """All three products; to_input: whether the input needs a gradient."""
  first, *rest = products
  return (3 if to_input else 2) * first + 3 * sum(rest)
