"""Objects of gym, gymnasium and dm_env as environments."""

import gymnasium
import numpy as np
import pytest

from dreamer import envs
from dreamer.envs import base, spaces
from dreamer.envs.suites import user
from dreamer.envs.workers import remote
from dreamer.errors import UserError
from tests.support import env_tools
from tests.support import strange_envs as strange
from tests.support.env_tools import assert_same, make_config, rollout

ZERO = np.zeros(2, np.float32)


def test_gymnasium_object():
  env = strange.NewStyle()
  space = user.UserEnv(env).obs_space
  assert space['camera' if 'camera' in space else 'image'].shape == (
      64, 64, 3)
  assert space['speed'].shape == (1,)
  remote_env, = envs.make_envs(
      make_config(action_repeat=2), 'train', 1, env)
  obs = remote_env.reset(5)
  again = remote_env.reset(5)
  assert_same(obs, again)
  level = env.level
  obs = remote_env.step(np.float32([-1, 0.5]))
  assert (obs['image'] == level + 2).all() and obs['reward'] == 1
  np.testing.assert_allclose(env.actions[-1], [0, 1])
  obs = [remote_env.step(np.ones(2, np.float32)) for _ in range(2)][-1]
  assert obs['is_last'] and obs['is_terminal'] and obs['reward'] == 0.5


def test_truncation_is_not_terminal():
  env = envs.make_env(make_config(), factory=lambda: strange.NewStyle(
      length=1, truncates=True))
  obs = rollout(env, 0, [ZERO])[-1]
  assert obs['is_last'] and not obs['is_terminal'] and obs['discount'] == 1


@pytest.mark.parametrize('truncated', [False, True])
def test_old_gym_object(truncated):
  inner = strange.OldStyle(truncated)
  env, = envs.make_envs(make_config(action_repeat=1), 'train', 1, inner)
  assert env.act_space == spaces.ActionSpace('discrete', 4)
  actions = np.eye(4, dtype=np.float32)[[3, 0, 1]]
  obs = rollout(env, 11, actions)
  assert inner.seeds == [11] and inner.actions == [3, 0, 1]
  assert obs[2]['image'].shape == (64, 64, 3)
  assert (obs[2]['image'] == 2).all()
  assert obs[-1]['is_last'] and obs[-1]['is_terminal'] != truncated


class NoArguments(gymnasium.Wrapper):
  """A wrapper whose reset takes no seed."""

  def reset(self):
    return self.env.reset()


def test_wrapper_without_a_seed():
  env, = envs.make_envs(
      make_config(), 'train', 1, NoArguments(strange.NewStyle(50)))
  one, two, three = (rollout(env, seed, [ZERO]) for seed in (3, 3, 4))
  assert len(one) == len(two) == 2
  assert not np.array_equal(one[0]['image'], three[0]['image'])


def test_dm_env_object():
  inner = strange.DmStyle()
  env, = envs.make_envs(make_config(action_repeat=1), 'train', 1, inner)
  obs = rollout(env, 0, [np.float32([1, -1])] * 4)
  np.testing.assert_allclose(inner.action, [3, -1])
  assert (obs[3]['image'] == 30).all()
  assert obs[1]['discount'] == np.float32(0.9)
  assert obs[1]['height'].tolist() == [1.5]
  assert obs[-1]['is_terminal'] and not obs[-2]['is_last']


def test_shared_object_tells_that_an_episode_is_lost():
  inner = strange.NewStyle(length=50)
  train, = envs.make_envs(make_config(), 'train', 1, inner)
  test, = envs.make_envs(make_config(), 'eval', 1, inner)
  train.reset(0)
  test.reset(1)
  test.step(ZERO)
  with pytest.raises(remote.WorkerError, match='cut by an evaluation'):
    train.step(ZERO)
  train.restart()
  train.reset(2)
  train.step(ZERO)
  with pytest.raises(UserError, match='envs.amount=2'):
    envs.make_envs(make_config(), 'train', 2, inner)


def test_object_of_another_kind():
  with pytest.raises(UserError, match='not a gym, gymnasium or dm_env') as info:
    envs.make_env(make_config(), factory=strange.not_an_env)
  assert str(info.value).count('environment ') == 1  # named once


# Names


