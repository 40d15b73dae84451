"""Block-diagonal layers: several small matrices in place of a large one.

A vector [..., D] is read as `blocks` groups of D / blocks numbers, each with a
matrix of its own. Kernels are [blocks, in / blocks, out / blocks].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from dreamer.nn import layers


def split(x: tf.Tensor, blocks: int) -> tf.Tensor:
  """Rows [N, D] as groups, their number first: [blocks, N, D / blocks]."""
  x = tf.reshape(x, [-1, blocks, x.shape[-1] // blocks])
  return tf.transpose(x, [1, 0, 2])


def join(x: tf.Tensor) -> tf.Tensor:
  """Undoes `split`."""
  blocks, _, size = x.shape
  return tf.reshape(tf.transpose(x, [1, 0, 2]), [-1, blocks * size])


def matmul(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
  """[blocks, N, In] times [blocks, In, Out] in the kernel's precision."""
  return tf.matmul(tf.cast(x, kernel.dtype), kernel)


class BlockDense(layers.Layer):
  """act(norm(x @ kernel + bias)) with a block-diagonal kernel; x [N, In].

  The norm is over all outputs, not over those of a block.
  """

  def __init__(self, name: str, size_in: int, size_out: int, blocks: int,
               init: layers.Init, act: str = 'none',
               norm: layers.Norm = 'none'):
    shape = blocks, size_in // blocks, size_out // blocks
    super().__init__(name, shape, size_out, init, act, norm)

  def __call__(self, x: tf.Tensor) -> tf.Tensor:
    kernel = self.w['kernel']
    x = join(matmul(split(x, kernel.shape[0]), kernel))
    return self._finish(tf.nn.bias_add(x, self.w['bias']))


class SharedBlockDense(layers.Layer):
  """A block-diagonal layer whose blocks also see inputs that all share.

  Block i reads [slice i of x, *shared]. `shared` are sizes; the parts are
  given one by one, and a part that doesn't depend on a recurrent state can be
  multiplied before:

    ahead = layer.ahead(1, part)  # for all steps at once
    out = layer(x, [first, None], ahead)
  """

  def __init__(self, name: str, size_in: int, shared: Sequence[int],
               size_out: int, blocks: int, init: layers.Init,
               act: str = 'none', norm: layers.Norm = 'none'):
    shape = blocks, size_in // blocks + sum(shared), size_out // blocks
    super().__init__(name, shape, size_out, init, act, norm)
    self.sizes = [size_in // blocks, *shared]

  def map(self, fn: Callable,
          exact: Callable | None = None) -> SharedBlockDense:
    """As everywhere; the copy keeps the parts of its kernel, as matrices.

    So a loop over steps, and its gradient, has not to split it in each.
    """
    other = super().map(fn, exact)
    if 'kernel' in other.w:
      own, *shared = _parts(other.w.pop('kernel'), self.sizes)
      other.w['own'] = own
      other.w.update({f'shared{i}': x for i, x in enumerate(shared)})
    return other

  def ahead(self, index: int, x: tf.Tensor) -> tf.Tensor:
    """What the shared part `index` [..., S] adds: [..., Out]."""
    return layers.matmul(x, self._kernels()[1 + index])

  def __call__(self, x: tf.Tensor, shared: Sequence[tf.Tensor | None],
               *ahead: tf.Tensor) -> tf.Tensor:
    """x [N, In], shared parts [N, S], and what was computed ahead."""
    own, *kernels = self._kernels()
    out = join(matmul(split(x, own.shape[0]), own))
    for part, kernel in zip(shared, kernels, strict=True):
      if part is not None:
        out += layers.matmul(part, kernel)
    for part in ahead:
      out += part
    return self._finish(tf.nn.bias_add(out, self.w['bias']))

  def _kernels(self):
    if 'kernel' in self.w:
      return _parts(tf.convert_to_tensor(self.w['kernel']), self.sizes)
    shared = range(len(self.sizes) - 1)
    return [self.w['own'], *(self.w[f'shared{i}'] for i in shared)]


def _parts(kernel, sizes):
  """The blocks' own matrices [g, In, Out], and [S, g Out] of what is shared."""
  own, *shared = tf.split(kernel, sizes, 1)
  blocks, _, out = kernel.shape
  flat = lambda x: tf.reshape(
      tf.transpose(x, [1, 0, 2]), [x.shape[1], blocks * out])
  return [own, *map(flat, shared)]


class BlockDiagonalGRU(layers.Module):
  """Gated recurrent unit of blocks that see a slice of the state each.

  All of them see the same inputs, parts of the given sizes. After `depth`
  layers, each followed by norm and activation, a last one makes the gates:
  of each block reset, candidate and update, in this order. The update starts
  low, and the reset comes after the product:

    h = u * tanh(sigmoid(r) * c) + (1 - u) * h_prev,  u = sigmoid(update - 1)
  """

  def __init__(self, name: str, inputs: Sequence[int], units: int, blocks: int,
               depth: int, init: layers.Init, act: str, norm: layers.Norm):
    super().__init__(name)
    self.units, self.blocks = units, blocks
    styles: list[tuple[Any, ...]] = [
        (f'{name}/hidden{i + 1}', units, (act, norm)) for i in range(depth)]
    styles.append((f'{name}/gates', 3 * units, ('none', 'none')))
    (first, size, style), *rest = styles
    self.first = SharedBlockDense(
        first, units, inputs, size, blocks, init, *style)
    self.rest = [BlockDense(inner, units, size, blocks, init, *style)
                 for inner, size, style in rest]

  def ahead(self, index: int, x: tf.Tensor) -> tf.Tensor:
    """What the input part `index` [..., S] adds, for any number of steps."""
    return self.first.ahead(index, x)

  def __call__(self, state: tf.Tensor, inputs: Sequence[tf.Tensor | None],
               *ahead: tf.Tensor) -> tf.Tensor:
    """State [N, U] float32 and inputs [N, S] to the next state [N, U]."""
    x = self.first(state, inputs, *ahead)
    for layer in self.rest:
      x = layer(x)
    shape = [-1, self.blocks, 3, self.units // self.blocks]
    x = tf.reshape(tf.cast(x, tf.float32), shape)
    reset, cand, update = (
        tf.reshape(part, [-1, self.units]) for part in tf.unstack(x, axis=2))
    cand = tf.tanh(tf.sigmoid(reset) * cand)
    return state + tf.sigmoid(update - 1) * (cand - state)
