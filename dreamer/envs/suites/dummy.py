"""Tiny environments that are learned in a minute, for tests and CI."""

import numpy as np

from dreamer.envs import base, names, spaces

TARGET = np.array([0.5, -0.5])
SPEED = 0.25
MOVES = np.array([[0, 0], [-1, 0], [1, 0], [0, -1], [0, 1]], float)


def make(name, config, mode):
  """Makes `continuous` or `discrete`."""
  del config, mode
  kinds = ('continuous', 'discrete')
  if name not in kinds:
    raise names.unknown(
        'task', f'dummy_{name}', [f'dummy_{kind}' for kind in kinds])
  return Dummy(name)


class Dummy(base.Env):
  """A bright blob on a square; it is paid for being near a fixed target.

  The position [2] lies in [-1, 1] and starts anywhere. An action moves it by
  up to a quarter: continuous actions by their value, discrete ones along an
  axis or not at all. The reward is 1 minus the distance to the target.
  Deterministic from the seed; never terminates.
  """

  def __init__(self, kind):
    self._kind = kind
    amount = 2 if kind == 'continuous' else len(MOVES)
    self.act_space = spaces.ActionSpace(kind, amount)
    self.obs_space = {
        'image': spaces.IMAGE,
        'position': spaces.vector_space((2,), -1, 1),
    }
    self._rng = np.random.default_rng(0)
    self._position = np.zeros(2)

  def reset(self, seed=None):
    if seed is not None:
      self._rng = np.random.default_rng(seed)
    self._position = self._rng.uniform(-1, 1, 2)
    return base.first(self._vectors())

  def step(self, action):
    move = MOVES[np.argmax(action)] if self.act_space.discrete else action
    moved = self._position + SPEED * np.clip(move, -1, 1)
    self._position = np.clip(moved, -1, 1)
    distance = np.linalg.norm(self._position - TARGET)
    return base.following(self._vectors(), 1 - distance)

  def render(self):
    image = np.zeros((64, 64, 3), np.uint8)
    _draw(image, TARGET, 3, (0, 160, 0))
    _draw(image, self._position, 6, (255, 200, 80))
    return image

  def _vectors(self):
    return {'position': self._position.astype(np.float32)}


def _draw(image, position, radius, color):
  x, y = np.round((position + 1) / 2 * 51 + 6).astype(int)
  image[y - radius:y + radius + 1, x - radius:x + radius + 1] = color
