"""Exploration: none beside the actor's own entropy (Section 2.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

if TYPE_CHECKING:
  from dreamer.envs.spaces import ActionSpace
  from dreamerv2 import settings


class Exploration:
  """Leaves actions as they are: the policy is sampled."""

  def __init__(self, config: settings.Config, act_space: ActionSpace):
    self.config = config.expl
    self.discrete = act_space.discrete

  def now(self, mode: str, env_steps: int, updates: int) -> tuple[str, float]:
    """The mode, and how much noise actions get: none."""
    del env_steps, updates
    return mode, 0.0

  def __call__(self, action: tf.Tensor, amount: tf.Tensor, noise: Any,
               mode: str) -> tf.Tensor:
    """Actions [n, A] of the policy to those that are executed."""
    del amount, noise, mode
    return action
