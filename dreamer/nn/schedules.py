"""Values that change over training."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def schedule(config: Any, step: int | tf.Tensor) -> tf.Tensor:
  """The value at `step`, a float32 scalar.

  constant  start
  linear    start -> end over `duration`
  warmup    0 -> end over `duration`
  exp       start -> end, half of the way each `duration`

  Args are a section with kind, start, end and duration, which is in the unit
  of `step`, here environment steps.
  """
  if config.kind == 'constant':
    return tf.constant(config.start, tf.float32)
  passed = tf.cast(step, tf.float32) / max(config.duration, 1)
  if config.kind == 'exp':
    return config.end + (config.start - config.end) * tf.pow(0.5, passed)
  done = tf.clip_by_value(passed, 0.0, 1.0)
  if config.kind == 'warmup':
    return done * config.end
  return (1 - done) * config.start + done * config.end
