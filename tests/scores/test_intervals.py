"""The statistics on synthetic data with known answers."""

import math

import numpy as np
import pytest
from scipy import stats

from scores import aggregates, intervals
from scores.references import Sample


def rng(seed=0):
  return np.random.default_rng(seed)


def samples(generator, ours, theirs, kind='seeds', shift=0.0, draw=None):
  """Two Samples of standard normal seeds, ours shifted."""
  draw = draw or (lambda n: generator.normal(size=n))
  x = draw(theirs)
  reference = {
      'seeds': lambda: Sample.of(x),
      'summary': lambda: Sample(x.mean(), x.std(ddof=1), theirs),
      'mean': lambda: Sample(x.mean(), None, theirs)}[kind]()
  return Sample.of(draw(ours) + shift), reference


def simulate(ours, theirs, kind='seeds', shift=0.0, margin=0.5, trials=700,
             draw=None):
  """Returns (coverage, shares of the three verdicts) over many trials."""
  generator = rng(ours * 100 + theirs)
  covered, verdicts = 0, []
  for _ in range(trials):
    a, b = samples(generator, ours, theirs, kind, shift, draw)
    difference, _ = intervals.of_difference(a, b, 0.95)
    covered += difference.low <= shift <= difference.high
    verdicts.append(intervals.verdict(difference, margin))
  share = {x: verdicts.count(x) / trials
           for x in ('reproduces', 'differs', 'too few seeds')}
  return covered / trials, share


