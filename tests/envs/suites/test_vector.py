"""Vectors of one environment are that one, whatever form they have."""

import gymnasium
import numpy as np
import pytest

from dreamer import envs
from dreamer.envs.suites import user
from dreamer.errors import UserError
from dreamer.run import arguments
from tests.support import env_tools
from tests.support.env_tools import assert_same, rollout

S = gymnasium.spaces
LENGTH = 4


class Room(gymnasium.Env):
  """Shows its step, and the action that it got."""

  metadata = {'render_modes': ['rgb_array']}
  render_mode = 'rgb_array'
  observation_space = S.Dict(
      camera=S.Box(0, 255, (64, 64, 3), np.uint8), arm=S.Box(-9, 9, (2,)),
      door=S.Discrete(3))

  def __init__(self, action_space=None):
    self.action_space = action_space or S.Box(-2, 2, (2,))
    self.got = []

  def reset(self, seed=None, options=None):
    super().reset(seed=seed)
    self.t = 0
    return self._obs(), {}

  def step(self, action):
    assert self.action_space.contains(action), action
    self.got.append(action)
    self.t += 1
    return self._obs(), float(self.t), self.t >= LENGTH, False, {}

  def render(self):
    return np.full((64, 64, 3), 100 + self.t, np.uint8)

  def _obs(self):
    return {'camera': np.full((64, 64, 3), self.t, np.uint8),
            'arm': np.full(2, self.t, np.float32), 'door': self.t % 3}


class Simulator(gymnasium.Env):
  """One of a simulator's: all arrays have an axis, the spaces have or not."""

  num_envs = 1

  def __init__(self, spaces_have_it=True, arrays_have_it=True):
    self.axis = (1,) * arrays_have_it
    shape = (1,) * spaces_have_it
    self.observation_space = S.Dict(
        camera=S.Box(0, 255, (*shape, 64, 64, 3), np.uint8),
        arm=S.Box(-9, 9, (*shape, 2)))
    self.action_space = S.Box(-2, 2, (*shape, 2))

  def reset(self, seed=None, options=None):
    self.t = 0
    return self._obs(), {}

  def step(self, action):
    assert self.action_space.contains(action), action
    self.t += 1
    over = np.full(self.axis, self.t >= LENGTH)
    cut = np.zeros_like(over)
    return self._obs(), np.full(self.axis, self.t, float), over, cut, {}

  def _obs(self):
    return {'camera': np.full((*self.axis, 64, 64, 3), self.t, np.uint8),
            'arm': np.full((*self.axis, 2), self.t, np.float32)}


class Baselines:
  """As stable-baselines3's vectors: actions and infos in a row, four values,
  and the next episode begun by itself."""

  num_envs = 1

  def __init__(self, env):
    self.env = env
    self.observation_space = env.observation_space
    self.action_space = env.action_space

  def seed(self, seed):
    self.seeded = seed

  def reset(self):
    return self._row(self.env.reset(seed=self.seeded)[0])

  def step_async(self, actions):
    self.actions = actions

  def step(self, actions):
    self.step_async(actions)
    assert len(self.actions) == 1
    obs, reward, over, _, _ = self.env.step(self.actions[0])
    info = {}
    if over:
      info['terminal_observation'] = obs
      obs, _ = self.env.reset()
    return self._row(obs), np.array([reward]), np.array([over]), [info]

  def _row(self, obs):
    return {key: np.asarray(value)[None] for key, value in obs.items()}


def play(make, actions, **overrides):
  return rollout(env_tools.make_user_env(make, **overrides), 3, actions)


MODES = [gymnasium.vector.AutoresetMode(x) for x in (
    'NextStep', 'SameStep', 'Disabled')]


@pytest.mark.parametrize('space, actions', [
    (S.Box(-2, 2, (2,)), np.float32([[-1, 1], [0, 0.5], [0, 0], [1, 1]])),
    (S.Discrete(3), np.eye(3, dtype=np.float32)[[2, 0, 1, 1]]),
    (S.Discrete(3, start=5), np.eye(3, dtype=np.float32)[[2, 0, 1, 1]]),
    (S.MultiDiscrete([2, 3]), np.eye(6, dtype=np.float32)[[5, 0, 2, 4]])])
