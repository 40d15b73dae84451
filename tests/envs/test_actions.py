"""Actions lie in every space, at the places that are said."""

import types

import dm_env.specs
import gymnasium
import numpy as np
import pytest

from dreamer.envs import actions
from dreamer.errors import UserError

S = gymnasium.spaces
INF, LIMIT = np.inf, np.finfo(np.float32).max


def box(low, high, dtype=np.float32):
  low, high = np.array(low, dtype), np.array(high, dtype)
  return S.Box(low, high, dtype=dtype)


SPACES = [
    box([-2], [5]), box([0], [INF]), box([-INF], [0]), box([3], [INF]),
    box([-INF], [-3]), box([-INF], [INF]), box([-LIMIT], [LIMIT]),
    box([0], [LIMIT]), box([1e12], [INF]), box([-1e-3, 0.1], [1e-3, 0.3]),
    box([0, 0, 0, 0], [800, 600, 1, 9]), box([0, -INF], [1, INF]),
    box([[-1, 0], [-INF, 1]], [[1, INF], [0, 1]]), box([-1], [1], np.float16),
    box([0.1], [0.7], np.float16), box([-1e7], [1e7]),
    box([-1, -1], [1, 1], np.float64), box([0, -3], [9, 3], np.int64),
    box([0], [255], np.uint8), box([0, 0], [1, 1], bool),
    S.Box(0, 255, (), np.uint8), S.Box(-1, 1, (), np.float32),
    S.Discrete(3), S.Discrete(3, start=-1), S.MultiDiscrete([3, 4]),
    S.MultiDiscrete([3, 4], start=[-1, 2]), S.MultiDiscrete([[2, 3], [4, 5]]),
    S.MultiBinary(3), S.MultiBinary([2, 2])]


@pytest.mark.filterwarnings('error')
@pytest.mark.parametrize('space', SPACES, ids=str)
def test_actions_lie_in_the_space(space):
  mapping = actions.from_space(space)
  rng = np.random.default_rng(0)
  some = [mapping.space.sample(rng) for _ in range(50)]
  if not mapping.space.discrete:
    some += [np.full(mapping.space.dim, x, np.float32)
             for x in (-1, -0.5, 0, 1, -1.5, 7)]
  for action in some:
    assert space.contains(mapping(action)), (action, mapping(action))


@pytest.mark.parametrize('low, high, expected', [
    (-2, 5, [-2, 1.5, 5]), (0, INF, [0, 1, 2]), (-INF, 0, [-2, -1, 0]),
    (3, INF, [3, 4, 5]), (-0.5, INF, [-0.5, 0.5, 1.5]),
    (-7, INF, [-1, 0, 1]), (-INF, 7, [-1, 0, 1]), (-INF, INF, [-1, 0, 1]),
    (-LIMIT, LIMIT, [-1, 0, 1]), (2, LIMIT, [2, 3, 4]),
    (-LIMIT, -2, [-4, -3, -2]), (4, 4, [4, 4, 4])])
def test_where_the_ends_and_the_middle_go(low, high, expected):
  mapping = actions.Scaled((1,), np.float32, [low], [high])
  got = [mapping(np.float32([x])).item() for x in (-1, 0, 1)]
  assert got == expected
  assert f'[{expected[0]:g}, {expected[2]:g}]' in mapping.text


def test_whole_numbers_get_equal_shares():
  mapping = actions.Scaled((1,), np.int64, 2, 5)
  rows = np.linspace(-1, 1, 4001, dtype=np.float32)
  values, counts = np.unique(
      [mapping(row[None]).item() for row in rows], return_counts=True)
  assert values.tolist() == [2, 3, 4, 5]
  assert np.ptp(counts) <= 2
  assert mapping(np.float32([0])).dtype == np.int64


def test_every_choice_and_combination_once():
  one_hots = lambda mapping: np.eye(mapping.space.dim, dtype=np.float32)
  choice = actions.from_space(S.Discrete(3, start=5))
  assert [choice(x) for x in one_hots(choice)] == [5, 6, 7]
  several = actions.from_space(S.MultiDiscrete([2, 3], start=[1, -1]))
  got = [several(x).tolist() for x in one_hots(several)]
  assert got == [[1, -1], [1, 0], [1, 1], [2, -1], [2, 0], [2, 1]]
  assert several.text == '2 x 3 = 6 combinations, one-hot'
  assert actions.from_space(S.MultiBinary(4)).space.dim == 16


def test_dm_env_specs():
  specs = dm_env.specs
  for spec in (
      specs.BoundedArray((2,), np.float64, -3, [1, 2]),
      specs.BoundedArray((2,), np.float32, [0, -1], np.inf),
      specs.BoundedArray((3,), np.int32, 0, 4), specs.DiscreteArray(5),
      specs.BoundedArray((), np.int64, 2, 4),
      specs.Array((2, 2), np.float32)):
    mapping = actions.from_spec(spec)
    rng = np.random.default_rng(0)
    for _ in range(20):
      spec.validate(mapping(mapping.space.sample(rng)))


def test_a_whole_number_without_bounds():
  with pytest.raises(UserError, match='whole numbers without bounds'):
    actions.from_spec(dm_env.specs.Array((), np.int64))


def test_bounds_that_look_like_a_space():
  space = types.SimpleNamespace(
      shape=(3,), dtype=np.float32, low=-2, high=np.array([1, 2, 3]))
  np.testing.assert_allclose(
      actions.from_space(space)(np.float32([1, 1, -1])), [1, 2, -2])


@pytest.mark.parametrize('space, words', [
    (S.Dict(a=S.Discrete(2)), 'must be Box'),
    (S.Tuple((S.Discrete(2), S.Discrete(2))), 'must be Box'),
    (S.Text(5), 'must be Box'),
    (S.MultiBinary(11), '2048 combinations are more than 1024'),
    (box(np.zeros(0), np.zeros(0)), 'empty'),
    (S.Box(-2 ** 63, 2 ** 63 - 1, (2,), np.int64), 'without bounds'),
    (types.SimpleNamespace(
        shape=(2,), dtype=np.float32, low=[0, 2], high=[1, 1]), 'exceed'),
    (types.SimpleNamespace(
        shape=(2,), dtype=np.float32, low=[0, np.nan], high=1), 'exceed'),
    (types.SimpleNamespace(
        shape=(2,), dtype=np.float32, low=[0, 0, 0], high=1), 'do not fit')],
    ids=str)
def test_what_is_no_space_of_actions(space, words):
  with pytest.raises(UserError, match=words) as info:
    actions.from_space(space)
  assert '\n' not in str(info.value)
