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


def learned(products: Sequence[int], to_input: bool = True) -> int:
  """All three products; to_input: whether the input needs a gradient."""
  first, *rest = products
  return (3 if to_input else 2) * first + 3 * sum(rest)
