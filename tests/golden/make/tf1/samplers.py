"""Samples without chance: half a deviation above the mean, or the likeliest.

Replaced at the bottom, where TensorFlow Probability draws; a multivariate
Normal and one under tanh are made of this Normal. The noise that the release
puts on images, uniform over one grey level, is half a grey level.
"""
import contextlib

import tensorflow as tf
from tensorflow_probability import distributions as tfd


@contextlib.contextmanager
def replaced():
  """While this is open, nothing is drawn by chance."""
  replacements = {
      (tfd.Normal, '_sample_n'): _half_deviation,
      (tfd.Categorical, '_sample_n'): _likeliest,
      (tf, 'random_uniform'): _middle}
  before = {place: getattr(*place) for place in replacements}
  for (owner, name), sample in replacements.items():
    setattr(owner, name, sample)
  try:
    yield
  finally:
    for (owner, name), sample in before.items():
      setattr(owner, name, sample)


def _half_deviation(self, n, seed=None):
  return _times(n, self.loc + 0.5 * self.scale)


def _likeliest(self, n, seed=None):
  logits = self.logits_parameter()
  return _times(n, tf.argmax(logits, -1, output_type=self.dtype))


def _times(n, value):
  """n samples, all the same."""
  return tf.tile(value[None], tf.concat(
      [[n], tf.ones([value.shape.ndims], tf.int32)], 0))


def _middle(shape, minval=0, maxval=1, **kwargs):
  return tf.fill(shape, tf.cast((minval + maxval) / 2, tf.float32))
