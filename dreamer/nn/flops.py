"""Products (multiplications) of layers, for one row of their input.

Each function gives one number for each layer in turn. Of a layer's three
products in an update (forward, gradient of the input, gradient of the
weights; all equal in size) the caller counts those that its losses need.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def dense(*sizes: int) -> list[int]:
  """Dense layers of these sizes, the input's first."""
  return [x * y for x, y in zip(sizes[:-1], sizes[1:], strict=True)]


def mlp(size_in: int, config: Any, out: int = 1) -> list[int]:
  """A head with `layers` of `units` in its config."""
  return dense(size_in, *[config.units] * config.layers, out)


def conv_encoder(channels: int, depth: int) -> list[int]:
  """The four convolutions of nets.ConvEncoder."""
  sizes = [channels] + [depth * 2 ** i for i in range(4)]
  return [16 * pixels ** 2 * sizes[i] * sizes[i + 1]
          for i, pixels in enumerate((31, 14, 6, 2))]


def conv_decoder(size_in: int, channels: int, depth: int) -> list[int]:
  """The dense layer and the four convolutions of nets.ConvDecoder."""
  sizes = [32 * depth, 4 * depth, 2 * depth, depth, channels]
  shapes = enumerate(((1, 5), (5, 5), (13, 6), (30, 6)))
  return [size_in * sizes[0]] + [
      (pixels * kernel) ** 2 * sizes[i] * sizes[i + 1]
      for i, (pixels, kernel) in shapes]


def learned(products: Sequence[int], to_input: bool = True) -> int:
  """All three products; to_input: whether the input needs a gradient."""
  first, *rest = products
  return (3 if to_input else 2) * first + 3 * sum(rest)
