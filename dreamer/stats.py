"""Intervals of means."""

from __future__ import annotations

import math

import numpy as np


def confidence(
    scores: np.typing.ArrayLike, level: float = 0.95,
) -> tuple[float, float, float]:
  """Returns (mean, low, high): Student-t interval of the mean.

  scores: at least one finite number. One score has no spread: low and high
  are NaN.
  """
  scores = np.asarray(scores, np.float64).reshape(-1)
  assert scores.size and np.isfinite(scores).all(), scores
  mean = float(scores.mean())
  if scores.size == 1:
    return mean, math.nan, math.nan
  error = scores.std(ddof=1) / math.sqrt(scores.size)
  half = float(student(scores.size - 1, level) * error)
  return mean, mean - half, mean + half


def student(freedom: float, level: float) -> float:
  """Returns Student's quantile of a two-sided interval of a level."""
  from scipy.special import stdtrit  # Half a second of CPU time.
  return float(stdtrit(freedom, (1 + level) / 2))
