"""Environments and wrappers in this process, except what renders."""

import types

import gymnasium
import numpy as np
import pytest

from dreamer import envs
from dreamer.envs import base, spaces, wrappers
from dreamer.envs.suites import gym as user
from dreamer.envs.workers import remote
from dreamer.errors import UserError
from tests.support import strange_envs as strange
from tests.support.env_tools import (
  assert_same,
  draw_actions,
  make_config,
  rollout,
)


class Counter(base.Env):
  """Rewards 1, 2, 3, ...; ends with the given discount; counts renders."""

  def __init__(self, length=1000, discount=0.0):
    self.obs_space = {'image': spaces.IMAGE}
    self.act_space = spaces.ActionSpace('continuous', 2)
    self.length, self.discount = length, discount
    self.renders = 0
    self.actions = []

  def reset(self, seed=None):
    self.count = 0
    return base.first({})

  def step(self, action):
    self.count += 1
    self.actions.append(action)
    last = self.count >= self.length
    return base.following(
        {}, self.count, self.discount if last else 1.0, last)

  def render(self):
    self.renders += 1
    return np.full((64, 64, 3), self.count % 256, np.uint8)


def wrapped(env, repeat=1, limit=1000):
  env = wrappers.TimeLimit(env, limit)
  env = wrappers.ActionRepeat(env, repeat)
  return wrappers.Checks(wrappers.Frames(env), 'test')


ZERO = np.zeros(2, np.float32)


# Wrappers


def test_action_repeat_sums_rewards_and_renders_once():
  inner = Counter()
  env = wrapped(inner, repeat=3)
  env.reset()
  obs = env.step(ZERO)
  assert obs['reward'] == 1 + 2 + 3
  assert obs['reward'].dtype == np.float32
  assert obs['image'][0, 0, 0] == 3
  assert inner.renders == 2
  assert env.step(ZERO)['reward'] == 4 + 5 + 6


def test_action_repeat_stops_at_the_end():
  inner = Counter(length=4)
  env = wrapped(inner, repeat=3)
  env.reset()
  assert not env.step(ZERO)['is_last']
  obs = env.step(ZERO)
  assert obs['is_last'] and obs['is_terminal']
  assert obs['reward'] == 4 and inner.count == 4
  assert obs['discount'] == 0


@pytest.mark.parametrize('repeat, limit, steps', [
    (1, 7, 7), (2, 1000, 500), (2, 7, 4), (4, 7, 2)])
def test_time_limit_counts_env_steps_and_does_not_terminate(
    repeat, limit, steps):
  inner = Counter(length=10 ** 6)
  env = wrapped(inner, repeat, limit)
  for _ in range(2):
    env.reset()
    flags = [env.step(ZERO) for _ in range(steps)]
    assert [x['is_last'] for x in flags] == [False] * (steps - 1) + [True]
    assert not any(x['is_terminal'] for x in flags)
    assert flags[-1]['discount'] == 1
    assert inner.count == limit


@pytest.mark.parametrize('discount, terminal', [(0.0, True), (1.0, False)])
def test_end_is_terminal_when_discount_is_zero(discount, terminal):
  env = wrapped(Counter(2, discount))
  first, mid, last = rollout(env, 0, [ZERO, ZERO])
  assert first['is_first'] and not mid['is_first']
  assert not mid['is_last'] and last['is_last']
  assert last['is_terminal'] == terminal
  assert first['discount'] == 1 and first['reward'] == 0


def test_replay_equals_stepping_and_renders_twice():
  inner = Counter()
  env = wrapped(inner, repeat=2)
  stepped = rollout(env, 0, [ZERO] * 5)[-1]
  before = inner.renders
  assert_same(env.replay(0, np.zeros((5, 2), np.float32)), stepped)
  assert inner.renders == before + 2
  assert_same(env.replay(0, np.zeros((0, 2))), env.reset(0))


def test_replay_beyond_the_end():
  env = wrapped(Counter(length=3))
  with pytest.raises(UserError, match='ended after 3 of 5 actions'):
    env.replay(0, np.zeros((5, 2), np.float32))


def test_normalize_actions_maps_finite_bounds():
  inner = Counter()
  env = wrappers.NormalizeActions(inner, [0, -np.inf], [4, 2])
  env.reset()
  env.step(np.float32([-1, -1]))
  env.step(np.float32([0.5, 0.5]))
  np.testing.assert_allclose(inner.actions, [[0, -1], [3, 0.5]])


@pytest.mark.parametrize('action, words', [
    (np.zeros(3, np.float32), 'shape (3,)'),
    (np.float32([0, np.nan]), 'not finite'),
    (np.array(['a', 'b']), 'dtype <U1'),
])
def test_bad_action(action, words):
  env = wrapped(Counter())
  env.reset()
  with pytest.raises(UserError, match='.*') as info:
    env.step(action)
  assert words in str(info.value) and '\n' not in str(info.value)


def test_action_must_be_one_hot():
  env = envs.make_env(make_config(task='dummy_discrete'))
  env.reset(0)
  with pytest.raises(UserError, match='not one-hot'):
    env.step(np.float32([0.5, 0.5, 0, 0, 0]))


@pytest.mark.parametrize('reward', [np.nan, np.inf])
def test_reward_must_be_finite(reward):
  inner = Counter()
  env = wrapped(inner)
  env.reset()
  inner.count = reward
  inner.render = lambda: np.zeros((64, 64, 3), np.uint8)
  with pytest.raises(UserError, match='reward is (nan|inf)'):
    env.step(ZERO)


@pytest.mark.parametrize('image', [
    np.zeros((32, 64, 3), np.uint8), np.zeros((64, 64, 3), np.float32)])
