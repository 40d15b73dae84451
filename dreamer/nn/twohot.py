"""Numbers of any size: symlog, and distributions over exponential bins."""

from __future__ import annotations

import numpy as np
import tensorflow as tf


def symlog(x: tf.Tensor) -> tf.Tensor:
  """sign(x) log(1 + |x|) (2301.04104, Robust predictions)."""
  return tf.sign(x) * tf.math.log1p(tf.abs(x))


def symexp(x: tf.Tensor) -> tf.Tensor:
  """sign(x) (exp |x| - 1), the inverse of symlog."""
  return tf.sign(x) * tf.math.expm1(tf.abs(x))


def symexp_bins(amount: int, limit: float = 20.0) -> np.ndarray:
  """symexp of an even grid from -limit to limit, float32 [amount].

  One half is the mirror of the other, so that an odd amount has exactly 0 in
  the middle.
  """
  half = np.linspace(-limit, 0, (amount + 1) // 2, dtype=np.float32)
  half = -np.expm1(-half)
  return np.concatenate([half, -half[:amount // 2][::-1]])


class TwoHot:
  """A distribution over bins [K] by logits [..., K], of numbers [...].

  strict: whether a bin counts as below a number only if it is less, as the
  paper prints it. The target is the same.
  """

  def __init__(self, logits: tf.Tensor, bins: np.ndarray,
               strict: bool = False):
    self.logits, self.bins, self.strict = logits, bins, strict

  def mean(self) -> tf.Tensor:
    """The mean [...] in real space.

    A bin and its mirror image count by the difference of their probabilities,
    which is exactly 0 for equal logits. Where these are near, it is taken of
    the logits: far bins, some 1e8, would make tenths of its rounding.
    """
    half = self.bins.size // 2
    odd, even = ((self.bins + sign * self.bins[::-1]) / 2 for sign in (-1, 1))
    split = lambda x: (tf.reverse(x[..., :half], [-1]), x[..., -half:])
    probs = tf.nn.softmax(self.logits)
    low, high = split(probs)
    far = tf.subtract(*reversed(split(self.logits)))
    near = low * tf.math.expm1(tf.clip_by_value(far, -1.0, 1.0))
    more = tf.where(tf.abs(far) < 1.0, near, high - low)
    mean = tf.reduce_sum(more * odd[-half:], -1)
    return mean + tf.reduce_sum(probs * even, -1) if even.any() else mean

  def log_prob(self, number: tf.Tensor) -> tf.Tensor:
    """Minus the cross entropy [...] to numbers [...]; see `target`."""
    log_probs = tf.nn.log_softmax(self.logits)
    return tf.reduce_sum(self.target(number) * log_probs, -1)

  def target(self, number: tf.Tensor) -> tf.Tensor:
    """Weights [..., K] of the two bins around numbers [...], gradient stopped.

    Linear in real space; beyond the ends the end has it all.
    """
    bins = tf.constant(self.bins)
    flat = tf.reshape(tf.stop_gradient(number), [-1])
    flat = tf.clip_by_value(flat, self.bins[0], self.bins[-1])
    above = tf.searchsorted(
        bins, flat, side='left' if self.strict else 'right')
    above = tf.clip_by_value(above, 1, self.bins.size - 1)
    low, high = tf.gather(bins, above - 1), tf.gather(bins, above)
    share = (flat - low) / (high - low)
    hot = lambda index: tf.one_hot(index, self.bins.size)
    weights = hot(above - 1) * (1 - share)[:, None] + hot(
        above) * share[:, None]
    return tf.reshape(weights, tf.shape(self.logits))
