"""Kernels in other layouts compute the same; samplers and looks into steps."""

import types

import numpy as np
import pytest

from dreamer.conform import layouts, samplers

RNG = np.random.RandomState(0)


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


class TestTorch:

  def test_dense_reads_the_same(self):
    kernel, x = RNG.randn(5, 3), RNG.randn(2, 5)
    assert np.allclose(x @ kernel, x @ layouts.to_torch(kernel).T)

  @pytest.mark.parametrize('shape, there', [
      ((7,), (7,)), ((5, 3), (3, 5)), ((4, 6, 3, 8), (8, 3, 4, 6))])
  def test_axes(self, shape, there):
    value = RNG.randn(*shape)
    turned = layouts.to_torch(value)
    assert turned.shape == there
    assert np.array_equal(layouts.from_torch(turned), value)

  def test_gru(self):
    """torch.nn.GRUCell's formula with its names, beside Keras's with ours."""
    units, size = 4, 3
    kernel, recurrent = RNG.randn(size, 3 * units), RNG.randn(units, 3 * units)
    bias, x, h = RNG.randn(2, 3 * units), RNG.randn(2, size), RNG.randn(
        2, units)
    zx, rx, cx = np.split(x @ kernel + bias[0], 3, -1)
    zh, rh, ch = np.split(h @ recurrent + bias[1], 3, -1)
    z = sigmoid(zx + zh)
    ours = z * h + (1 - z) * np.tanh(cx + sigmoid(rx + rh) * ch)
    cell = layouts.gru_to_torch(kernel, recurrent, bias)
    ri, zi, ni = np.split(x @ cell['weight_ih'].T + cell['bias_ih'], 3, -1)
    rs, zs, ns = np.split(h @ cell['weight_hh'].T + cell['bias_hh'], 3, -1)
    z = sigmoid(zi + zs)
    theirs = (1 - z) * np.tanh(ni + sigmoid(ri + rs) * ns) + z * h
    assert np.allclose(ours, theirs)
    for one, other in zip(layouts.gru_from_torch(**cell),
                          (kernel, recurrent, bias)):
      assert np.array_equal(one, other)

  def test_gru_in_flax(self):
    units, size = 4, 3
    kernel, recurrent = RNG.randn(size, 3 * units), RNG.randn(units, 3 * units)
    bias, x, h = RNG.randn(2, 3 * units), RNG.randn(2, size), RNG.randn(
        2, units)
    cell = layouts.gru_to_flax(kernel, recurrent, bias)
    of = lambda name, value: value @ cell[name]['kernel'] + cell[name].get(
        'bias', 0)
    r = sigmoid(of('ir', x) + of('hr', h))
    z = sigmoid(of('iz', x) + of('hz', h))
    theirs = (1 - z) * np.tanh(of('in', x) + r * of('hn', h)) + z * h
    zx, rx, cx = np.split(x @ kernel + bias[0], 3, -1)
    zh, rh, ch = np.split(h @ recurrent + bias[1], 3, -1)
    z = sigmoid(zx + zh)
    ours = z * h + (1 - z) * np.tanh(cx + sigmoid(rx + rh) * ch)
    assert np.allclose(ours, theirs)

  def test_images_flattened_channels_first(self):
    images = RNG.randn(2, 3, 4, 5)  # height 3, width 4, 5 channels
    kernel = RNG.randn(60, 7)
    last = images.reshape(2, 60)
    first = images.transpose(0, 3, 1, 2).reshape(2, 60)
    turned = layouts.flat_to_torch(kernel, 5, 0)
    assert np.allclose(last @ kernel, first @ turned)
    assert np.array_equal(layouts.flat_from_torch(turned, 5, 0), kernel)
    assert np.array_equal(layouts.flat_from_torch(first, 5, 1), last)

  def test_swapped_inputs(self):
    one, two, kernel = RNG.randn(2, 3), RNG.randn(2, 5), RNG.randn(8, 4)
    swapped = layouts.swap(kernel, 3)
    assert np.allclose(np.concatenate([one, two], 1) @ kernel,
                       np.concatenate([two, one], 1) @ swapped)
    assert np.array_equal(layouts.swap(swapped, 5), kernel)
    parts = layouts.split_rows(kernel, [3, 5])
    assert np.allclose(np.concatenate([one, two], 1) @ kernel,
                       one @ parts[0] + two @ parts[1])

  def test_gates_in_another_order(self):
    value = np.arange(6)
    assert layouts.gates(value, 'reset cand update', 'reset update cand'
                         ).tolist() == [0, 1, 4, 5, 2, 3]


def test_transposed_convolution_in_flax():
  """jax.lax.conv_transpose, which flax.linen.ConvTranspose calls."""
  jax = pytest.importorskip('jax')
  import tensorflow as tf  # for this test only
  kernel = RNG.randn(5, 5, 3, 2).astype(np.float32)  # height, width, out, in
  x = RNG.randn(1, 4, 4, 2).astype(np.float32)
  ours = tf.nn.conv2d_transpose(x, kernel, [1, 11, 11, 3], 2, 'VALID')
  theirs = jax.lax.conv_transpose(
      x, layouts.to_flax(kernel, transposed=True), (2, 2), 'VALID')
  assert np.allclose(ours, theirs, atol=1e-5)
  assert np.array_equal(
      layouts.from_flax(layouts.to_flax(kernel, True), True), kernel)
  assert layouts.to_flax(kernel) is kernel


class TestWatch:

  def test_local_variables_also_of_a_call_that_fails(self):
    def step(x):
      y = x + 1
      if x > 1:
        raise ValueError
      return y
    with samplers.watch(step=step) as frames:
      step(1)
      with pytest.raises(ValueError):
        step(2)
    step(1)
    assert [x['y'] for x in frames['step']] == [2, 3]

  def test_methods(self):
    class Agent:
      def train(self, x):
        found = 2 * x
        return found
    agent = Agent()
    with samplers.watch(train=agent.train) as frames:
      agent.train(3)
    assert frames['train'][0]['found'] == 6


def test_gradients_before_clipping():
  """The call of torch.nn.utils that ports make, here without PyTorch."""
  def clip(parameters, limit):
    for parameter in parameters:
      if parameter.grad is not None:
        parameter.grad = parameter.grad / 2
    return np.float32(limit)
  right = clip
  torch = types.SimpleNamespace(nn=types.SimpleNamespace(
      utils=types.SimpleNamespace(clip_grad_norm_=clip)))
  one, two = (types.SimpleNamespace(grad=x) for x in (np.ones(2), None))
  with samplers.gradients(torch) as groups:
    torch.nn.utils.clip_grad_norm_(iter([one, two]), 3)
  assert torch.nn.utils.clip_grad_norm_ is right
  assert groups[0][id(one)].tolist() == [1, 1] and id(two) not in groups[0]
  assert groups[0][None] == 3 and one.grad.tolist() == [0.5, 0.5]


def test_truncated_sample():
  x = samplers.truncated(Leaf(0.9), Leaf(0.4))
  assert x.value == pytest.approx(1 - 1e-6)


class Leaf:
  """As much of a tensor as the formula asks for."""

  def __init__(self, value):
    self.value = value

  def __add__(self, other):
    return Leaf(self.value + other.value)

  def __sub__(self, other):
    return Leaf(self.value - other.value)

  def __rmul__(self, other):
    return Leaf(other * self.value)

  def detach(self):
    return self

  def clip(self, low, high):
    return Leaf(min(max(self.value, low), high))
