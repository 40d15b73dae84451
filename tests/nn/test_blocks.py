"""Block-diagonal layers by hand, and against full matrices."""

import numpy as np
import pytest
import tensorflow as tf

from dreamer.nn import blocks, layers

INIT = layers.ByFan(0)


def test_split_and_join():
  x = tf.constant(np.arange(12.0).reshape(2, 6))
  parts = blocks.split(x, 3)
  np.testing.assert_array_equal(parts[1], [[2, 3], [8, 9]])
  np.testing.assert_array_equal(blocks.join(parts), x)


def full(kernel):
  """The matrix [in, out] that a block-diagonal kernel stands for."""
  amount, size_in, size_out = kernel.shape
  found = np.zeros((amount, size_in, amount, size_out), np.float32)
  for block in range(amount):
    found[block, :, block] = kernel[block]
  return found.reshape(amount * size_in, amount * size_out)


def test_block_dense_is_a_matrix_with_blocks():
  layer = blocks.BlockDense('x', 6, 9, 3, INIT)
  x = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
  np.testing.assert_allclose(
      layer(x), x @ full(layer.w['kernel'].numpy()), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('bound', [False, True])
def test_shared_parts_reach_every_block(bound):
  layer = blocks.SharedBlockDense('x', 4, [3, 2], 6, 2, INIT, 'silu', 'rms')
  rng = np.random.default_rng(0)
  x, one, two = (rng.normal(size=(5, n)).astype(np.float32)
                 for n in (4, 3, 2))
  copies = np.concatenate([np.concatenate(
      [x[:, 2 * i: 2 * i + 2], one, two], 1) for i in range(2)], 1)
  plain = blocks.BlockDense('x', 14, 6, 2, INIT, 'silu', 'rms')
  plain.w['kernel'].assign(layer.w['kernel'])
  used = layer.map(tf.identity) if bound else layer
  for out in (used(x, [one, two]),
              used(x, [one, None], used.ahead(1, two))):
    np.testing.assert_allclose(out, plain(copies), rtol=1e-4, atol=1e-5)


def test_gru_by_hand():
  """One block, no layer before the gates: r, c, u of a state of one number."""
  gru = blocks.BlockDiagonalGRU('g', [1], 1, 1, 0, INIT, 'silu', 'rms')
  gru.first.w['kernel'].assign([[[1., 2., 3.], [4., 5., 6.]]])
  reset, cand, update = 0.5 + 4 * 2, 1 + 5 * 2, 1.5 + 6 * 2
  sigmoid = lambda x: 1 / (1 + np.exp(-x))
  share = sigmoid(update - 1)
  expected = share * np.tanh(sigmoid(reset) * cand) + (1 - share) * 0.5
  out = gru(tf.constant([[0.5]]), [tf.constant([[2.]])])
  np.testing.assert_allclose(out, [[expected]], rtol=1e-5)


def test_gates_of_each_block_stand_together():
  """Two blocks: six outputs are r, c, u of the first, then of the second."""
  gru = blocks.BlockDiagonalGRU('g', [1], 2, 2, 0, INIT, 'silu', 'rms')
  gru.first.w['kernel'].assign(tf.zeros([2, 2, 3]))
  # The first block keeps its state, the second takes the candidate 1.
  gru.first.w['bias'].assign([0., 0., -50., 50., 50., 50.])
  out = gru(tf.constant([[0.25, 0.75]]), [tf.zeros([1, 1])])
  np.testing.assert_allclose(out, [[0.25, 1.0]], rtol=1e-5)


def test_kernels_have_the_full_fan_in():
  layer = blocks.BlockDense('x', 512, 512, 8, INIT)
  assert layer.w['kernel'].numpy().std() == pytest.approx(
      1 / np.sqrt(512), rel=0.02)
