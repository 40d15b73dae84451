"""Convolutions of stride 2 with even kernels, and their gradients, by hand.

What TensorFlow computes slowly on a CPU, in another, equal form.
"""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf

IMAGE = 4  # channels at most: slow in all forms but that of `as_channels`
PAIRS = 6  # kernels from this size on are faster on two neighbours at once


def strided(x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
  """conv2d(x, kernel, stride 2, VALID) + bias for an even kernel."""
  if x.shape[-1] > IMAGE:
    return _strided(x, kernel, bias)
  return tf.nn.bias_add(strided_image(x, kernel), bias)


def strided_image(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
  """conv2d(x, kernel, stride 2, VALID), fast where x has few channels."""
  return tf.nn.conv2d(as_channels(x), _on_channels(kernel), 1, 'VALID')


@tf.custom_gradient
def _strided(x, kernel, bias):
  """To x its gradient goes by `to_blocks`, up to three times as fast."""
  def backward(upstream):
    grad = from_blocks(to_blocks(upstream, kernel))
    if x.shape[1] % 2:  # The last row and column have no part in anything.
      grad = tf.pad(grad, [[0, 0], [0, 1], [0, 1], [0, 0]])
    return grad, kernel_gradient(
        x, kernel.shape, upstream, 2, 'VALID'), tf.raw_ops.BiasAddGrad(
            out_backprop=upstream)  # joined with it

  return tf.nn.bias_add(tf.nn.conv2d(x, kernel, 2, 'VALID'), bias), backward


@tf.custom_gradient
def transposed(
    x: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tuple:
  """conv2d_transpose(x, kernel, stride 2, VALID) + bias for an even kernel.

  Several times faster than TensorFlow's op where the outputs are few.
  Backward, that op is the faster one, but for images.
  """
  blocks = to_blocks(x, kernel)
  blocks = tf.nn.bias_add(blocks, tf.tile(bias, [4]))  # joined with the product
  back = back_from_image if kernel.shape[2] <= IMAGE else _back

  def backward(upstream):
    return *back(x, kernel, upstream), bias_gradient(upstream)

  return from_blocks(blocks), backward


def _back(x, kernel, upstream):
  return (tf.nn.conv2d(upstream, kernel, 2, 'VALID'),
          kernel_gradient(upstream, kernel.shape, x, 2, 'VALID'))


def kernel_gradient(x: tf.Tensor, shape: Sequence[int], upstream: tf.Tensor,
                    stride: int, padding: str) -> tf.Tensor:
  """Gradient of conv2d(x, kernel of this shape, stride, padding) to it."""
  return tf.raw_ops.Conv2DBackpropFilter(
      input=x, filter_sizes=shape, out_backprop=upstream,
      strides=[1, stride, stride, 1], padding=padding)


def back_from_image(x: tf.Tensor, kernel: tf.Tensor,
                    upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
  """Gradients of `transposed` to x and kernel, fast where outputs are few.

  With large kernels two neighbours of x in a row are taken as one pixel of
  twice the channels.
  """
  _, height, width, size_in = x.shape
  several = 2 if kernel.shape[0] >= PAIRS else 1
  groups = -(-width // several)
  taps = _on_groups(_on_channels(kernel), several)
  columns = several * (groups + taps.shape[1] - 1)
  image = _columns(as_channels(upstream), columns)
  image = tf.reshape(
      image, [-1, image.shape[1], columns // several, taps.shape[2]])
  grad = tf.reshape(tf.nn.conv2d(image, taps, 1, 'VALID'),
                    [-1, height, several * groups, size_in])
  x = tf.reshape(_columns(x, several * groups),
                 [-1, height, groups, several * size_in])
  taps = kernel_gradient(image, taps.shape, x, 1, 'VALID')
  taps = _of_groups(taps, kernel.shape[0] // 2, several)
  return grad[:, :, :width], _of_channels(taps, kernel.shape)


def _columns(x, amount):
  """With columns of zeros behind, as many as are missing."""
  missing = amount - x.shape[2]
  return tf.pad(x, [[0, 0], [0, 0], [0, missing], [0, 0]]) if missing else x


def as_channels(x: tf.Tensor) -> tf.Tensor:
  """Pixels [N, H, W, C] to channels [N, H/2, W/2, 4 C]; see `from_blocks`.

  Of an odd size the last row or column is left out.
  """
  _, height, width, size = x.shape
  height, width = height // 2, width // 2
  x = x[:, :2 * height, :2 * width]
  x = tf.reshape(x, [-1, height, 2, width, 2 * size])
  x = tf.transpose(x, [0, 1, 3, 2, 4])
  return tf.reshape(x, [-1, height, width, 4 * size])


def _on_channels(kernel):
  """An even [k, k, In, Out] of stride 2 to [k/2, k/2, 4 In, Out] of stride 1.

  The one convolves pixels, the other what `as_channels` makes of them.
  """
  half, (_, _, size_in, size_out) = kernel.shape[0] // 2, kernel.shape
  taps = tf.reshape(kernel, [half, 2, half, 2, size_in, size_out])
  taps = tf.transpose(taps, [0, 2, 1, 3, 4, 5])
  return tf.reshape(taps, [half, half, 4 * size_in, size_out])


def _of_channels(taps, shape):
  """Back to a kernel of a shape."""
  half, (_, _, size_in, size_out) = shape[0] // 2, shape
  taps = tf.reshape(taps, [half, half, 2, 2, size_in, size_out])
  return tf.reshape(tf.transpose(taps, [0, 2, 1, 3, 4, 5]), shape)


def _on_groups(taps, several):
  """[k, k, In, Out] to [k, K, several In, several Out]: of groups in a row.

  Each of a group reads one column further than the one before it.
  """
  if several == 1:
    return taps
  size, _, size_in, size_out = taps.shape
  reach = -(-(size + several - 1) // several)
  taps = tf.stack([tf.pad(taps, [
      [0, 0], [place, several * reach - size - place], [0, 0], [0, 0]])
      for place in range(several)], 3)
  return tf.reshape(taps, [size, reach, several * size_in, several * size_out])


def _of_groups(taps, size, several):
  """Transpose of `_on_groups`: sums over a group."""
  if several == 1:
    return taps
  _, reach, size_in, size_out = taps.shape
  taps = tf.reshape(taps, [size, several * reach, size_in // several, several,
                           size_out // several])
  return tf.add_n([taps[:, place: place + size, :, place]
                   for place in range(several)])


def to_blocks(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
  """conv2d_transpose(x, kernel, stride 2, VALID), 2x2 pixels as channels.

  Output pixel 2 q + r takes input q - j through kernel row 2 j + r. That is a
  stride 1 convolution over j to 4 channels per output, one for each parity r
  of row and column: [N, h, w, 4 Out]. The kernel is even: [kh, kw, Out, In].
  """
  half = kernel.shape[0] // 2
  size_out, size_in = kernel.shape[2:]
  taps = tf.reshape(kernel, [half, 2, half, 2, size_out, size_in])
  taps = tf.transpose(tf.reverse(taps, [0, 2]), [0, 2, 5, 1, 3, 4])
  taps = tf.reshape(taps, [half, half, size_in, 4 * size_out])
  pad = [half - 1, half - 1]
  return tf.nn.conv2d(x, taps, 1, [[0, 0], pad, pad, [0, 0]])


def from_blocks(x: tf.Tensor) -> tf.Tensor:
  """Channels [N, h, w, 4 C] to pixels [N, 2 h, 2 w, C].

  On CPU three times faster than depth_to_space.
  """
  _, height, width, size = x.shape
  x = tf.reshape(x, [-1, height, width, 2, size // 2])
  x = tf.transpose(x, [0, 1, 3, 2, 4])  # rows of pixels
  return tf.reshape(x, [-1, 2 * height, 2 * width, size // 4])


def bias_gradient(upstream: tf.Tensor) -> tf.Tensor:
  """Sum of [N, h, w, C] over all but channels: first over the images' rows.

  Several times faster than at once where the channels are few.
  """
  _, _, width, size = upstream.shape
  rows = tf.raw_ops.BiasAddGrad(
      out_backprop=tf.reshape(upstream, [-1, width * size]))
  rows = tf.cast(tf.reshape(rows, [width, size]), tf.float32)
  return tf.cast(tf.reduce_sum(rows, 0), upstream.dtype)
