"""Normalised rewards, as released; the paper leaves them as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from dreamer.nn import layers, replicas

if TYPE_CHECKING:
  from dreamerv2 import settings


class RewardNorm(layers.Module):
  """Divides by a running mean of the magnitude |x|, updated first.

  The magnitude is float64 [*shape] and starts at 1; momentum 1 leaves it
  there. Values are [..., *shape].
  """

  def __init__(self, name: str, config: settings.RewardNorm,
               shape: Sequence[int] = ()):
    super().__init__(name)
    self.config = config
    self.mag = tf.Variable(np.ones(shape))

  @property
  def statistics(self) -> dict[str, tf.Variable]:
    """The running magnitude."""
    return {f'{self.name}/mag': self.mag}

  def __call__(self, x: tf.Tensor) -> tf.Tensor:
    """Returns normalised float32 values."""
    config = self.config
    axes = list(range(x.shape.rank - self.mag.shape.rank))
    seen = replicas.mean(tf.reduce_mean(
        tf.abs(tf.cast(tf.stop_gradient(x), tf.float64)), axes))
    mag = self.mag.assign(
        config.momentum * self.mag + (1 - config.momentum) * seen)
    return x / tf.cast(mag + config.eps, tf.float32) * config.scale
