"""Intervals, verdicts and aggregates over few seeds.

The interval of a task's difference is Welch's, with two cautions. Where a few
seeds have a wide spread by chance, its degrees of freedom are too many: they
are not more than for equal spreads. And fewer than three seeds get no
interval. So 3 to 5 seeds against 5 to 8 contain the true difference in 95 to
97 % of cases, also where of the reference only mean and spread, or only the
mean, are known.

Aggregates over tasks are those of arXiv 2108.13264: a bootstrap over seeds,
stratified by task. The spread of n resampled values is too small by
(n - 1) / n, and 3 seeds know theirs badly, so that errors of the draws are
multiplied by sqrt(n / (n - 1)) and by t / z, the ratio of Student's quantile to
the normal one. Tests compare all of it with rliable, the paper's own code,
whose resampling draws from NumPy's global state and takes milliseconds per
draw. (All shares: tests/scores/test_intervals.py.)
"""

from __future__ import annotations

import bisect
import math
import typing
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtri, stdtrit

from dreamer.stats import student

if typing.TYPE_CHECKING:
  from scores.references import Sample

REPS = 2000  # of the bootstrap
LEAST_SEEDS = 3  # the spread of two says next to nothing
POWER = 0.8
MOST_SEEDS = 1000


class Interval(typing.NamedTuple):
  """A number with its interval; NaN bounds: the spread isn't known."""

  mean: float
  low: float
  high: float

  @property
  def known(self) -> bool:
    return math.isfinite(self.low) and math.isfinite(self.high)

  def within(self, margin: float) -> bool:
    return -margin <= self.low and self.high <= margin

  def beyond(self, margin: float) -> bool:
    return self.low > margin or self.high < -margin


def of_mean(sample: Sample, level: float) -> Interval:
  """Returns Student's Interval of the mean of a Sample."""
  if sample.std is None or sample.n is None or sample.n < 2:
    return Interval(sample.mean, math.nan, math.nan)
  return _interval(
      sample.mean, [(sample.std ** 2 / sample.n, sample.n - 1)], level)


def of_difference(
    ours: Sample, reference: Sample, level: float,
) -> tuple[Interval, str | None]:
  """Returns (Interval of ours - reference, what had to be assumed or None).

  A reference without a spread is taken to have ours; if even its seeds aren't
  known, to be exact. Seeds without any spread are taken to have the other's.
  """
  mean = ours.mean - reference.mean
  if not ours.n or ours.n < LEAST_SEEDS:
    return Interval(mean, math.nan, math.nan), (
        f'intervals need {LEAST_SEEDS} seeds')
  ours, reference, assumed = _assume(ours, reference)
  return _interval(mean, _variances(ours, reference), level), assumed


def verdict(difference: Interval, margin: float) -> str:
  """Returns 'reproduces', 'differs' or 'too few seeds'.

  difference: an Interval. reproduces: all of it lies within the margin.
  differs: all of it lies beyond, on one side. Otherwise it could be either.
  """
  if difference.known and difference.within(margin):
    return 'reproduces'
  if difference.known and difference.beyond(margin):
    return 'differs'
  return 'too few seeds'


def seeds_needed(
    ours: Sample, reference: Sample, margin: float, level: float,
) -> float | None:
  """Returns how many seeds of ours would bring a verdict.

  With probability POWER, if the difference and the spreads are as seen. None:
  not even MOST_SEEDS would, as when the reference's own seeds are too few.
  NaN: no spread is known.
  """
  std = ours.std or reference.std
  if not std:
    return math.nan
  gap = abs(abs(ours.mean - reference.mean) - margin)
  def tells(n):
    guess = ours._replace(n=n, std=std)
    variances = _variances(*_assume(guess, reference)[:2])
    error = math.sqrt(sum(x for x, _ in variances))
    freedom = _cautious(variances)
    return error * (
        student(freedom, level) + stdtrit(freedom, POWER)) <= gap
  if not tells(MOST_SEEDS):
    return None
  return bisect.bisect_left(range(MOST_SEEDS), True, LEAST_SEEDS, key=tells)


def improvement(ours: Sample, reference: Sample) -> float:
  """Returns P(a seed of ours > a seed of the reference), ties are halves."""
  a, b = np.array(ours.values)[:, None], np.array(reference.values)[None]
  return float(((a > b) + 0.5 * (a == b)).mean())


def shares_differ(a: int, n: int, b: int, m: int) -> float:
  """Returns how often a of n and b of m would be so far apart by chance.

  If both had the same share: Fisher's exact test, two-sided.
  """
  from scipy import stats  # half a second
  return float(stats.fisher_exact([[a, n - a], [b, m - b]]).pvalue)


# Aggregates over tasks


class Aggregates(typing.NamedTuple):
  """Several numbers over all tasks, with their bootstrap draws.

  estimate: [M]. draws: [reps, M], or None without a spread. factor: by which
  errors of the draws are too small.
  """

  estimate: np.ndarray
  draws: np.ndarray | None = None
  factor: float = 1.0

  def intervals(self, level: float) -> list[Interval]:
    return _intervals(self.estimate, self._errors(), level)

  def _errors(self):
    if self.draws is None:
      return None
    return (self.draws - self.estimate) * self.factor


class Metric(typing.NamedTuple):
  """A number over all tasks.

  of: function of scores [..., seeds, tasks] -> [...].
  of_means: whether means over seeds are all it needs.
  """

  name: str
  of: typing.Callable
  of_means: bool = False


