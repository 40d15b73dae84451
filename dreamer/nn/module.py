"""Named trees of weights, which every part of an agent is."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np
import tensorflow as tf

M = TypeVar('M', bound='Module')


class Module:
  """A named tree of weights.

  Variables are created in `__init__` of the leaf layers only. Submodules are
  attributes or stand in a list; in any other container they raise TypeError,
  as they would be neither trained nor saved. `map` makes a copy whose weights
  went through a function; layers work on variables and on such tensors alike:

    half = module.map(lambda w: tf.cast(w, tf.bfloat16))
    frozen = module.map(tf.stop_gradient)

  float32: whether its own weights are so in any precision; see `map`.
  """

  float32 = False

  def __init__(self, name: str):
    self.name = name
    self.w: dict[str, tf.Variable] = {}

  @property
  def children(self) -> Iterator[Module]:
    """Submodules in the order of creation."""
    for key, value in vars(self).items():
      items = value if isinstance(value, list) else [value]
      for item in items:
        if isinstance(item, Module):
          yield item
        elif _holds_modules(item):
          raise TypeError(
              f'{self.name}.{key}: modules in a {type(value).__name__} are '
              'not found; keep each in an attribute, or all in a list')

  @property
  def variables(self) -> dict[str, tf.Variable]:
    """Dict of full name to tf.Variable, in the order of creation."""
    found = {f'{self.name}/{kind}': w for kind, w in self.w.items()}
    for child in self.children:
      found.update(child.variables)
    return found

  @property
  def statistics(self) -> dict[str, tf.Variable]:
    """Running numbers by full name, which are saved but not trained."""
    found: dict[str, tf.Variable] = {}
    for child in self.children:
      found.update(child.statistics)
    return found

  def add(self, kind: str, value: np.ndarray) -> None:
    """A weight of this layer with its first value."""
    value = np.asarray(value, np.float32)
    self.w[kind] = tf.Variable(value, name=f'{self.name}/{kind}')

  def map(self: M, fn: Callable, exact: Callable | None = None) -> M:
    """A copy of the tree with `fn` applied to every weight.

    exact: in its place for weights that are float32 in any precision.
    """
    other = copy.copy(self)
    own = exact if exact and self.float32 else fn
    other.w = {kind: own(w) for kind, w in self.w.items()}
    list(self.children)  # Raises for those that would keep their weights.
    for key, value in vars(self).items():
      if isinstance(value, Module):
        setattr(other, key, value.map(fn, exact))
      elif isinstance(value, list):
        setattr(other, key, [item.map(fn, exact) if isinstance(
            item, Module) else item for item in value])
    return other


def _holds_modules(value):
  """Whether a container has modules in it, at any depth."""
  if isinstance(value, dict):
    value = value.values()
  elif not isinstance(value, (list, tuple, set, frozenset)):
    return False
  return any(isinstance(x, Module) or _holds_modules(x) for x in value)
