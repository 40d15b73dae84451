"""Every random number of a train or policy step."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Sequence

import numpy as np
import tensorflow as tf


class Noise:
  """Stateless draws that depend on (seed, counter) and on their name only.

  A counter is the number of updates or of policy calls; it makes a resumed
  run continue with the bits of a run that never stopped, with no generator
  to save. Two draws of one step need two names: a name that was drawn raises
  ValueError. (A traced function draws once, while it is traced.)
  """

  def __init__(self, seed: str, counter: int | tf.Tensor | tf.Variable):
    self.seed = seed
    # A variable is read here and now, not at each draw.
    self.counter = tf.cast(tf.convert_to_tensor(counter), tf.int64)
    self._drawn: set[str] = set()

  def named(self, name: str) -> Noise:
    """Other draws of the same step, for a part that uses the same names."""
    other = copy.copy(self)
    other.seed = f'{self.seed}/{name}'
    return other

  def _seed(self, name):
    name = f'{self.seed}/{name}'
    if name in self._drawn:
      raise ValueError(f'noise {name} is drawn twice in one step')
    self._drawn.add(name)
    key = zlib.crc32(name.encode())
    return tf.stack([tf.constant(key, tf.int64), self.counter])

  def normal(self, name: str, shape: Sequence[int]) -> tf.Tensor:
    """Standard normal [*shape] float32."""
    return tf.random.stateless_normal(shape, self._seed(name))

  def uniform(self, name: str, shape: Sequence[int]) -> tf.Tensor:
    """Uniform in [0, 1), [*shape] float32."""
    return tf.random.stateless_uniform(shape, self._seed(name))

  def gumbel(self, name: str, shape: Sequence[int]) -> tf.Tensor:
    """Standard Gumbel [*shape] float32: argmax(logits + it) is a sample."""
    tiny = np.finfo(np.float32).tiny
    uniform = tf.random.stateless_uniform(shape, self._seed(name), tiny, 1.0)
    return -tf.math.log(-tf.math.log(uniform))
