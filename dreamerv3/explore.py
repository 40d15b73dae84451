"""Exploration: none beside what the policy samples, in all modes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

if TYPE_CHECKING:
  from dreamer.envs.spaces import ActionSpace
  from dreamerv3 import settings


class Exploration:
  """Actions are executed as they were sampled; evaluations sample too."""

  def __init__(self, config: settings.Config, act_space: ActionSpace):
    del config, act_space

  def now(self, mode: str, env_steps: int, updates: int) -> tuple[str, float]:
    """The mode, and how much noise actions get: none."""
    del env_steps, updates
    return mode, 0.0

  def __call__(self, action: tf.Tensor, amount: tf.Tensor, noise: Any,
               mode: str) -> tf.Tensor:
    """Actions [n, A] of the policy to those that are executed: the same."""
    del amount, noise, mode
    return action