def named(*names):
  """An environment whose vectors have these names, and a picture."""
  class Named(gymnasium.Env):
    observation_space = gymnasium.spaces.Dict({
        'camera': gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8),
        **{name: gymnasium.spaces.Box(-9, 9, (1,)) for name in names}})
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, seed=None, options=None):
      return self._obs(), {}

    def step(self, action):
      return self._obs(), 0.25, True, False, {}

    def _obs(self):
      vectors = {x: np.float32([i]) for i, x in enumerate(names)}
      return {'camera': np.full((64, 64, 3), 7, np.uint8), **vectors}
  return Named


def test_names_of_users_are_none_of_ours():
  names = [*base.RESERVED, 'obs/reward', 'is_open', 'speed']
  env = env_tools.make_user_env(named(*names))
  actions = np.eye(2, dtype=np.float32)[:1]
  _, obs = rollout(env, 0, actions)
  assert (obs['image'] == 7).all() and obs['reward'] == 0.25
  assert obs['discount'] == 0 and obs['is_last'] and obs['is_terminal']
  got = [obs[base.inside(name)].item() for name in names]
  assert got == list(range(len(names)))
  assert obs['speed'].item() == len(names) - 1


# Actions


class Sends(gymnasium.Env):
  """Keeps what it gets."""

  observation_space = gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)

  def __init__(self, action_space):
    self.action_space = action_space
    self.got = []

  def reset(self, seed=None, options=None):
    return np.zeros((64, 64, 3), np.uint8), {}

  def step(self, action):
    self.got.append(action)
    return np.zeros((64, 64, 3), np.uint8), 0.0, False, False, {}


def test_what_is_sent_is_checked():
  class Even(gymnasium.spaces.Discrete):
    def contains(self, x):
      return super().contains(x) and x % 2 == 0
  inner = Sends(Even(4))
  env = env_tools.make_user_env(lambda: inner)
  env.reset(0)
  env.step(np.float32([0, 0, 1, 0]))
  assert inner.got == [2]
  with pytest.raises(UserError, match='action 1, made of 4 choices.*not in'):
    env.step(np.float32([0, 1, 0, 0]))


def test_bounds_of_one_side_by_the_whole_way():
  inner = Sends(gymnasium.spaces.Box(0, np.inf, (1,)))
  env = env_tools.make_user_env(lambda: inner)
  env.reset(0)
  for value in (-1, 0, 1):
    env.step(np.float32([value]))
  assert [x.item() for x in inner.got] == [0, 1, 2]
  assert env.about()['actions'] == '1 number, [-1, 1] to [0, 2] of [0, inf)'


def test_unsupported_action_space():
  inner = Sends(gymnasium.spaces.Dict(a=gymnasium.spaces.Discrete(2)))
  with pytest.raises(UserError, match='environment Sends: .* must be Box'):
    env_tools.make_user_env(lambda: inner)


# Images


class Draws(gymnasium.Env):
  """Its image is what a function draws."""

  observation_space = gymnasium.spaces.Box(-1, 1, (2,))
  action_space = gymnasium.spaces.Discrete(2)

  def __init__(self, draw):
    self.draw = draw

  def reset(self, seed=None, options=None):
    return np.zeros(2, np.float32), {}

  def render(self):
    return self.draw()


def type_error():
  return np.zeros((64, 64, 3), np.uint8) + 'blue'


@pytest.mark.parametrize('draw, words', [
    (type_error, r"failed: .*'add'.*test_user\.py:\d+ in type_error\)"),
    (lambda: 1 + None, r'render\(\) failed: TypeError: unsupported operand'),
    (lambda: [][0], r'failed: IndexError: list index out of range'),
    (lambda: None, r"gave None; make it with render_mode='rgb_array'"),
    (lambda: [np.zeros((9, 9, 3), np.uint8)], 'gave a list'),
    (lambda: np.zeros((9, 9, 3)), r'float64 of shape \(9, 9, 3\)'),
    (lambda: np.zeros((9, 9, 5), np.uint8), r'must give uint8 \[H, W, 3\]')])
def test_errors_of_render_are_told(draw, words):
  env = env_tools.make_user_env(lambda: Draws(draw))
  with pytest.raises(UserError, match=words) as info:
    env.reset(0)
  assert '\n' not in str(info.value)
  assert str(info.value).startswith('environment Draws: no image: ')


