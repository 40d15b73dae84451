"""Layers on tf.Variable, built in __init__ from given sizes."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from dreamer.nn import convolutions

M = TypeVar('M', bound='Module')
ACTS = {
    'none': lambda x: x, 'relu': tf.nn.relu, 'elu': tf.nn.elu,
    'tanh': tf.nn.tanh, 'leaky_relu': tf.nn.leaky_relu,
    'swish': tf.nn.swish, 'selu': tf.nn.selu, 'gelu': tf.nn.gelu,
    'mish': lambda x: x * tf.tanh(tf.nn.softplus(x)),
    'softplus': tf.nn.softplus, 'softsign': tf.nn.softsign,
    'sigmoid': tf.nn.sigmoid, 'relu6': tf.nn.relu6,
    'softmax': tf.nn.softmax, 'log_softmax': tf.nn.log_softmax,
    # As JAX computes them, under the names that it has and TensorFlow not.
    'silu': tf.nn.silu, 'log_sigmoid': tf.math.log_sigmoid,
    'gelu_tanh': lambda x: tf.nn.gelu(x, approximate=True),
    'leaky_relu_01': lambda x: tf.nn.leaky_relu(x, 0.01),
    'relu2': lambda x: tf.square(tf.nn.relu(x)),
    'celu': tf.nn.elu,  # with alpha 1
    'squareplus': lambda x: 0.5 * (x + tf.sqrt(tf.square(x) + 4)),
    'hard_tanh': lambda x: tf.clip_by_value(x, -1, 1),
    'hard_sigmoid': lambda x: tf.nn.relu6(x + 3) / 6,
    'hard_silu': lambda x: x * tf.nn.relu6(x + 3) / 6}


class Module:
  """A named tree of weights.

  Variables are created in `__init__` of the leaf layers only. Submodules are
  attributes or stand in a list; in any other container they raise TypeError,
  as they would be neither trained nor saved. `map` makes a copy whose weights
  went through a function; layers work on variables and on such tensors alike:

    half = module.map(lambda w: tf.cast(w, tf.bfloat16))
    frozen = module.map(tf.stop_gradient)
  """

  def __init__(self, name: str):
    self.name = name
    self.w: dict[str, tf.Variable] = {}

  @property
  def children(self) -> Iterator[Module]:
    """Submodules in the order of creation."""
    for key, value in vars(self).items():
      items = value if isinstance(value, list) else [value]
      for item in items:
        if isinstance(item, Module):
          yield item
        elif _holds_modules(item):
          raise TypeError(
              f'{self.name}.{key}: modules in a {type(value).__name__} are '
              'not found; keep each in an attribute, or all in a list')

  @property
  def variables(self) -> dict[str, tf.Variable]:
    """Dict of full name to tf.Variable, in the order of creation."""
    found = {f'{self.name}/{kind}': w for kind, w in self.w.items()}
    for child in self.children:
      found.update(child.variables)
    return found

  @property
  def statistics(self) -> dict[str, tf.Variable]:
    """Running numbers by full name, which are saved but not trained."""
    found: dict[str, tf.Variable] = {}
    for child in self.children:
      found.update(child.statistics)
    return found

  def add(self, kind: str, value: np.ndarray) -> None:
    """A weight of this layer with its first value."""
    value = np.asarray(value, np.float32)
    self.w[kind] = tf.Variable(value, name=f'{self.name}/{kind}')

  def map(self: M, fn: Callable) -> M:
    """A copy of the tree with `fn` applied to every weight."""
    other = copy.copy(self)
    other.w = {kind: fn(w) for kind, w in self.w.items()}
    list(self.children)  # Raises for those that would keep their weights.
    for key, value in vars(self).items():
      if isinstance(value, Module):
        setattr(other, key, value.map(fn))
      elif isinstance(value, list):
        setattr(other, key, [item.map(fn) if isinstance(
            item, Module) else item for item in value])
    return other


def _holds_modules(value):
  """Whether a container has modules in it, at any depth."""
  if isinstance(value, dict):
    value = value.values()
  elif not isinstance(value, (list, tuple, set, frozenset)):
    return False
  return any(isinstance(x, Module) or _holds_modules(x) for x in value)


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


class Init:
  """Initial weights: a function of the seed and of the weight's name."""

  def __init__(self, seed: int):
    self.seed = seed

  def rng(self, name: str) -> np.random.Generator:
    """Generator of the weight's values."""
    return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

  def kernel(self, name: str, shape: tuple) -> np.ndarray:
    """A layer's kernel [..., in, out]."""
    return self.glorot(name, shape)

  def like(self, config: Any) -> Init:
    """That of the layers which a section describes."""
    del config
    return self

  def glorot(self, name: str, shape: tuple) -> np.ndarray:
    """Uniform of variance 2 / (fan in + fan out); shape [..., in, out]."""
    field = np.prod(shape[:-2], dtype=np.int64)
    limit = np.sqrt(6 / (field * (shape[-2] + shape[-1])))
    return self.rng(name).uniform(-limit, limit, shape)

  def orthogonal(self, name: str, shape: tuple) -> np.ndarray:
    """Rows (or columns) of a random rotation; shape [in, out]."""
    tall = self.rng(name).standard_normal((max(shape), min(shape)))
    q, r = np.linalg.qr(tall)
    q = q * np.sign(np.diag(r))
    return q if shape[0] >= shape[1] else q.T


