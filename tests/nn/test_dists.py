"""Distributions against scipy, numeric integration and finite differences."""

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from dreamer.nn import dists
from dreamer.nn.noise import Noise

RNG = np.random.default_rng(0)


def test_normal_kl_on_a_worked_example():
  # log(s2 / s1) + (s1^2 + (m1 - m2)^2) / (2 s2^2) - 1/2, summed
  one = dists.Normals(tf.constant([[0., 1.]]), tf.constant([[1., 2.]]))
  two = dists.Normals(tf.constant([[1., 1.]]), tf.constant([[2., 1.]]))
  first = np.log(2) + (1 + 1) / 8 - .5
  second = np.log(1 / 2) + 4 / 2 - .5
  np.testing.assert_allclose(
      one.kl_divergence(two), [first + second], rtol=1e-5)
  np.testing.assert_allclose(one.kl_divergence(one), [0.0], atol=1e-6)


def test_normal_entropy():
  std = np.array([[0.5, 3.0]], np.float32)
  np.testing.assert_allclose(
      dists.Normals(tf.zeros([1, 2]), std).entropy(),
      [scipy.stats.norm(0, std).entropy().sum()], rtol=1e-5)


@pytest.mark.parametrize('dims', [0, 1, 3])
def test_unit_normal(dims):
  target, mean = RNG.normal(size=(2, 2, 3, 4, 5)).astype(np.float32)
  log_prob = scipy.stats.norm(mean, 1).logpdf(target)
  if dims:
    log_prob = log_prob.sum(tuple(range(-dims, 0)))
  np.testing.assert_allclose(
      dists.unit_normal_log_prob(target, tf.constant(mean), dims), log_prob,
      rtol=1e-5)


def test_constant_of_an_image_is_11292_nats():
  zeros = tf.zeros([1, 64, 64, 3])
  log_prob = dists.unit_normal_log_prob(zeros, zeros, 3)
  assert round(-float(log_prob[0])) == 11292


def test_bernoulli_with_soft_labels():
  logit, p = 0.7, 1 / (1 + np.exp(-0.7))
  for label in (0.0, 0.99, 1.0):
    expected = label * np.log(p) + (1 - label) * np.log(1 - p)
    ours = dists.bernoulli_log_prob(tf.constant([label]), tf.constant([logit]))
    np.testing.assert_allclose(ours, [expected], rtol=1e-5)
  # Likeliest where the probability is the label.
  grid = np.linspace(0.9, 0.999, 100)
  scores = dists.bernoulli_log_prob(
      tf.fill([100], 0.95), tf.constant(np.log(grid / (1 - grid)), tf.float32))
  np.testing.assert_allclose(grid[np.argmax(scores)], 0.95, atol=2e-3)


@pytest.mark.parametrize('std', [1e-6, 0.5, 1.0, 5.0, 50.0, 1e4])
def test_softplus_inverse(std):
  shift = tf.constant(dists.softplus_inverse(std), tf.float64)
  np.testing.assert_allclose(tf.nn.softplus(shift), std, rtol=1e-7)


