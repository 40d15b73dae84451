"""Values that change over training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from dreamer.config.choices import Choices


def schedule(config: Any, step: int | tf.Tensor) -> tf.Tensor:
  """The value at `step`, a float32 scalar.

  constant  start
  linear    start -> end over `duration`
  warmup    0 -> end over `duration`
  exp       start -> end, half of the way each `duration`

  Args are a section with kind, start, end and duration, which is in the unit
  of `step`, here environment steps.
  """
  passed = tf.cast(step, tf.float32) / max(config.duration, 1)
  return KINDS[config.kind](config.start, config.end, passed)


def _linear(start, end, passed):
  done = tf.clip_by_value(passed, 0.0, 1.0)
  return (1 - done) * start + done * end


KINDS: Choices[Callable[..., tf.Tensor]] = Choices('kind of schedule', {
    'constant': lambda start, end, passed: tf.constant(start, tf.float32),
    'linear': _linear,
    'warmup': lambda start, end, passed: tf.clip_by_value(
        passed, 0.0, 1.0) * end,
    'exp': lambda start, end, passed: end + (start - end) * tf.pow(
        0.5, passed)})
