"""Random actions and action noise: their distributions."""

import numpy as np
import pytest
import tensorflow as tf

from dreamer.nn import actions
from dreamer.nn.noise import Noise


def noise():
  return Noise('0', 0)


@pytest.mark.parametrize('discrete, mean, std', [
    (False, 0, 3 ** -.5), (True, 1 / 4, (3 / 16) ** .5)])
def test_uniform(discrete, mean, std):
  action = actions.uniform((40000, 4), discrete, noise()).numpy()
  assert np.abs(action).max() <= 1
  assert np.all(action.sum(-1) == 1) or not discrete
  np.testing.assert_allclose(action.mean(0), mean, atol=0.015)
  np.testing.assert_allclose(action.std(0), std, atol=0.01)


def test_gaussian_is_cut_to_the_bounds():
  action = tf.repeat(tf.constant([[0.5, -0.9, 0.0]]), 100000, 0)
  noisy = actions.gaussian(action, 0.3, noise()).numpy()
  # Phi(-.5 / .3) above 1, Phi(-.1 / .3) below -1
  np.testing.assert_allclose((noisy == 1).mean(0), [.048, 0, 0], atol=4e-3)
  np.testing.assert_allclose((noisy == -1).mean(0), [0, .369, 0], atol=4e-3)
  np.testing.assert_allclose(noisy.std(0)[2], 0.3, rtol=0.02)


def test_epsilon_draws_from_all_actions():
  action = tf.repeat(tf.constant([[0., 1., 0., 0.]]), 40000, 0)
  noisy = actions.epsilon(action, 0.4, True, noise()).numpy()
  assert np.all(noisy.sum(-1) == 1) and set(noisy.ravel()) == {0, 1}
  np.testing.assert_allclose(noisy.mean(0), [.1, .7, .1, .1], atol=0.01)


def test_epsilon_replaces_whole_rows():
  action = tf.fill([40000, 2], 0.5)
  noisy = actions.epsilon(action, 0.4, False, noise()).numpy()
  changed = noisy != 0.5
  np.testing.assert_allclose(changed.mean(0), 0.4, atol=0.01)
  assert np.array_equal(changed[:, 0], changed[:, 1])
