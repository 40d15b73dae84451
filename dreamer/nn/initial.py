"""First values of weights, functions of the seed and of a weight's name."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from dreamer.config.choices import Choices


class Init:
  """Initial weights: a function of the seed and of the weight's name."""

  def __init__(self, seed: int):
    self.seed = seed

  def rng(self, name: str) -> np.random.Generator:
    """Generator of the weight's values."""
    return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

  def kernel(self, name: str, shape: tuple) -> np.ndarray:
    """A layer's kernel [..., in, out]."""
    return self.glorot(name, shape)

  def glorot(self, name: str, shape: tuple) -> np.ndarray:
    """Uniform of variance 2 / (fan in + fan out); shape [..., in, out]."""
    field = np.prod(shape[:-2], dtype=np.int64)
    limit = np.sqrt(6 / (field * (shape[-2] + shape[-1])))
    return self.rng(name).uniform(-limit, limit, shape)

  def orthogonal(self, name: str, shape: tuple) -> np.ndarray:
    """Rows (or columns) of a random rotation; shape [in, out]."""
    tall = self.rng(name).standard_normal((max(shape), min(shape)))
    q, r = np.linalg.qr(tall)
    q = q * np.sign(np.diag(r))
    return q if shape[0] >= shape[1] else q.T


class ByFan(Init):
  """Kernels of variance scale^2 / fan, by a rule such as trunc_normal_in.

  Distributions are trunc_normal (cut at two deviations), normal, uniform
  (limits 1 / sqrt(fan)) and normed (columns of length 1); fans are in, out,
  avg and none. All axes but the last but one and the last count to both: a
  block-diagonal kernel [g, in / g, out / g] has the fan in of the whole.
  """

  CUT = 1.1368  # makes up for what a cut at two deviations takes

  def __init__(self, seed: int, rule: str = 'trunc_normal_in',
               scale: float = 1.0):
    super().__init__(seed)
    self.rule, self.scale = rule, scale

  def like(self, config: Any) -> ByFan:
    """That of the layers which a section describes: its key `init`."""
    return ByFan(self.seed, config.init)

  def scaled(self, scale: float) -> ByFan:
    """The same with another scale, for what a network ends with."""
    return ByFan(self.seed, self.rule, scale)

  def kernel(self, name: str, shape: tuple) -> np.ndarray:
    if self.rule == 'zeros' or not self.scale:
      return np.zeros(shape)
    kind, fan = self.rule.rsplit('_', 1)
    field = int(np.prod(shape[:-2]))
    fans = {'in': field * shape[-2], 'out': field * shape[-1], 'none': 1}
    fans['avg'] = (fans['in'] + fans['out']) / 2
    limit = 1 if kind == 'normed' else np.sqrt(1 / fans[fan])
    return self.scale * limit * DRAWS[kind](self.rng(name), shape)


def _trunc_normal(rng, shape):
  draw = rng.standard_normal(shape)
  while (far := np.abs(draw) > 2).any():
    draw[far] = rng.standard_normal(far.sum())
  return ByFan.CUT * draw


def _normed(rng, shape):
  draw = rng.uniform(-1, 1, shape)
  return draw / np.linalg.norm(draw.reshape(-1, shape[-1]), axis=0)


DRAWS: Choices[Callable[..., np.ndarray]] = Choices('init', {
    'trunc_normal': _trunc_normal, 'normed': _normed,
    'normal': lambda rng, shape: rng.standard_normal(shape),
    'uniform': lambda rng, shape: rng.uniform(-1, 1, shape)})
