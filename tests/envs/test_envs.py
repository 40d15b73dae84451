"""Environments and wrappers in this process, except what renders."""

import numpy as np
import pytest

from dreamer import envs
from dreamer.envs import base, spaces, wrappers
from dreamer.envs.suites import dummy
from dreamer.errors import UserError
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


def test_action_repeat_multiplies_discounts():
  class Halving(Counter):
    def step(self, action):
      obs = super().step(action)
      return {**obs, 'discount': np.float32(0.5)}
  env = wrapped(Halving(), repeat=3)
  env.reset()
  assert env.step(ZERO)['discount'] == np.float32(0.125)


def test_action_repeat_multiplies_up_to_a_termination():
  class Fading(Counter):
    def step(self, action):
      obs = super().step(action)
      discount = 0.0 if obs['is_last'] else 0.9
      return {**obs, 'discount': np.float32(discount)}
  obs = rollout(wrapped(Fading(length=2), repeat=3), 0, [ZERO])[-1]
  assert obs['discount'] == 0 and obs['is_terminal']


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


def test_pixelpoint_by_hand():
  """From the rim along a known angle; figures of an independent program."""
  env = dummy.PixelPoint()
  env.point = np.float32([0.8, 0.0])
  assert [env.step([-1.0, 0.0])['reward'] for _ in range(3)] == pytest.approx(
      [0.25, 0.3, 0.35])
  assert env.step([-9.0, 0.5])['reward'] == pytest.approx(1 - 0.6005, abs=1e-4)
  env.point = np.float32([0.3, -0.45])
  image = env.render()
  assert image.dtype == np.uint8 and not image[..., 2].any()
  for place, pixel in (
      ((39, 20), (253, 0, 0)), ((39, 16), (123, 0, 0)), ((40, 25), (64, 0, 0)),
      ((45, 12), (2, 0, 0)), ((31, 31), (0, 248, 0)), ((25, 31), (0, 30, 0)),
      ((0, 0), (0, 0, 0))):
    assert tuple(image[place]) == pixel, place
  env.step([1.0, 1.0])
  env.point = np.float32([0.99, 0.99])
  assert env.step([1.0, 1.0])['reward'] == 0
  assert env.point.tolist() == [1, 1]


def test_discrete_pixelpoint_by_hand():
  """Figures of an independent program: PixelPointDiscrete."""
  env = dummy.DiscretePoint()
  env.point = np.float32([0.8, 0.0])
  move = lambda k: env.step(np.eye(5)[k])['reward']
  assert [move(k) for k in (0, 3, 3)] == pytest.approx([0, 0.1875, 0.375])
  assert move(2) == pytest.approx(1 - np.hypot(0.5, 0.15) / 0.8, abs=1e-6)
  assert move(1) == move(0) == pytest.approx(0.375)
  assert move(4) == pytest.approx(0.1875)
  env.point = np.float32([0.3, -0.45])
  image = env.render()
  row, column = 31.5 + 26 * 0.3, 31.5 - 26 * 0.45
  assert image[39, 20, 0] == int(255 * np.exp(
      -((39 - row) ** 2 + (20 - column) ** 2) / 40))
  assert image[..., 1].max() == int(255 * np.exp(-0.5 / 40))


def test_pixelpoint_is_hard_for_random_play():
  env = envs.make_env(make_config(
      task='dummy_pixelpoint', time_limit=100, action_repeat=2))
  assert list(env.obs_space) == ['image'] and env.act_space.dim == 2
  rng = np.random.default_rng(0)
  scores = [score(env, seed, lambda obs: env.act_space.sample(rng))
            for seed in range(20)]
  assert 8 < np.mean(scores) < 25
  first, again = env.reset(3)['image'], env.reset(3)['image']
  assert np.array_equal(first, again)
  assert not np.array_equal(first, env.reset(4)['image'])


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


def test_a_task_like_no_other_names_one_of_each_suite():
  with pytest.raises(UserError) as info:
    envs.split_task('nope')
  for suite in ('dmc', 'atari', 'dmlab', 'minatar', 'crafter', 'gym', 'dummy'):
    assert f' {suite}_' in str(info.value)


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
