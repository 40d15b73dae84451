"""Samples without chance: half a deviation above the mean, or the likeliest.

The release samples latents by tf.random.normal and classes by
tf.random.categorical; tanh and straight-through gradients are its own. Normal
is TensorFlow Probability's, of the continuous actor.
"""
import contextlib

import tensorflow as tf
from tensorflow_probability import distributions as tfd


@contextlib.contextmanager
def replaced():
  """While this is open, nothing is drawn by chance."""
  replacements = {
      (tf.random, 'normal'): _normal,
      (tf.random, 'categorical'): _categorical,
      (tfd.Normal, '_sample_n'): _normal_n}
  before = {place: getattr(*place) for place in replacements}
  for (owner, name), sample in replacements.items():
    setattr(owner, name, sample)
  try:
    yield
  finally:
    for (owner, name), sample in before.items():
      setattr(owner, name, sample)


def _normal(shape, mean=0.0, stddev=1.0, *args, **kwargs):
  value = mean + 0.5 * stddev
  return tf.broadcast_to(value, tf.broadcast_dynamic_shape(
      tf.shape(value), tf.constant(shape, tf.int32)))


def _categorical(logits, num_samples, dtype=tf.int64, *args, **kwargs):
  best = tf.argmax(logits, -1, output_type=dtype)
  return tf.tile(best[:, None], [1, num_samples])


def _normal_n(self, n, seed=None):
  value = self.loc + 0.5 * self.scale
  return tf.broadcast_to(value[None], tf.concat([[n], tf.shape(value)], 0))
