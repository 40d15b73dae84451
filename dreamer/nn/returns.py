"""Returns of imagined (or real) sequences: pure functions, time first."""

from __future__ import annotations

import tensorflow as tf

from dreamer.config.choices import Choices

# Of rewards, before anything is learned from them.
TRANSFORMS = Choices('reward_transform', {
    'none': tf.identity, 'tanh': tf.tanh, 'sign': tf.sign})


def lambda_return(
    reward: tf.Tensor, value: tf.Tensor, discount: tf.Tensor,
    bootstrap: tf.Tensor, lambda_: float | tf.Tensor) -> tf.Tensor:
  """Lambda return, eq. 6 of arXiv 1912.01603, by backward recursion.

    R_t = r_t + d_t * ((1 - lambda) * v_{t+1} + lambda * R_{t+1})
    v_T = R_T = bootstrap

    t        0    1    2   ...  T-1 |  T
    reward   r0   r1   r2       rT-1|
    discount d0   d1   d2       dT-1|
    value         v1   v2       vT-1| bootstrap      (v0 is never used)

  Args are [T, ...] but `bootstrap` [...]; lambda may be [T, ...] too. Returns
  [T, ...].
  """
  following = tf.concat([value[1:], bootstrap[None]], 0)
  inputs = reward + discount * following * (1 - lambda_)
  decay = discount * lambda_
  last, returns = bootstrap, []
  for index in reversed(range(reward.shape[0])):
    last = inputs[index] + decay[index] * last
    returns.append(last)
  return tf.stack(returns[::-1])


def weights(discount: tf.Tensor) -> tf.Tensor:
  """w_0 = 1, w_t = d_0 ... d_{t-1}, gradient stopped; [T, ...] to [T, ...]."""
  ones = tf.ones_like(discount[:1])
  shifted = tf.concat([ones, discount[:-1]], 0)
  return tf.stop_gradient(tf.math.cumprod(shifted, 0))
