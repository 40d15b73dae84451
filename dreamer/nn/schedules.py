"""Values that change over training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
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


def learning_rate(config: Any, step: tf.Tensor) -> tf.Tensor:
  """The learning rate after `step` updates, a float32 scalar.

  From 0 to `lr` over `warmup` updates, then lr (constant), or down until
  update `anneal` (of all): linear to a tenth of it, or cosine to the share
  lr / 10 of it, which is nearly 0, as released.

  Args are a section with lr, warmup, schedule and anneal, which are numbers
  of updates, and the float32 number of updates so far.
  """
  lr, warmup = np.float32(config.lr), np.float32(config.warmup)
  done = tf.clip_by_value(
      (step - warmup) / max(config.anneal - config.warmup, 1), 0.0, 1.0)
  share = RATES[config.schedule](done, lr)
  if not config.warmup:
    return lr * share
  return lr * tf.where(step < warmup, step / warmup, share)


def _cosine(done, lr):
  wave = 0.5 * (1 + tf.cos(np.pi * done))
  return wave + 0.1 * lr * (1 - wave)


RATES: Choices[Callable[..., tf.Tensor]] = Choices('schedule', {
    'constant': lambda done, lr: tf.ones_like(done),
    'linear': lambda done, lr: 1 - 0.9 * done, 'cosine': _cosine})
