"""First values by fans."""

import numpy as np
import pytest

from dreamer.nn.initial import ByFan

SHAPE = 5, 5, 8, 40  # fans 200 and 1000


@pytest.mark.parametrize('rule, variance', [
    ('trunc_normal_in', 1 / 200), ('trunc_normal_out', 1 / 1000),
    ('trunc_normal_avg', 1 / 600), ('normal_in', 1 / 200), ('normal_none', 1),
    ('uniform_in', 1 / 600), ('uniform_out', 1 / 3000)])
def test_variances(rule, variance):
  values = ByFan(0, rule).kernel('x', SHAPE)
  assert values.var() == pytest.approx(variance, rel=0.05)
  assert abs(values.mean()) < 0.05 * np.sqrt(variance)


def test_truncated_at_two_deviations():
  values = ByFan(0).kernel('x', SHAPE)
  limit = 2 * ByFan.CUT / np.sqrt(200)
  assert 0.98 * limit < np.abs(values).max() <= limit


def test_columns_of_length_one():
  values = ByFan(0, 'normed_in').kernel('x', (30, 4))
  np.testing.assert_allclose(np.linalg.norm(values, axis=0), 1)


def test_scaled_and_zero():
  init, shape = ByFan(0), (20, 4)
  plain = init.kernel('x', shape)
  np.testing.assert_allclose(init.scaled(0.01).kernel('x', shape), 0.01 * plain)
  assert not init.scaled(0.0).kernel('x', shape).any()
  assert not ByFan(0, 'zeros').kernel('x', shape).any()


def test_function_of_seed_and_name():
  draw = lambda seed, name: ByFan(seed).kernel(name, (3, 3))
  np.testing.assert_array_equal(draw(0, 'a'), draw(0, 'a'))
  assert (draw(0, 'a') != draw(0, 'b')).all()
  assert (draw(0, 'a') != draw(1, 'a')).all()
