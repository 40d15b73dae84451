"""Scalars of updates: a mapping by name, and one reading of many."""

import numpy as np
import pytest
import tensorflow as tf

from dreamer.scalars import Scalars, read


def test_a_mapping_by_name():
  found = Scalars(('loss/model', 'grad_norm/model'), np.float32([1.5, 2.5]))
  assert dict(found) == {'loss/model': 1.5, 'grad_norm/model': 2.5}
  assert len(found) == 2 and 'loss/actor' not in found
  with pytest.raises(KeyError, match='loss/actor'):
    found['loss/actor']


def test_many_are_read_at_once():
  stacked = []

  def stack(arrays):
    stacked.append(len(arrays))
    return tf.stack(arrays)

  updates = [Scalars(('a', 'b'), tf.constant([i, np.nan]), stack)
             for i in range(3)]
  found = read(updates)
  assert stacked == [3]
  assert [x['a'] for x in found] == [0.0, 1.0, 2.0]
  assert all(np.isnan(x['b']) for x in found)


def test_plain_ones():
  assert read([]) == []
  assert read([{'a': np.float32(2)}]) == [{'a': 2.0}]