class ByFan(Init):
  """Kernels of variance scale^2 / fan, by a rule such as trunc_normal_in.

  Distributions are trunc_normal (cut at two deviations), normal, uniform
  (limits 1 / sqrt(fan)) and normed (columns of length 1); fans are in, out,
  avg and none. All axes but the last but one and the last count to both: a
  block-diagonal kernel [g, in / g, out / g] has the fan in of the whole.
  """

  CUT = 1.1368  # makes up for what a cut at two deviations takes

  def __init__(self, seed: int, rule: str = 'trunc_normal_in',
               scale: float = 1.0):
    super().__init__(seed)
    self.rule, self.scale = rule, scale

  def like(self, config: Any) -> ByFan:
    """That of the layers which a section describes: its key `init`."""
    return ByFan(self.seed, config.init)

  def scaled(self, scale: float) -> ByFan:
    """The same with another scale, for what a network ends with."""
    return ByFan(self.seed, self.rule, scale)

  def kernel(self, name: str, shape: tuple) -> np.ndarray:
    if self.rule == 'zeros' or not self.scale:
      return np.zeros(shape)
    kind, fan = self.rule.rsplit('_', 1)
    field = int(np.prod(shape[:-2]))
    fans = {'in': field * shape[-2], 'out': field * shape[-1], 'none': 1}
    fans['avg'] = (fans['in'] + fans['out']) / 2
    draw = getattr(self, f'_{kind}')(self.rng(name), shape)
    limit = 1 if kind == 'normed' else np.sqrt(1 / fans[fan])
    return self.scale * limit * draw

  def _trunc_normal(self, rng, shape):
    draw = rng.standard_normal(shape)
    while (far := np.abs(draw) > 2).any():
      draw[far] = rng.standard_normal(far.sum())
    return self.CUT * draw

  def _normal(self, rng, shape):
    return rng.standard_normal(shape)

  def _uniform(self, rng, shape):
    return rng.uniform(-1, 1, shape)

  def _normed(self, rng, shape):
    draw = rng.uniform(-1, 1, shape)
    return draw / np.linalg.norm(draw.reshape(-1, shape[-1]), axis=0)


class Layer(Module):
  """A linear map with a bias, then a norm (see NORMS), an activation."""

  def __init__(self, name: str, shape: tuple, size_out: int, init: Init,
               act: str = 'none', norm: str = 'none'):
    super().__init__(name)
    self.act = ACTS[act]
    self.add('kernel', init.kernel(f'{name}/kernel', shape))
    self.add('bias', np.zeros(size_out))
    self.norm = make_norm(norm, f'{name}/norm', size_out)

  def _finish(self, x):
    """Norm and activation of what has its bias."""
    return self.act(self.norm(x) if self.norm else x)


def style(config: Any) -> dict[str, Any]:
  """Activation and norm that a section asks for; no norm where it has no key.

  What layers take: `Dense(name, size_in, size_out, init, **style(config))`.
  """
  return {'act': config.act, 'norm': config.get('norm', 'none')}