class TestTanhNormal:

  def test_sample_is_reparameterised(self):
    mean, std = tf.Variable([0.1, -2.0]), tf.Variable([0.5, 2.0])
    with tf.GradientTape(persistent=True) as tape:
      sample = dists.TanhNormal(mean, std).sample(tf.constant([1.0, -0.5]))
    np.testing.assert_allclose(sample, np.tanh([0.6, -3.0]), rtol=1e-5)
    slope = 1 - np.tanh([0.6, -3.0]) ** 2
    np.testing.assert_allclose(tape.gradient(sample, mean), slope, rtol=1e-3)
    np.testing.assert_allclose(
        tape.gradient(sample, std), slope * [1.0, -0.5], rtol=1e-3)

  def test_mode_is_the_likeliest_sample_of_each_row(self):
    mean = tf.constant([[0.0, 0.5], [1.0, -1.0], [-0.3, 0.2]])
    std = tf.constant([[0.5, 0.2], [0.1, 0.9], [1.5, 1.0]])
    dist = dists.TanhNormal(mean, std)
    noise = tf.constant(RNG.normal(size=(100, 3, 2)), tf.float32)
    samples = dist.sample(noise).numpy()
    log_prob = scipy.stats.norm(mean, std).logpdf(np.arctanh(samples))
    best = np.argmax((log_prob - np.log(1 - samples ** 2)).sum(-1), 0)
    assert len(set(best)) > 1
    np.testing.assert_allclose(
        dist.mode(noise), samples[best, np.arange(3)], atol=1e-6)

  def test_mode_where_tanh_saturates(self):
    # All samples round to 1: arctanh of them is infinite.
    dist = dists.TanhNormal(tf.constant([[30.0]]), tf.constant([[1.0]]))
    noise = tf.constant(RNG.normal(size=(100, 1, 1)), tf.float32)
    np.testing.assert_allclose(dist.mode(noise), [[1.0]])

  def test_log_prob_by_the_change_of_variables(self):
    mean, std = np.array([[0.2, -1.5]]), np.array([[0.5, 0.3]])
    action = np.array([[0.4, -0.97]])
    dist = dists.TanhNormal(*(tf.constant(x, tf.float32) for x in (mean, std)))
    raw = scipy.stats.norm(mean, std).logpdf(np.arctanh(action))
    expected = (raw - np.log(1 - action ** 2)).sum(-1)
    np.testing.assert_allclose(dist.log_prob(np.float32(action)), expected,
                               rtol=1e-5)

  def test_log_prob_of_the_bounds_is_finite(self):
    dist = dists.TanhNormal(tf.zeros([2, 1]), tf.ones([2, 1]))
    found = dist.log_prob(tf.constant([[1.0], [-1.0]])).numpy()
    assert np.isfinite(found).all() and found[0] == found[1]

  def test_entropy_by_integration(self):
    mean, std = 0.4, 0.6
    dist = dists.TanhNormal(tf.fill([1, 1], mean), tf.fill([1, 1], std))
    raw = np.linspace(mean - 8 * std, mean + 8 * std, 100001)
    density = scipy.stats.norm(mean, std).pdf(raw)
    log_prob = np.log(density) - np.log(1 - np.tanh(raw) ** 2)
    exact = -np.sum(density * log_prob) * (raw[1] - raw[0])
    noise = tf.constant(RNG.normal(size=(100000, 1, 1)), tf.float32)
    np.testing.assert_allclose(dist.entropy(noise), [exact], atol=0.01)


