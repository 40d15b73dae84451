"""Networks that both papers use, with sizes and activations as arguments."""

import functools

import tensorflow as tf

from dreamer.nn import layers


class ConvEncoder(layers.Module):
  """Four convolutions, images [..., 64, 64, C] to embeds [..., 32 depth].

  `names` are those of the layers; norms are called convnorm0, ...
  """

  def __init__(self, name, channels, depth, act, init, norm='none',
               names=('h1', 'h2', 'h3', 'h4')):
    super().__init__(name)
    sizes = [channels, depth, 2 * depth, 4 * depth, 8 * depth]
    self.layers = [
        layers.normed(
            functools.partial(
                layers.Conv, f'{name}/{names[i]}', *sizes[i:i + 2], 4, 2, init),
            norm, f'{name}/convnorm{i}', sizes[i + 1], act)
        for i in range(4)]
    self.size = 32 * depth

  def __call__(self, image):
    x = tf.reshape(image, [-1, *image.shape[-3:]])
    for layer in self.layers:
      x = layer(x)
    shape = tf.concat([tf.shape(image)[:-3], [self.size]], 0)
    x = tf.reshape(x, shape)
    x.set_shape(image.shape[:-3] + [self.size])
    return x


class ConvDecoder(layers.Module):
  """Features [N, F] to image means [N, 64, 64, C].

  `names` are those of the layers; norms are called convnorm0, ...
  """

  def __init__(self, name, size_in, channels, depth, act, init, norm='none',
               names=('h1', 'h2', 'h3', 'h4', 'h5')):
    super().__init__(name)
    self.size = 32 * depth
    first, *names = names
    self.dense = layers.Dense(f'{name}/{first}', size_in, self.size, init)
    sizes = [self.size, 4 * depth, 2 * depth, depth, channels]
    self.layers = []
    for i, kernel in enumerate((5, 5, 6, 6)):
      last = i == 3
      self.layers.append(layers.normed(
          functools.partial(
              layers.ConvTranspose, f'{name}/{names[i]}', *sizes[i:i + 2],
              kernel, 2, init, subpixel=last),
          'none' if last else norm, f'{name}/convnorm{i}', sizes[i + 1],
          'none' if last else act))

  def __call__(self, feat):
    x = tf.reshape(self.dense(feat), [-1, 1, 1, self.size])
    for layer in self.layers:
      x = layer(x)
    return tf.cast(x, tf.float32)


class MLP(layers.Module):
  """Dense layers h0, h1, ... and one linear output per name in `outs`.

  Without outputs the result is that of the last layer. `hidden` and `normed`
  are the patterns of the names of layers and norms.
  """

  def __init__(self, name, size_in, depth, units, act, outs, init,
               norm='none', hidden='h{}', normed='norm{}'):
    super().__init__(name)
    sizes = [size_in] + [units] * depth
    self.layers = [
        layers.normed(
            functools.partial(
                layers.Dense, f'{name}/{hidden.format(i)}', sizes[i], units,
                init),
            norm, f'{name}/{normed.format(i)}', units, act)
        for i in range(depth)]
    self.outs = [
        layers.Dense(f'{name}/{key}', sizes[-1], size, init)
        for key, size in outs.items()]
    self.width = sizes[-1]

  def __call__(self, x):
    """x [..., In] to one float32 [..., Out] for each output."""
    lead = _lengths(x)[:-1]
    x = tf.reshape(x, [-1, x.shape[-1]])
    for layer in self.layers:
      x = layer(x)
    outs = [tf.cast(out(x), tf.float32) for out in self.outs or [_identity]]
    outs = [tf.reshape(out, [*lead, out.shape[-1]]) for out in outs]
    return outs if len(outs) > 1 else outs[0]


def _lengths(x):
  """Lengths of the axes, as numbers where they are known."""
  lengths = tf.unstack(tf.shape(x))
  return [a if b is None else b for a, b in zip(lengths, x.shape, strict=True)]


def _identity(x):
  return x


class ScalarHead(MLP):
  """One number per row: features [..., F] to [...] float32."""

  def __init__(self, name, size_in, config, init, out='hout', **names):
    super().__init__(name, size_in, config.layers, config.units, config.act,
                     {out: 1}, init, **names)

  def __call__(self, x):
    return super().__call__(x)[..., 0]
