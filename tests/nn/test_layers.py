"""Layers against slow, obvious forms: values, gradients, first weights."""

import math

import numpy as np
import pytest
import tensorflow as tf

import dreamerv1
import dreamerv2
from dreamer.config import inputs
from dreamer.envs.spaces import ActionSpace
from dreamer.nn import chunks, layers, nets, norms
from dreamer.nn import flops as convs
from dreamerv1 import flops
from tests.support import quick
from tests.support.layer_tools import (
  INIT,
  bind,
  error,
  fill_biases,
  numpy_norm,
  rand,
  sigmoid,
)

SIX = ActionSpace('continuous', 6)
TOLERANCE = {'float32': 1e-5, 'bfloat16': 4e-2}
PRECISIONS = list(TOLERANCE)


def compare(module, slow, inputs, precision):
  """Values and all gradients of module(*inputs) against slow(w, *inputs)."""
  fill_biases(module)
  weights = list(module.variables.values())

  @tf.function
  def run(function):
    with tf.GradientTape(watch_accessed_variables=False) as tape:
      tape.watch([*inputs, *weights])
      y = tf.cast(function(), tf.float32)
      loss = tf.reduce_sum(y * rand(*y.shape, seed=1))
    return [y, *tape.gradient(loss, [*inputs, *weights])]

  ours = run(lambda: bind(module, precision)(*inputs))
  theirs = run(lambda: slow(module.w, *inputs))
  for x, y in zip(ours, theirs, strict=True):
    assert error(x, y) < TOLERANCE[precision]


def slow_conv(x, kernel, stride):
  """One product per kernel pixel."""
  size = kernel.shape[0]
  out = (x.shape[1] - size) // stride + 1
  end = (out - 1) * stride + 1
  return sum(
      x[:, a: a + end: stride, b: b + end: stride] @ kernel[a, b]
      for a in range(size) for b in range(size))


def slow_transpose(x, kernel, stride):
  """Zeros between the pixels and around, then the mirrored kernel."""
  n, size = x.shape[1], kernel.shape[0]
  x = x[:, :, None, :, None]
  gap = [0, stride - 1]
  x = tf.pad(x, [[0, 0], [0, 0], gap, [0, 0], gap, [0, 0]])
  x = tf.reshape(x, [x.shape[0], n * stride, n * stride, x.shape[-1]])
  end = (n - 1) * stride + 1
  rim = [size - 1, size - 1]
  x = tf.pad(x[:, :end, :end], [[0, 0], rim, rim, [0, 0]])
  mirrored = tf.transpose(kernel[::-1, ::-1], [0, 1, 3, 2])
  return slow_conv(x, mirrored, 1)


@pytest.mark.parametrize('precision', PRECISIONS)
@pytest.mark.parametrize('shape', [(5, 3), (2, 5, 3), (2, 1, 4, 3)])
def test_dense(shape, precision):
  layer = layers.Dense('x', 3, 4, INIT, 'tanh')
  slow = lambda w, x: tf.tanh(
      tf.einsum('...i,io->...o', x, w['kernel']) + w['bias'])
  compare(layer, slow, [rand(*shape)], precision)


@pytest.mark.parametrize('norm', ['none', 'layer'])
@pytest.mark.parametrize('lead', [(5,), (2, 5)])
def test_dense_in_two_parts(lead, norm):
  """As one Dense layer over both inputs, joined."""
  split = layers.SplitDense('x', 3, 2, 4, INIT, 'tanh', norm)
  whole = layers.Dense('x', 5, 4, INIT, 'tanh', norm)
  for module in (split, whole):
    fill_biases(module)
  x, y = rand(*lead, 3), rand(*lead, 2)
  assert error(split(x, split.ahead(y)), whole(tf.concat([x, y], -1))) < 1e-5


@pytest.mark.parametrize('precision', PRECISIONS)
@pytest.mark.parametrize('pixels,kernel,stride,channels', quick.every(2, [
    (8, 4, 2, 3), (9, 4, 2, 3), (6, 4, 2, 3), (7, 3, 1, 3), (7, 4, 1, 3),
    (4, 4, 2, 3), (9, 2, 2, 3), (8, 6, 2, 3), (9, 5, 2, 3), (6, 4, 2, 1),
    (8, 4, 2, 5), (9, 4, 2, 5)]))  # of an image up to 4 channels
