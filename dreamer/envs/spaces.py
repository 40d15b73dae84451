"""What environments show and what they take."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from dreamer.config import inputs


@dataclasses.dataclass(frozen=True)
class Space:
  """Shape, dtype name and bounds of one entry of an observation."""

  shape: tuple
  dtype: str
  low: float = -np.inf
  high: float = np.inf

  def describe(self) -> list:
    """As JSON values; `Space.read` is the inverse."""
    bounds = [_plain(self.low), _plain(self.high)]
    return [list(self.shape), self.dtype, *bounds]

  @classmethod
  def read(cls, values: list) -> Space:
    shape, dtype, low, high = values
    return cls(tuple(shape), dtype, float(low), float(high))


@dataclasses.dataclass(frozen=True)
class ActionSpace:
  """Continuous: float32 [dim] in [-1, 1]. Discrete: one-hot float32 [dim]."""

  kind: str
  dim: int

  def __post_init__(self) -> None:
    assert self.kind in ('continuous', 'discrete'), self.kind

  @property
  def discrete(self) -> bool:
    return self.kind == 'discrete'

  @property
  def shape(self) -> tuple[int]:
    return (self.dim,)

  @property
  def parts(self) -> dict[str, ActionSpace]:
    """The actions that it consists of, by name: one."""
    return {'action': self}

  def sample(self, rng: np.random.Generator) -> np.ndarray:
    """A uniform action drawn from an np.random.Generator."""
    if not self.discrete:
      return rng.uniform(-1, 1, self.dim).astype(np.float32)
    action = np.zeros(self.dim, np.float32)
    action[rng.integers(self.dim)] = 1
    return action


@dataclasses.dataclass(frozen=True)
class ActionSpaces:
  """Several actions at once, float32 [dim]: theirs in the order of names."""

  spaces: tuple[tuple[str, ActionSpace], ...]

  kind, discrete = 'mixed', False

  @property
  def dim(self) -> int:
    return sum(space.dim for _, space in self.spaces)

  @property
  def shape(self) -> tuple[int]:
    return (self.dim,)

  @property
  def parts(self) -> dict[str, ActionSpace]:
    """The actions that it consists of, by name, in order."""
    return dict(sorted(self.spaces))

  def sample(self, rng: np.random.Generator) -> np.ndarray:
    """A uniform action drawn from an np.random.Generator."""
    parts = [space.sample(rng) for space in self.parts.values()]
    return np.concatenate(parts)


SIZE = inputs.PIXELS  # of an image's side, where nobody asks for others


def image_space(size: int = SIZE, channels: int = 3) -> Space:
  return Space((size, size, channels), 'uint8', 0, 255)


IMAGE = image_space()


def vector_space(
    shape: tuple, low: float = -np.inf, high: float = np.inf) -> Space:
  """The space of a float32 entry; scalars become [1]."""
  return Space(tuple(shape) or (1,), 'float32', low, high)


def as_vector(value: Any) -> np.ndarray:
  """A float32 array of at least one dimension."""
  return np.atleast_1d(np.asarray(value, np.float32))


def _plain(bound):
  bound = float(bound)
  return bound if np.isfinite(bound) else str(bound)
