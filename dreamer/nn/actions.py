"""Random actions and noise on actions, of a whole batch of rows."""

from __future__ import annotations

from typing import Any

import tensorflow as tf


def uniform(shape: tuple, discrete: bool, noise: Any) -> tf.Tensor:
  """Uniform actions [n, A]: one-hot rows, or numbers in [-1, 1)."""
  if not discrete:
    return 2 * noise.uniform('explore', shape) - 1
  draw = noise.gumbel('explore', shape)
  return tf.one_hot(tf.argmax(draw, -1), shape[-1])


def gaussian(
    action: tf.Tensor, amount: float | tf.Tensor, noise: Any) -> tf.Tensor:
  """Adds noise of standard deviation `amount`, cut to [-1, 1]."""
  action += amount * noise.normal('explore', action.shape)
  return tf.clip_by_value(action, -1, 1)


def epsilon(action: tf.Tensor, amount: float | tf.Tensor, discrete: bool,
            noise: Any) -> tf.Tensor:
  """Replaces rows, with probability `amount`, by uniform actions."""
  random = uniform(action.shape, discrete, noise)
  chosen = noise.uniform('explore_row', [action.shape[0], 1]) < amount
  return tf.where(chosen, random, action)