def test_conv(pixels, kernel, stride, channels, precision):
  layer = layers.Conv('x', channels, 4, kernel, stride, INIT, 'tanh')
  slow = lambda w, x: tf.tanh(
      slow_conv(x, w['kernel'], stride) + w['bias'])
  compare(layer, slow, [rand(2, pixels, pixels, channels)], precision)


@pytest.mark.parametrize('precision', PRECISIONS)
@pytest.mark.parametrize('pixels,kernel,stride,channels', quick.every(2, [
    (1, 5, 2, 4), (5, 5, 2, 4), (3, 6, 2, 4), (4, 3, 1, 4), (4, 4, 1, 4),
    (5, 6, 2, 4), (4, 4, 2, 4), (3, 2, 2, 4), (1, 6, 2, 4), (5, 6, 2, 1),
    (4, 2, 2, 3), (3, 8, 2, 3), (4, 8, 2, 3), (4, 6, 2, 5),
    (5, 4, 2, 5)]))  # of an image up to 4 channels
def test_conv_transpose(pixels, kernel, stride, channels, precision):
  layer = layers.ConvTranspose('x', 3, channels, kernel, stride, INIT, 'tanh')
  slow = lambda w, x: tf.tanh(
      slow_transpose(x, w['kernel'], stride) + w['bias'])
  compare(layer, slow, [rand(2, pixels, pixels, 3)], precision)


def erf(x):
  return np.array([math.erf(value) for value in x])


ACTS = {
    'none': lambda x: x, 'relu': lambda x: np.maximum(x, 0),
    'relu6': lambda x: np.clip(x, 0, 6),
    'elu': lambda x: np.where(x > 0, x, np.expm1(x)), 'tanh': np.tanh,
    'leaky_relu': lambda x: np.where(x > 0, x, 0.2 * x),
    'swish': lambda x: x * sigmoid(x), 'sigmoid': sigmoid,
    'selu': lambda x: 1.05070098 * np.where(
        x > 0, x, 1.67326324 * np.expm1(x)),
    'gelu': lambda x: x / 2 * (1 + erf(x / np.sqrt(2))),
    'mish': lambda x: x * np.tanh(np.log1p(np.exp(x))),
    'softplus': lambda x: np.log1p(np.exp(x)),
    'softsign': lambda x: x / (1 + abs(x)),
    'softmax': lambda x: np.exp(x) / np.exp(x).sum(),
    'log_softmax': lambda x: x - np.log(np.exp(x).sum())}