def iqm(scores: np.ndarray) -> np.ndarray:
  """Returns the mean of the middle half of all runs, over all tasks.

  scores: [..., seeds, tasks].
  """
  flat = np.sort(scores.reshape(*scores.shape[:-2], -1), -1)
  cut = flat.shape[-1] // 4
  return flat[..., cut:flat.shape[-1] - cut].mean(-1)


def optimality_gap(scores: np.ndarray, target: float) -> np.ndarray:
  """Returns how far below the target the runs are in the mean.

  scores: [..., seeds, tasks].
  """
  return target - np.minimum(scores, target).mean((-2, -1))


def aggregate(
    matrix: np.ndarray, metrics: Sequence[Metric], level: float,
    rng: np.random.Generator, reps: int = REPS) -> Aggregates:
  """Returns the Aggregates of scores [seeds, tasks]: one per Metric."""
  estimate = np.array([metric.of(matrix) for metric in metrics], float)
  if len(matrix) < 2:
    return Aggregates(estimate)
  drawn = resample(matrix, rng, reps)
  draws = np.stack([metric.of(drawn) for metric in metrics], -1)
  return Aggregates(estimate, draws, _factor(matrix, level))


def resample(
    matrix: np.ndarray, rng: np.random.Generator, reps: int) -> np.ndarray:
  """Returns scores [reps, seeds, tasks], drawn within each task."""
  index = rng.integers(len(matrix), size=(reps, *matrix.shape))
  return np.take_along_axis(np.asarray(matrix)[None], index, 1)


def aggregate_difference(
    ours: Aggregates, reference: Aggregates, level: float,
    inflation: float = 1.0) -> list[Interval]:
  """Returns the Intervals of the differences of two Aggregates.

  inflation: of our errors, for a reference without draws.
  """
  errors = ours._errors()
  if errors is not None:
    errors = errors * inflation
    if reference.draws is not None:
      errors = errors - reference._errors()
  return _intervals(ours.estimate - reference.estimate, errors, level)


def aggregate_improvement(
    ours: np.ndarray, reference: np.ndarray, level: float,
    rng: np.random.Generator, reps: int = REPS) -> Interval:
  """Returns the Interval of the mean over tasks of `improvement`.

  ours, reference: scores [seeds, tasks].
  """
  pairs = zip(resample(ours, rng, reps), resample(reference, rng, reps),
              strict=True)
  draws, mean = np.array([_wins(*pair) for pair in pairs]), float(
      _wins(ours, reference))
  # Draws with replacement vary too little; of both, as wins are of both.
  few = np.mean([n / (n - 1) for n in (len(ours), len(reference))])
  spread = math.sqrt(few) * (draws - draws.mean())
  low, high = np.clip(mean + np.quantile(spread, _tails(level)), 0, 1)
  return Interval(mean, float(low), float(high))


def _wins(a, b):
  """The mean over tasks of P(a > b), ties are halves: [n, T], [m, T]."""
  a, b = a[:, None], b[None]
  return ((a > b) + 0.5 * (a == b)).mean()


def _factor(matrix, level):
  """Correction for few seeds, as for one task; over tasks freedom adds up."""
  n = len(matrix)
  variances = [(x / n, n - 1) for x in np.var(matrix, axis=0, ddof=1)]
  student_to_normal = student(_freedom(variances), level) / _z(level)
  return math.sqrt(n / (n - 1)) * student_to_normal


# One task


def _assume(ours, reference):
  """Returns both Samples with a spread, and what was assumed for it."""
  if reference.n is None:
    return ours, reference._replace(std=0.0), (
        "the reference's seeds are not known: it is taken as exact")
  if not reference.std:
    return ours, reference, (
        "the reference's spread is not known: ours is taken"
        if reference.std is None else
        "the reference's seeds have no spread: ours is taken")
  if not ours.std:
    return ours._replace(std=reference.std, values=None), reference, (
        "our seeds have no spread: the reference's is taken")
  return ours, reference, None


def _variances(ours, reference):
  """[(variance of a mean, its degrees of freedom)], of independent spreads."""
  if reference.n is None:
    return [(ours.std ** 2 / ours.n, ours.n - 1)]
  if not reference.std:
    return [((ours.std or 0) ** 2 * (1 / ours.n + 1 / reference.n),
             ours.n - 1)]
  return [(ours.std ** 2 / ours.n, ours.n - 1),
          (reference.std ** 2 / reference.n, reference.n - 1)]


def _freedom(variances):
  """Welch-Satterthwaite degrees of freedom of a sum."""
  total = sum(x for x, _ in variances)
  if not total:
    return 1.0
  return total ** 2 / sum(x ** 2 / n for x, n in variances)


def _cautious(variances):
  """Degrees of freedom of a difference: not more than for equal spreads.

  Where a few seeds have a wide spread by chance, the estimate is too large:
  3 seeds against 8 would be found different in 6 % of cases instead of 5 %.
  """
  equal = [(1 / (n + 1), n) for _, n in variances]
  return min(_freedom(variances), _freedom(equal))


def _interval(mean, variances, level):
  """Welch's, of a mean whose error has these variances; see _variances."""
  error = math.sqrt(sum(x for x, _ in variances))
  half = student(_cautious(variances), level) * error
  return Interval(mean, mean - half, mean + half)


def _intervals(means, errors, level):
  if errors is None:
    return [Interval(float(x), math.nan, math.nan) for x in means]
  return [_quantiles(x, column, level)
          for x, column in zip(means, errors.T, strict=True)]


def _quantiles(mean, errors, level):
  low, high = np.quantile(errors, _tails(level))
  return Interval(float(mean), float(mean + low), float(mean + high))


def _tails(level):
  return (1 - level) / 2, (1 + level) / 2


def _z(level):
  return float(ndtri(_tails(level)[1]))
