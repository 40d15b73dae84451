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


def gradients(function, *args):
  """Its result, and the gradients of a function of it to all arguments."""
  args = [tf.constant(x) for x in args]
  with tf.GradientTape() as tape:
    tape.watch(args)
    y = function(*args)
    loss = tf.reduce_sum(tf.sin(y))
  return [y, *tape.gradient(loss, args)]


def assert_close(ours, theirs):
  for one, two in zip(ours, theirs, strict=True):
    np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-4)


def normal(*shape):
  return np.random.default_rng(1).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize('kernel', range(1, 7))
@pytest.mark.parametrize('channels', [3, 5, same.FEW])
@pytest.mark.parametrize('height', [8, 7])
def test_gradients_of_halving(kernel, channels, height):
  args = image(height, 6, channels), normal(kernel, kernel, channels, 4)
  exact = [x.astype(np.float64) for x in args]
  assert_close(gradients(same.halve, *args), gradients(
      lambda x, w: tf.nn.conv2d(x, w, 2, 'SAME'), *exact))


@pytest.mark.parametrize('kernel', range(2, 7))
@pytest.mark.parametrize('outs', [1, 4, 5])  # of an image up to 4
@pytest.mark.parametrize('width', [6, 5])
def test_gradients_of_doubling(kernel, outs, width):
  def plain(x, kernel, bias):
    kernel = tf.transpose(kernel[::-1, ::-1], [0, 1, 3, 2])
    shape = [2, 8, 2 * width, outs]
    return tf.nn.conv2d_transpose(x, kernel, shape, 2, 'SAME') + bias
  args = image(4, width), normal(kernel, kernel, 3, outs), normal(outs)
  assert_close(gradients(same.double, *args), gradients(plain, *args))
