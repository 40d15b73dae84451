"""Values that change over training, on worked examples."""

import numpy as np
import pytest

from dreamer.config.schema import Section
from dreamer.nn.schedules import schedule


def value(kind, step, start=0.0, end=1.0, duration=100):
  return float(schedule(Section({
      'kind': kind, 'start': start, 'end': end, 'duration': duration}), step))


@pytest.mark.parametrize('kind, start, end, expected', [
    # at 0, 25, 50, 100 and 200 of 100 steps
    ('constant', 3.0, 1.0, [3, 3, 3, 3, 3]),
    ('linear', 3.0, 1.0, [3, 2.5, 2, 1, 1]),
    ('linear', 0.0, 0.4, [0, 0.1, 0.2, 0.4, 0.4]),
    ('warmup', 9.0, 2.0, [0, 0.5, 1, 2, 2]),
    ('exp', 3.0, 1.0, [3, 1 + 2 * 0.5 ** .25, 1 + 2 * 0.5 ** .5, 2, 1.5])])
def test_values(kind, start, end, expected):
  found = [value(kind, step, start, end) for step in (0, 25, 50, 100, 200)]
  np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize('kind', ['linear', 'warmup'])
def test_without_duration_the_end_comes_at_once(kind):
  assert value(kind, 1, 5.0, 2.0, 0) == 2.0


def test_large_counts_stay_exact_enough():
  # A step of 1e-4 of the duration at 200M is seen.
  one, two = (value('linear', step, 0.0, 1.0, 200_000_000)
              for step in (100_000_000, 100_020_000))
  np.testing.assert_allclose([one, two - one], [0.5, 1e-4], rtol=1e-2)


@pytest.mark.parametrize('kind', ['constant', 'linear', 'warmup', 'exp'])
def test_float32_inside_a_graph(kind):
  import tensorflow as tf  # TensorFlow with it.
  config = Section({'kind': kind, 'start': 10.0, 'end': 20.0, 'duration': 100})
  compiled = tf.function(lambda step: schedule(config, step), autograph=False)
  found = compiled(tf.constant(50, tf.int64))
  assert found.dtype == tf.float32 and found.shape == ()
  np.testing.assert_allclose(found, value(kind, 50, 10.0, 20.0), rtol=1e-6)