class TestOneHot:

  PROBS = np.array([0.1, 0.6, 0.3])

  def test_sample_has_the_probabilities(self):
    dist = dists.OneHot(tf.constant([np.log(self.PROBS)] * 20000, tf.float32))
    noise = Noise('0', 0).gumbel('x', [20000, 3])
    sample = dist.sample(noise).numpy()
    assert np.allclose(sample.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(sample.mean(0), self.PROBS, atol=0.015)

  def test_mode_and_log_prob(self):
    dist = dists.OneHot(tf.constant([np.log(self.PROBS)], tf.float32))
    np.testing.assert_array_equal(dist.mode(), [[0, 1, 0]])
    np.testing.assert_allclose(
        dist.log_prob(tf.eye(3)), np.log(self.PROBS), rtol=1e-5)
    np.testing.assert_allclose(
        dist.entropy(), [scipy.stats.entropy(self.PROBS)], rtol=1e-5)

  def test_straight_through_gradient_is_that_of_the_probabilities(self):
    logits, cost = tf.Variable([[0.2, -1.0, 0.5]]), tf.constant([1., 5., -2.])
    with tf.GradientTape(persistent=True) as tape:
      sample = dists.OneHot(logits).sample(tf.constant([[0., 9., 0.]]))
      ours = tf.reduce_sum(cost * sample)
      probs = tf.reduce_sum(cost * tf.nn.softmax(logits))
    np.testing.assert_allclose(sample, [[0, 1, 0]], atol=1e-6)
    np.testing.assert_allclose(
        tape.gradient(ours, logits), tape.gradient(probs, logits), rtol=1e-5)

  def test_score_gradient_of_one_sample(self):
    # cost[k] * d log p_k / d logits = cost[k] * (one_hot(k) - p)
    logits, cost = tf.Variable([[0.2, -1.0, 0.5]]), tf.constant([1., 5., -2.])
    with tf.GradientTape() as tape:
      sample = dists.OneHot(logits, 'score').sample(tf.constant([[0., 9., 0.]]))
      loss = tf.reduce_sum(cost * sample)
    np.testing.assert_allclose(sample, [[0, 1, 0]], atol=1e-6)
    probs = tf.nn.softmax(logits).numpy()
    np.testing.assert_allclose(
        tape.gradient(loss, logits), 5 * (np.array([[0, 1, 0]]) - probs),
        rtol=1e-5)

  def test_score_gradient_is_unbiased(self):
    cost = tf.constant([1., 5., -2.])
    start = np.array([0.2, -1.0, 0.5])

    def expected(logits):
      probs = np.exp(logits) / np.exp(logits).sum()
      return (probs * np.square(cost)).sum()

    exact = [(expected(start + d) - expected(start - d)) / 2e-4
             for d in 1e-4 * np.eye(3)]
    count = 100000
    logits = tf.Variable(np.float32([start]))
    with tf.GradientTape() as tape:
      dist = dists.OneHot(tf.repeat(logits, count, 0), 'score')
      sample = dist.sample(Noise('0', 0).gumbel('x', [count, 3]))
      loss = tf.reduce_mean(tf.reduce_sum(sample * cost ** 2, -1))
    np.testing.assert_allclose(
        tape.gradient(loss, logits)[0], exact, atol=0.15)


class TestTruncNormal:
  """Normals cut to [-1, 1], against scipy's truncnorm."""

  LOC = np.float32([[0.0, 0.7, -0.95, 0.3]])
  SCALE = np.float32([[0.5, 0.2, 0.1, 2.0]])

  def dist(self):
    return dists.TruncNormal(tf.constant(self.LOC), tf.constant(self.SCALE))

  def reference(self):
    low, high = (-1 - self.LOC) / self.SCALE, (1 - self.LOC) / self.SCALE
    return scipy.stats.truncnorm(low, high, self.LOC, self.SCALE)

  def test_samples_have_the_distribution(self):
    noise = Noise('0', 0).uniform('x', [20000, 4])
    samples = self.dist().sample(noise).numpy()
    np.testing.assert_allclose(
        samples.mean(0), self.reference().mean()[0], atol=0.015)
    np.testing.assert_allclose(
        samples.std(0), self.reference().std()[0], rtol=0.02)
    for index in range(4):
      loc, scale = self.LOC[0, index], self.SCALE[0, index]
      exact = scipy.stats.truncnorm(
          (-1 - loc) / scale, (1 - loc) / scale, loc, scale)
      assert scipy.stats.kstest(samples[:, index], exact.cdf).pvalue > 0.01

  def test_samples_are_the_quantiles_of_the_noise(self):
    noise = np.float32([[0.01], [0.3], [0.5], [0.99]])
    expected = self.reference().ppf(noise)
    np.testing.assert_allclose(
        self.dist().sample(tf.constant(noise)), expected, atol=1e-4)

  @pytest.mark.parametrize('loc', [-1.0, 0.0, 1.0])
  @pytest.mark.parametrize('scale', [0.1, 2.1])
  def test_samples_keep_off_the_bounds(self, loc, scale):
    dist = dists.TruncNormal(tf.fill([2, 1], loc), tf.fill([2, 1], scale))
    samples = dist.sample(tf.constant([[0.0], [1 - 2.0 ** -24]])).numpy()
    assert -1 + 0.9e-6 <= samples.min() and samples.max() <= 1 - 0.9e-6
    assert samples[0] < samples[1]
    assert np.all(np.isfinite(dist.log_prob(samples)))

  @pytest.mark.parametrize('noise', [0.0, 0.2, 0.5, 0.9])
  def test_gradient_is_that_of_loc_plus_scale_times_eps(self, noise):
    loc, scale = tf.Variable(self.LOC), tf.Variable(self.SCALE)
    with tf.GradientTape(persistent=True) as tape:
      sample = dists.TruncNormal(loc, scale).sample(tf.fill([1, 4], noise))
    np.testing.assert_allclose(tape.gradient(sample, loc), np.ones((1, 4)))
    np.testing.assert_allclose(
        tape.gradient(sample, scale), (sample - loc) / scale, atol=2e-5)

  def test_log_prob_sums_over_actions(self):
    action = np.float32([[0.3, 0.9, -0.99, -0.5], [0.0, 0.0, -0.8, 1.0]])
    np.testing.assert_allclose(
        self.dist().log_prob(action),
        self.reference().logpdf(action).sum(-1), rtol=1e-4)

  def test_entropy_by_integration(self):
    total = 0.0
    for loc, scale in zip(self.LOC[0], self.SCALE[0]):
      grid = (np.arange(20000) + 0.5) / 10000 - 1
      density = scipy.stats.truncnorm(
          (-1 - loc) / scale, (1 - loc) / scale, loc, scale).pdf(grid)
      total -= np.sum(density * np.log(density)) / 10000
    np.testing.assert_allclose(self.dist().entropy(), [total], rtol=1e-4)

  def test_mode(self):
    np.testing.assert_allclose(self.dist().mode(), self.LOC)


class TestCategorical:
  """Two one-hot variables of three classes are one event."""

  ONE = np.array([[0.1, 0.6, 0.3], [0.2, 0.2, 0.6]])
  TWO = np.array([[0.5, 0.25, 0.25], [0.1, 0.8, 0.1]])

  def dist(self, probs):
    return dists.Categoricals(tf.constant(np.log(probs)[None], tf.float32))

  def test_entropy_and_kl_sum_over_the_variables(self):
    entropy = sum(scipy.stats.entropy(row) for row in self.ONE)
    kl = sum(scipy.stats.entropy(p, q) for p, q in zip(self.ONE, self.TWO))
    one, two = self.dist(self.ONE), self.dist(self.TWO)
    np.testing.assert_allclose(one.entropy(), [entropy], rtol=1e-5)
    np.testing.assert_allclose(one.kl_divergence(two), [kl], rtol=1e-5)
    np.testing.assert_allclose(one.kl_divergence(one), [0], atol=1e-6)

  def test_log_prob(self):
    events = np.float32([[[1, 0, 0], [0, 0, 1]]])
    np.testing.assert_allclose(
        self.dist(self.ONE).log_prob(events), [np.log(.1 * .6)], rtol=1e-5)

  def test_logits_need_no_norm(self):
    shifted = dists.Categoricals(
        tf.constant(np.log(self.ONE)[None] + 7.0, tf.float32))
    np.testing.assert_allclose(
        shifted.entropy(), self.dist(self.ONE).entropy(), rtol=1e-5)


class TestLibrary:
  """The bits of tensorflow_probability, of values and of gradients."""

  SHAPE = 4, 5, 6

  @pytest.fixture(autouse=True)
  def as_in_runs(self):
    """Graphs as they are written; see dreamer.nn.device.setup."""
    options = tf.config.optimizer.set_experimental_options
    options({'disable_meta_optimizer': True})
    yield
    options({'disable_meta_optimizer': False})

  @staticmethod
  def bits(function, *arrays):
    """A function's values and its gradients to all arrays, in a graph."""
    def both(*xs):
      values = function(*xs)
      return values, *tf.gradients(values, xs)
    found = tf.function(both, autograph=False)(*map(tf.constant, arrays))
    return [x.numpy().tobytes() for x in found]

  def draw(self, *shape, low=-1.0, high=1.0):
    rng = np.random.default_rng(len(shape))
    return rng.uniform(low, high, shape).astype(np.float32)

  def test_normals(self):
    from tensorflow_probability import distributions as tfd  # For tests only.
    means, stds = self.draw(2, *self.SHAPE), self.draw(
        2, *self.SHAPE, low=0.1, high=2)
    arrays = means[0], stds[0], means[1], stds[1]
    kl = lambda kind: lambda a, b, c, d: kind(a, b).kl_divergence(kind(c, d))
    assert self.bits(kl(dists.Normals), *arrays) == self.bits(
        kl(tfd.MultivariateNormalDiag), *arrays)
    entropy = lambda kind: lambda std: kind(tf.zeros_like(std), std).entropy()
    assert self.bits(entropy(dists.Normals), stds[0]) == self.bits(
        entropy(tfd.MultivariateNormalDiag), stds[0])

  def test_categoricals(self):
    from tensorflow_probability import distributions as tfd  # For tests only.
    logits = self.draw(2, *self.SHAPE, 3)
    theirs = lambda x: tfd.Independent(
        tfd.OneHotCategorical(x, dtype=tf.float32), 1)
    kl = lambda kind: lambda a, b: kind(a).kl_divergence(kind(b))
    assert self.bits(kl(dists.Categoricals), *logits) == self.bits(
        kl(theirs), *logits)
    entropy = lambda kind: lambda x: kind(x).entropy()
    assert self.bits(entropy(dists.Categoricals), logits[0]) == self.bits(
        entropy(theirs), logits[0])

  def test_tanh_normal(self):
    from tensorflow_probability import distributions as tfd  # For tests only.
    mean, std = self.draw(*self.SHAPE), self.draw(
        *self.SHAPE, low=0.1, high=2)
    noise = self.draw(7, *self.SHAPE)

    def theirs(mean, std):
      raw = mean + std * noise
      slope = 2 * (np.log(2.0) - raw - tf.nn.softplus(-2 * raw))
      each = tfd.Normal(mean, std).log_prob(raw) - slope
      return -tf.reduce_mean(tf.reduce_sum(each, -1), 0)
    ours = lambda mean, std: dists.TanhNormal(mean, std).entropy(noise)
    assert self.bits(ours, mean, std) == self.bits(theirs, mean, std)
