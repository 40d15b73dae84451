"""Exploration: noise on actions (Appendix A)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

from dreamer.nn import actions

if TYPE_CHECKING:
  from dreamer.envs.spaces import ActionSpace
  from dreamerv1 import settings


class Exploration:
  """Adds Gaussian noise, or replaces discrete actions by uniform ones.

  The amount of noise is a standard deviation, or a share of random actions.
  """

  def __init__(self, config: settings.Config, act_space: ActionSpace):
    self.config = config.expl
    self.discrete = act_space.discrete

  def now(self, mode: str, env_steps: int, updates: int) -> tuple[str, float]:
    """The mode, and how much noise actions get."""
    if mode == 'eval':
      return mode, self.config.eval_noise
    return mode, self._noise(env_steps, updates)

  def _noise(self, env_steps, updates):
    """The amount while collecting.

    constant   noise                                     (control)
    linear     noise -> min over decay_updates           (discrete)
    """
    del env_steps
    config, done = self.config, 0.0
    if config.schedule == 'linear':
      done = min(updates / config.decay_updates, 1)
    return config.noise + done * (config.min - config.noise)

  def __call__(self, action: tf.Tensor, amount: tf.Tensor, noise: Any,
               mode: str) -> tf.Tensor:
    """Actions [n, A] of the policy to those that are executed."""
    del mode
    if self.discrete:
      return actions.epsilon(action, amount, self.discrete, noise)
    return actions.gaussian(action, amount, noise)
