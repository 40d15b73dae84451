"""Observations without images: vectors of any suite, nothing rendered."""

import re

import gymnasium
import numpy as np
import pytest

from dreamer import envs
from dreamer.config import agents
from dreamer.envs import base, gl, spaces
from dreamer.errors import UserError
from dreamer.run import evaluate
from tests.support import mapped
from tests.support import strange_envs as strange
from tests.support.env_tools import draw_actions, rollout

LOW = {'dmc.buffer': 'small', 'dmc.shadows': 'off',
       'dmc.multisampling': False}


def make_config(task='dmc_cartpole_balance', images='eval', **overrides):
  schema = agents.schema('dreamerv2')
  return schema.config(overrides={
      'task': task, 'images': images, 'action_repeat': 2, 'time_limit': 1000,
      **LOW, **overrides})


@pytest.fixture
def make():
  made = []

  def function(mode='train', **keys):
    made.extend(envs.make_envs(make_config(**keys), mode))
    return made[-1]

  yield function
  for env in made:
    env.close()


@pytest.mark.parametrize('images, mode, has', [
    ('all', 'train', True), ('all', 'eval', True),
    ('eval', 'train', False), ('eval', 'eval', True),
    ('none', 'train', False), ('none', 'eval', False)])
def test_who_renders(images, mode, has):
  config = make_config('dummy_continuous', images)
  assert base.has_images(config, mode) == has
  env = envs.make_env(config, mode)
  renders = []
  inner = env.env.env
  inner.render = lambda: renders.append(1) or np.zeros((64, 64, 3), np.uint8)
  obs = [*rollout(env, 0, draw_actions(env.act_space, 3))]
  obs.append(env.replay(0, draw_actions(env.act_space, 3)))
  names = {'position'} | ({'image'} if has else set())
  assert set(env.obs_space) == names
  for one in obs:
    assert ('image' in one) == has
    assert one['position'].shape == (2,)
  assert bool(renders) == has


@pytest.mark.parametrize('images, names', [
    ('all', {'image', 'position'}), ('eval', {'position'})])
def test_evaluations_build_the_agent_that_was_trained(images, names):
  """It has seen no image where only evaluations render."""
  made = []

  def make_agent(config, obs_space, act_space):
    made.append(set(obs_space))

  config = make_config('dummy_continuous', images)
  env = envs.make_env(config, 'eval')
  evaluate.make_policy('untrained', config, make_agent, env, {}, {}, 0)
  assert made == [names]


def test_an_agent_without_the_key_has_images():
  config = agents.schema('dreamerv1').config()
  assert 'images' not in config
  assert base.has_images(config, 'train') and base.has_images(config, 'eval')


def test_control_from_vectors_needs_no_opengl(make, monkeypatch):
  """Neither here nor in the worker, and whatever MUJOCO_GL says."""
  monkeypatch.setenv('MUJOCO_GL', 'glfww')
  monkeypatch.setattr(gl, 'find_gl', None)
  env = make()
  assert set(env.obs_space) == {'position', 'velocity'}
  obs = rollout(env, 0, draw_actions(env.act_space, 3))
  assert 'image' not in obs[0] and obs[-1]['position'].shape == (3,)
  names = ' '.join(mapped(env.pid))
  assert 'libmujoco' in names
  assert not re.search('libEGL|libOSMesa|libglfw|libLLVM', names)


def test_evaluation_has_the_image_and_the_same_vectors(make):
  train, test = make('train'), make('eval')
  actions = draw_actions(train.act_space, 4)
  left, right = rollout(train, 3, actions), rollout(test, 3, actions)
  for one, two in zip(left, right, strict=True):
    assert two['image'].shape == (64, 64, 3) and two['image'].std() > 0
    assert set(two) - set(one) == {'image'}
    for key, value in one.items():
      np.testing.assert_array_equal(value, two[key])


def test_scalars_have_one_dimension(make):
  env = make(task='dmc_walker_walk')
  assert env.obs_space['height'] == spaces.vector_space((1,))
  assert env.reset(0)['height'].shape == (1,)


def test_only_what_renders_is_refused_inline():
  inline = {'envs.worker': 'inline'}
  with pytest.raises(UserError, match='envs.worker=process'):
    envs.make_envs(make_config(**inline), 'eval')
  env, = envs.make_envs(make_config('dummy_continuous', **inline), 'train')
  assert 'image' not in env.reset(0)


def test_disabled_restores_the_variable(monkeypatch):
  import os  # For this test only.
  monkeypatch.delenv('MUJOCO_GL', raising=False)
  with gl.disabled():
    assert os.environ['MUJOCO_GL'] == 'disabled'
  assert 'MUJOCO_GL' not in os.environ
  monkeypatch.setenv('MUJOCO_GL', 'egl')
  with pytest.raises(ValueError), gl.disabled():
    raise ValueError
  assert os.environ['MUJOCO_GL'] == 'egl'


@pytest.mark.parametrize('task', ['atari_pong', 'crafter_reward'])
def test_nothing_but_images(task):
  with pytest.raises(UserError) as info:
    envs.make_env(make_config(task, 'none'))
  assert str(info.value) == (
      f'images=none: {task} has no observations but images; use images=all')


