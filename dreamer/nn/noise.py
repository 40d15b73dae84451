"""Every random number of a train or policy step."""

import zlib

import numpy as np
import tensorflow as tf


class Noise:
  """Stateless draws that depend on (seed, counter) and on their name only.

  A counter is the number of updates or of policy calls; it makes a resumed
  run continue with the bits of a run that never stopped, with no generator
  to save. Two draws of one step need two names.
  """

  def __init__(self, seed, counter):
    self.seed = seed
    # A variable is read here and now, not at each draw.
    self.counter = tf.cast(tf.convert_to_tensor(counter), tf.int64)

  def named(self, name):
    """Other draws of the same step, for a part that uses the same names."""
    return Noise(f'{self.seed}/{name}', self.counter)

  def _seed(self, name):
    key = zlib.crc32(f'{self.seed}/{name}'.encode())
    return tf.stack([tf.constant(key, tf.int64), self.counter])

  def normal(self, name, shape):
    """Standard normal [*shape] float32."""
    return tf.random.stateless_normal(shape, self._seed(name))

  def uniform(self, name, shape):
    """Uniform in [0, 1), [*shape] float32."""
    return tf.random.stateless_uniform(shape, self._seed(name))

  def gumbel(self, name, shape):
    """Standard Gumbel [*shape] float32: argmax(logits + it) is a sample."""
    tiny = np.finfo(np.float32).tiny
    uniform = tf.random.stateless_uniform(shape, self._seed(name), tiny, 1.0)
    return -tf.math.log(-tf.math.log(uniform))


class FixedNoise:
  """Constants in place of draws: normal .5, uniform .5, Gumbel 0.

  Samples become mean + std / 2 and one_hot(argmax), for parity tests.
  """

  def named(self, name):
    del name
    return self

  def normal(self, name, shape):
    return tf.fill(shape, 0.5)

  def uniform(self, name, shape):
    return tf.fill(shape, 0.5)

  def gumbel(self, name, shape):
    return tf.zeros(shape)
