"""Heads on features: a number, a probability, actions of several kinds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from dreamer.config.choices import Choices
from dreamer.nn import dists, layers, nets, replicas
from dreamer.nn.twohot import TwoHot, symexp_bins, symlog


class Squared:
  """Numbers [...] by squared errors of a function of them; no density."""

  def __init__(self, out: tf.Tensor, squash: Any = tf.identity):
    self._mean, self._squash = out[..., 0], squash

  def mean(self) -> tf.Tensor:
    """The prediction [...], of the squashed number."""
    return self._mean

  def log_prob(self, number: tf.Tensor) -> tf.Tensor:
    """Minus the error [...]."""
    target = self._squash(tf.stop_gradient(number))
    return -tf.math.squared_difference(self._mean, target)


class Huber(Squared):
  """The same, but nearly linear for errors beyond 1."""

  def log_prob(self, number: tf.Tensor) -> tf.Tensor:
    return 1 - tf.sqrt(1 - super().log_prob(number))


class Bernoulli:
  """Labels in [0, 1], soft ones by the cross entropy."""

  def __init__(self, out: tf.Tensor):
    self.logit = out[..., 0]

  def mean(self) -> tf.Tensor:
    """Probabilities [...]."""
    return tf.sigmoid(self.logit)

  def log_prob(self, label: tf.Tensor) -> tf.Tensor:
    """Log likelihood [...] of labels [...]."""
    return dists.bernoulli_log_prob(label, self.logit)


class Head(nets.MLP):
  """Features [..., F] to a distribution over numbers [...].

  config is a section with layers, units, act, norm, init and outscale, and
  with `dist`: symexp_twohot (with `bins` and `strict`), mse, symlog_mse or
  huber; binary where it has no such key.
  """

  def __init__(self, name: str, size_in: int, config: Any, init: layers.ByFan):
    self.config, init = config, init.like(config)
    self.kind = config.get('dist', 'binary')
    self.bins = symexp_bins(config.get('bins', 2))
    outs = self.bins.size if self.kind == 'symexp_twohot' else 1
    super().__init__(
        name, size_in, [config.units] * config.layers, outs={'out': outs},
        init=init, outs_init=init.scaled(config.outscale),
        **layers.style(config))

  def dist(self, feat: tf.Tensor) -> Any:
    """The distribution, with mean() and log_prob(number)."""
    return DISTS[self.kind](self, self(feat))

  def mean(self, feat: tf.Tensor) -> tf.Tensor:
    """Predictions [...] of features [..., F]."""
    return self.dist(feat).mean()

  def log_prob(self, feat: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Log likelihood [...] of targets [...], given features [..., F]."""
    return self.dist(feat).log_prob(target)


DISTS: Choices[Callable[..., Any]] = Choices('dist', {
    'symexp_twohot': lambda head, out: TwoHot(
        out, head.bins, head.config.strict),
    'mse': lambda head, out: Squared(out),
    'huber': lambda head, out: Huber(out),
    'symlog_mse': lambda head, out: Squared(out, symlog),
    'binary': lambda head, out: Bernoulli(out)})


class Joint:
  """Several independent actions in one vector [..., A], by their sizes."""

  def __init__(self, parts: Mapping[str, Any], sizes: Mapping[str, int]):
    self.parts, self._sizes = parts, sizes

  def split(self, x: tf.Tensor) -> dict[str, tf.Tensor]:
    """Actions, or noise, of each part."""
    found = tf.split(x, list(self._sizes.values()), -1)
    return dict(zip(self._sizes, found, strict=True))

  def sample(self, noise: tf.Tensor) -> tf.Tensor:
    """From noise [..., A]: Gumbel for discrete parts, else normal."""
    draws = self.split(noise)
    return tf.concat(
        [x.sample(draws[key]) for key, x in self.parts.items()], -1)

  def mode(self, noise: tf.Tensor | None = None) -> tf.Tensor:
    """The likeliest action; noise is not needed."""
    del noise
    return tf.concat([x.mode() for x in self.parts.values()], -1)

  def log_prob(self, action: tf.Tensor) -> tf.Tensor:
    """Log density [...] of actions [..., A]."""
    taken = self.split(action)
    return sum(x.log_prob(taken[key]) for key, x in self.parts.items())

  def entropy(self, noise: tf.Tensor | None = None) -> tf.Tensor:
    """In nats [...]; noise is not needed."""
    del noise
    return sum(x.entropy() for x in self.parts.values())


class Actor(nets.MLP):
  """Policy over features, of one action or of several at once.

  Discrete ones are one-hot, with a share `unimix` of uniform ones. Of
  continuous ones `dist` says how mean and deviation are made:

    bounded_normal  tanh(mean), std from min_std to max_std
    normal_logstd   mean, exp(std)

  config is a section with these keys and those of a Head.
  """

  def __init__(self, name: str, size_in: int, config: Any, act_space: Any,
               init: layers.ByFan):
    self.config, init = config, init.like(config)
    self.spaces = dict(sorted(act_space.parts.items()))
    self.sizes = {key: space.dim for key, space in self.spaces.items()}
    outs = {}
    for key, space in self.spaces.items():
      kinds = ('logits',) if space.discrete else ('mean', 'std')
      outs.update({f'{key}/{kind}': space.dim for kind in kinds})
    super().__init__(
        name, size_in, [config.units] * config.layers, outs=outs, init=init,
        outs_init=init.scaled(config.outscale), **layers.style(config))
    self._names = list(outs)

  def dist(self, feat: tf.Tensor) -> Joint:
    """Features [..., F] to a distribution over actions [..., A]."""
    outs = self(feat)
    outs = dict(zip(
        self._names, outs if len(self._names) > 1 else [outs], strict=True))
    return Joint({key: self._part(key, space.discrete, outs)
                  for key, space in self.spaces.items()}, self.sizes)

  def _part(self, key, discrete, outs):
    config = self.config
    if discrete:
      return dists.OneHot(dists.unimix(outs[f'{key}/logits'], config.unimix))
    mean, raw = outs[f'{key}/mean'], outs[f'{key}/std']
    if config.dist == 'normal_logstd':
      return dists.Normal(mean, tf.exp(raw))
    low, high = config.min_std, config.max_std
    return dists.Normal(
        tf.tanh(mean), (high - low) * tf.sigmoid(raw + 2) + low)

  def draw(self, noise: Any, name: str, lead: Sequence[int]) -> tf.Tensor:
    """Noise [*lead, A] of the kinds that `sample` takes."""
    draws = [replicas.draw(
        noise.gumbel if space.discrete else noise.normal, f'{name}/{key}',
        [*lead, space.dim], len(lead) - 1)
             for key, space in self.spaces.items()]
    return tf.concat(draws, -1)

  def randomness(
      self, entropies: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Of discrete parts: mean entropy as a share of the largest one."""
    return {key: tf.reduce_mean(entropies[key]) / np.log(space.dim)
            for key, space in self.spaces.items()
            if space.discrete and space.dim > 1}