@pytest.mark.parametrize('act', ACTS)
def test_activations(act):
  x = np.array([-5.0, -1.0, -0.1, 0.0, 0.1, 1.0, 5.0, 7.0])
  layer = layers.Dense('x', 8, 8, INIT, act)
  layer.w['kernel'].assign(np.eye(8))
  found = layer(tf.constant(x[None], tf.float32))[0]
  np.testing.assert_allclose(found, ACTS[act](x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('agent', [dreamerv1, dreamerv2])
def test_every_activation_is_a_setting_and_the_reverse(agent):
  rules = [rule for key, rule in agent.schema().allowed.items()
           if key.endswith('act') and not key.endswith('std_act')]
  assert len(rules) > 5
  for rule in rules:
    assert set(str(rule).split(', ')) == set(ACTS) <= set(layers.ACTS)


def test_layer_norm_on_a_worked_example():
  # Mean 2 and variance 2/3; the epsilon is 1/1000.
  norm, x = layers.LayerNorm('x', 3), tf.constant([[1., 2., 3.]])
  scaled = np.array([-1, 0, 1]) / np.sqrt(2 / 3 + 1e-3)
  np.testing.assert_allclose(norm(x), [scaled], rtol=1e-5)
  norm.w['gamma'].assign([2., 3., 4.])
  norm.w['beta'].assign([5., 6., 7.])
  np.testing.assert_allclose(
      norm(x), [scaled * [2, 3, 4] + [5, 6, 7]], rtol=1e-5)


@pytest.mark.parametrize('kind', [layers.LayerNorm, norms.RMSNorm])
def test_scales_of_norms_are_float32_in_any_precision(kind):
  """1.003 would be 1 in bfloat16."""
  norm, x = kind('x', 2), tf.constant([[3., -1.]])
  before = bind(norm, tf.bfloat16)(x)
  norm.w['gamma'].assign([1.003, 1.003])
  np.testing.assert_allclose(
      bind(norm, tf.bfloat16)(x), 1.003 * before, rtol=1e-5)


def test_layer_norm_is_float32_inside():
  # In float16 the squares of these would overflow.
  norm = bind(layers.LayerNorm('x', 2), tf.float16)
  out = norm(tf.constant([[400., -400.]], tf.float16))
  assert out.dtype == tf.float16
  np.testing.assert_allclose(out, [[1, -1]], atol=1e-3)


@pytest.mark.parametrize('precision', PRECISIONS)
def test_norm_comes_between_layer_and_activation(precision):
  plain = layers.Dense('x', 3, 4, INIT, 'elu')
  assert list(plain.variables) == ['x/kernel', 'x/bias']
  layer = layers.Dense('x', 3, 4, INIT, 'elu', 'layer')
  assert set(layer.variables) == {
      'x/kernel', 'x/bias', 'x/norm/gamma', 'x/norm/beta'}
  fill_biases(layer)
  w = {key: value.numpy() for key, value in layer.variables.items()}
  w['x/norm/beta'] += 1
  layer.variables['x/norm/beta'].assign(w['x/norm/beta'])
  x = rand(5, 3).numpy()
  normed = numpy_norm(
      x @ w['x/kernel'] + w['x/bias'], w['x/norm/gamma'], w['x/norm/beta'])
  elu = lambda x: np.where(x > 0, x, np.exp(x) - 1)
  assert error(bind(layer, precision)(x), elu(normed)) < TOLERANCE[precision]
  assert error(bind(plain, precision)(x), elu(
      x @ w['x/kernel'])) < TOLERANCE[precision]


def test_two_gradients_split_those_of_a_call():
  mlp = nets.MLP('x', 3, [5, 5], 'elu', {'out': 2}, INIT)
  x = rand(4, 6, 3)
  params = list(mlp.variables.values())
  with tf.GradientTape(persistent=True) as tape:
    tape.watch(x)
    guide, learn = layers.two_gradients(mlp, 2 * x)
    plain = mlp(2 * x)
    losses = [tf.reduce_sum(y ** 2) for y in (guide, learn, plain)]
  np.testing.assert_array_equal(guide, learn)
  np.testing.assert_allclose(guide, plain, rtol=1e-6)
  assert error(tape.gradient(losses[0], x), tape.gradient(losses[2], x)) < 1e-6
  assert tape.gradient(losses[1], x) is None
  assert tape.gradient(losses[0], params) == [None] * len(params)
  for a, b in zip(tape.gradient(losses[1], params),
                  tape.gradient(losses[2], params), strict=True):
    assert error(a, b) < 1e-6


@pytest.mark.parametrize('precision', PRECISIONS)
@pytest.mark.parametrize('amount,size', [(12, 4), (11, 4), (3, 8), (7, 1)])
def test_chunks_equal_the_plain_mean(amount, size, precision):
  mlp = nets.MLP('x', 3, [5], 'elu', {'out': 2}, INIT)
  fill_biases(mlp)
  x, target = rand(amount, 3), rand(amount, 2)
  loss = lambda net, x, y: tf.reduce_sum((net(x) - y) ** 2, -1)
  weights = list(mlp.variables.values())

  @tf.function
  def run(mean):
    with tf.GradientTape() as tape:
      tape.watch(x)
      value = 3 * mean(bind(mlp, precision))
    return [value, *tape.gradient(value, [x, *weights])]

  ours = run(lambda net: chunks.mean(loss, net, [x, target], size))
  theirs = run(lambda net: tf.reduce_mean(loss(net, x, target)))
  for a, b in zip(ours, theirs, strict=True):
    assert error(a, b) < TOLERANCE[precision]


def test_chunks_have_room_for_large_half_gradients():
  """Errors of one sign in all pixels of all images: 64 * 4096 * 0.5."""
  layer = layers.ConvTranspose('x', 1, 1, 6, 2, layers.Init(0), 'none')
  loss = lambda net, x, error: tf.reduce_sum(
      tf.cast(net(x), tf.float32) * error, [1, 2, 3])
  x, error, found = tf.zeros([64, 30, 30, 1]), tf.fill([64, 64, 64, 1], .5), {}
  for dtype in (tf.float32, tf.float16):
    with tf.GradientTape() as tape:
      value = chunks.mean(loss, bind(layer, dtype), [x, error], 64)
    found[dtype] = float(tape.gradient(value, layer.w['bias'])[0])
  assert found[tf.float32] == pytest.approx(2048)
  assert found[tf.float16] == pytest.approx(2048, rel=0.01)


def test_chunks_keep_small_half_gradients():
  """A mean over many rows doesn't underflow where its sum does not."""
  layer = layers.Dense('x', 1, 1, INIT)
  x = tf.ones([4096, 1])
  loss = lambda net, x: 1e-4 * tf.cast(net(x), tf.float32)[:, 0]
  with tf.GradientTape() as tape:
    value = chunks.mean(loss, bind(layer, tf.float16), [x], 512)
  grad = tape.gradient(value, layer.w['bias'])
  np.testing.assert_allclose(grad, [1e-4], rtol=1e-2)


@pytest.mark.parametrize('shape', [(300, 200), (4, 4, 16, 32)])
def test_glorot_spread(shape):
  x = INIT.glorot('x', shape)
  field = np.prod(shape[:-2])
  variance = 2 / (field * (shape[-2] + shape[-1]))
  assert abs(x.mean()) < 0.05 * np.sqrt(variance)
  assert abs(x.var() / variance - 1) < 0.05
  assert np.abs(x).max() <= np.sqrt(3 * variance)


@pytest.mark.parametrize('shape', [(4, 12), (12, 4), (5, 5)])
def test_orthogonal(shape):
  x = INIT.orthogonal('x', shape)
  gram = x @ x.T if shape[0] <= shape[1] else x.T @ x
  np.testing.assert_allclose(gram, np.eye(min(shape)), atol=1e-12)


def test_init_depends_on_seed_and_name():
  draws = [layers.Init(seed).glorot(name, (3, 3))
           for seed in (0, 1) for name in ('a', 'b')]
  again = layers.Init(0).glorot('a', (3, 3))
  np.testing.assert_array_equal(draws[0], again)
  assert len({x.tobytes() for x in draws}) == 4


def test_map_leaves_the_module_alone():
  net = nets.ConvDecoder('x', 3, 1, 1, 'relu', INIT)
  before = net.variables
  half = net.map(lambda w: tf.cast(w, tf.bfloat16))
  assert {w.dtype for w in half.variables.values()} == {tf.bfloat16}
  assert list(half.variables) == list(before)
  assert all(net.variables[key] is value for key, value in before.items())
  frozen = net.map(tf.stop_gradient)
  with tf.GradientTape() as tape:
    loss = tf.reduce_sum(frozen(rand(2, 3)))
  assert tape.gradient(loss, list(before.values())) == [None] * len(before)


class Holder(layers.Module):
  """Keeps a layer where it is told to."""

  def __init__(self, keep):
    super().__init__('holder')
    self.kept = keep(layers.Dense('x', 3, 4, INIT))


@pytest.mark.parametrize('keep', [
    lambda layer: {'a': layer}, lambda layer: (layer,),
    lambda layer: [[layer]], lambda layer: [{'a': (layer,)}],
    lambda layer: {'a': [layer]}],
    ids=['dict', 'tuple', 'nested list', 'dict in a list', 'list in a dict'])
def test_modules_that_would_not_be_found_raise(keep):
  """They would be neither trained nor saved."""
  module = Holder(keep)
  for use in (lambda: module.variables, lambda: list(module.children),
              lambda: module.map(tf.identity)):
    with pytest.raises(TypeError, match='holder.kept: modules in a'):
      use()


@pytest.mark.parametrize('keep', [lambda layer: layer, lambda layer: [layer]])
def test_modules_are_found_in_attributes_and_lists(keep):
  module = Holder(keep)
  module.other = {'a': 1, 'b': (2, [3])}
  assert set(module.variables) == {'x/kernel', 'x/bias'}
  half = module.map(lambda w: tf.cast(w, tf.float16))
  assert {x.dtype for x in half.variables.values()} == {tf.float16}


def test_decoder_and_encoder_shapes():
  encoder = nets.ConvEncoder('x', 3, 2, 'relu', INIT)
  decoder = nets.ConvDecoder('y', 5, 3, 2, 'relu', INIT)
  assert encoder(rand(2, 3, 64, 64, 3)).shape == (2, 3, encoder.size)
  assert decoder(rand(6, 5)).shape == (6, 64, 64, 3)


@pytest.mark.parametrize('kernels, sides', [
    ((4, 4, 4, 4), (31, 14, 6, 2)), ((3, 3, 3, 3, 3), (31, 15, 7, 3, 1)),
    ((8, 6, 4), (29, 12, 5)), ((64,), (1,))])
def test_encoders_of_other_kernels(kernels, sides):
  assert tuple(inputs.encoded(kernels)) == sides
  net = nets.ConvEncoder('x', 3, 2, 'relu', INIT, kernels=kernels)
  assert [tuple(layer.w['kernel'].shape) for layer in net.layers] == [
      (kernel, kernel, (3, 2, 4, 8, 16)[i], (2, 4, 8, 16, 32)[i])
      for i, kernel in enumerate(kernels)]
  assert net(rand(2, 64, 64, 3)).shape == (2, net.size)
  assert net.size == sides[-1] ** 2 * 2 ** len(kernels)


@pytest.mark.parametrize('kernels, sides', [
    ((5, 5, 6, 6), (5, 13, 30, 64)), ((3, 3, 3, 3, 4), (3, 7, 15, 31, 64)),
    ((11, 11, 3), (11, 31, 63)), ((64,), (64,))])
def test_decoders_of_other_kernels(kernels, sides):
  """Against the slow transposed convolutions, in which nothing is special."""
  assert tuple(inputs.decoded(kernels)) == sides
  net = nets.ConvDecoder('x', 3, 2, 1, 'relu', INIT, kernels=kernels)
  widths = [32, *[2 ** i for i in reversed(range(len(kernels) - 1))], 2]
  assert [tuple(layer.w['kernel'].shape) for layer in net.layers] == [
      (kernel, kernel, widths[i + 1], widths[i])
      for i, kernel in enumerate(kernels)]
  x = rand(2, 3)
  y = tf.reshape(net.dense(x), [2, 1, 1, 32])
  for i, layer in enumerate(net.layers):
    y = slow_transpose(y, layer.w['kernel'], 2)
    y = tf.nn.relu(y) if i + 1 < len(kernels) else y
  assert y.shape == (2, sides[-1], sides[-1], 2)
  assert error(net(x), y) < 1e-5


def test_gflop_of_other_kernels():
  """Each kernel makes each of its outputs from each of its inputs."""
  assert convs.conv_encoder(3, 2, (8, 6)) == [
      8 * 8 * 3 * 2 * 29 ** 2, 6 * 6 * 2 * 4 * 12 ** 2]
  assert convs.conv_decoder(7, 3, 2, (9, 48)) == [
      7 * 64, 9 * 9 * 64 * 2, 48 * 48 * 2 * 3 * 9 ** 2]


def test_gflop_of_the_full_size():
  """943 were counted for an update that forwards the value head twice."""
  config = dreamerv1.schema().config(['released'])
  value = 230 * 400 + 400 * 400 * 2 + 400
  twice = 2 * 50 * 50 * 15 * value / 1e9
  found = flops.update_gflop(config, 3, SIX)
  assert found + twice == pytest.approx(943, 0.005)


def test_gflop_of_other_objectives():
  def gflop(*presets):
    return flops.update_gflop(dreamerv1.schema().config(presets), 3, SIX)
  rows, mlp = 2 * 50 * 50 / 1e9, 300 * 300 * 2
  actor = 2 * 230 * 300 + 3 * (mlp + 300 * 12)
  step = 2 * (36 * 200 + 3 * 200 * 400 + 200 * 200 + 200 * 60)
  reward, value = 2 * (230 * 300 + mlp), 3 * 230 * 300 + 4 * mlp
  imagined = 15 * rows * (actor + step + reward + value + 6 * 300)
  assert gflop() - gflop('planet') == pytest.approx(imagined)
  # Stopped features: the decoder's first layer sends no gradient back.
  stopped = rows * 230 * 1024
  assert gflop('reward_only') == pytest.approx(gflop() - stopped)
  head = 3 * (1024 * 300 + mlp + 300 * 2 * 230 + 2 * 2500 * 230)
  assert gflop('contrastive') == pytest.approx(
      gflop('reward_only') + rows * head)


@pytest.mark.parametrize('dtype', [tf.float32, tf.float16])
def test_silu_is_tensorflows_to_the_bit(dtype):
  x = tf.cast(np.linspace(-9, 9, 301), dtype)

  def both(act):
    with tf.GradientTape() as tape:
      tape.watch(x)
      y = act(x)
    return y.numpy(), tape.gradient(y, x, tf.cos(x)).numpy()

  for ours, theirs in zip(
      both(layers.ACTS['silu']), both(tf.nn.silu), strict=True):
    np.testing.assert_array_equal(ours, theirs)
