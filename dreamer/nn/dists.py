"""Distributions, sampled from given noise.

`sample` takes the noise as an argument, so that all randomness of a step
comes from one place (dreamer/nn/noise.py). Those over actions say of which kind
it is (NOISE), and how many samples stand for a mode or an entropy that has no
closed form (SAMPLES; 0: it has one). Only the truncated Normal comes from
tensorflow_probability, which takes a second of a start. The others add up in
its order, so that they have its bits.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from dreamer.config.choices import Choices

LOG_ROOT = np.float32(0.5 * np.log(2 * np.pi))


class Normals:
  """Independent Normals of latents [..., S], one KL and entropy for all."""

  def __init__(self, mean: tf.Tensor, std: tf.Tensor):
    self.mean, self.std = mean, std

  def entropy(self) -> tf.Tensor:
    """In nats [...]."""
    unit = self.std.shape[-1] * np.float32(0.5 + LOG_ROOT)
    return unit + self._log_det()

  def kl_divergence(self, other: Normals) -> tf.Tensor:
    """KL[self || other], in nats [...]."""
    total = lambda x: tf.reduce_sum(tf.square(x), -1)
    size = np.float32(self.std.shape[-1])
    apart = (other.mean - self.mean) * (1.0 / other.std)
    return other._log_det() - self._log_det() + 0.5 * (
        -size + total(tf.abs(self.std) / tf.abs(other.std)) + total(apart))

  def _log_det(self):
    # Of absolute values: so TensorFlow adds up the gradients in that order.
    return tf.reduce_sum(tf.math.log(tf.abs(self.std)), -1)


def unit_normal_log_prob(
    target: tf.Tensor, mean: tf.Tensor, event_dims: int) -> tf.Tensor:
  """Log density of Normal(mean, 1), summed over the last `event_dims`.

  Constants included: for an image of 64x64x3 they are 11292 nats.
  """
  lead = mean.shape.rank - event_dims
  size = int(np.prod(mean.shape[lead:]))
  if event_dims:
    half = _half_squares(target, mean, lead)
  else:
    half = 0.5 * tf.math.squared_difference(mean, target)
  return -half - 0.5 * size * np.float32(np.log(2 * np.pi))


@tf.custom_gradient
def _half_squares(target, mean, lead):
  """Half of the squared distance over all axes after the first `lead`.

  Its gradient is the distance, which TensorFlow would compute anew, and tile
  what comes back to the size of an image.
  """
  shape = tf.shape(mean)
  flat = lambda x: tf.reshape(x, tf.concat([shape[:lead], [-1]], 0))
  distance = flat(mean - target)

  def backward(upstream):
    grad = tf.reshape(upstream[..., None] * distance, shape)
    return -grad, grad, None

  return 0.5 * tf.reduce_sum(tf.square(distance), -1), backward


def bernoulli_log_prob(target: tf.Tensor, logit: tf.Tensor) -> tf.Tensor:
  """Log likelihood of labels in [0, 1], soft ones as cross entropy."""
  return -tf.nn.sigmoid_cross_entropy_with_logits(target, logit)


def softplus_inverse(std: float) -> float:
  """The x of softplus(x) = std > 0, for large ones too."""
  return std + np.log(-np.expm1(-std))


class Normal:
  """Independent Normals over actions [..., A], not squashed nor cut."""

  def __init__(self, mean: tf.Tensor, std: tf.Tensor):
    self.mean, self.std = mean, std

  def sample(self, noise: tf.Tensor) -> tf.Tensor:
    """Reparameterised, from standard normal noise [..., A]."""
    return self.mean + self.std * noise

  def mode(self, noise: tf.Tensor | None = None) -> tf.Tensor:
    """The mean; noise is not needed."""
    del noise
    return self.mean

  def log_prob(self, action: tf.Tensor) -> tf.Tensor:
    """Log density [...] of actions [..., A]."""
    unit = (action - self.mean) / self.std
    each = -0.5 * tf.square(unit) - tf.math.log(self.std) - LOG_ROOT
    return tf.reduce_sum(each, -1)

  def entropy(self, noise: tf.Tensor | None = None) -> tf.Tensor:
    """In nats; noise is not needed."""
    del noise
    return tf.reduce_sum(tf.math.log(self.std) + (0.5 + LOG_ROOT), -1)


class TanhNormal:
  """tanh(Normal(mean, std)) over actions [..., A] in (-1, 1)."""

  NOISE, SAMPLES = 'normal', 100  # of no closed form: mode and entropy
  LIMIT = np.nextafter(np.float32(1), np.float32(0))

  def __init__(self, mean: tf.Tensor, std: tf.Tensor):
    self.mean, self.std = mean, std

  def sample(self, noise: tf.Tensor) -> tf.Tensor:
    """Reparameterised, from standard normal noise [..., A]."""
    return tf.tanh(self.mean + self.std * noise)

  def mode(self, noise: tf.Tensor) -> tf.Tensor:
    """The likeliest of K samples, for each row; noise [K, ..., A].

    The density is evaluated before the tanh, where nothing saturates:
    log p(a) = log N(u) - sum log(1 - tanh(u)^2), u = arctanh(a).
    """
    raw = self.mean + self.std * noise
    slope = 2 * (np.log(2.0) - raw - tf.nn.softplus(-2 * raw))
    log_prob = tf.reduce_sum(-0.5 * noise ** 2 - slope, -1)
    best = tf.one_hot(tf.argmax(log_prob, 0), noise.shape[0], axis=0)
    return tf.tanh(tf.reduce_sum(best[..., None] * raw, 0))

  def log_prob(self, action: tf.Tensor) -> tf.Tensor:
    """Log density [...] of actions [..., A], whose bounds are cut off."""
    action = tf.clip_by_value(action, -self.LIMIT, self.LIMIT)
    return self._log_density(tf.atanh(action))

  def entropy(self, noise: tf.Tensor) -> tf.Tensor:
    """Estimate [...] from K samples of noise [K, ..., A]."""
    raw = self.mean + self.std * noise
    return -tf.reduce_mean(self._log_density(raw), 0)

  def _log_density(self, raw):
    """That of tanh(raw)."""
    slope = 2 * (np.log(2.0) - raw - tf.nn.softplus(-2 * raw))
    squares = tf.math.squared_difference(raw / self.std, self.mean / self.std)
    normal = -0.5 * squares - (LOG_ROOT + tf.math.log(self.std))
    return tf.reduce_sum(normal - slope, -1)


class OneHot:
  """Categorical over actions, as one-hot rows; logits [..., A]."""

  NOISE, SAMPLES = 'gumbel', 0
  ESTIMATORS = Choices('gradient', {  # of samples
      'straight_through': '_straight_through', 'score': '_score'})

  def __init__(self, logits: tf.Tensor, gradient: str = 'straight_through'):
    self.logits = logits
    self._estimator = self.ESTIMATORS[gradient]

  def sample(self, noise: tf.Tensor) -> tf.Tensor:
    """From Gumbel noise [..., A], with the gradient of the estimator.

    straight_through: that of the probabilities; score: sample times
    exp(log p - stop_gradient(log p)), the score function as DiCE writes it.
    """
    sample = self._one_hot(self.logits + noise)
    return getattr(self, self._estimator)(sample)

  def _straight_through(self, sample):
    probs = tf.nn.softmax(self.logits)
    return sample + (probs - tf.stop_gradient(probs))  # exactly one-hot

  def _score(self, sample):
    log_prob = self.log_prob(sample)[..., None]
    return sample * tf.exp(log_prob - tf.stop_gradient(log_prob))

  def mode(self, noise: tf.Tensor | None = None) -> tf.Tensor:
    """The likeliest action; noise is not needed."""
    del noise
    return self._one_hot(self.logits)

  def log_prob(self, action: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(action * tf.nn.log_softmax(self.logits), -1)

  def entropy(self, noise: tf.Tensor | None = None) -> tf.Tensor:
    """In nats; noise is not needed."""
    del noise
    return categorical_entropy(self.logits)

  def _one_hot(self, logits):
    best = tf.argmax(logits, -1)
    return tf.stop_gradient(tf.one_hot(best, logits.shape[-1]))


def unimix(logits: tf.Tensor, share: float) -> tf.Tensor:
  """Logits [..., C] of the distribution mixed with a share of the uniform."""
  if not share:
    return logits
  even = np.float32(share / logits.shape[-1])
  return tf.math.log((1 - share) * tf.nn.softmax(logits) + even)


class OneHots:
  """Independent one-hot variables, events [..., S, C], one log_prob for all.

  A share `mix` of the uniform distribution is in each (2301.04104).
  """

  def __init__(self, logits: tf.Tensor, mix: float = 0.0):
    self.log_probs = tf.nn.log_softmax(unimix(logits, mix))

  def sample(self, noise: tf.Tensor) -> tf.Tensor:
    """From Gumbel noise, with the gradient of the mixed probabilities."""
    return OneHot(self.log_probs).sample(noise)

  def mode(self) -> tf.Tensor:
    return OneHot(self.log_probs).mode()

  def entropy(self) -> tf.Tensor:
    """In nats [...]."""
    each = tf.exp(self.log_probs) * self.log_probs
    return -tf.reduce_sum(each, [-2, -1])

  def kl_divergence(self, other: OneHots) -> tf.Tensor:
    """KL[self || other], in nats [...]."""
    each = tf.exp(self.log_probs) * (self.log_probs - other.log_probs)
    return tf.reduce_sum(each, [-2, -1])


class TruncNormal:
  """Normal(loc, scale) cut to (-1, 1), over actions [..., A] (2010.02193)."""

  NOISE, SAMPLES = 'uniform', 0
  CLIP = 1e-6  # samples keep this distance from the bounds

  def __init__(self, loc: tf.Tensor, scale: tf.Tensor):
    # A second, which others need not wait for.
    from tensorflow_probability import distributions as tfd
    self.loc, self.scale = loc, scale
    self.normal = tfd.Normal(np.float32(0), np.float32(1))
    self.dist = tfd.Independent(tfd.TruncatedNormal(loc, scale, -1, 1), 1)

  def sample(self, noise: tf.Tensor) -> tf.Tensor:
    """From uniform noise [..., A] in [0, 1).

    The gradient is that of loc + scale * eps with eps held fixed: the terms
    of the bounds are left out, as in TensorFlow's own sampler. Clipping has
    the gradient of the identity.
    """
    eps = tf.stop_gradient(self.eps(noise))
    raw = self.loc + self.scale * eps
    clipped = tf.clip_by_value(raw, -1 + self.CLIP, 1 - self.CLIP)
    return raw + tf.stop_gradient(clipped - raw)

  def eps(self, noise: tf.Tensor) -> tf.Tensor:
    """Standardised samples [..., A] from uniform noise in [0, 1).

    By the inverse of the distribution function. The mean lies in [-1, 1], so
    both tails keep enough digits in float32.
    """
    low, high = (-1 - self.loc) / self.scale, (1 - self.loc) / self.scale
    below, above = self.normal.cdf(low), self.normal.cdf(high)
    share = below + noise * (above - below)
    eps = tf.math.ndtri(tf.clip_by_value(
        share, np.finfo(np.float32).tiny, np.float32(1 - 6e-8)))
    return tf.clip_by_value(eps, low, high)

  def mode(self, noise: tf.Tensor | None = None) -> tf.Tensor:
    """The likeliest action; noise is not needed."""
    del noise
    return self.dist.mode()

  def log_prob(self, action: tf.Tensor) -> tf.Tensor:
    return self.dist.log_prob(action)

  def entropy(self, noise: tf.Tensor | None = None) -> tf.Tensor:
    """In nats; noise is not needed."""
    del noise
    return self.dist.entropy()


class Categoricals:
  """Independent one-hot variables of latents; logits [..., S, C]."""

  def __init__(self, logits: tf.Tensor):
    self.logits = logits

  def log_prob(self, event: tf.Tensor) -> tf.Tensor:
    """Of one-hot rows [..., S, C]: [...]."""
    return tf.reduce_sum(OneHot(self.logits).log_prob(event), -1)

  def entropy(self) -> tf.Tensor:
    """In nats [...]."""
    return tf.reduce_sum(categorical_entropy(self.logits), -1)

  def kl_divergence(self, other: Categoricals) -> tf.Tensor:
    """KL[self || other], in nats [...]."""
    log = tf.math.log_softmax
    each = tf.nn.softmax(self.logits) * (log(self.logits) - log(other.logits))
    return tf.reduce_sum(tf.reduce_sum(each, -1), -1)


def categorical_entropy(logits: tf.Tensor) -> tf.Tensor:
  """In nats [...] for logits [..., C]."""
  most = tf.reduce_max(logits, -1, keepdims=True)
  rest = logits - most
  log_sum = most[..., 0] + tf.reduce_logsumexp(rest, -1)
  weighted = tf.math.multiply_no_nan(logits, tf.exp(rest))
  return log_sum - tf.reduce_sum(weighted, -1) / tf.reduce_sum(tf.exp(rest), -1)
