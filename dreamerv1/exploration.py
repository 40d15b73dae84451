"""Exploration: how much of it, and what it makes of actions."""

import numpy as np
import tensorflow as tf

from dreamer.errors import UserError


def exploration_amount(expl, env_steps, updates):
  """Noise while collecting: standard deviation or share of random actions.

  constant   amount                           (paper, control)
  half_life  amount / 2^(env_steps / decay), at least min          (TF2)
  linear     amount -> min over decay_updates           (paper, discrete)
  relative   amount * max(min, 1 - updates / decay_updates)        (TF1)
  """
  amount = np.float32(expl.amount)
  if expl.schedule == 'half_life':
    if expl.decay:
      amount *= np.float32(0.5) ** np.float32(env_steps / expl.decay)
    return np.float32(max(amount, expl.min))
  if expl.schedule == 'linear':
    done = min(updates / expl.decay_updates, 1)
    return np.float32(expl.amount + done * (expl.min - expl.amount))
  if expl.schedule == 'relative':
    return np.float32(amount * max(expl.min, 1 - updates / expl.decay_updates))
  return amount


class Exploration:
  """Adds Gaussian noise, or replaces rows by uniform random actions."""

  def __init__(self, kind, act_space):
    self.discrete = act_space.kind == 'discrete'
    if kind == 'gaussian' and self.discrete:
      raise UserError(
          'expl.kind: gaussian with discrete actions; use epsilon or auto')
    auto = 'epsilon' if self.discrete else 'gaussian'
    self.kind = auto if kind == 'auto' else kind

  def __call__(self, action, amount, noise, training):
    """Actions [n, A] of the policy to those that are executed."""
    shape = action.shape
    if self.kind == 'gaussian':
      action += amount * noise.normal('explore', shape)
      return tf.clip_by_value(action, -1, 1)
    if self.kind == 'none' or (self.kind == 'random' and not training):
      return action
    if self.discrete:
      draw = noise.gumbel('explore', shape)
      random = tf.one_hot(tf.argmax(draw, -1), shape[-1])
    else:
      random = 2 * noise.uniform('explore', shape) - 1
    if self.kind == 'random':
      return random
    chosen = noise.uniform('explore_row', [shape[0], 1]) < amount
    return tf.where(chosen, random, action)
