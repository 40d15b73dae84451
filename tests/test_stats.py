"""Intervals of means."""

import math

import numpy as np
import pytest

from dreamer.stats import confidence


def test_by_hand():
  # t(2 degrees, 97.5%) = 4.302653; std 10, so half = 4.302653 * 10 / 3**.5
  mean, low, high = confidence([40, 50, 60])
  assert mean == 50
  assert (low, high) == pytest.approx((25.158623, 74.841377))


def test_against_scipy():
  from scipy import stats  # Slow to import, for this test.
  scores = np.random.default_rng(0).normal(100, 20, 12)
  wanted = stats.t.interval(
      0.95, 11, scores.mean(), stats.sem(scores))
  assert confidence(scores)[1:] == pytest.approx(wanted)


def test_covers_the_mean():
  scores = np.random.default_rng(0).normal(size=[2000, 5])
  inside = [low <= 0 <= high for _, low, high in map(confidence, scores)]
  assert 0.935 < np.mean(inside) < 0.965


def test_edges():
  assert confidence([7.0, 7.0]) == (7, 7, 7)
  mean, low, high = confidence([7.0])
  assert mean == 7 and math.isnan(low) and math.isnan(high)
  for scores in ([], [math.nan, 1]):
    with pytest.raises(AssertionError):
      confidence(scores)
