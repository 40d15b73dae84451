"""Exploration: noise on actions, by a schedule."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from dreamer.nn import actions


class Exploration:
  """Adds Gaussian noise, or replaces rows by uniform random actions."""

  def __init__(self, config: Any, act_space: Any):
    self.config = config.expl
    self.discrete = act_space.discrete
    auto = 'epsilon' if self.discrete else 'gaussian'
    self.kind = auto if self.config.kind == 'auto' else self.config.kind

  def now(self, mode: str, env_steps: int,
          updates: int) -> tuple[str, tf.Tensor]:
    """The mode, and how much noise actions get."""
    value = self.config.eval_amount
    if mode == 'train':
      value = amount(self.config, env_steps, updates)
    return mode, tf.constant(value, tf.float32)

  def __call__(self, action: tf.Tensor, amount: tf.Tensor, noise: Any,
               mode: str) -> tf.Tensor:
    """Actions [n, A] of the policy to those that are executed."""
    if self.kind == 'gaussian':
      return actions.gaussian(action, amount, noise)
    if self.kind == 'epsilon':
      return actions.epsilon(action, amount, self.discrete, noise)
    if self.kind == 'random' and mode == 'train':
      return actions.uniform(action.shape, self.discrete, noise)
    return action


def amount(expl: Any, env_steps: int, updates: float) -> np.float32:
  """Noise while collecting: standard deviation or share of random actions.

  constant   amount                           (paper, control)
  half_life  amount / 2^(env_steps / decay), at least min          (TF2)
  linear     amount -> min over decay_updates           (paper, discrete)
  relative   amount * max(min, 1 - updates / decay_updates)        (TF1)
  """
  value = np.float32(expl.amount)
  if expl.schedule == 'half_life':
    if expl.decay:
      value *= np.float32(0.5) ** np.float32(env_steps / expl.decay)
    return np.float32(max(value, expl.min))
  if expl.schedule == 'linear':
    done = min(updates / expl.decay_updates, 1)
    return np.float32(expl.amount + done * (expl.min - expl.amount))
  if expl.schedule == 'relative':
    return np.float32(value * max(expl.min, 1 - updates / expl.decay_updates))
  return value
