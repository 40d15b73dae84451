"""Recurrent cells against NumPy, and scans over them against loops."""

import numpy as np
import pytest
import tensorflow as tf

from dreamer.nn import layers, recurrent
from tests.support.layer_tools import (
  INIT,
  bind,
  error,
  fill_biases,
  numpy_norm,
  rand,
  sigmoid,
)


def test_gru_reset_after_by_numpy():
  gru = recurrent.GRU('x', 3, 4, INIT)
  fill_biases(gru)
  w = {key: value.numpy() for key, value in gru.w.items()}
  x, h = rand(5, 3).numpy(), rand(5, 4).numpy()
  xs = np.split(x @ w['kernel'] + w['bias'][0], 3, 1)
  hs = np.split(h @ w['recurrent_kernel'] + w['bias'][1], 3, 1)
  update, reset = sigmoid(xs[0] + hs[0]), sigmoid(xs[1] + hs[1])
  expected = update * h + (1 - update) * np.tanh(xs[2] + reset * hs[2])
  assert error(gru(x, h), expected) < 1e-6
  assert error(bind(gru, tf.bfloat16)(x, h), expected) < 2e-2


def test_gru_reset_before_by_numpy():
  gru = recurrent.TF1GRU('x', 3, 4, INIT)
  np.testing.assert_array_equal(gru.gates.w['bias'], 1)
  fill_biases(gru)
  w = {key: value.numpy() for key, value in gru.variables.items()}
  x, h = rand(5, 3).numpy(), rand(5, 4).numpy()
  dense = lambda key, *xs: (
      np.concatenate(xs, 1) @ w[f'x/{key}/kernel'] + w[f'x/{key}/bias'])
  reset, update = np.split(sigmoid(dense('gates', x, h)), 2, 1)
  cand = np.tanh(dense('candidate', x, reset * h))
  expected = update * h + (1 - update) * cand
  assert error(gru(x, h), expected) < 1e-6
  assert error(bind(gru, tf.bfloat16)(x, h), expected) < 2e-2


@pytest.mark.parametrize('norm', [True, False])
def test_gru_with_norm_by_numpy(norm):
  gru = recurrent.NormGRU('x', 3, 4, INIT, norm)
  fill_biases(gru)
  w = {key: value.numpy() for key, value in gru.variables.items()}
  assert w['x/dense/kernel'].shape == (3 + 4, 3 * 4)
  x, h = rand(5, 3).numpy(), rand(5, 4).numpy()
  parts = np.concatenate([x, h], 1) @ w['x/dense/kernel'] + w['x/dense/bias']
  if norm:  # over all 12 gates at once
    gamma = 1 + 0.1 * rand(12).numpy()
    gru.variables['x/norm/gamma'].assign(gamma)
    parts = numpy_norm(parts, gamma, w['x/norm/beta'])
  reset, cand, update = np.split(parts, 3, 1)
  share = sigmoid(update - 1)
  expected = share * np.tanh(sigmoid(reset) * cand) + (1 - share) * h
  assert error(gru(x, h), expected) < 1e-6
  assert error(bind(gru, tf.bfloat16)(tf.cast(x, tf.bfloat16), h),
               expected) < 2e-2
  assert gru(x, h).dtype == tf.float32


def test_gru_with_norm_keeps_its_state_at_first():
  """With all weights zero: a share of sigmoid(-1) = .27 becomes 0."""
  gru = recurrent.NormGRU('x', 3, 4, INIT)
  gru.variables['x/dense/kernel'].assign(tf.zeros([7, 12]))
  np.testing.assert_allclose(
      gru(rand(1, 3), tf.ones([1, 4])), np.full((1, 4), 0.731059), rtol=1e-5)


@pytest.mark.parametrize('cell', [recurrent.GRU, recurrent.TF1GRU])
def test_scan_is_a_loop(cell):
  """Both ways of looping, values and gradients, against a python loop."""
  gru = cell('x', 3, 4, INIT)
  inputs, first = {'x': rand(6, 2, 3)}, {'h': rand(2, 4)}
  step = lambda prev, item: {'h': gru(item['x'], prev['h'])}

  def loop():
    states = [first]
    for t in range(6):
      states.append(step(states[-1], {'x': inputs['x'][t]}))
    return tf.stack([x['h'] for x in states[1:]])

  @tf.function
  def run(function):
    params = [inputs['x'], *gru.variables.values()]
    with tf.GradientTape() as tape:
      tape.watch(inputs['x'])
      out = function()
      loss = tf.reduce_sum(out * rand(6, 2, 4, seed=1))
    return [out, *tape.gradient(loss, params)]

  expected = run(loop)
  for unroll in (False, True):
    found = run(lambda u=unroll: layers.scan(step, inputs, first, u)['h'])
    for x, y in zip(found, expected, strict=True):
      assert error(x, y) < 1e-5
