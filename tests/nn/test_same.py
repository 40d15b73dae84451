"""Convolutions that halve and double, against plain ones."""

import numpy as np
import pytest
import tensorflow as tf

from dreamer.nn import layers, same

INIT = layers.ByFan(0)


def image(height=4, width=6, channels=3):
  rng = np.random.default_rng(0)
  return rng.normal(size=(2, height, width, channels)).astype(np.float32)


def doubled(x, up):
  """The image of twice the size that a plain convolution then reads."""
  large = np.repeat(np.repeat(x, 2, 1), 2, 2)
  if up == 'stride':  # pixel q stands at 2 q + 1
    keep = lambda size: np.arange(size) % 2
    large = large * keep(large.shape[1])[:, None, None] * keep(
        large.shape[2])[:, None]
  return large.astype(np.float32)


@pytest.mark.parametrize('up', ['stride', 'repeat'])
@pytest.mark.parametrize('kernel', [1, 2, 3, 4, 5, 6])
def test_doubling(up, kernel):
  layer, x = same.UpConv('x', 3, 4, kernel, INIT, up=up), tf.Variable(image())
  layer.w['bias'].assign([1., 2., 3., 4.])
  weights = tf.Variable(layer.w['kernel'])
  with tf.GradientTape(persistent=True) as tape:
    ours = layer(x)
    large = tf.stack(doubled(x.numpy(), up))
    theirs = tf.nn.conv2d(large, weights, 1, 'SAME') + layer.w['bias']
    losses = [tf.reduce_sum(tf.sin(y)) for y in (ours, theirs)]
  np.testing.assert_allclose(ours, theirs, atol=1e-5)
  np.testing.assert_allclose(
      tape.gradient(losses[0], layer.w['kernel']),
      tape.gradient(losses[1], weights), rtol=1e-3, atol=1e-4)


def test_stride_is_the_transposed_convolution():
  layer, x = same.UpConv('x', 3, 4, 5, INIT, up='stride'), image()
  kernel = tf.transpose(layer.w['kernel'][::-1, ::-1], [0, 1, 3, 2])
  plain = tf.nn.conv2d_transpose(x, kernel, [2, 8, 12, 4], 2, 'SAME')
  np.testing.assert_allclose(layer(x), plain, atol=1e-5)


def test_pooling_comes_before_the_norm():
  layer = same.Conv('x', 1, 2, 1, INIT, norm='rms', down='pool')
  layer.w['kernel'].assign([[[[1., -1.]]]])
  x = np.array([[1, 2], [3, 4]], np.float32)[None, :, :, None]
  root = np.sqrt((4 ** 2 + 1) / 2 + 1e-4)
  np.testing.assert_allclose(
      layer(x)[0, 0, 0], [4 / root, -1 / root], rtol=1e-5)


@pytest.mark.parametrize('down, size', [('none', 6), ('stride', 3),
                                        ('pool', 3)])
def test_sizes(down, size):
  layer = same.Conv('x', 3, 4, 5, INIT, down=down)
  assert layer(image(6, 6)).shape == (2, size, size, 4)


@pytest.mark.parametrize('kernel', [5, 6, 7])
@pytest.mark.parametrize('channels', [1, 3, 13])
def test_pooling_with_its_gradients(kernel, channels):
  """With few inputs and with many: by blocks, or as it is defined."""
  layer = same.Conv('x', channels, 4, kernel, INIT, down='pool')
  layer.w['bias'].assign([1., 2., 3., 4.])
  weights, x = tf.Variable(layer.w['kernel']), tf.Variable(
      image(8, 6, channels))
  with tf.GradientTape(persistent=True) as tape:
    ours = layer(x)
    theirs = tf.nn.conv2d(x, weights, 1, 'SAME') + layer.w['bias']
    theirs = tf.nn.max_pool2d(theirs, 2, 2, 'VALID')
    losses = [tf.reduce_sum(tf.sin(y)) for y in (ours, theirs)]
  np.testing.assert_allclose(ours, theirs, atol=1e-5)
  for grads in (
      [tape.gradient(y, w) for y, w in zip(
          losses, (layer.w['kernel'], weights), strict=True)],
      [tape.gradient(y, x) for y in losses]):
    np.testing.assert_allclose(*grads, rtol=1e-3, atol=1e-4)


def test_the_first_of_equal_ones_gets_the_gradient():
  layer = same.Conv('x', 1, 1, 5, INIT, down='pool')
  layer.w['kernel'].assign(np.float32(np.arange(25) == 12).reshape(5, 5, 1, 1))
  x = tf.Variable(tf.ones([1, 4, 4, 1]))
  with tf.GradientTape() as tape:
    y = tf.reduce_sum(layer(x))
  wanted = [[1, 0, 1, 0], [0] * 4] * 2
  np.testing.assert_array_equal(tape.gradient(y, x)[0, ..., 0], wanted)


def test_images_of_odd_size_are_pooled():
  layer, x = same.Conv('x', 3, 4, 5, INIT, down='pool'), image(7, 5)
  plain = tf.nn.conv2d(x, layer.w['kernel'], 1, 'SAME')
  np.testing.assert_allclose(
      layer(x), tf.nn.max_pool2d(plain, 2, 2, 'VALID'), atol=1e-5)
