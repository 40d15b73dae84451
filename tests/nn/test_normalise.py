"""Running scales by hand."""

import tensorflow as tf

from dreamer.config.schema import Section
from dreamer.nn.normalise import Normaliser


def make(kind, **changes):
  return Normaliser('n', Section({
      'kind': kind, 'rate': 0.5, 'limit': 1.0, 'low': 0.0, 'high': 100.0,
      'debias': False, **changes}))


def stats(norm):
  return [float(x) for x in norm.stats()]


def test_percentiles_start_at_zero():
  norm = make('percentiles')
  assert stats(norm) == [0, 1]
  norm.update(tf.constant([-8.0, 0.0, 2.0]))
  assert stats(norm) == [-4, 5]
  norm.update(tf.constant([-8.0, 2.0]))
  assert stats(norm) == [-6, 7.5]


def test_a_small_range_is_not_stretched():
  norm = make('percentiles')
  norm.update(tf.constant([0.0, 0.5]))
  assert stats(norm) == [0, 1]


def test_debiased_percentiles_are_those_of_the_first_batch():
  norm = make('percentiles', debias=True)
  norm.update(tf.constant([-8.0, 2.0]))
  assert stats(norm) == [-8, 10]


def test_mean_and_deviation():
  norm = make('mean_std', debias=True, limit=1e-8)
  norm.update(tf.constant([1.0, 5.0]))
  assert stats(norm) == [3, 2]


def test_none_has_no_state():
  norm = make('none')
  norm.update(tf.constant([1.0]))
  assert stats(norm) == [0, 1] and norm.variables == {}
