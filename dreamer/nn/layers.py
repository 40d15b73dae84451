"""Layers on tf.Variable, built in __init__ from given sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from dreamer.config.choices import Choices
from dreamer.nn import convolutions, norms
from dreamer.nn.initial import ByFan, Init
from dreamer.nn.module import M, Module
from dreamer.nn.norms import NORMS, LayerNorm, RMSNorm

__all__ = [
    'ACTS', 'ByFan', 'Conv', 'ConvTranspose', 'Dense', 'Init', 'Layer',
    'LayerNorm', 'M', 'Module', 'NORMS', 'RMSNorm', 'SplitDense', 'frozen',
    'matmul', 'scan', 'style', 'two_gradients']

Norm: TypeAlias = str | tuple[str, float]  # see norms.make


@tf.custom_gradient
def _silu(x):
  """x sigmoid(x), TensorFlow's without its products with a beta of 1.

  As there, its sigmoid is computed again for the gradient, not kept.
  """
  def backward(upstream):
    with tf.control_dependencies([upstream]):
      share = tf.sigmoid(x)
    return upstream * (share * (1.0 + x * (1.0 - share)))

  return x * tf.sigmoid(x), backward


ACTS = Choices('act', {
    'none': lambda x: x, 'relu': tf.nn.relu, 'elu': tf.nn.elu,
    'tanh': tf.nn.tanh, 'leaky_relu': tf.nn.leaky_relu,
    'swish': _silu, 'selu': tf.nn.selu, 'gelu': tf.nn.gelu,
    'mish': lambda x: x * tf.tanh(tf.nn.softplus(x)),
    'softplus': tf.nn.softplus, 'softsign': tf.nn.softsign,
    'sigmoid': tf.nn.sigmoid, 'relu6': tf.nn.relu6,
    'softmax': tf.nn.softmax, 'log_softmax': tf.nn.log_softmax,
    # As JAX computes them, under the names that it has and TensorFlow not.
    'silu': _silu, 'log_sigmoid': tf.math.log_sigmoid,
    'gelu_tanh': lambda x: tf.nn.gelu(x, approximate=True),
    'leaky_relu_01': lambda x: tf.nn.leaky_relu(x, 0.01),
    'relu2': lambda x: tf.square(tf.nn.relu(x)),
    'celu': tf.nn.elu,  # with alpha 1
    'squareplus': lambda x: 0.5 * (x + tf.sqrt(tf.square(x) + 4)),
    'hard_tanh': lambda x: tf.clip_by_value(x, -1, 1),
    'hard_sigmoid': lambda x: tf.nn.relu6(x + 3) / 6,
    'hard_silu': lambda x: x * tf.nn.relu6(x + 3) / 6,
    'sparse_plus': lambda x: tf.where(
        x <= -1, 0 * x, tf.where(x >= 1, x, tf.square(x + 1) / 4)),
    'sparse_sigmoid': lambda x: 0.5 * tf.clip_by_value(x + 1, 0, 2)})


def two_gradients(
    module: Callable[[tf.Tensor], tf.Tensor],
    x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
  """module(x) twice, for one forward pass.

  The first result has a gradient to x but none to the weights, the second to
  the weights but none to x: a critic that guides a policy, and that learns.
  """
  inputs = tf.stop_gradient(x)
  with tf.GradientTape(
      persistent=True, watch_accessed_variables=False) as tape:
    tape.watch(inputs)
    outputs = module(inputs)

  @tf.custom_gradient
  def guide(x):
    values = tf.stop_gradient(outputs)
    return values, lambda upstream: tape.gradient(outputs, inputs, upstream)

  return guide(x), outputs


class Layer(Module):
  """A linear map with a bias, then a norm (see NORMS), an activation."""

  def __init__(self, name: str, shape: tuple, size_out: int, init: Init,
               act: str = 'none', norm: Norm = 'none'):
    super().__init__(name)
    self.act = ACTS[act]
    self.add('kernel', init.kernel(f'{name}/kernel', shape))
    self.add('bias', np.zeros(size_out))
    self.norm = norms.make(norm, f'{name}/norm', size_out)

  def _finish(self, x):
    """Norm and activation of what has its bias."""
    return self.act(self.norm(x) if self.norm else x)


def style(config: Any) -> dict[str, Any]:
  """Activation and norm that a section asks for; no norm where it has no key.

  What layers take: `Dense(name, size_in, size_out, init, **style(config))`. Its
  key `norm_eps`, where there is one, is the norm's epsilon.
  """
  norm = config.get('norm', 'none')
  if 'norm_eps' in config:
    norm = norm, config.norm_eps
  return {'act': config.act, 'norm': norm}


class Dense(Layer):
  """act(norm(x @ kernel + bias)) for x [..., In]; returns [..., Out]."""

  def __init__(self, name: str, size_in: int, size_out: int, init: Init,
               act: str = 'none', norm: Norm = 'none'):
    super().__init__(name, (size_in, size_out), size_out, init, act, norm)

  def __call__(self, x: tf.Tensor) -> tf.Tensor:
    x = matmul(x, self.w['kernel'])
    return self._finish(tf.nn.bias_add(x, self.w['bias']))


class SplitDense(Layer):
  """A Dense layer over [x, y] whose part of y can be computed before x.

  concat(x, y) @ kernel = x @ rows[:size] + y @ rows[size:], so what doesn't
  depend on a recurrent state can leave the recurrence:

    ahead = layer.ahead(y)  # for all steps at once
    out = layer(x, ahead)
  """

  def __init__(self, name: str, size_x: int, size_y: int, size_out: int,
               init: Init, act: str = 'none', norm: Norm = 'none'):
    shape = size_x + size_y, size_out
    super().__init__(name, shape, size_out, init, act, norm)
    self.sizes = size_x, size_y

  def map(self, fn: Callable, exact: Callable | None = None) -> SplitDense:
    """As everywhere; the copy keeps the parts of its kernel.

    So a loop over steps, and its gradient, has not to split it in each.
    """
    other = super().map(fn, exact)
    if 'kernel' in other.w:
      other.w['x'], other.w['y'] = tf.split(other.w.pop('kernel'), self.sizes)
    return other

  def ahead(self, y: tf.Tensor) -> tf.Tensor:
    """The part of y [..., Y]: [..., Out]."""
    return matmul(y, self._part('y'))

  def __call__(self, x: tf.Tensor, ahead: tf.Tensor) -> tf.Tensor:
    return self._finish(matmul(x, self._part('x')) + ahead + self.w['bias'])

  def _part(self, name):
    if name in self.w:
      return self.w[name]
    size = self.sizes[0]
    return self.w['kernel'][:size] if name == 'x' else self.w['kernel'][size:]


def matmul(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
  """x [..., In] @ kernel [In, Out] in the kernel's precision."""
  x = tf.cast(x, kernel.dtype)
  if x.shape.rank == 2:  # TensorFlow joins it with bias_add and activation.
    return tf.matmul(x, kernel)
  flat = tf.reshape(x, [-1, kernel.shape[0]])
  shape = tf.concat([tf.shape(x)[:-1], kernel.shape[1:]], 0)
  out = tf.reshape(tf.matmul(flat, kernel), shape)
  out.set_shape(x.shape[:-1] + kernel.shape[1:])
  return out


