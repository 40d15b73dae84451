"""Distributions over exponential bins by hand."""

import numpy as np
import pytest
import tensorflow as tf

from dreamer.nn import twohot

BINS = np.array([-4., -1., 0., 2., 6.], np.float32)


@pytest.mark.parametrize('x', [0.0, 1e-6, -0.5, 3.0, -1e8])
def test_symexp_undoes_symlog(x):
  assert twohot.symexp(twohot.symlog(x)).numpy() == pytest.approx(x, rel=1e-5)


@pytest.mark.parametrize('amount', [2, 5, 32, 255])
def test_bins_are_mirrored(amount):
  bins = twohot.symexp_bins(amount)
  assert len(bins) == amount
  np.testing.assert_array_equal(bins, -bins[::-1])
  assert (np.diff(bins) >= 0).all() and bins[-1] == pytest.approx(4.85e8, 1e-3)
  if amount % 2:
    assert bins[amount // 2] == 0


@pytest.mark.parametrize('strict', [False, True])
@pytest.mark.parametrize('number, weights', [
    (1.0, [0, 0, .5, .5, 0]), (-2.0, [1 / 3, 2 / 3, 0, 0, 0]),
    (2.0, [0, 0, 0, 1, 0]), (0.0, [0, 0, 1, 0, 0]),
    (100.0, [0, 0, 0, 0, 1]), (-100.0, [1, 0, 0, 0, 0]),
    (6.0, [0, 0, 0, 0, 1]), (-4.0, [1, 0, 0, 0, 0])])
def test_target(number, weights, strict):
  dist = twohot.TwoHot(tf.zeros([1, 5]), BINS, strict)
  np.testing.assert_allclose(
      dist.target(tf.constant([number]))[0], weights, atol=1e-6)


def test_two_bins_of_one_number():
  """An even amount has two zeros: which one counts is `strict`."""
  bins = twohot.symexp_bins(4)
  for strict, index in ((False, 2), (True, 1)):
    dist = twohot.TwoHot(tf.zeros([1, 4]), bins, strict)
    assert tf.argmax(dist.target(tf.zeros([1]))[0]).numpy() == index


def test_mean_of_even_probabilities_is_exactly_zero():
  for amount in (32, 255):
    dist = twohot.TwoHot(tf.zeros([3, amount]), twohot.symexp_bins(amount))
    np.testing.assert_array_equal(dist.mean(), np.zeros(3))


@pytest.mark.parametrize('jit', [False, True])
@pytest.mark.parametrize('spread', [1e-8, 1e-6, 1e-3, 0.5])
def test_mean_of_nearly_even_probabilities(spread, jit):
  """Float32 softmax alone is off by tenths here: its far bins are 5e8."""
  bins = twohot.symexp_bins(255)
  logits = np.random.default_rng(0).normal(0, spread, (6, 255))
  logits = logits.astype(np.float32)
  exact = np.exp(logits.astype(np.float64))
  exact = (exact - exact[:, ::-1])[:, 128:] @ bins[128:].astype(
      np.float64) / exact.sum(-1)
  mean = tf.function(
      lambda x: twohot.TwoHot(x, bins).mean(), jit_compile=jit)
  np.testing.assert_allclose(mean(logits), exact, rtol=1e-5, atol=1e-6)


def test_mean_of_far_logits():
  bins = twohot.symexp_bins(5)
  logits = tf.constant([[0., 0, 0, 0, 200], [200, 0, 0, 0, -200]])
  np.testing.assert_allclose(
      twohot.TwoHot(logits, bins).mean(), [bins[-1], bins[0]])


def test_mean_and_cross_entropy():
  probs = np.array([.1, .2, .3, .1, .3], np.float32)
  dist = twohot.TwoHot(tf.math.log(probs), BINS)
  assert dist.mean().numpy() == pytest.approx(probs @ BINS, rel=1e-5)
  assert dist.log_prob(tf.constant(1.0)).numpy() == pytest.approx(
      .5 * np.log(.3) + .5 * np.log(.1), rel=1e-5)


def test_no_gradient_reaches_the_number():
  number = tf.Variable([1.0])
  with tf.GradientTape() as tape:
    loss = twohot.TwoHot(tf.ones([1, 5]), BINS).log_prob(number + 0)
  assert tape.gradient(loss, number) is None
