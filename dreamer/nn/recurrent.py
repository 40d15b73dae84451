"""Gated recurrent units: the cells of the papers and their releases."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from dreamer.nn.layers import Dense, Init, LayerNorm, Module, matmul


class GRU(Module):
  """Gated recurrent unit with the reset after the matmul (Keras).

  Bias [2, 3U]: input and recurrent; gate order z, r, h;
  h = z * h_prev + (1 - z) * tanh(x_h + r * (h_prev @ U_h + b_h)).
  """

  def __init__(self, name: str, size_in: int, units: int, init: Init):
    super().__init__(name)
    self.units = units
    shapes = (size_in, 3 * units), (units, 3 * units)
    self.add('kernel', init.glorot(f'{name}/kernel', shapes[0]))
    self.add('recurrent_kernel', init.orthogonal(
        f'{name}/recurrent_kernel', shapes[1]))
    self.add('bias', np.zeros((2, 3 * units)))

  def __call__(self, x: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
    """x [B, In] and state [B, U] float32 to the next state [B, U]."""
    w = self.w
    x = tf.nn.bias_add(matmul(x, w['kernel']), w['bias'][0])
    h = tf.nn.bias_add(matmul(state, w['recurrent_kernel']), w['bias'][1])
    # The gradient of a split is cheap, of slices not.
    x_update, x_reset, x_cand = tf.split(tf.cast(x, tf.float32), 3, -1)
    h_update, h_reset, h_cand = tf.split(tf.cast(h, tf.float32), 3, -1)
    update = tf.sigmoid(x_update + h_update)
    reset = tf.sigmoid(x_reset + h_reset)
    cand = tf.tanh(x_cand + reset * h_cand)
    return cand + update * (state - cand)


class TF1GRU(Module):
  """Gated recurrent unit with the reset before the matmul: TF1's cell.

  r, u = sigmoid([x, h] W_ru + b_ru); c = tanh([x, r h] W_c + b_c);
  h = (1 - u) c + u h_prev. Gate biases start at 1.
  """

  def __init__(self, name: str, size_in: int, units: int, init: Init):
    super().__init__(name)
    self.gates = Dense(f'{name}/gates', size_in + units, 2 * units, init)
    self.gates.w['bias'].assign(tf.ones(2 * units))
    self.candidate = Dense(f'{name}/candidate', size_in + units, units, init)

  def __call__(self, x: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
    """x [B, In] and state [B, U] float32 to the next state [B, U]."""
    x = tf.cast(x, tf.float32)
    gates = self.gates(tf.concat([x, state], -1))
    reset, update = tf.split(tf.sigmoid(tf.cast(gates, tf.float32)), 2, -1)
    cand = self.candidate(tf.concat([x, reset * state], -1))
    cand = tf.tanh(tf.cast(cand, tf.float32))
    return cand + update * (state - cand)


class NormGRU(Module):
  """Gated recurrent unit with a layer norm over all gates (2010.02193).

  r, c, u = norm([x, h] W + b); h = g tanh(sigmoid(r) c) + (1 - g) h_prev
  with g = sigmoid(u - 1): the reset comes after the matmul.
  """

  def __init__(self, name: str, size_in: int, units: int, init: Init,
               norm: bool = True):
    super().__init__(name)
    self.dense = Dense(f'{name}/dense', size_in + units, 3 * units, init)
    self.norm = LayerNorm(f'{name}/norm', 3 * units) if norm else None

  def __call__(self, x: tf.Tensor, state: tf.Tensor) -> tf.Tensor:
    """x [B, In] and state [B, U] float32 to the next state [B, U]."""
    x = tf.concat([x, tf.cast(state, x.dtype)], -1)
    parts = tf.cast(self.dense(x), tf.float32)
    parts = self.norm(parts) if self.norm else parts
    reset, cand, update = tf.split(parts, 3, -1)
    cand = tf.tanh(tf.sigmoid(reset) * cand)
    return state + tf.sigmoid(update - 1) * (cand - state)
