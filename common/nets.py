"""Networks that both papers use, with sizes and activations as arguments."""

import tensorflow as tf

from common import layers


class ConvEncoder(layers.Module):
  """Four convolutions, images [..., 64, 64, C] to embeds [..., 32 depth]."""

  def __init__(self, name, channels, depth, act, init):
    super().__init__(name)
    sizes = [channels, depth, 2 * depth, 4 * depth, 8 * depth]
    self.layers = [
        layers.Conv(f'{name}/h{i + 1}', sizes[i], sizes[i + 1], 4, 2, init,
                    act) for i in range(4)]
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
  """Features [N, F] to image means [N, 64, 64, C]."""

  def __init__(self, name, size_in, channels, depth, act, init):
    super().__init__(name)
    self.size = 32 * depth
    self.dense = layers.Dense(f'{name}/h1', size_in, self.size, init)
    outs, kernels = [4 * depth, 2 * depth, depth, channels], [5, 5, 6, 6]
    self.layers = []
    for i, (size, kernel) in enumerate(zip(outs, kernels, strict=True)):
      last = i == 3
      self.layers.append(layers.ConvTranspose(
          f'{name}/h{i + 2}', ([self.size] + outs)[i], size, kernel, 2, init,
          'none' if last else act, subpixel=last))

  def __call__(self, feat):
    x = tf.reshape(self.dense(feat), [-1, 1, 1, self.size])
    for layer in self.layers:
      x = layer(x)
    return tf.cast(x, tf.float32)


class MLP(layers.Module):
  """Dense layers h0, h1, ... and one linear output per name in `outs`."""

  def __init__(self, name, size_in, depth, units, act, outs, init):
    super().__init__(name)
    sizes = [size_in] + [units] * depth
    self.layers = [
        layers.Dense(f'{name}/h{i}', sizes[i], units, init, act)
        for i in range(depth)]
    self.outs = [
        layers.Dense(f'{name}/{key}', sizes[-1], size, init)
        for key, size in outs.items()]

  def __call__(self, x):
    """x [..., In] to one float32 [..., Out] for each output."""
    lead = _lengths(x)[:-1]
    x = tf.reshape(x, [-1, x.shape[-1]])
    for layer in self.layers:
      x = layer(x)
    outs = [tf.cast(out(x), tf.float32) for out in self.outs]
    outs = [tf.reshape(out, [*lead, out.shape[-1]]) for out in outs]
    return outs if len(outs) > 1 else outs[0]


def _lengths(x):
  """Lengths of the axes, as numbers where they are known."""
  lengths = tf.unstack(tf.shape(x))
  return [a if b is None else b for a, b in zip(lengths, x.shape, strict=True)]


class ScalarHead(MLP):
  """One number per row: features [..., F] to [...] float32."""

  def __init__(self, name, size_in, config, init):
    super().__init__(name, size_in, config.layers, config.units, config.act,
                     {'hout': 1}, init)

  def __call__(self, x):
    return super().__call__(x)[..., 0]