def test_image_must_be_as_announced(image):
  inner = Counter()
  inner.render = lambda: image
  with pytest.raises(UserError, match='observation image has shape'):
    wrapped(inner).reset()


def test_step_after_the_end_is_a_programming_mistake():
  env = wrapped(Counter(length=1))
  rollout(env, 0, [ZERO])
  with pytest.raises(AssertionError):
    env.step(ZERO)


# Dummy


@pytest.mark.parametrize('task', ['dummy_continuous', 'dummy_discrete'])
def test_dummy_is_deterministic(task):
  env, other = [
      envs.make_env(make_config(task=task, time_limit=20)) for _ in range(2)]
  other.reset(9)
  actions = draw_actions(env.act_space, 10)
  first, second = rollout(env, 3, actions), rollout(other, 3, actions)
  for left, right in zip(first, second, strict=True):
    assert_same(left, right)
  assert first[-1]['is_last']
  assert first[0]['image'].std() > 0
  assert np.abs(first[0]['position'] - env.reset(4)['position']).max() > 0.01


def test_dummy_pays_for_the_right_actions():
  env = envs.make_env(make_config(time_limit=40))
  def aim(obs):
    return np.clip(2 * (np.float32([0.5, -0.5]) - obs['position']), -1, 1)
  rng = np.random.default_rng(0)
  good = np.mean([score(env, seed, aim) for seed in range(10)])
  bad = np.mean([
      score(env, seed, lambda obs: env.act_space.sample(rng))
      for seed in range(10)])
  assert good > 35 and bad < 10


def score(env, seed, policy):
  obs, total = env.reset(seed), 0
  while not obs['is_last']:
    obs = env.step(policy(obs))
    total += obs['reward']
  return total


# Table of tasks


def test_task_list():
  tasks = envs.task_list()
  assert len([task for task in tasks if task.startswith('dmc_')]) == 20
  assert 'dmc_walker_walk' in tasks and 'dummy_discrete' in tasks


@pytest.mark.parametrize('task, near', [
    ('dmcc_walker_walk', 'dmc_walker_walk'), ('dummy_discret', 'discrete'),
    ('walker_walk', 'dmc_walker_walk'), ('dmc', 'known are')])
def test_unknown_task_names_the_nearest(task, near):
  with pytest.raises(UserError, match=near) as info:
    envs.make_env(make_config(task=task))
  assert str(info.value).startswith(f'task={task}: unknown')


def test_inline_rendering_is_refused():
  with pytest.raises(UserError, match='envs.worker=process'):
    envs.make_envs(make_config(task='dmc_walker_walk'))


def test_make_envs_inline_halves():
  first, second = envs.make_envs(make_config(action_repeat=1), 'train', 2)
  first.send_reset(1)
  second.send_reset(2)
  obs = first.receive(), second.receive()
  assert obs[0]['is_first'] and obs[1]['is_first']
  action = np.zeros(2, np.float32)
  assert_same(first.step(action), first.replay(1, [action]))


# Environments of users


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
  with pytest.raises(UserError, match='not a gym, gymnasium or dm_env'):
    envs.make_env(make_config(), factory=strange.not_an_env)


def test_env_without_picture():
  inner = strange.OldStyle()
  inner.render = lambda: None
  with pytest.raises(UserError, match='render_mode'):
    envs.make_env(make_config(), factory=lambda: inner).reset()


def test_unsupported_action_space():
  inner = strange.OldStyle()
  inner.action_space = types.SimpleNamespace(nvec=[2, 2], dtype=np.int64)
  with pytest.raises(UserError, match='Box of floats or Discrete'):
    user.UserEnv(inner)


@pytest.mark.parametrize('shape', [
    (64, 64, 3), (128, 128, 1), (3, 80, 100), (48, 32), (210, 160, 4)])
def test_to_image(shape):
  image = user.to_image(np.full(shape, 77, np.uint8))
  assert image.shape == (64, 64, 3) and image.dtype == np.uint8
  assert (image == 77).all()


def test_to_image_shrinks_by_area():
  fine = np.zeros((128, 128, 3), np.uint8)
  fine[::2] = 100
  assert (user.to_image(fine) == 50).all()


def test_gym_by_id():
  import gymnasium
  gymnasium.register('StrangeTest-v0', strange.NewStyle)
  env = envs.make_env(make_config(task='gym_StrangeTest-v0'))
  assert not env.reset(0)['is_last']


def test_old_gym_by_id_under_new_numpy(capfd):
  gym = user.import_quietly('gym')
  assert 'unmaintained' not in capfd.readouterr().err
  gym.register('StrangeOldTest-v0', _OldRegistered)
  env = envs.make_env(make_config(task='gym_StrangeOldTest-v0'))
  obs = rollout(env, 0, np.eye(2, dtype=np.float32))
  assert (obs[1]['image'] == 7).all()


class _OldRegistered:
  """What gym 0.26 accepts; made by id."""

  def __new__(cls, render_mode=None):
    import gym

    class Env(gym.Env):
      metadata = {'render_modes': ['rgb_array'], 'render_fps': 10}
      observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
      action_space = gym.spaces.Discrete(2)

      def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

      def step(self, action):
        return np.zeros(2, np.float32), 1.0, np.bool_(False), False, {}

      def render(self):
        return np.full((64, 64, 3), 7, np.uint8)

    env = Env()
    env.render_mode = render_mode
    return env


def test_unknown_gym_id_names_the_nearest():
  with pytest.raises(UserError, match='did you mean .*gym_CartPole-v1'):
    envs.make_env(make_config(task='gym_CartPol-v1'))
