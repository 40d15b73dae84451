"""Means over many rows, computed a few rows at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import tensorflow as tf

from dreamer.nn.layers import Module


def mean(loss: Callable, module: Module, rows: Sequence[tf.Tensor],
         size: int) -> tf.Tensor:
  """Mean of `loss(module, *rows)` [n] over all rows, in chunks of `size`.

  Args are a Module, a list of tensors [N, ...] of which the first gets a
  gradient, and the rows of a chunk. Gradients are those of the plain mean.

  The gradient of a mean is known up to one factor before anything comes back
  from later in the graph. So each chunk goes forward and backward at once, its
  activations stay in the caches and are freed, and peak memory is that of one
  chunk. Chunks return gradients of their sum: in half precision these are N
  times as far from underflow as those of the mean.
  """
  weights: list[tf.Variable] = []
  module.map(weights.append)

  @tf.custom_gradient
  def run(inputs, *weights):
    total, grads = _sums(loss, module, [inputs, *rows[1:]], weights, size)
    amount = tf.cast(tf.shape(inputs)[0], tf.float32)
    scale = lambda grad, like, factor: tf.cast(grad * factor, like.dtype)

    def backward(upstream):
      factor = upstream / amount
      return [scale(grad, like, factor) for grad, like in zip(
          grads, (inputs, *weights), strict=True)]

    return total / amount, backward

  return run(rows[0], *weights)


def _sums(loss, module, rows, weights, size):
  """Sum of the loss, and its gradients, float32, for rows[0] and weights."""
  amount, shape = rows[0].shape[0], rows[0].shape[1:]
  size = _even(amount, size)

  def part(start, length):
    # Not x[start: start + length]: to XLA its length would be unknown.
    some = [tf.slice(x, [start, *[0] * (x.shape.rank - 1)],
                     [length, *x.shape[1:]]) for x in rows]
    return _gradients(loss, module, some, weights)

  def body(index, total, outer, inner):
    value, grad, grads = part(index * size, size)
    return (index + 1, total + value, outer.write(index, grad),
            [x + y for x, y in zip(inner, grads, strict=True)])

  count, rest = divmod(amount, size)
  total, grad, grads = part(count * size, rest) if rest else (
      tf.zeros([]), tf.zeros([0, *shape]), [tf.zeros(w.shape) for w in weights])
  outer = tf.TensorArray(tf.float32, count, element_shape=[size, *shape])
  _, total, outer, grads = tf.while_loop(
      lambda index, *_: index < count, body, (0, total, outer, grads),
      parallel_iterations=1)
  return total, [tf.concat([outer.concat(), grad], 0), *grads]


def _even(amount, size):
  """Rows of a chunk: a divisor of the amount if one is near the size."""
  sizes = [x for x in range(size // 2, size + 1) if x and amount % x == 0]
  return min(amount, max(sizes, default=size))


def _gradients(loss, module, rows, weights):
  """Sum of the loss over rows, gradients of rows[0] and of the weights."""
  room = _room(rows, weights)
  with tf.GradientTape(watch_accessed_variables=False) as tape:
    tape.watch([rows[0], *weights])
    leaves = iter(weights)
    total = tf.reduce_sum(loss(module.map(lambda _: next(leaves)), *rows))
    scaled = total if room == 1 else total / room
  grads = tape.gradient(scaled, [rows[0], *weights])
  grads = [tf.cast(x, tf.float32) for x in grads]
  if room != 1:
    grads = [x * room for x in grads]
  return total, grads[0], grads[1:]


def _room(rows, weights):
  """A power of two by which gradients shrink on their way through float16.

  Errors of up to 1 in all pixels of all rows come together in the gradient of
  one bias, where float16 ends at 65504.
  """
  if not any(w.dtype == tf.float16 for w in weights):
    return 1.0
  pixels = rows[0].shape[0] * math.prod(rows[-1].shape[1:-1])
  return 2.0 ** max(0, math.ceil(math.log2(pixels / 2 ** 15)))
