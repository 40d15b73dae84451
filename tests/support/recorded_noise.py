"""Draws that were recorded, in place of dreamer.nn.noise.Noise."""

import tensorflow as tf


class RecordedNoise:
  """Returns what `set` was given last, by the names of the draws.

  Values stand in variables, so that a compiled step reads new ones.
  """

  def __init__(self):
    self._values = {}

  def set(self, values):
    """Takes {name of a draw: array}; shapes must not change."""
    for name, value in values.items():
      if name not in self._values:
        self._values[name] = tf.Variable(tf.cast(value, tf.float32))
      self._values[name].assign(value)

  def named(self, name):
    del name
    return self

  def _draw(self, name, shape):
    value = tf.convert_to_tensor(self._values[name])
    assert list(value.shape) == list(shape), (name, value.shape, shape)
    return value

  normal = gumbel = _draw