class Conv(Layer):
  """Convolution, VALID, for x [N, H, W, In]; kernel [kh, kw, In, Out]."""

  def __init__(self, name: str, size_in: int, size_out: int, kernel: int,
               stride: int, init: Init, act: str = 'none', norm: Norm = 'none'):
    shape = kernel, kernel, size_in, size_out
    super().__init__(name, shape, size_out, init, act, norm)
    self.stride = stride

  def __call__(self, x: tf.Tensor) -> tf.Tensor:
    kernel, bias = (
        tf.convert_to_tensor(self.w[key]) for key in ('kernel', 'bias'))
    x = tf.cast(x, kernel.dtype)
    if self.stride == 2 and kernel.shape[0] % 2 == 0:
      return self._finish(convolutions.strided(x, kernel, bias))
    x = tf.nn.conv2d(x, kernel, self.stride, 'VALID')
    return self._finish(tf.nn.bias_add(x, bias))


class ConvTranspose(Layer):
  """Transposed convolution, VALID, for x [N, H, W, In].

  The kernel is [kh, kw, Out, In]. Two cases that TensorFlow is slow at on
  CPU are computed in another, equal form: a 1x1 input, and an even kernel
  with stride 2.
  """

  def __init__(self, name: str, size_in: int, size_out: int, kernel: int,
               stride: int, init: Init, act: str = 'none', norm: Norm = 'none'):
    shape = kernel, kernel, size_out, size_in
    super().__init__(name, shape, size_out, init, act, norm)
    self.stride = stride

  def __call__(self, x: tf.Tensor) -> tf.Tensor:
    kernel, bias = (
        tf.convert_to_tensor(self.w[key]) for key in ('kernel', 'bias'))
    x = tf.cast(x, kernel.dtype)
    if x.shape[1] == x.shape[2] == 1:
      return self._finish(tf.nn.bias_add(self._from_point(x), bias))
    if self.stride == 2 and kernel.shape[0] % 2 == 0:
      return self._finish(convolutions.transposed(x, kernel, bias))
    return self._finish(tf.nn.bias_add(self._transpose(x), bias))

  def _transpose(self, x):
    kernel = self.w['kernel']
    size = (x.shape[1] - 1) * self.stride + kernel.shape[0]
    shape = tf.stack([tf.shape(x)[0], size, size, kernel.shape[2]])
    return tf.nn.conv2d_transpose(x, kernel, shape, self.stride, 'VALID')

  def _from_point(self, x):
    """Each output pixel of a 1x1 input is a Dense layer of its own."""
    kernel = self.w['kernel']
    size, _, size_out, size_in = kernel.shape
    flat = tf.reshape(kernel, [size * size * size_out, size_in])
    x = tf.matmul(tf.reshape(x, [-1, size_in]), flat, transpose_b=True)
    return tf.reshape(x, [-1, size, size, size_out])


def frozen(module: M, unroll: bool) -> Callable[[], M]:
  """For steps of `scan`: gives a module whose weights get no gradient.

  Unrolled steps share one. In a loop the gradient has to stop inside.
  """
  stopped = lambda: module.map(tf.stop_gradient)
  once = stopped() if unroll else None
  return lambda: once or stopped()


def scan(step: Callable, inputs: Any, initial: Any,
         unroll: bool = False) -> Any:
  """Folds `step(state, input) -> state` over the inputs' first axis.

  Inputs and states are nested structures of tensors; returns the states,
  stacked on a new first axis. Unrolled, the step is traced once and called
  for each input: a few percent faster than a loop, where XLA compiles longer.
  """
  if not unroll:
    return tf.scan(step, inputs, initial)
  traced = tf.function(
      lambda state, item: step(state, item), autograph=False)
  states: list[Any] = []
  for item in zip(*map(tf.unstack, tf.nest.flatten(inputs)), strict=True):
    states.append(traced(states[-1] if states else initial,
                         tf.nest.pack_sequence_as(inputs, item)))
  return tf.nest.map_structure(lambda *xs: tf.stack(xs), *states)
