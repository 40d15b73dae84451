"""Encoder and decoder of images of any size and of numbers of any size.

Images pass convolutions with SAME padding; vectors pass dense layers, real
ones by symlog, whole numbers as one-hot. See arXiv 2301.04104.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from dreamer.config import inputs
from dreamer.nn import blocks, chunks, layers, nets, norms, same
from dreamer.nn.twohot import symlog

Tensors = dict[str, tf.Tensor]

IMAGES = 128  # decoded at a time; bounds the memory


def flatten(obs: Mapping[str, tf.Tensor], spaces: Mapping[str, Any]) -> Tensors:
  """Observations as networks take them, all float32.

  Images uint8 to [-.5, .5]; vectors, of rank 2 at most, as one axis, whole
  numbers of choices one-hot: [..., V].
  """
  found = {}
  for key, value in obs.items():
    space = spaces[key]
    if len(space.shape) == 3:
      found[key] = tf.cast(value, tf.float32) / 255 - 0.5
      continue
    lead = value.shape.rank - len(space.shape)
    if amount := inputs.choices(space):
      value = tf.one_hot(value, amount)
    shape = tf.concat([tf.shape(value)[:lead], [-1]], 0)
    size = math.prod(space.shape) * (amount or 1)
    found[key] = tf.ensure_shape(
        tf.reshape(tf.cast(value, tf.float32), shape),
        [*obs[key].shape[:lead], size])
  return found


class ConvEncoder(layers.Module):
  """Convolutions, images [..., H, W, C] to embeds [..., E].

  Each but an `outer` first one halves the image. config is a section with
  depth, multiples, kernel, down, outer, act and norm.
  """

  def __init__(self, name: str, channels: int, small: tuple[int, int],
               config: Any, init: layers.ByFan):
    super().__init__(name)
    multiples = inputs.multiples(name, config)
    sizes = [channels, *(config.depth * x for x in multiples)]
    downs = [config.down] * len(multiples)
    downs[0] = 'none' if config.outer else config.down
    self.layers = [
        same.Conv(f'{name}/conv{i + 1}', sizes[i], sizes[i + 1],
                  config.kernel, init, down=down, **layers.style(config))
        for i, down in enumerate(downs)]
    self.size = math.prod(small) * sizes[-1]

  def __call__(self, image: tf.Tensor) -> tf.Tensor:
    x = tf.reshape(image, [-1, *image.shape[-3:]])
    for layer in self.layers:
      x = layer(x)
    x = tf.reshape(x, tf.concat([tf.shape(image)[:-3], [self.size]], 0))
    return tf.ensure_shape(x, [*image.shape[:-3], self.size])


class Encoder(layers.Module):
  """Images and vectors to embeds [..., E]: that of the vectors comes first."""

  def __init__(self, name: str, config: Any, obs_space: Mapping[str, Any],
               init: layers.ByFan):
    super().__init__(name)
    self.config, init = config, init.like(config)
    self.images, self.vectors, small = inputs.halved(name, config, obs_space)
    self.choices = {key: inputs.choices(obs_space[key]) for key in self.vectors}
    self.size = 0
    if self.vectors:
      self.mlp = nets.MLP(
          name, sum(self.vectors.values()), [config.units] * config.layers,
          outs={}, init=init, **layers.style(config))
      self.size += self.mlp.width
    if self.images:
      self.conv = ConvEncoder(
          name, sum(self.images.values()), small, config, init)
      self.size += self.conv.size

  @property
  def keys(self) -> tuple[str, ...]:
    """Names of the observations that are read."""
    return *self.images, *self.vectors

  def __call__(self, data: Mapping[str, tf.Tensor]) -> tf.Tensor:
    outs = []
    if self.vectors:
      squash = symlog if self.config.symlog else tf.identity
      vectors = [data[key] if self.choices[key] else squash(data[key])
                 for key in self.vectors]
      outs.append(self.mlp(tf.concat(vectors, -1)))
    if self.images:
      images = [data[key] for key in self.images]
      outs.append(self.conv(tf.concat(images, -1)))
    return tf.concat([tf.cast(x, outs[-1].dtype) for x in outs], -1)


class ConvDecoder(layers.Module):
  """Features [N, F], deter first, to image means [N, H, W, C] in [-.5, .5].

  The first map is the sum of a block-diagonal layer of deter, whose blocks
  give some channels each, and of two dense layers of stoch. Convolutions
  double it, but for an `outer` last one.
  """

  def __init__(self, name: str, deter: int, stoch: int, channels: int,
               small: tuple[int, int], config: Any, init: layers.ByFan):
    super().__init__(name)
    self.sizes, self.small, self.blocks = [deter, stoch], small, config.blocks
    style = layers.style(config)
    depths = [config.depth * x for x in inputs.multiples(name, config)]
    size = math.prod(small) * depths[-1]
    self.deter_in = blocks.BlockDense(
        f'{name}/deter_in', deter, size, self.blocks, init)
    self.stoch_in = layers.Dense(
        f'{name}/stoch_in', stoch, 2 * config.units, init, **style)
    self.stoch_map = layers.Dense(
        f'{name}/stoch_map', 2 * config.units, size, init)
    self.norm = norms.make(style['norm'], f'{name}/map_norm', depths[-1])
    self.act = layers.ACTS[style['act']]
    depths = [*reversed(depths), channels]
    inner = [same.UpConv(
        f'{name}/conv{i + 1}', depths[i], depths[i + 1], config.kernel, init,
        up=config.up, **style) for i in range(len(depths) - 2)]
    self.layers = [*inner, same.UpConv(
        f'{name}/conv{len(inner) + 1}', depths[-2], channels, config.kernel,
        init.scaled(config.outscale),
        up='none' if config.outer else config.up)]

  def __call__(self, feat: tf.Tensor) -> tf.Tensor:
    x = self._map(*tf.split(feat, self.sizes, -1))
    x = self.act(self.norm(x) if self.norm else x)
    for layer in self.layers:
      x = layer(x)
    return tf.sigmoid(tf.cast(x, tf.float32)) - 0.5

  def _map(self, deter, stoch):
    """The first map [N, h, w, C], before norm and activation."""
    x = self.deter_in(deter)  # [N, blocks h w C / blocks]
    pixels = math.prod(self.small)
    shape = pixels, x.shape[-1] // pixels
    x = tf.reshape(x, [-1, self.blocks, pixels, shape[1] // self.blocks])
    x = tf.reshape(tf.transpose(x, [0, 2, 1, 3]), [-1, *shape])
    x += tf.reshape(self.stoch_map(self.stoch_in(stoch)), [-1, *shape])
    return tf.reshape(x, [-1, *self.small, shape[1]])


class Decoder(layers.Module):
  """What of images and vectors features predict, and how well.

  Images by squared errors of means in [-.5, .5], summed over pixels; real
  vectors by those of symlog values; whole numbers by cross entropies. The
  errors are multiplied by `squares`. Without any input it has no weights.
  """

  def __init__(self, name: str, config: Any, deter: int, stoch: int,
               obs_space: Mapping[str, Any], init: layers.ByFan):
    super().__init__(name)
    self.config, self.deter, init = config, deter, init.like(config)
    self.images, self.vectors, small = inputs.halved(name, config, obs_space)
    self.choices = {key: inputs.choices(obs_space[key]) for key in self.vectors}
    if self.images:
      self.conv = ConvDecoder(
          name, deter, stoch, sum(self.images.values()), small, config, init)
    if self.vectors:
      outs = {f'out/{key}': size for key, size in self.vectors.items()}
      self.mlp = nets.MLP(
          name, stoch + deter, [config.units] * config.layers, outs=outs,
          init=init, outs_init=init.scaled(config.outscale),
          **layers.style(config))

  @property
  def keys(self) -> tuple[str, ...]:
    """Names of the observations that are predicted."""
    return *self.images, *self.vectors

  def image_means(self, feat: tf.Tensor) -> Tensors:
    """Dict of key to means [..., H, W, C] of features [..., F]."""
    if not self.images:
      return {}
    x = self.conv(tf.reshape(feat, [-1, feat.shape[-1]]))
    x = tf.reshape(x, tf.concat([tf.shape(feat)[:-1], x.shape[1:]], 0))
    parts = tf.split(x, list(self.images.values()), -1)
    return dict(zip(self.images, parts, strict=True))

  def vector_outs(self, feat: tf.Tensor) -> Tensors:
    """Dict of key to [..., V]: symlog values, or logits of whole numbers."""
    if not self.vectors:
      return {}
    deter, stoch = feat[..., :self.deter], feat[..., self.deter:]
    outs = self.mlp(tf.concat([stoch, deter], -1))
    outs = outs if len(self.vectors) > 1 else [outs]
    return dict(zip(self.vectors, outs, strict=True))

  def losses(self, feat: tf.Tensor,
             data: Mapping[str, tf.Tensor]) -> tuple[Tensors, Tensors]:
    """Losses by key, and log likelihoods [B, T], of features [B, T, F].

    A single image is decoded in chunks; its likelihoods one by one are then
    another computation, left out of the graph unless something reads them.
    """
    like = {key: -self._squares(data[key], mean, 3)
            for key, mean in self.image_means(feat).items()}
    like.update({key: self._vector_like(key, data[key], out)
                 for key, out in self.vector_outs(feat).items()})
    losses = {key: -tf.reduce_mean(value) for key, value in like.items()}
    if len(self.images) == 1:
      key, = self.images
      losses[key] = self._image_loss(feat, data[key])
    return losses, like

  def _image_loss(self, feat, image):
    """Mean squared error of an image, some at a time."""
    rows = [tf.reshape(feat, [-1, feat.shape[-1]]),
            tf.reshape(image, [-1, *image.shape[-3:]])]
    loss = lambda decode, feat, target: self._squares(target, decode(feat), 3)
    return chunks.mean(loss, self.conv, rows, IMAGES)

  def _vector_like(self, key, target, out):
    if self.choices[key]:
      shape = tf.concat([tf.shape(out)[:-1], [-1, self.choices[key]]], 0)
      out, target = tf.reshape(out, shape), tf.reshape(target, shape)
      return tf.reduce_sum(target * tf.nn.log_softmax(out), [-2, -1])
    return -self._squares(symlog(target), out, 1)

  def _squares(self, target, mean, dims):
    """Squared errors summed over the last axes, times `squares`."""
    axes = list(range(-dims, 0))
    square = tf.math.squared_difference(mean, tf.stop_gradient(target))
    return self.config.squares * tf.reduce_sum(square, axes)