# gym


def test_gym_vectors_need_no_renderer():
  """CartPole draws with pygame, which is no requirement."""
  env = envs.make_env(make_config('gym_CartPole-v1', action_repeat=1))
  assert env.obs_space == {'observation': spaces.vector_space((4,))}
  assert env.act_space == spaces.ActionSpace('discrete', 2)
  obs = rollout(env, 0, np.eye(2, dtype=np.float32)[[0, 1, 1]])
  assert obs[-1]['reward'] == 1 and np.abs(obs[-1]['observation']).max() > 0
  plain = gymnasium.make('CartPole-v1')
  expected, _ = plain.reset(seed=0)
  np.testing.assert_array_equal(obs[0]['observation'], expected)
  for action, one in zip((0, 1, 1), obs[1:], strict=True):
    np.testing.assert_array_equal(
        one['observation'], plain.step(action)[0])


def test_gym_box_actions_are_mapped():
  env = envs.make_env(make_config('gym_Pendulum-v1', action_repeat=1))
  plain = gymnasium.make('Pendulum-v1')
  plain.reset(seed=1)
  env.reset(1)
  for value in (-1, 0.5, 1):
    obs = env.step(np.float32([value]))
    expected, reward, *_ = plain.step(np.float32([2 * value]))
    np.testing.assert_allclose(obs['observation'], expected, rtol=1e-6)
    assert obs['reward'] == pytest.approx(reward, rel=1e-6)


def test_gym_failing_is_terminal_and_truncation_is_not():
  env = envs.make_env(make_config('gym_CartPole-v1', action_repeat=1))
  obs = env.reset(0)
  while not obs['is_last']:
    obs = env.step(np.float32([1, 0]))
  assert obs['is_terminal'] and obs['discount'] == 0
  env = envs.make_env(make_config('gym_Pendulum-v1', action_repeat=1))
  obs, count = env.reset(0), 0
  while not obs['is_last']:
    obs, count = env.step(np.float32([0])), count + 1
  assert count == 200, 'the limit in its registration'
  assert not obs['is_terminal'] and obs['discount'] == 1


class Nested(gymnasium.Env):
  """Dicts in a dict, a matrix, whole numbers, two cameras."""

  def __init__(self):
    box = gymnasium.spaces.Box
    self.action_space = gymnasium.spaces.Discrete(3, start=5)
    self.observation_space = gymnasium.spaces.Dict({
        'arm': gymnasium.spaces.Dict({
            'angle': box(-1, 1, (), np.float64),
            'joints': box(-1, 1, (2, 3), np.float64)}),
        'level': gymnasium.spaces.Discrete(9),
        'flags': gymnasium.spaces.MultiBinary(4),
        'ram': box(0, 255, (128,), np.uint8),
        'camera0': box(0, 255, (80, 64, 3), np.uint8),
        'camera1': box(0, 255, (80, 64, 3), np.uint8)})
    self.actions = []

  def reset(self, seed=None, options=None):
    super().reset(seed=seed)
    return {
        'arm': {'angle': np.float64(0.5),
                'joints': np.arange(6, dtype=float).reshape(2, 3)},
        'level': 7, 'flags': np.int8([1, 0, 1, 1]),
        'ram': np.arange(128, dtype=np.uint8),
        'camera0': np.full((80, 64, 3), 9, np.uint8),
        'camera1': np.full((80, 64, 3), 8, np.uint8)}, {}

  def step(self, action):
    self.actions.append(action)
    return self.reset()[0], 1.0, False, False, {}


VECTORS = {
    'arm/angle': [0.5], 'arm/joints': [0, 1, 2, 3, 4, 5],
    'level': [0, 0, 0, 0, 0, 0, 0, 1, 0],  # the seventh of nine
    'flags': [1, 0, 1, 1], 'ram': list(range(128))}


@pytest.mark.parametrize('images', ['all', 'none'])
def test_nested_observations_become_vectors(images):
  inner = Nested()
  env = envs.make_env(
      make_config('dummy_continuous', images, image_key='camera0'),
      factory=lambda: inner)
  obs = env.reset(0)
  for key, expected in VECTORS.items():
    assert obs[key].dtype == np.float32 and obs[key].tolist() == expected
    assert env.obs_space[key] == spaces.vector_space((len(expected),))
  extra = {'image'} if images == 'all' else set()
  assert set(env.obs_space) == set(VECTORS) | extra
  if extra:
    assert obs['image'].shape == (64, 64, 3) and (obs['image'] == 9).all()
  env.step(np.float32([0, 0, 1]))
  assert inner.actions == [7, 7]


def test_users_image_is_left_out():
  env = envs.make_env(
      make_config('dummy_continuous', 'none'), factory=strange.NewStyle)
  assert env.obs_space == {'speed': spaces.vector_space((1,))}
  assert set(env.reset(0)) == {
      'speed', 'reward', 'discount', 'is_first', 'is_last', 'is_terminal'}
