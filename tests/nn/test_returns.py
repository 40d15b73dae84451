"""Lambda returns and weights on worked examples."""

import numpy as np
import tensorflow as tf

from dreamer.nn import returns


def by_definition(reward, value, discount, bootstrap, lambda_):
  """Mixture of n-step returns, eq. 4 to 6 of arXiv 1912.01603."""
  values = [*value[1:], bootstrap]
  horizon = len(reward)

  def n_step(t, n):
    total, factor = 0.0, 1.0
    for k in range(t, t + n):
      total += factor * reward[k]
      factor *= discount[k]
    return total + factor * values[t + n - 1]

  out = []
  for t in range(horizon):
    left = horizon - t
    mixed = sum((1 - lambda_) * lambda_ ** (n - 1) * n_step(t, n)
                for n in range(1, left))
    out.append(mixed + lambda_ ** (left - 1) * n_step(t, left))
  return np.array(out)


def test_worked_example():
  # R1 = 2 + .5 (.5 * 8 + .5 * 8) = 6; R0 = 1 + .5 (.5 * 4 + .5 * 6) = 3.5
  result = returns.lambda_return(
      tf.constant([1., 2.]), tf.constant([99., 4.]), tf.constant([.5, .5]),
      tf.constant(8.), 0.5)
  np.testing.assert_allclose(result, [3.5, 6.0])


def test_equals_the_mixture_of_n_step_returns():
  rng = np.random.default_rng(0)
  reward, value = rng.normal(size=(2, 6))
  discount = rng.uniform(0.5, 1, 6)
  for lambda_ in (0.0, 0.3, 0.95, 1.0):
    result = returns.lambda_return(
        *(tf.constant(x, tf.float32) for x in (reward, value, discount)),
        tf.constant(2.0), lambda_)
    np.testing.assert_allclose(
        result, by_definition(reward, value, discount, 2.0, lambda_),
        rtol=1e-5)


def test_ends_at_a_terminal():
  # After a discount of 0 nothing counts.
  one = lambda x: tf.constant(x, tf.float32)
  result = returns.lambda_return(
      one([1, 1, 1]), one([7, 7, 7]), one([.9, 0, .9]), one(7), 0.95)
  np.testing.assert_allclose(result[1], 1.0)


def test_rows_are_independent():
  rng = np.random.default_rng(1)
  inputs = [tf.constant(rng.normal(size=(4, 3)), tf.float32)
            for _ in range(3)]
  both = returns.lambda_return(*inputs, tf.ones(3), 0.9)
  for row in range(3):
    alone = returns.lambda_return(
        *(x[:, row] for x in inputs), tf.ones([]), 0.9)
    np.testing.assert_allclose(both[:, row], alone, rtol=1e-6)


def test_weights():
  discount = tf.Variable([[.5], [.2], [.9]])
  with tf.GradientTape() as tape:
    weight = returns.weights(discount)
  np.testing.assert_allclose(weight[:, 0], [1, .5, .1], rtol=1e-6)
  assert tape.gradient(weight, discount) is None
