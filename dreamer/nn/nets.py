"""Networks of the first two papers; sizes and activations are arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from dreamer.config import inputs
from dreamer.nn import chunks, dists, layers, replicas

IMAGES = 250  # decoded at a time; bounds the memory


class ConvEncoder(layers.Module):
  """Convolutions, images [..., 64, 64, C] to embeds [..., E].

  Of `depth` channels, twice as many in each further layer; with the kernels
  of the papers E is 32 depth.
  """

  def __init__(self, name: str, channels: int, depth: int, act: str,
               init: layers.Init, norm: layers.Norm = 'none',
               kernels: Sequence[int] = inputs.ENCODER):
    super().__init__(name)
    sizes = [channels] + [depth * 2 ** i for i in range(len(kernels))]
    self.layers = [
        layers.Conv(f'{name}/conv{i + 1}', sizes[i], sizes[i + 1], kernel, 2,
                    init, act, norm)
        for i, kernel in enumerate(kernels)]
    self.size = inputs.embed_size(depth, kernels)

  def __call__(self, image: tf.Tensor) -> tf.Tensor:
    x = tf.reshape(image, [-1, *image.shape[-3:]])
    for layer in self.layers:
      x = layer(x)
    shape = tf.concat([tf.shape(image)[:-3], [self.size]], 0)
    x = tf.reshape(x, shape)
    x.set_shape(image.shape[:-3] + [self.size])
    return x


class ConvDecoder(layers.Module):
  """Features [N, F] to image means [N, 64, 64, C].

  From 32 depth numbers; the last layer but one has `depth` channels, each
  before it twice as many.
  """

  def __init__(self, name: str, size_in: int, channels: int, depth: int,
               act: str, init: layers.Init, norm: layers.Norm = 'none',
               kernels: Sequence[int] = inputs.DECODER):
    super().__init__(name)
    self.size = 32 * depth
    self.dense = layers.Dense(f'{name}/conv_in', size_in, self.size, init)
    *inner, last = kernels
    depths = [depth * 2 ** i for i in reversed(range(len(inner)))]
    sizes = [self.size, *depths, channels]
    self.layers = [
        layers.ConvTranspose(
            f'{name}/conv{i + 1}', sizes[i], sizes[i + 1], kernel, 2, init, act,
            norm)
        for i, kernel in enumerate(inner)]
    self.layers.append(layers.ConvTranspose(
        f'{name}/conv{len(kernels)}', sizes[-2], channels, last, 2, init))

  def __call__(self, feat: tf.Tensor) -> tf.Tensor:
    x = tf.reshape(self.dense(feat), [-1, 1, 1, self.size])
    for layer in self.layers:
      x = layer(x)
    return tf.cast(x, tf.float32)


class MLP(layers.Module):
  """Layers dense1, dense2, ... and one linear output per name in `outs`.

  The layers have the `widths`. Without outputs the result is that of the
  last layer. `outs_init` makes the outputs' kernels, if another one does.
  """

  def __init__(self, name: str, size_in: int, widths: Sequence[int], act: str,
               outs: Mapping[str, int], init: layers.Init,
               norm: layers.Norm = 'none',
               outs_init: layers.Init | None = None):
    super().__init__(name)
    sizes = [size_in, *widths]
    self.layers = [
        layers.Dense(
            f'{name}/dense{i + 1}', sizes[i], sizes[i + 1], init, act, norm)
        for i in range(len(widths))]
    self.outs = [
        layers.Dense(f'{name}/{key}', sizes[-1], size, outs_init or init)
        for key, size in outs.items()]
    self.width = sizes[-1]

  def __call__(self, x: tf.Tensor) -> Any:
    """x [..., In] to one float32 [..., Out] for each output."""
    lead = _lengths(x)[:-1]
    x = tf.reshape(x, [-1, x.shape[-1]])
    for layer in self.layers:
      x = layer(x)
    outs = [out(x) for out in self.outs] or [x]
    outs = [tf.cast(out, tf.float32) for out in outs]
    outs = [tf.reshape(out, [*lead, out.shape[-1]]) for out in outs]
    return outs if len(outs) > 1 else outs[0]


class SplitMLP(layers.Module):
  """Layers dense1, dense2, ... and out over [x, y]; see layers.SplitDense.

    ahead = net.ahead(y)  # for all steps at once
    out = net(x, ahead)
  """

  def __init__(self, name: str, size_x: int, size_y: int,
               widths: Sequence[int], size_out: int, init: layers.Init,
               act: str, norm: layers.Norm = 'none',
               outs_init: layers.Init | None = None):
    super().__init__(name)
    names = [f'{name}/dense{i + 1}' for i in range(len(widths))]
    styles = [(init, act, norm)] * len(widths)
    (first, size, style), *rest = zip(
        [*names, f'{name}/out'], [*widths, size_out],
        [*styles, (outs_init or init, 'none', 'none')], strict=True)
    self.first = layers.SplitDense(first, size_x, size_y, size, *style)
    self.rest = [
        layers.Dense(inner, width, size, *style)
        for width, (inner, size, style) in zip(widths, rest, strict=True)]

  def ahead(self, y: tf.Tensor) -> tf.Tensor:
    """The part of y [..., Y] in the first layer."""
    return self.first.ahead(y)

  def __call__(self, x: tf.Tensor, ahead: tf.Tensor) -> tf.Tensor:
    x = self.first(x, ahead)
    for layer in self.rest:
      x = layer(x)
    return x


def _lengths(x):
  """Lengths of the axes, as numbers where they are known."""
  lengths = tf.unstack(tf.shape(x))
  return [a if b is None else b for a, b in zip(lengths, x.shape, strict=True)]


class ScalarHead(MLP):
  """One number per row: features [..., F] to [...] float32; Normal(mean, 1).

  config is a section with layers, units, act and perhaps norm.
  """

  def __init__(self, name: str, size_in: int, config: Any, init: layers.Init):
    super().__init__(name, size_in, [config.units] * config.layers,
                     outs={'out': 1}, init=init, **layers.style(config))

  def __call__(self, x: tf.Tensor) -> tf.Tensor:
    return super().__call__(x)[..., 0]

  def mean(self, feat: tf.Tensor) -> tf.Tensor:
    """Predictions [...] of features [..., F]."""
    return self(feat)

  def log_prob(self, feat: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Log likelihood [...] of targets [...], given features [..., F]."""
    return dists.unit_normal_log_prob(target, self(feat), 0)


