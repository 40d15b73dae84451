"""Running statistics that make values comparable over a run."""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from dreamer.config.choices import Choices
from dreamer.nn import replicas


class Normaliser:
  """Offset and scale of a stream of values, by moving averages.

  percentiles: from `low` to `high`, in percent; the offset is the lower one.
  mean_std: mean and standard deviation. none: 0 and 1. Averages start at 0
  and move by the share `rate`; `debias` makes up for the start. A scale is
  `limit` at least. Over all replicas at once.

  Args are a name and a section with kind, rate, limit, low, high and debias.
  """

  PARTS: Choices[tuple[str, ...]] = Choices('kind of normaliser', {
      'none': (), 'percentiles': ('low', 'high'),
      'mean_std': ('mean', 'square')})

  def __init__(self, name: str, config: Any):
    self.name, self.config = name, config
    parts = self.PARTS[config.kind]
    if parts and config.debias:
      parts = *parts, 'weight'  # of all values in the averages
    self.state = {key: tf.Variable(0.0) for key in parts}

  @property
  def variables(self) -> dict[str, tf.Variable]:
    """What a checkpoint holds, by name."""
    return {f'{self.name}/{key}': x for key, x in self.state.items()}

  def update(self, values: tf.Tensor) -> None:
    """Moves the averages by a batch of values."""
    if not self.state:
      return
    config, found = self.config, {'weight': 1.0}
    values = tf.stop_gradient(values)
    if config.kind == 'percentiles':
      found['low'], found['high'] = replicas.percentiles(
          values, config.low, config.high)
    else:
      mean = lambda x: replicas.mean(tf.reduce_mean(x))
      found.update(mean=mean(values), square=mean(tf.square(values)))
    for key, average in self.state.items():
      average.assign((1 - config.rate) * average + config.rate * found[key])

  def stats(self) -> tuple[tf.Tensor, tf.Tensor]:
    """Offset and scale, float32 scalars."""
    config = self.config
    read = {key: tf.convert_to_tensor(x) for key, x in self.state.items()}
    if 'weight' in read:
      weight = tf.maximum(config.rate, read.pop('weight'))
      read = {key: x / weight for key, x in read.items()}
    if config.kind == 'percentiles':
      return read['low'], tf.maximum(config.limit, read['high'] - read['low'])
    if config.kind == 'mean_std':
      variance = tf.nn.relu(read['square'] - tf.square(read['mean']))
      return read['mean'], tf.maximum(config.limit, tf.sqrt(variance))
    return tf.zeros([]), tf.ones([])
