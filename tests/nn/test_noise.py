"""Random draws: statistics, independence, and the same bits again."""

import numpy as np
import pytest
import tensorflow as tf

from dreamer.nn.noise import Noise

KINDS = ['normal', 'uniform', 'coarse', 'gumbel']


def draw(kind, seed='0/learn', counter=3, name='x', shape=(50000,)):
  return getattr(Noise(seed, counter), kind)(name, shape).numpy()


# Mean, standard deviation and the quantiles .1 and .9.
@pytest.mark.parametrize('kind, mean, std, low, high', [
    ('normal', 0, 1, -1.2816, 1.2816), ('uniform', 0.5, 12 ** -.5, 0.1, 0.9),
    ('coarse', 0.5, 12 ** -.5, 0.1, 0.9),
    ('gumbel', np.euler_gamma, np.pi / 6 ** .5, -0.8340, 2.2504)])
def test_statistics(kind, mean, std, low, high):
  x = draw(kind)
  assert x.dtype == np.float32 and np.isfinite(x).all()
  np.testing.assert_allclose(
      [x.mean(), x.std(), *np.quantile(x, [.1, .9])],
      [mean, std, low, high], atol=0.03)


@pytest.mark.parametrize('kind', KINDS)
def test_same_arguments_same_bits(kind):
  assert np.array_equal(draw(kind), draw(kind))
  graph = tf.function(lambda counter: getattr(
      Noise('0/learn', counter), kind)('x', [50000]))
  counter = tf.Variable(3, dtype=tf.int64)
  assert np.array_equal(draw(kind), graph(counter))
  counter.assign_add(1)
  assert np.array_equal(draw(kind, counter=4), graph(counter))


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('shape', [(1,), (7, 3), (5000, 30)])
def test_the_same_bits_compiled_by_xla(kind, shape):
  compiled = tf.function(lambda counter: getattr(
      Noise('0/learn', counter), kind)('x', shape), jit_compile=True)
  x, y = draw(kind, shape=shape), compiled(tf.constant(3, tf.int64)).numpy()
  assert x.shape == y.shape == shape and np.array_equal(x, y)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('other', [
    {'name': 'y'}, {'seed': '1/learn'}, {'seed': '0/policy'}, {'counter': 4},
    {'counter': 2 ** 40}])
def test_other_arguments_independent_bits(kind, other):
  x, y = draw(kind), draw(kind, **other)
  assert abs(np.corrcoef(x, y)[0, 1]) < 0.03
  assert (x == y).mean() < 0.01


def test_gumbel_samples_a_categorical():
  logits = np.log([0.1, 0.2, 0.7])
  best = np.argmax(logits + draw('gumbel', shape=(20000, 3)), -1)
  np.testing.assert_allclose(
      np.bincount(best) / 20000, [0.1, 0.2, 0.7], atol=0.015)


def test_both_halves_of_a_number_are_used():
  x = draw('coarse')
  assert abs(np.corrcoef(x[::2], x[1::2])[0, 1]) < 0.03
  assert (x[::2] == x[1::2]).mean() < 0.01


def test_global_seed_has_no_effect():
  tf.random.set_seed(1)
  first = draw('normal')
  tf.random.set_seed(2)
  assert np.array_equal(first, draw('normal'))


@pytest.mark.parametrize('first', KINDS)
@pytest.mark.parametrize('second', KINDS)
def test_a_name_is_drawn_once_in_a_step(first, second):
  """Else both would have the same bits, and nobody would see it."""
  noise = Noise('0/learn', 3)
  getattr(noise, first)('x', [2])
  with pytest.raises(ValueError, match='noise 0/learn/x is drawn twice'):
    getattr(noise, second)('x', [3])
  getattr(noise, second)('y', [3])


def test_parts_share_what_was_drawn():
  noise = Noise('0/learn', 3)
  part = noise.named('expl')
  one, two = noise.normal('x', [9]), part.normal('x', [9])
  assert not np.array_equal(one, two)
  with pytest.raises(ValueError, match='noise 0/learn/expl/x is drawn twice'):
    noise.named('expl').normal('x', [9])


def test_a_traced_function_draws_once_for_all_its_calls():
  step = tf.function(lambda counter: Noise('0', counter).normal('x', [9]))
  one, two = step(tf.constant(1)), step(tf.constant(2))
  assert not np.array_equal(one, two)
