"""What steps and ends of other people's environments mean."""

import types

import dm_env
import gymnasium
import numpy as np
import pytest

from dreamer.envs.suites import adapters
from dreamer.errors import UserError
from tests.support import strange_envs as strange

S = gymnasium.spaces


def step(*result):
  """The adapter's answer to one step with this result."""
  env = types.SimpleNamespace(
      observation_space=S.Box(-1, 1, (2,)), action_space=S.Discrete(2),
      reset=lambda: np.zeros(2), step=lambda action: (np.zeros(2), *result))
  adapter = adapters.GymAdapter(env)
  adapter.reset(None)
  return adapter.step(np.float32([1, 0]))[1:]


# Columns: reward, discount, whether it is the last.


@pytest.mark.parametrize('result, expected', [
    ((1.5, False, False, {}), (1.5, 1, False)),
    ((1.5, True, False, {}), (1.5, 0, True)),
    ((1.5, False, True, {}), (1.5, 1, True)),
    ((1.5, True, True, {}), (1.5, 0, True)),
    ((0, np.bool_(True), np.array([False]), {}), (0, 0, True)),
    ((0, 1, 0, None), (0, 0, True))])
def test_five_values(result, expected):
  assert step(*result) == expected


@pytest.mark.parametrize('done, info, expected', [
    (False, {}, (1, False)), (True, {}, (0, True)), (True, None, (0, True)),
    (True, {'TimeLimit.truncated': True}, (1, True)),
    (True, {'TimeLimit.truncated': False}, (0, True)),
    (True, {'is_terminal': False}, (1, True)),
    (True, {'is_terminal': True}, (0, True)),
    (True, {'discount': 1.0}, (1, True)),
    (True, {'discount': np.array(0.5, np.float32)}, (0.5, True)),
    (True, {'discount': 0.0}, (0, True)), (True, {'discount': None}, (0, True)),
    (False, {'discount': 0.5}, (0.5, False)),
    (False, {'is_terminal': False}, (1, False)),
    (True, {'is_terminal': False, 'discount': 0.0}, (1, True)),
    (True, {'is_terminal': np.array([True]), 'TimeLimit.truncated': True},
     (0, True))])
def test_four_values(done, info, expected):
  assert step(0.5, done, info) == (0.5, *expected)


@pytest.mark.parametrize('result, words', [
    ((None, False, False, {}), 'reward is None; return one number'),
    (('1.5', False, False, {}), "reward is '1.5'"),
    (({'agent_0': 1.0}, False, False, {}), 'reward is a dict of agent_0'),
    ((np.zeros(2), False, False, {}), r'reward is an array of shape \(2,\)'),
    (([[1], [2, 3]], False, False, {}), 'reward is a list'),
    ((1j, False, False, {}), 'reward is a complex'),
    ((0, None, False, {}), 'terminated is None; return True or False'),
    ((0, {'__all__': False}, False, {}), 'terminated is a dict of __all__'),
    ((0, False, np.zeros(3, bool), {}), r'truncated is an array .*\(3,\)'),
    ((0, False, 0.5, {}), 'truncated is 0.5'),
    ((0, None, {}), 'done is None'), ((0, np.zeros(2, bool), {}), 'done is'),
    ((0, True, []), 'info is a list; return a dict'),
    ((0, True, {'is_terminal': None}), r"info\['is_terminal'\] is None"),
    ((0, True, {'discount': 'none'}), r"info\['discount'\] is 'none'"),
    ((0, False, {'is_terminal': True}), 'terminated, done is False'),
    ((0, False), 'returned 3 values'), ((0, 1, 2, 3, 4), 'returned 6 values')])
def test_what_is_no_step(result, words):
  with pytest.raises(UserError, match=words) as info:
    step(*result)
  assert '\n' not in str(info.value)


def test_step_that_returns_an_array():
  env = types.SimpleNamespace(
      observation_space=S.Box(-1, 1, (2,)), action_space=S.Discrete(2),
      step=lambda action: np.zeros(4), reset=lambda: np.zeros(2))
  with pytest.raises(UserError, match='returned 1 value; return obs'):
    adapters.GymAdapter(env).step(np.float32([1, 0]))


PAIR = S.Tuple((S.Box(-1, 1, (1,)), S.Dict(a=S.Box(-1, 1, (1,)))))


@pytest.mark.parametrize('space, result, expected', [
    (S.Box(-1, 1, (1,)), ([0], {}), [0]), (S.Box(-1, 1, (1,)), [0], [0]),
    (S.Box(-1, 1, (1,)), ([0], None), [0]),
    (PAIR, ([0], {'a': 1}), ([0], {'a': 1})),
    (PAIR, (([0], {'a': 1}), {}), ([0], {'a': 1}))])
def test_reset_with_and_without_info(space, result, expected):
  env = types.SimpleNamespace(
      observation_space=space, action_space=S.Discrete(2),
      reset=lambda: result)
  assert adapters.GymAdapter(env).reset(None) == expected


class Composer(dm_env.Environment):
  """Keeps a generator of its own, as dm_control's composer does."""

  def __init__(self):
    self._random_state = np.random.RandomState(5)
    self.task = object()

  @property
  def random_state(self):
    return self._random_state

  def action_spec(self):
    return dm_env.specs.BoundedArray((2,), float, -1, 1)

  def observation_spec(self):
    return {'start': dm_env.specs.Array((1,), float)}

  def reset(self):
    start = self._random_state.uniform(size=1)
    return dm_env.restart({'start': start})

  def step(self, action):
    return dm_env.transition(None, {'start': np.zeros(1)})


def test_seed_of_a_composer():
  adapter = adapters.adapt(Composer())
  draws = [adapter.reset(seed)['start'].item() for seed in (3, 3, 4)]
  assert draws[0] == draws[1] != draws[2]


def test_dm_env_without_reward():
  adapter = adapters.adapt(Composer())
  adapter.reset(0)
  with pytest.raises(UserError, match='reward is None'):
    adapter.step(np.zeros(2, np.float32))


class IgnoresSeed(gymnasium.Env):
  """Its reset takes a seed and does nothing with it."""

  observation_space = S.Box(0, 1, (1,))
  action_space = S.Discrete(2)

  def reset(self, seed=None, options=None):
    return self.np_random.uniform(size=1), {}


def test_seed_that_reset_ignores():
  adapter = adapters.adapt(IgnoresSeed())
  draws = [adapter.reset(seed).item() for seed in (3, 3, 4)]
  assert draws[0] == draws[1] != draws[2]


def test_old_seed_method():
  inner = strange.OldStyle()
  adapters.adapt(inner).reset(2 ** 31 + 11)
  assert inner.seeds == [11]


def test_interface():
  names = [adapters.adapt(env).interface for env in (
      strange.NewStyle(), strange.OldStyle(), Composer())]
  assert names == ['gymnasium', 'gym-like', 'dm_env']


class Shown(strange.NewStyle):
  """Gym's form around another one, whose specs can be asked for as well."""

  action_spec = np.zeros(2), np.ones(2)

  def observation_spec(self):
    return {}


def test_gym_around_something_else():
  assert adapters.adapt(Shown()).interface == 'gymnasium'


def test_several_environments_in_one():
  several = gymnasium.vector.SyncVectorEnv([strange.NewStyle] * 2)
  with pytest.raises(UserError, match='it holds 2 environments'):
    adapters.adapt(several)
