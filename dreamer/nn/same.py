"""Convolutions with SAME padding that halve or double images.

All are for x [N, H, W, In] and have kernels [k, k, In, Out]. Doubling is
computed as a small convolution at the low resolution that gives the 2 x 2
pixels of each block as channels: nothing is multiplied by zeros or by copies.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from dreamer.nn import convolutions, layers


class Conv(layers.Layer):
  """A convolution; `down`: none, stride (of 2) or pool (the largest of 2 x 2).

  Pooling comes before norm and activation.
  """

  def __init__(self, name: str, size_in: int, size_out: int, kernel: int,
               init: layers.Init, act: str = 'none', norm: layers.Norm = 'none',
               down: str = 'none'):
    shape = kernel, kernel, size_in, size_out
    super().__init__(name, shape, size_out, init, act, norm)
    self.down = down

  def __call__(self, x: tf.Tensor) -> tf.Tensor:
    kernel = tf.convert_to_tensor(self.w['kernel'])
    stride = 2 if self.down == 'stride' else 1
    x = tf.nn.conv2d(tf.cast(x, kernel.dtype), kernel, stride, 'SAME')
    x = tf.nn.bias_add(x, self.w['bias'])
    if self.down == 'pool':
      x = tf.nn.max_pool2d(x, 2, 2, 'VALID')
    return self._finish(x)


class UpConv(layers.Layer):
  """A convolution of images of twice the size; `up`: none, stride or repeat.

  stride: pixel q of the input stands at 2 q + 1, zeros between: the
  transposed convolution of stride 2. repeat: each pixel stands twice.
  """

  def __init__(self, name: str, size_in: int, size_out: int, kernel: int,
               init: layers.Init, act: str = 'none', norm: layers.Norm = 'none',
               up: str = 'none'):
    shape = kernel, kernel, size_in, size_out
    super().__init__(name, shape, size_out, init, act, norm)
    self.up = up

  def __call__(self, x: tf.Tensor) -> tf.Tensor:
    kernel = tf.convert_to_tensor(self.w['kernel'])
    x = tf.cast(x, kernel.dtype)
    if self.up == 'none':
      x = tf.nn.conv2d(x, kernel, 1, 'SAME')
      return self._finish(tf.nn.bias_add(x, self.w['bias']))
    taps, reach = _taps(kernel.shape[0], self.up)
    kernel = _low_kernel(kernel, taps)
    pad = [[0, 0], list(reach), list(reach), [0, 0]]
    x = tf.nn.conv2d(x, kernel, 1, pad)
    x = tf.nn.bias_add(x, tf.tile(self.w['bias'], [4]))
    return self._finish(convolutions.from_blocks(x))


def _taps(size: int, up: str) -> tuple[np.ndarray, tuple[int, int]]:
  """Which low pixels each tap of a kernel of `size` reads.

  Returns float32 [2, K, size]: for each parity of the output pixel and each
  of the K low pixels around it, 1 where tap j falls on it; and how many of
  these stand before and after the pixel's own.
  """
  before = (size - 1) // 2
  found = {}
  for parity in (0, 1):
    for tap in range(size):
      place = parity + tap - before  # in the large image, from its block
      if up == 'repeat' or place % 2:
        found[parity, tap] = place // 2
  least, most = min(found.values()), max(found.values())
  taps = np.zeros((2, most - least + 1, size), np.float32)
  for (parity, tap), low in found.items():
    taps[parity, low - least, tap] = 1
  return taps, (-least, most)


def _low_kernel(kernel, taps):
  """Kernel [k, k, In, Out] to that of the low image, [K, K, In, 4 Out]."""
  size, _, size_in, size_out = kernel.shape
  _, reach, _ = taps.shape
  taps = tf.constant(taps, kernel.dtype)
  kernel = tf.einsum('rtj,sui,jiab->tuarsb', taps, taps, kernel)
  return tf.reshape(kernel, [reach, reach, size_in, 4 * size_out])
