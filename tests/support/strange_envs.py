"""Users' environments, good and bad, for the tests of the workers."""

import collections
import os
import subprocess
import time
import types

import dm_env
import gymnasium
import numpy as np
from dm_env import specs


class NewStyle(gymnasium.Env):
  """gymnasium: an image of another size, a vector, bounds of its own."""

  def __init__(self, length=5, truncates=False):
    self.observation_space = gymnasium.spaces.Dict({
        'camera': gymnasium.spaces.Box(0, 255, (128, 96, 3), np.uint8),
        'speed': gymnasium.spaces.Box(-1, 1, (), np.float32)})
    self.action_space = gymnasium.spaces.Box(
        np.float32([0, -2]), np.float32([4, 2]))
    self.length = length
    self.truncates = truncates
    self.actions = []

  def reset(self, seed=None, options=None):
    super().reset(seed=seed)
    self.count = 0
    self.level = int(self.np_random.integers(100))
    return self._obs(), {}

  def step(self, action):
    assert self.action_space.contains(action), action
    self.actions.append(action)
    self.count += 1
    over = self.count >= self.length
    return (self._obs(), 0.5, over and not self.truncates,
            over and self.truncates, {})

  def _obs(self):
    image = np.full((128, 96, 3), self.level + self.count, np.uint8)
    return {'camera': image, 'speed': np.float32(0.25)}


class OldStyle:
  """gym before 0.26: no seed in reset, four values, render(mode)."""

  def __init__(self, truncated=False):
    self.observation_space = gymnasium.spaces.Box(-1, 1, (3,), np.float64)
    self.action_space = gymnasium.spaces.Discrete(4)
    self.truncated = truncated
    self.seeds = []
    self.actions = []

  def seed(self, seed):
    self.seeds.append(seed)

  def reset(self):
    self.count = 0
    return np.zeros(3)

  def step(self, action):
    self.actions.append(action)
    self.count += 1
    info = {'TimeLimit.truncated': True} if self.truncated else {}
    return np.full(3, 0.5), np.float64(1), self.count >= 3, info

  def render(self, mode='human'):
    if mode == 'rgb_array':
      return np.full((30, 40, 3), self.count, np.uint8)


class DmStyle(dm_env.Environment):
  """dm_env with a gray image that terminates after four steps."""

  def action_spec(self):
    return specs.BoundedArray((2,), np.float64, [-3, -1], [3, 1])

  def observation_spec(self):
    return collections.OrderedDict(
        pixels=specs.Array((64, 64, 1), np.uint8),
        height=specs.Array((), np.float64))

  def reset(self):
    self.count = 0
    return dm_env.restart(self._obs())

  def step(self, action):
    self.count += 1
    self.action = action
    if self.count >= 4:
      return dm_env.termination(1.0, self._obs())
    return dm_env.transition(1.0, self._obs(), discount=0.9)

  def _obs(self):
    pixels = np.full((64, 64, 1), 10 * self.count, np.uint8)
    return collections.OrderedDict(pixels=pixels, height=1.5)


class Bad(NewStyle):
  """Misbehaves in step() as asked."""

  def __init__(self, way):
    super().__init__(length=100)
    self.way = way

  def step(self, action):
    obs, reward, *rest = super().step(action)
    if self.way == 'crash':
      os.write(1, b'the simulator exploded\n')
      os.kill(os.getpid(), 11)
    if self.way == 'hang':
      time.sleep(1000)
    if self.way == 'raise':
      raise ValueError('no such joint')
    if self.way == 'reward':
      reward = float('nan')
    if self.way == 'image':
      obs = {**obs, 'camera': obs['camera'].astype(np.float32)}
    if self.way == 'print':
      print('a library prints')
      os.write(1, b'and so does its C code\n')
    return obs, reward, *rest


class Sometimes(NewStyle):
  """Every third reset of the process fails, each time in other words."""

  resets = 0

  def __init__(self):
    super().__init__(length=2)

  def reset(self, seed=None, options=None):
    Sometimes.resets += 1
    if Sometimes.resets % 3 == 0:
      raise ConnectionError(f'no answer to call {Sometimes.resets}')
    return super().reset(seed, options)


class BadClose(NewStyle):

  def close(self):
    raise RuntimeError('the display is gone')


class SlowClose(NewStyle):
  """Writes when it closes, after a while."""

  def close(self):
    time.sleep(2.5)
    with open(os.environ['SLOW_CLOSE'], 'w') as file:
      file.write('closed')


class Leaves(NewStyle):
  """Starts a process of its own, its first reward, and dies in a third step.
  """

  def __init__(self):
    super().__init__()
    self.other = subprocess.Popen(['sleep', '977'])

  def step(self, action):
    if self.count == 2:
      os.abort()
    obs, _, *rest = super().step(action)
    return obs, float(self.other.pid) * (self.count == 1), *rest


class SlowReset(NewStyle):

  def reset(self, seed=None, options=None):
    time.sleep(2)
    return super().reset(seed, options)


def slow_reset():
  return SlowReset()


def slow_start():
  time.sleep(2)
  return NewStyle()


def new_style():
  return NewStyle()


def needs_argument(rank):
  return NewStyle()


def cartpole():
  """Draws with OpenGL, from whatever imports it first."""
  from dm_control import suite  # Slow to import, for few tests.
  return suite.load('cartpole', 'swingup')


def crash():
  return Bad('crash')


def hang():
  return Bad('hang')


def raises():
  return Bad('raise')


def nan_reward():
  return Bad('reward')


def wrong_image():
  return Bad('image')


def prints():
  return Bad('print')


def not_an_env():
  return types.SimpleNamespace()


class FailsInClose(NewStyle):

  def close(self):
    raise RuntimeError('display is gone already')


def fails_in_close():
  return FailsInClose()