class BinaryHead(ScalarHead):
  """A probability per row, of 1; called, it gives the logit."""

  def mean(self, feat: tf.Tensor) -> tf.Tensor:
    return tf.sigmoid(self(feat))

  def log_prob(self, feat: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Log likelihood of labels in [0, 1], soft ones as cross entropy."""
    return dists.bernoulli_log_prob(target, self(feat))


class Actor(MLP):
  """Policy over features; a subclass is a paper's.

  It says `continuous`, the distribution of continuous actions, `_outs`, the
  sizes of its outputs, and `dist`, what they make. Discrete ones are one-hot.
  """

  continuous: Any

  def __init__(self, name: str, size_in: int, config: Any, act_space: Any,
               init: layers.Init):
    self.config = config
    self.discrete = act_space.discrete
    self.size = act_space.dim
    self.policy = dists.OneHot if self.discrete else self.continuous
    super().__init__(name, size_in, [config.units] * config.layers,
                     outs=self._outs(), init=init, **layers.style(config))

  def _outs(self):
    """Sizes of the outputs by name."""
    raise NotImplementedError

  def dist(self, feat: tf.Tensor) -> Any:
    """Features [..., F] to a distribution over actions [..., A]."""
    raise NotImplementedError

  def draw(self, noise: Any, name: str, lead: Sequence[int]) -> tf.Tensor:
    """Noise [*lead, A] of the kind that `sample` takes."""
    kind = getattr(noise, self.policy.NOISE)
    return replicas.draw(kind, name, [*lead, self.size], len(lead) - 1)

  def draws(self, noise: Any, name: str,
            lead: Sequence[int]) -> tf.Tensor | None:
    """Noise [K, *lead, A] that `mode` and `entropy` take, where they do."""
    if not self.policy.SAMPLES:
      return None
    return self.draw(noise, name, [self.policy.SAMPLES, *lead])


def make_encoder(config: Any, obs_space: Mapping[str, Any],
                 init: layers.Init) -> Encoder:
  """The encoder that a section describes, of the observations it names."""
  return Encoder(
      'encoder', *inputs.choose('encoder', config, obs_space), init,
      depth=config.depth, widths=inputs.widths('encoder', config),
      kernels=inputs.kernels('encoder', config), **layers.style(config))


def make_decoder(config: Any, feat: int, obs_space: Mapping[str, Any],
                 init: layers.Init) -> Decoder:
  """The decoder that a section describes, from features [..., feat]."""
  return Decoder(
      'decoder', feat, *inputs.choose('decoder', config, obs_space), init,
      depth=config.depth, widths=inputs.widths('decoder', config),
      kernels=inputs.kernels('decoder', config), **layers.style(config))


class Encoder(layers.Module):
  """Images [..., 64, 64, C] and vectors [..., V] to embeds [..., E].

  images and vectors are dicts of name to channels and to length. Images are
  joined along their channels, vectors to one; the embed is the output of the
  convolutions beside that of the dense layers.
  """

  def __init__(self, name: str, images: Mapping[str, int],
               vectors: Mapping[str, int], init: layers.Init, act: str,
               depth: int, norm: layers.Norm = 'none',
               widths: Sequence[int] = (),
               kernels: Sequence[int] = inputs.ENCODER):
    super().__init__(name)
    self.images, self.vectors = images, vectors
    self.size = 0
    if images:
      self.conv = ConvEncoder(
          name, sum(images.values()), depth, act, init, norm, kernels)
      self.size += self.conv.size
    if vectors:
      self.mlp = MLP(
          name, sum(vectors.values()), widths, act, {}, init, norm)
      self.size += self.mlp.width

  @property
  def keys(self) -> tuple[str, ...]:
    """Names of the observations that are read."""
    return *self.images, *self.vectors

  def __call__(self, data: Mapping[str, tf.Tensor]) -> tf.Tensor:
    outs = []
    if self.images:
      images = [data[key] for key in self.images]
      outs.append(self.conv(tf.concat(images, -1)))
    if self.vectors:
      vectors = [data[key] for key in self.vectors]
      outs.append(self.mlp(tf.concat(vectors, -1)))
    return tf.concat([tf.cast(x, outs[-1].dtype) for x in outs], -1)


class Decoder(layers.Module):
  """Means of images and vectors from features; Normal(mean, 1) all.

  images and vectors are those of Encoder; without any it has no weights.
  """

  def __init__(self, name: str, size_in: int, images: Mapping[str, int],
               vectors: Mapping[str, int], init: layers.Init, act: str,
               depth: int, norm: layers.Norm = 'none',
               widths: Sequence[int] = (),
               kernels: Sequence[int] = inputs.DECODER):
    super().__init__(name)
    self.images, self.vectors = images, vectors
    if images:
      self.conv = ConvDecoder(
          name, size_in, sum(images.values()), depth, act, init, norm,
          kernels)
    if vectors:
      outs = {f'out/{key}': size for key, size in vectors.items()}
      self.mlp = MLP(name, size_in, widths, act, outs, init, norm)

  @property
  def keys(self) -> tuple[str, ...]:
    """Names of the observations that are predicted."""
    return *self.images, *self.vectors

  def image_means(self, feat: tf.Tensor) -> dict[str, tf.Tensor]:
    """Dict of key to means [..., 64, 64, C] of features [..., F]."""
    if not self.images:
      return {}
    x = self.conv(tf.reshape(feat, [-1, feat.shape[-1]]))
    x = tf.reshape(x, tf.concat([tf.shape(feat)[:-1], x.shape[1:]], 0))
    parts = tf.split(x, list(self.images.values()), -1)
    return dict(zip(self.images, parts, strict=True))

  def vector_means(self, feat: tf.Tensor) -> dict[str, tf.Tensor]:
    """Dict of key to means [..., V] of features [..., F]."""
    if not self.vectors:
      return {}
    means = self.mlp(feat)
    means = means if len(self.vectors) > 1 else [means]
    return dict(zip(self.vectors, means, strict=True))

  def losses(
      self, feat: tf.Tensor,
      data: Mapping[str, tf.Tensor]) -> tuple[dict, dict]:
    """Losses by key, and log densities [B, T], of features [B, T, F].

    A single image is decoded in chunks; its densities one by one are then
    another computation, left out of the graph unless something reads them.
    """
    means = {**self.image_means(feat), **self.vector_means(feat)}
    like = {key: dists.unit_normal_log_prob(
        data[key], mean, 3 if key in self.images else 1)
            for key, mean in means.items()}
    losses = {key: -tf.reduce_mean(value) for key, value in like.items()}
    if len(self.images) == 1:
      key, = self.images
      losses[key] = self._image_loss(feat, data[key])
    return losses, like

  def _image_loss(self, feat, image):
    """Mean negative log density of an image, some at a time."""
    rows = [tf.reshape(feat, [-1, feat.shape[-1]]),
            tf.reshape(image, [-1, *image.shape[-3:]])]
    loss = lambda decode, feat, target: -dists.unit_normal_log_prob(
        target, decode(feat), 3)
    return chunks.mean(loss, self.conv, rows, IMAGES)
