"""How far gradients are scaled down before an optimiser's step."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


class GlobalNorm:
  """All gradients together, to a norm of `limit`; 0 for none (1211.5063)."""

  def __init__(self, limit: float):
    self.limit = limit

  def factors(self, params: Sequence[tf.Variable], grads: Sequence[tf.Tensor],
              norm: tf.Tensor) -> list[tf.Tensor | float]:
    """What each gradient is multiplied with; norm: that of all of them."""
    del params
    factor = self.limit / tf.maximum(norm, self.limit) if self.limit else 1.0
    return [factor] * len(grads)


class Adaptive:
  """Each gradient, to `limit` times the norm of its parameter (2102.06171).

  A parameter's norm counts as FLOOR at least; 0 for none.
  """

  FLOOR = 1e-3

  def __init__(self, limit: float):
    self.limit = limit

  def factors(self, params: Sequence[tf.Variable], grads: Sequence[tf.Tensor],
              norm: tf.Tensor) -> list[tf.Tensor | float]:
    """What each gradient is multiplied with; norm: that of all of them."""
    del norm
    if not self.limit:
      return [1.0] * len(grads)
    sizes = lambda xs: tf.sqrt(2 * tf.stack([tf.nn.l2_loss(x) for x in xs]))
    limits = self.limit * tf.maximum(self.FLOOR, sizes(params))
    return tf.unstack(1 / tf.maximum(1.0, sizes(grads) / limits))
