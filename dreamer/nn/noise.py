"""Every random number of a train or policy step."""

from __future__ import annotations

import copy
import math
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

  def _bits(self, name, shape):
    """Random uint32 [*shape].

    Of the draws of TensorFlow only these are the same in its own kernels and
    compiled by XLA; what is made of them here rounds alike in both.
    """
    return tf.random.stateless_uniform(
        shape, self._seed(name), None, None, tf.uint32, alg='philox')

  def normal(self, name: str, shape: Sequence[int]) -> tf.Tensor:
    """Standard normal [*shape] float32 (Box and Muller's, in float64)."""
    amount = math.prod(shape)
    radius, angle = tf.unstack(_open(self._bits(name, [2, -(-amount // 2)])))
    radius, angle = tf.sqrt(-2 * tf.math.log(radius)), 2 * np.pi * angle
    pairs = tf.stack([radius * tf.cos(angle), radius * tf.sin(angle)])
    flat = tf.reshape(tf.cast(pairs, tf.float32), [-1])
    return tf.reshape(flat[:amount], shape)

  def uniform(self, name: str, shape: Sequence[int]) -> tf.Tensor:
    """Uniform in [0, 1), [*shape] float32: multiples of 2^-24."""
    bits = tf.bitwise.right_shift(self._bits(name, shape), np.uint32(8))
    return tf.cast(bits, tf.float32) * np.float32(2 ** -24)

  def coarse(self, name: str, shape: Sequence[int]) -> tf.Tensor:
    """Uniform in [0, 1), [*shape] float32: multiples of 2^-16.

    Two of each random number, for what is large, as images are.
    """
    amount = math.prod(shape)
    halves = tf.bitcast(self._bits(name, [-(-amount // 2)]), tf.uint16)
    halves = tf.reshape(tf.reshape(halves, [-1])[:amount], shape)
    return tf.cast(halves, tf.float32) * np.float32(2 ** -16)

  def gumbel(self, name: str, shape: Sequence[int]) -> tf.Tensor:
    """Standard Gumbel [*shape] float32: argmax(logits + it) is a sample."""
    uniform = _open(self._bits(name, shape))
    return tf.cast(-tf.math.log(-tf.math.log(uniform)), tf.float32)


def _open(bits):
  """uint32 to float64 in (0, 1), never 0 nor 1."""
  return (tf.cast(bits, tf.float64) + 0.5) * 2.0 ** -32