class Dense(Layer):
  """act(norm(x @ kernel + bias)) for x [..., In]; returns [..., Out]."""

  def __init__(self, name: str, size_in: int, size_out: int, init: Init,
               act: str = 'none', norm: str = 'none'):
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
               init: Init, act: str = 'none', norm: str = 'none'):
    shape = size_x + size_y, size_out
    super().__init__(name, shape, size_out, init, act, norm)
    self.sizes = size_x, size_y

  def map(self, fn: Callable) -> SplitDense:
    """As everywhere; the copy keeps the parts of its kernel.

    So a loop over steps, and its gradient, has not to split it in each.
    """
    other = super().map(fn)
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


class LayerNorm(Module):
  """Normalises the last axis, then scales and shifts; float32 inside."""

  EPS = 1e-3

  def __init__(self, name: str, size: int, eps: float = EPS):
    super().__init__(name)
    self.eps = eps
    self.add('gamma', np.ones(size))
    self.add('beta', np.zeros(size))

  def __call__(self, x: tf.Tensor) -> tf.Tensor:
    dtype, x = x.dtype, tf.cast(x, tf.float32)
    mean, variance = tf.nn.moments(x, -1, keepdims=True)
    scale = tf.math.rsqrt(variance + self.eps)
    scale *= tf.cast(self.w['gamma'], tf.float32)
    beta = tf.cast(self.w['beta'], tf.float32)
    return tf.cast((x - mean) * scale + beta, dtype)


class RMSNorm(Module):
  """x / sqrt(mean(x^2) + eps) * gamma over the last axis; float32 inside."""

  def __init__(self, name: str, size: int, eps: float = 1e-4):
    super().__init__(name)
    self.eps = eps
    self.add('gamma', np.ones(size))

  def __call__(self, x: tf.Tensor) -> tf.Tensor:
    gamma = tf.cast(self.w['gamma'], tf.float32)
    return tf.cast(_rms(tf.cast(x, tf.float32), gamma, self.eps), x.dtype)


@tf.custom_gradient
def _rms(x, gamma, eps):
  """x r gamma, r = rsqrt(mean(x^2) + eps); and its gradient by hand.

  With g = upstream gamma: g r - x r^3 mean(g x), in half of the passes over
  the memory that TensorFlow's own takes.
  """
  inverse = tf.math.rsqrt(
      tf.reduce_mean(tf.square(x), -1, keepdims=True) + eps)
  out = x * inverse * gamma

  def backward(upstream):
    normed = x * inverse
    product = upstream * normed
    scaled = tf.reduce_mean(product * gamma, -1, keepdims=True)
    grad = inverse * (upstream * gamma - normed * scaled)
    return grad, tf.raw_ops.BiasAddGrad(out_backprop=product), None

  return out, backward


NORMS: dict[str, Callable[..., Module]] = {
    'layer': LayerNorm, 'rms': RMSNorm,
    'layer_e4': lambda name, size: LayerNorm(name, size, 1e-4)}


def make_norm(kind: str, name: str, size: int) -> Any:
  """The norm of this name in NORMS, or None for none."""
  return None if kind == 'none' else NORMS[kind](name, size)


class Conv(Layer):
  """Convolution, VALID, for x [N, H, W, In]; kernel [kh, kw, In, Out]."""

  def __init__(self, name: str, size_in: int, size_out: int, kernel: int,
               stride: int, init: Init, act: str = 'none', norm: str = 'none'):
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
               stride: int, init: Init, act: str = 'none', norm: str = 'none'):
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


def scan(step: Callable, inputs: Any, initial: Any,
         unroll: bool = False) -> Any:
  """Folds `step(state, input) -> state` over the inputs' first axis.

  Inputs and states are nested structures of tensors; returns the states,
  stacked on a new first axis. `unroll` trades a longer start for a few
  percent of speed.
  """
  if not unroll:
    return tf.scan(step, inputs, initial)
  states: list[Any] = []
  length = tf.nest.flatten(inputs)[0].shape[0]
  for index in range(length):
    item = tf.nest.map_structure(lambda x, i=index: x[i], inputs)
    states.append(step(states[-1] if states else initial, item))
  return tf.nest.map_structure(lambda *xs: tf.stack(xs), *states)