class TestCoverage:
  """700 trials: two standard errors of 95 % are 1.6 %."""

  @pytest.mark.parametrize('ours, theirs, kind', [
      (3, 5, 'seeds'), (5, 5, 'seeds'), (5, 8, 'seeds'), (3, 8, 'summary'),
      (5, 5, 'mean')])
  def test_difference(self, ours, theirs, kind):
    coverage, _ = simulate(ours, theirs, kind)
    assert 0.93 <= coverage <= 0.985

  @pytest.mark.parametrize('n', [3, 5, 10])
  def test_mean(self, n):
    generator, covered = rng(n), 0
    for _ in range(700):
      interval = intervals.of_mean(
          Sample.of(generator.normal(size=n)), 0.95)
      covered += interval.low <= 0 <= interval.high
    assert 0.925 <= covered / 700 <= 0.975

  def test_plain_percentiles_would_not_do(self):
    """Why there is a correction: 3 seeds, 75 % instead of 95 %."""
    x = rng().normal(size=[2000, 3])
    drawn = x[np.arange(2000)[:, None, None], rng(1).integers(
        3, size=[2000, 400, 3])].mean(2)
    low, high = np.quantile(drawn, [0.025, 0.975], axis=1)
    assert ((low <= 0) & (0 <= high)).mean() < 0.8

  def test_of_a_mean_is_students(self):
    x = rng().normal(size=30)
    low, high = stats.t.interval(0.9, 29, x.mean(), stats.sem(x))
    assert intervals.of_mean(Sample.of(x), 0.9) == pytest.approx(
        (x.mean(), low, high))

  @pytest.mark.parametrize('ours, theirs', [(3, 3), (20, 20), (8, 5)])
  def test_of_a_difference_is_welchs(self, ours, theirs):
    """Where the smaller group has the wider spread: no caution is needed."""
    a, b = rng(3).normal(size=ours), rng(4).normal(size=theirs)
    b = (b - b.mean()) / b.std(ddof=1) * a.std(ddof=1)
    b = b * (1.0 if ours == theirs else 2.0)
    interval, _ = intervals.of_difference(Sample.of(a), Sample.of(b), 0.95)
    wanted = stats.ttest_ind(a, b, equal_var=False).confidence_interval()
    assert interval[1:] == pytest.approx((wanted.low, wanted.high))

  def test_caution_for_uneven_seeds(self):
    """Three seeds that happen to agree gain no confidence from eight."""
    a, b = Sample(0.0, 0.1, 3), Sample(0.0, 1.0, 8)
    interval, _ = intervals.of_difference(a, b, 0.95)
    error = math.sqrt(0.01 / 3 + 1 / 8)
    equal = (1 / 3 + 1 / 8) ** 2 / (1 / 3 ** 2 / 2 + 1 / 8 ** 2 / 7)
    assert interval.high == pytest.approx(stats.t.ppf(0.975, equal) * error)
    welch = error ** 4 / ((0.01 / 3) ** 2 / 2 + (1 / 8) ** 2 / 7)
    assert equal < 4 < 7 < welch

  def test_level(self):
    x = Sample.of(rng().normal(size=10))
    narrow, wide = (intervals.of_mean(x, level)
                    for level in (0.8, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


class TestVerdict:

  @pytest.mark.parametrize('low, high, wanted', [
      (-4, 4, 'reproduces'), (1, 4, 'reproduces'), (-5, 5, 'reproduces'),
      (6, 9, 'differs'), (-9, -6, 'differs'), (4, 9, 'too few seeds'),
      (-9, 9, 'too few seeds'), (-9, -4, 'too few seeds'),
      (math.nan, math.nan, 'too few seeds')])
  def test_two_sided(self, low, high, wanted):
    interval = intervals.Interval((low + high) / 2, low, high)
    assert intervals.verdict(interval, 5) == wanted

  @pytest.mark.parametrize('ours, theirs, kind', [
      (3, 5, 'seeds'), (5, 5, 'seeds'), (3, 8, 'seeds'), (5, 5, 'mean')])
  @pytest.mark.parametrize('margin', [0.01, 0.5])
  def test_no_difference_is_seldom_found(self, ours, theirs, kind, margin):
    """At most 5 % (and 1.6 % for 700 trials), also for tiny margins."""
    _, share = simulate(ours, theirs, kind, margin=margin)
    assert share['differs'] <= (0.066 if margin < 0.1 else 0.04)

  def test_skewed_seeds(self):
    """Also where one seed in five fails."""
    generator = rng(5)
    def draw(n):
      return (generator.random(n) < 0.8) * 10 + generator.normal(size=n)
    _, share = simulate(5, 8, margin=1.0, draw=draw)
    assert share['differs'] <= 0.05

  @pytest.mark.parametrize('shift', [0.7, -0.7])
  def test_a_difference_of_the_margin_seldom_reproduces(self, shift):
    _, share = simulate(20, 20, shift=shift, margin=0.7)
    assert share['reproduces'] <= 0.05 and share['differs'] <= 0.05

  def test_power(self):
    """5 against 8 seeds, four standard deviations apart, margin one."""
    _, share = simulate(5, 8, shift=-4.0, margin=1.0, trials=300)
    assert share['differs'] > 0.9 and share['reproduces'] == 0
    _, share = simulate(30, 30, shift=0.0, margin=1.0, trials=200)
    assert share['reproduces'] > 0.9 and share['differs'] == 0


class TestSeedsNeeded:

  @pytest.mark.parametrize('shift, margin', [(1.5, 0.5), (0.1, 1.0)])
  def test_they_tell(self, shift, margin):
    """So many seeds bring a verdict with the probability promised."""
    reference = Sample(0.0, 1.0, 60)
    ours = Sample(shift, 1.0, 3)
    n = intervals.seeds_needed(ours, reference, margin, 0.95)
    assert 4 < n < 60
    generator, told, less = rng(), 0, 0
    for _ in range(400):
      theirs = Sample.of(generator.normal(size=60))
      for count in (n, n // 2):
        seeds = Sample.of(generator.normal(size=count) + shift)
        difference, _ = intervals.of_difference(seeds, theirs, 0.95)
        if intervals.verdict(difference, margin) != 'too few seeds':
          told, less = told + (count == n), less + (count != n)
    # The reference's mean varies too, which costs a little power.
    assert 0.68 < told / 400 < 0.9 and less < told - 60

  def test_none_tells_if_the_reference_is_too_small(self):
    reference = Sample(0.0, 10.0, 5)
    assert intervals.seeds_needed(
        Sample(1.0, 1.0, 3), reference, 2.0, 0.95) is None
    assert intervals.seeds_needed(
        Sample(2.0, 1.0, 3), Sample(0.0, 1.0, 500), 2.0, 0.95) is None

  def test_one_seed_takes_the_spread_of_the_reference(self):
    n = intervals.seeds_needed(
        Sample(9.0, None, 1), Sample(0.0, 1.0, 8), 1.0, 0.95)
    assert n == intervals.LEAST_SEEDS
    assert math.isnan(intervals.seeds_needed(
        Sample(9.0, None, 1), Sample(0.0, None, 8), 1.0, 0.95))


@pytest.mark.parametrize('a, n, b, m', [
    (0, 3, 12, 12), (7, 10, 5, 6), (5, 10, 6, 12), (0, 4, 0, 9),
    (10, 10, 3, 6)])
def test_shares_differ_as_fishers_exact_test(a, n, b, m):
  wanted = stats.fisher_exact([[a, n - a], [b, m - b]]).pvalue
  assert intervals.shares_differ(a, n, b, m) == pytest.approx(wanted)


class TestAssumptions:

  def difference(self, ours, reference):
    return intervals.of_difference(ours, reference, 0.95)

  @pytest.mark.parametrize('n', [1, 2])
  def test_too_few(self, n):
    interval, why = self.difference(
        Sample.of(range(n)), Sample.of([1, 2, 3]))
    assert not interval.known and 'need 3 seeds' in why
    assert interval.mean == (n - 1) / 2 - 2
    assert intervals.verdict(interval, 1e9) == 'too few seeds'

  def test_reference_without_spread(self):
    ours = Sample.of([1.0, 2.0, 3.0])
    interval, why = self.difference(ours, Sample(2.0, None, 5))
    assert 'ours is taken' in why
    # Variance 1 / 3 + 1 / 5, 2 degrees of freedom: 4.303 * 0.730 = 3.14.
    assert interval.high == pytest.approx(3.143, abs=1e-3)

  def test_reference_of_unknown_seeds(self):
    ours = Sample.of([1.0, 2.0, 3.0])
    interval, why = self.difference(ours, Sample(2.0))
    assert 'taken as exact' in why
    alone = intervals.of_mean(ours, 0.95)
    assert interval.high == pytest.approx(alone.high - 2)

  def test_our_seeds_are_equal(self):
    interval, why = self.difference(
        Sample.of([0, 0, 0]), Sample.of([1.0, 2.0, 3.0]))
    assert "the reference's is taken" in why and interval.known
    assert interval.high - interval.low > 2

  def test_their_seeds_are_equal(self):
    interval, why = self.difference(
        Sample.of([1.0, 2.0, 3.0]), Sample.of([0, 0, 0]))
    assert 'ours is taken' in why and interval.high - interval.low > 2

  def test_all_seeds_are_equal(self):
    interval, _ = self.difference(Sample.of([1, 1, 1]), Sample.of([0, 0, 0]))
    assert interval == (1, 1, 1)


def metric(function):
  return [intervals.Metric('', function)]


MEAN = metric(lambda x: x.mean((-2, -1)))


class TestAggregates:

  def test_by_hand_and_by_rliable(self):
    from rliable import metrics  # Slow to import, for this test.
    x = rng().normal(size=[5, 13])
    assert intervals.iqm(x) == pytest.approx(metrics.aggregate_iqm(x))
    middle = np.sort(x.reshape(-1))[16:-16]
    assert intervals.iqm(x) == pytest.approx(middle.mean())
    assert intervals.optimality_gap(x, 0.5) == pytest.approx(
        metrics.aggregate_optimality_gap(x, 0.5))

  @pytest.mark.parametrize('tasks', [
      ['dmc_a_b', 'dmc_c_d', 'dmc_e_f'],
      ['atari_pong', 'atari_boxing', 'atari_alien']])
  def test_many_matrices_at_once(self, tasks):
    x = rng().uniform(0, 1500, size=[6, 4, 3])
    for metric in aggregates.of(tasks):
      assert metric.of(x) == pytest.approx(
          [float(metric.of(y)) for y in x]), metric.name
      means = np.repeat(x.mean(1, keepdims=True), 4, 1)
      if metric.of_means:
        assert metric.of(means) == pytest.approx(metric.of(x))
    assert [x.of_means for x in aggregates.of(tasks)][-2:] == [False, False]

  def test_control_is_rliables(self):
    from rliable import metrics  # Slow to import, for this test.
    x = rng().uniform(0, 1500, size=[5, 7])
    found = [y.of(x) for y in aggregates.of([f'dmc_{i}' for i in range(7)])]
    assert found == pytest.approx([
        metrics.aggregate_mean(x), metrics.aggregate_median(x),
        metrics.aggregate_iqm(x), metrics.aggregate_optimality_gap(x, 1000)])

  def test_no_common_scale(self):
    assert aggregates.of(['dmc_a_b', 'atari_pong']) == []
    assert aggregates.of(['crafter_reward', 'gym_x']) == []

  def test_improvement_is_that_of_rliable(self):
    from rliable import metrics  # Slow to import, for this test.
    a, b = rng().integers(5, size=[4, 6]), rng(1).integers(5, size=[7, 6])
    interval = intervals.aggregate_improvement(a, b, 0.95, rng(), 200)
    single = [intervals.improvement(Sample.of(x), Sample.of(y))
              for x, y in zip(a.T, b.T)]
    assert np.mean(single) == pytest.approx(interval.mean)
    assert metrics.probability_of_improvement(a, b) == pytest.approx(
        interval.mean)
    assert interval.low < interval.mean < interval.high

  @pytest.mark.parametrize('ours, theirs', [(3, 5), (3, 3)])
  def test_improvement_is_covered(self, ours, theirs):
    """By 95 % of intervals; plain percentiles by 89 to 92 %."""
    draw, truth, found = rng(), 0.5 * (1 + math.erf(0.25)), 0
    for _ in range(400):
      interval = intervals.aggregate_improvement(
          draw.normal(0.5, 1, [ours, 5]), draw.normal(0, 1, [theirs, 5]), 0.95,
          draw, 200)
      found += interval.low <= truth <= interval.high
      assert 0 <= interval.low <= interval.high <= 1
    assert 0.92 < found / 400 < 0.98

  def test_intervals_are_rliables_but_for_the_correction(self):
    from rliable import library  # Slow to import, for this test.
    x = rng().normal(size=[8, 20]) + np.arange(20)
    np.random.seed(0)  # rliable draws from it
    _, bounds = library.get_interval_estimates(
        {'x': x}, lambda x: np.array([x.mean(), intervals.iqm(x)]), reps=2000)
    found = intervals.aggregate(
        x, MEAN + metric(intervals.iqm), 0.95, rng(), 4000)
    low, high = np.quantile(found.draws, [0.025, 0.975], axis=0)
    assert low == pytest.approx(bounds['x'][0], abs=0.02)
    assert high == pytest.approx(bounds['x'][1], abs=0.02)
    for interval, a, b in zip(found.intervals(0.95), low, high):
      assert interval.low < a < b < interval.high
      assert (interval.high - interval.low) / (b - a) == pytest.approx(
          math.sqrt(8 / 7), rel=0.02)

  def test_seeded_and_apart_from_global_state(self):
    x, y = rng().normal(size=[5, 4]), rng(1).normal(size=[6, 4])
    def run():
      a = intervals.aggregate(x, MEAN, 0.95, rng(3), 50)
      return a.draws.tolist(), intervals.aggregate_improvement(
          x, y, 0.95, rng(3), 50)
    np.random.seed(0)
    first, state = run(), np.random.get_state()[1].tolist()
    np.random.seed(1)
    assert run() == first
    np.random.seed(0)
    assert np.random.get_state()[1].tolist() == state

  def test_strata_stay_apart(self):
    """Resampling never mixes tasks, and draws each independently."""
    x = np.tile([1.0, 5.0, 9.0], [4, 1])
    assert (intervals.resample(x, rng(), 50) == [1, 5, 9]).all()
    x = np.tile(np.arange(4.0)[:, None], [1, 3])
    drawn = intervals.resample(x, rng(), 50)
    assert drawn.shape == (50, 4, 3) and set(drawn.flat) == {0, 1, 2, 3}
    assert (drawn[..., 0] != drawn[..., 1]).any()

  def test_one_seed_has_no_interval(self):
    found = intervals.aggregate(np.ones([1, 3]), MEAN, 0.95, rng())
    interval, = found.intervals(0.95)
    assert interval.mean == 1 and not interval.known

  def test_difference(self):
    a, b = rng().normal(size=[6, 30]) + 2, rng(1).normal(size=[8, 30])
    a = intervals.aggregate(a, MEAN, 0.95, rng(2))
    b = intervals.aggregate(b, MEAN, 0.95, rng(3))
    interval, = intervals.aggregate_difference(a, b, 0.95)
    half = 1.97 * math.sqrt(1 / 180 + 1 / 240)
    assert interval.mean == pytest.approx(2, abs=0.3)
    assert interval.high - interval.mean == pytest.approx(half, rel=0.25)

  @pytest.mark.parametrize('n, tasks', [(3, 20), (8, 55)])
  def test_coverage(self, n, tasks):
    """Mean, IQM and gap; the median of 3 seeds' means is biased, and less."""
    metrics = MEAN + metric(intervals.iqm) + metric(
        lambda x: intervals.optimality_gap(x, 1))
    generator = rng(n)
    centers, covered = generator.uniform(0.1, 0.9, tasks), 0
    many = centers + 0.1 * generator.normal(size=[20000, tasks])
    truth = [x.of(many) for x in metrics]
    for _ in range(200):
      x = centers + 0.1 * generator.normal(size=[n, tasks])
      found = intervals.aggregate(x, metrics, 0.95, generator, 200)
      covered = covered + np.array([
          y.low <= z <= y.high
          for y, z in zip(found.intervals(0.95), truth)])
    assert (covered / 200 >= 0.92).all(), covered