def test_without_any_image_the_rejected_one_is_named():
  class Far(gymnasium.Env):
    observation_space = gymnasium.spaces.Dict(
        far=gymnasium.spaces.Box(0, np.inf, (64, 64, 1)),
        speed=gymnasium.spaces.Box(-1, 1, (1,)),
        goal=gymnasium.spaces.Box(-1, 1, (0,)))
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, seed=None, options=None):
      return {'far': np.zeros((64, 64, 1)), 'speed': np.zeros(1),
              'goal': np.zeros(0)}, {}
  with pytest.raises(UserError, match='far, float32 64x64x1: .*without bounds'):
    user.UserEnv(Far())
  env = user.UserEnv(Far(), image_key='render', blind='preset vectors')
  env.reset(0)
  with pytest.raises(UserError, match='render.. is not implemented') as info:
    env.render()
  assert 'observation far is no image: float32 64x64x1' in str(info.value)
  assert 'observation goal is left out: it is empty' in str(info.value)
  assert 'vectors alone, with the preset vectors' in str(info.value)


def test_a_board_that_could_be_the_image_is_named():
  class Board(Draws):
    observation_space = gymnasium.spaces.Box(0, 1, (10, 10, 4), bool)

    def reset(self, seed=None, options=None):
      return np.ones((10, 10, 4), bool), {}
  env = env_tools.make_user_env(lambda: Board(lambda: None))
  with pytest.raises(UserError, match='image_key observation takes bool'):
    env.reset(0)
  env = env_tools.make_user_env(
      lambda: Board(lambda: None), image_key='observation')
  image = env.reset(0)['image']
  assert image.shape == (64, 64, 4) and (image == 255).all()


@pytest.mark.parametrize('passes', [False, True])
def test_render_of_old_environments_under_wrappers(passes):
  inner = strange.OldStyle()

  class Wrapper:
    observation_space = inner.observation_space
    action_space = inner.action_space
    unwrapped, reset, step = inner, inner.reset, inner.step
    if passes:
      def render(self, *args, **kwargs):
        return inner.render(*args, **kwargs)
    else:
      def render(self):
        return inner.render()
  assert env_tools.make_user_env(Wrapper).reset(0)['image'].shape == (64, 64, 3)


class OneBuffer(gymnasium.Env):
  """Writes all observations and pictures into the same arrays."""

  observation_space = gymnasium.spaces.Dict(
      place=gymnasium.spaces.Box(-9, 9, (2,)),
      eye=gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8))
  action_space = gymnasium.spaces.Discrete(2)

  def __init__(self):
    self.obs = {'place': np.zeros(2, np.float32),
                'eye': np.zeros((64, 64, 3), np.uint8)}

  def reset(self, seed=None, options=None):
    for value in self.obs.values():
      value[:] = 0
    return self.obs, {}

  def step(self, action):
    for value in self.obs.values():
      value += 1
    return self.obs, 0.0, False, False, {}

  def render(self):
    return self.obs['eye']


@pytest.mark.parametrize('key', ['eye', 'render'])
def test_arrays_that_are_written_again_are_copied(key):
  env = env_tools.make_user_env(OneBuffer, image_key=key)
  rows = rollout(env, 0, np.eye(2, dtype=np.float32))
  for number, row in enumerate(rows):
    assert (row['image'] == number).all() and (row['place'] == number).all()


# What it tells of itself


def test_about():
  env = env_tools.make_user_env(strange.NewStyle)
  about = env.about()
  del about['mapping']  # see tests/export/test_environment.py
  assert about == {
      'name': 'NewStyle', 'interface': 'gymnasium',
      'image': 'camera (uint8 128x96x3)', 'vectors': {'speed': '1'},
      'left_out': {}, 'repeats': [1, 1], 'ends': 'terminated or done',
      'actions': '2 numbers, [-1, 1] to [0, 4], [-2, 2]'}
  rollout(env, 0, [ZERO])
  assert env.about()['ends'] == 'terminated and truncated'


def test_about_render_and_old_steps():
  env = env_tools.make_user_env(strange.OldStyle)
  rollout(env, 0, np.eye(4, dtype=np.float32)[:1])
  about = env.about()
  assert about['image'] == 'render() (30x40x3)'
  assert about['vectors'] == {'observation': '3'}
  assert 'TimeLimit.truncated' in about['ends']
