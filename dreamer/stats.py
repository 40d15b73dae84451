"""Intervals of means."""

import math

import numpy as np


def confidence(scores):
  """Returns (mean, low, high): 95% Student-t interval of the mean.

  scores: at least one finite number. One score has no spread: low and high
  are NaN.
  """
  from scipy.special import stdtrit  # slow to import
  scores = np.asarray(scores, np.float64).reshape(-1)
  assert scores.size and np.isfinite(scores).all(), scores
  mean = float(scores.mean())
  if scores.size == 1:
    return mean, math.nan, math.nan
  error = scores.std(ddof=1) / math.sqrt(scores.size)
  half = float(stdtrit(scores.size - 1, 0.975) * error)
  return mean, mean - half, mean + half
