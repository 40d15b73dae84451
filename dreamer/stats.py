"""Intervals of means."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt


def confidence(scores: npt.ArrayLike,
               level: float = 0.95) -> tuple[float, float, float]:
  """Returns (mean, low, high): Student-t interval of the mean.

  scores: at least one finite number. One score has no spread: low and high
  are NaN.
  """
  values = np.asarray(scores, np.float64).reshape(-1)
  assert values.size and np.isfinite(values).all(), values
  mean = float(values.mean())
  if values.size == 1:
    return mean, math.nan, math.nan
  error = values.std(ddof=1) / math.sqrt(values.size)
  half = float(student(values.size - 1, level) * error)
  return mean, mean - half, mean + half


def student(freedom: float, level: float) -> float:
  """Returns Student's quantile of a two-sided interval of a level."""
  from scipy.special import stdtrit  # Half a second of CPU time.
  return float(stdtrit(freedom, (1 + level) / 2))