@pytest.mark.parametrize('mode', MODES)
def test_a_vector_of_one_is_that_one(space, actions, mode):
  """Its last observation too, where the vector has begun the next episode."""
  alone = play(lambda: Room(space), actions)
  vector = play(lambda: gymnasium.vector.SyncVectorEnv(
      [lambda: Room(space)], autoreset_mode=mode), actions)
  assert alone[-1]['is_last'] and (alone[-1]['image'] == LENGTH).all()
  for left, right in zip(vector, alone, strict=True):
    assert_same(left, right)


class Leading(gymnasium.Env):
  """Observations whose own first axis is 1."""

  observation_space = S.Dict(
      camera=S.Box(0, 255, (1, 64, 64), np.uint8), arm=S.Box(-9, 9, (1, 6)))
  action_space = S.Discrete(2)

  def reset(self, seed=None, options=None):
    super().reset(seed=seed)
    return self.observation_space.sample(), {}

  def step(self, action):
    return self.observation_space.sample(), 1.0, False, False, {}


def test_an_axis_of_one_that_is_the_environments_own():
  rows = play(lambda: gymnasium.vector.SyncVectorEnv([Leading]),
              np.eye(2, dtype=np.float32))
  assert [x['arm'].shape for x in rows] == [(6,)] * 3


def test_its_picture():
  actions = np.zeros((2, 2), np.float32)
  rows = play(lambda: gymnasium.vector.SyncVectorEnv([Room]), actions,
              image_key='render')
  assert [row['image'].mean() for row in rows] == [100, 101, 102]


@pytest.mark.parametrize('space, actions', [
    (S.Box(-2, 2, (2,)), np.float32([[-1, 1], [0, 0.5], [0, 0], [1, 1]])),
    (S.Discrete(3), np.eye(3, dtype=np.float32)[[2, 0, 1, 1]])])
def test_the_older_vectors(space, actions):
  alone = play(lambda: Room(space), actions)
  for left, right in zip(play(
      lambda: Baselines(Room(space)), actions), alone, strict=True):
    assert_same(left, right)


@pytest.mark.parametrize('spaces_have_it', [False, True])
@pytest.mark.parametrize('arrays_have_it', [False, True])
def test_one_of_a_simulator(spaces_have_it, arrays_have_it):
  env = env_tools.make_user_env(
      lambda: Simulator(spaces_have_it, arrays_have_it))
  rows = rollout(env, 0, np.ones((LENGTH, 2), np.float32))
  assert [row['image'].mean() for row in rows] == [0, 1, 2, 3, 4]
  assert rows[-1]['arm'].tolist() == [4, 4] and rows[-1]['is_terminal']
  assert env.act_space.shape == (2,)
  told = env.about()['interface']
  assert told.startswith('gymnasium, num_envs 1')
  assert ('axis of 1 dropped from arm, camera' in told) == arrays_have_it


def test_an_axis_without_the_attribute_is_told():
  class Unsaid(Simulator):
    num_envs = None
  env = env_tools.make_user_env(Unsaid)
  env.reset(0)
  about = env.about()
  assert about['image'] == (
      'camera (uint8 1x64x64x3, a leading axis of 1 dropped)')
  assert about['vectors'] == {'arm': '2 of 1x2'}


@pytest.mark.parametrize('amount', [2, np.int64(3), 0])
def test_several_are_refused(amount):
  env = Simulator()
  env.num_envs = amount
  with pytest.raises(UserError, match=f'it holds {amount} environments'):
    user.UserEnv(env)
  with pytest.raises(UserError, match=f'holds {amount} environments'):
    arguments.environment(env, 'dreamerv1')


@pytest.mark.parametrize('amount', [1, np.int32(1), None, 'many', 1.5])
def test_one_is_accepted(amount):
  env = Simulator()
  env.num_envs = amount
  arguments.environment(env, 'dreamerv1')
  user.UserEnv(env).reset(0)


def test_an_object_among_the_environments_of_a_run():
  env, = envs.make_envs(env_tools.make_config(), 'train', 1, Simulator())
  assert env.reset(0)['image'].shape == (64, 64, 3)
  assert 'num_envs 1, a leading axis of 1 dropped from' in (
      env.about()['interface'])
