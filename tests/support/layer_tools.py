"""What tests of layers share: numbers, distances, layers in NumPy."""

import numpy as np
import tensorflow as tf

from dreamer.nn import layers

INIT = layers.Init(0)


def rand(*shape, seed=0):
  rng = np.random.default_rng([seed, *shape])
  return tf.constant(rng.standard_normal(shape), tf.float32)


def error(ours, theirs):
  """Distance relative to the length of what is expected."""
  ours, theirs = (np.asarray(tf.cast(x, tf.float32)) for x in (ours, theirs))
  assert ours.shape == theirs.shape
  return np.linalg.norm(ours - theirs) / np.linalg.norm(theirs)


def fill_biases(module):
  """Biases start at zero, which would hide a missing one."""
  for name, variable in module.variables.items():
    if name.endswith('bias'):
      variable.assign(0.1 * rand(*variable.shape))


def bind(module, precision):
  return module.map(
      lambda w: tf.cast(w, precision), lambda w: tf.cast(w, tf.float32))


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def numpy_norm(x, gamma, beta):
  mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
  return (x - mean) / np.sqrt(variance + 1e-3) * gamma + beta
