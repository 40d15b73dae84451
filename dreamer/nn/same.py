"""Convolutions with SAME padding that halve or double images.

All are for x [N, H, W, In] and have kernels [k, k, In, Out]. Doubling is
computed as a small convolution at the low resolution that gives the 2 x 2
pixels of each block as channels: nothing is multiplied by zeros or by copies.
Halving by strides and doubling by them are each other's gradient to the image,
and each is computed in the form that is fast on a CPU where channels are few.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from dreamer.nn import convolutions, layers

FEW = 16  # channels: TensorFlow's gradient to larger inputs is the faster one


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
    x = tf.cast(x, kernel.dtype)
    if self.down == 'stride':
      x = halve(x, kernel)
    else:
      x = tf.nn.conv2d(x, kernel, 1, 'SAME')
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
    if self.up == 'stride' and kernel.shape[0] > 1:
      return self._finish(double(x, kernel, self.w['bias']))
    return self._finish(_blockwise(x, kernel, self.w['bias'], self.up))


def halve(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
  """conv2d(x, kernel, stride 2, SAME): [N, H, W, In] to [N, H/2, W/2, Out]."""
  size, _, channels, _ = kernel.shape
  if size == 1:  # Its gradient to the kernel is wrong in TensorFlow's oneDNN.
    return tf.nn.conv2d(x[:, ::2, ::2], kernel, 1, 'VALID')
  if channels >= FEW or x.shape[1] % 2 or x.shape[2] % 2:
    return tf.nn.conv2d(x, kernel, 2, 'SAME')
  if channels <= convolutions.IMAGE:
    return convolutions.strided_image(*_even(x, kernel))
  return _halve(x, kernel)


@tf.custom_gradient
def _halve(x, kernel):

  def backward(upstream):
    return (_blockwise(upstream, _turned(kernel), None, 'stride'),
            convolutions.kernel_gradient(
                x, kernel.shape, upstream, 2, 'SAME'))

  return tf.nn.conv2d(x, kernel, 2, 'SAME'), backward


@tf.custom_gradient
def double(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tuple:
  """The transposed convolution of `UpConv`, [N, 2 H, 2 W, Out], and bias."""
  turned = _turned(kernel)

  def backward(upstream):
    back, grad = _back(x, turned, upstream)
    return back, _turned(grad), convolutions.bias_gradient(upstream)

  return _blockwise(x, kernel, bias, 'stride'), backward


def _back(x, turned, upstream):
  """Gradients of `double` to x and to the turned kernel."""
  size, _, outs, _ = turned.shape
  if outs > convolutions.IMAGE:
    return (tf.nn.conv2d(upstream, turned, 2, 'SAME'),
            convolutions.kernel_gradient(upstream, turned.shape, x, 2, 'SAME'))
  image, kernel = _even(upstream, turned)
  back, grad = convolutions.back_from_image(x, kernel, image)
  return back, grad[:size, :size]


def _even(x, kernel):
  """Images and an even kernel that give with VALID what these do with SAME."""
  size = kernel.shape[0]
  odd, before = size % 2, (size - 2) // 2
  pad = [before, size - 2 - before + odd]
  return (tf.pad(x, [[0, 0], pad, pad, [0, 0]]),
          tf.pad(kernel, [[0, odd], [0, odd], [0, 0], [0, 0]]))


def _turned(kernel):
  """Of the other direction: [k, k, In, Out] to [k, k, Out, In], each half."""
  return tf.transpose(tf.reverse(kernel, [0, 1]), [0, 1, 3, 2])


def _blockwise(x, kernel, bias, up):
  taps, reach = _taps(kernel.shape[0], up)
  pad = [[0, 0], list(reach), list(reach), [0, 0]]
  x = tf.nn.conv2d(x, _low_kernel(kernel, taps), 1, pad)
  if bias is not None:
    x = tf.nn.bias_add(x, tf.tile(bias, [4]))
  return convolutions.from_blocks(x)


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
