"""How often environments of others repeat actions, by any wrapper."""

import ale_py  # noqa: F401 - registers its ids
import dm_env
import gymnasium
import numpy as np
import pytest
from gymnasium import wrappers

from dreamer.envs.suites import user
from dreamer.envs.suites.repeats import Repeats
from tests.support import env_tools
from tests.support import strange_envs as strange
from tests.support.env_tools import rollout


class Own(gymnasium.Wrapper):
  """Repeats by an attribute that nobody can guess."""

  def __init__(self, env, times):
    super().__init__(env)
    self.k = times

  def step(self, action):
    for _ in range(self.k):
      result = self.env.step(action)
    return result


class Plain:
  """A wrapper without the base class, which has it by an odd name."""

  def __init__(self, env, times):
    self._thing, self._k = env, times
    self.action_space = env.action_space
    self.observation_space = env.observation_space

  def reset(self, seed=None):
    return self._thing.reset(seed=seed)

  def step(self, action):
    for _ in range(self._k):
      result = self._thing.step(action)
    return result


class Varying(Own):
  """Two and three repeats in turn."""

  def step(self, action):
    self.k = 5 - self.k
    return super().step(action)


class Presses(Own):
  """Presses once and then waits: that is no repeat."""

  def step(self, action):
    self.env.step(action)
    for _ in range(self.k - 1):
      result = self.env.step(np.zeros_like(action))
    return result


def long():
  return strange.NewStyle(length=100)


def camera():
  env = long()
  return wrappers.TransformObservation(
      env, lambda obs: obs['camera'], env.observation_space['camera'])


def sticky_while_it_sticks():
  env = wrappers.StickyAction(long(), 0.9, 5)
  env.num_repeats = 5  # a count of its own, that means something else
  return env


@pytest.mark.parametrize('make, expected', [
    (long, [1, 1]),
    (lambda: wrappers.RepeatAction(long(), 4), [4, 4]),
    (lambda: wrappers.RepeatAction(wrappers.RepeatAction(long(), 2), 3),
     [6, 6]),
    (lambda: wrappers.MaxAndSkipObservation(camera(), 4), [4, 4]),
    (lambda: wrappers.OrderEnforcing(Own(long(), 3)), [3, 3]),
    (lambda: Plain(wrappers.RescaleAction(
        long(), np.float32(-1), np.float32(1)), 5), [5, 5]),
    (lambda: Varying(long(), 2), [2, 3]),
    (lambda: Presses(long(), 4), [1, 1]),
    (sticky_while_it_sticks, [1, 1])])
def test_wrappers_are_seen_at_work(make, expected):
  env = env_tools.make_user_env(make)
  rollout(env, 0, [np.ones(2, np.float32) * 0.5] * 4)
  assert env.about()['repeats'] == expected


def test_an_episode_that_ends_in_a_repeat():
  env = env_tools.make_user_env(
      lambda: wrappers.RepeatAction(strange.NewStyle(length=5), 4))
  for seed in range(2):
    rollout(env, seed, [np.zeros(2, np.float32)] * 2)
  assert env.about()['repeats'] == [4, 4]


def test_a_wrapper_of_dm_env():
  class Twice(dm_env.Environment):
    def __init__(self, env):
      self._environment = env
      self.action_spec, self.reset = env.action_spec, env.reset
      self.observation_spec = env.observation_spec

    def step(self, action):
      self._environment.step(action)
      return self._environment.step(action)

    action_spec = observation_spec = reset = None
  Twice.__abstractmethods__ = frozenset()
  env = env_tools.make_user_env(lambda: Twice(strange.DmStyle()))
  rollout(env, 0, [np.zeros(2, np.float32)])
  assert env.about()['repeats'] == [2, 2]


@pytest.mark.parametrize('name, expected', [
    ('ALE/Pong-v5', [4, 4]), ('Pong-v4', [2, 4]), ('Pong-v0', [2, 4]),
    ('PongNoFrameskip-v4', [1, 1])])
def test_what_emulators_do_inside(name, expected):
  env = gymnasium.make(name)
  assert user.UserEnv(env).about()['repeats'] == expected
  repeated = user.UserEnv(wrappers.RepeatAction(env, 3))
  before = repeated.about()['repeats']
  rollout(repeated, 0, [np.eye(6)[0]])
  assert before == repeated.about()['repeats'] == [3 * x for x in expected]


def test_the_environment_is_left_as_it_was():
  inner, seen = long(), []
  step = inner.step
  inner.step = lambda action: seen.append(action) or step(action)
  own = inner.step
  env = env_tools.make_user_env(lambda: wrappers.RepeatAction(inner, 2))
  rollout(env, 0, [np.zeros(2, np.float32)])
  assert inner.step is own and len(seen) == 2


def test_a_model_to_plan_with_is_not_what_is_wrapped():
  class Planner(gymnasium.Env):
    observation_space = strange.NewStyle().observation_space
    action_space = strange.NewStyle().action_space

    def __init__(self):
      self.env, self.model = long(), long()

    def reset(self, seed=None, options=None):
      self.model.reset(seed=seed)
      return self.env.reset(seed=seed)

    def step(self, action):
      for _ in range(7):
        self.model.step(action)
      return self.env.step(action)
  env = env_tools.make_user_env(Planner)
  rollout(env, 0, [np.zeros(2, np.float32)])
  assert env.about()['repeats'] == [1, 1]


@pytest.mark.parametrize('value, expected', [
    (4, (4, 4)), (np.int64(4), (4, 4)), ((2, 5), (2, 4)), ([2, 5], (2, 4)),
    ('4', (1, 1)), ((2, 5, 7), (1, 1)), (None, (1, 1)), (0, (1, 1))])
def test_what_an_attribute_says(value, expected):
  env = strange.NewStyle()
  env._frameskip = value
  assert Repeats(env).range() == expected
