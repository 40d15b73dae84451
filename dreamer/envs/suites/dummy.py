"""Tiny environments that are learned in minutes, for tests and examples."""

from __future__ import annotations

import numpy as np

from dreamer.config.schema import Section
from dreamer.envs import base, pictures, spaces, suggest

TARGET = np.array([0.5, -0.5])
SPEED = 0.25
MOVES = np.array([[0, 0], [-1, 0], [1, 0], [0, -1], [0, 1]], float)


KINDS = ('continuous', 'discrete', 'pixelpoint', 'pixelpoint_discrete')
RIM = 0.8  # where the point of PixelPoint starts: its distance from the middle


def make(name: str, config: Section, mode: str) -> base.Env:
  """Makes one of KINDS."""
  del mode
  if name not in KINDS:
    raise suggest.unknown(
        'task', f'dummy_{name}', [f'dummy_{kind}' for kind in KINDS])
  points = {'pixelpoint': PixelPoint, 'pixelpoint_discrete': DiscretePoint}
  size = base.image_size(config)
  return points[name](size) if name in points else Dummy(name, size)


class Dummy(base.Env):
  """A bright blob on a square; it is paid for being near a fixed target.

  The position [2] lies in [-1, 1] and starts anywhere. An action moves it by
  up to a quarter: continuous actions by their value, discrete ones along an
  axis or not at all. The reward is 1 minus the distance to the target.
  Deterministic from the seed; never terminates.
  """

  def __init__(self, kind: str, size: int = spaces.SIZE) -> None:
    self._size = size
    amount = 2 if kind == 'continuous' else len(MOVES)
    self.act_space = spaces.ActionSpace(kind, amount)
    self.obs_space = {
        'image': spaces.image_space(size),
        'position': spaces.vector_space((2,), -1, 1),
    }
    self._rng = np.random.default_rng(0)
    self._position = np.zeros(2)

  def reset(self, seed: int | None = None) -> dict:
    if seed is not None:
      self._rng = np.random.default_rng(seed)
    self._position = self._rng.uniform(-1, 1, 2)
    return base.first(self._vectors())

  def step(self, action: np.ndarray) -> dict:
    move = MOVES[np.argmax(action)] if self.act_space.discrete else action
    moved = self._position + SPEED * np.clip(move, -1, 1)
    self._position = np.clip(moved, -1, 1)
    distance = float(np.linalg.norm(self._position - TARGET))
    return base.following(self._vectors(), 1 - distance)

  def render(self) -> np.ndarray:
    image = np.zeros((64, 64, 3), np.uint8)
    _draw(image, TARGET, 3, (0, 160, 0))
    _draw(image, self._position, 6, (255, 200, 80))
    return pictures.fit(image, self._size)

  def _vectors(self):
    return {'position': self._position.astype(np.float32)}


class PixelPoint(base.Env):
  """A point to be steered to the middle; all that is seen is the picture.

  The point [2], row and column, lies in [-1, 1] and starts anywhere at a
  distance of RIM from the middle. An action moves it by up to `reach`; the
  reward is 1 minus its distance, 0 at least. Random play stays far out. In
  the picture point and middle are soft dots, red and green. Deterministic
  from the seed; never terminates. The released program of DreamerV1 was run
  on it: scores/published/dreamerv1_pixelpoint.csv.

  point: where it is, float32 [2].
  """

  act_space = spaces.ActionSpace('continuous', 2)
  reach = 0.05  # how far a step goes
  far = 1.0  # the distance at which the reward becomes 0
  width = 20  # of the dots, twice their variance in pixels

  def __init__(self, size: int = spaces.SIZE) -> None:
    self._size = size
    self.obs_space = {'image': spaces.image_space(size)}
    self._rng = np.random.default_rng(0)
    self.point = np.zeros(2, np.float32)

  def reset(self, seed: int | None = None) -> dict:
    if seed is not None:
      self._rng = np.random.default_rng(seed)
    angle = self._rng.uniform(0, 2 * np.pi)
    self.point = np.float32(RIM) * np.array(
        [np.cos(angle), np.sin(angle)], np.float32)
    return base.first({})

  def step(self, action: np.ndarray) -> dict:
    self.point = np.clip(
        self.point + np.float32(self.reach) * self._move(action), -1, 1)
    distance = float(np.linalg.norm(self.point))
    return base.following({}, max(0.0, 1 - distance / self.far))

  def render(self) -> np.ndarray:
    middle = np.full(2, 31.5, np.float32)
    dots = [_dot(x, self.width) for x in (31.5 + 26 * self.point, middle)]
    image = np.stack([*dots, np.zeros((64, 64), np.float32)], -1)
    return pictures.fit((255 * image).astype(np.uint8), self._size)

  def _move(self, action):
    """Direction and share of `reach`, float32 [2]."""
    return np.clip(np.asarray(action, np.float32), -1, 1)


class DiscretePoint(PixelPoint):
  """The same with five moves: to stay, left, right, up, down.

  The reward is 0 at the start, and the dots are wider. The released program of
  DreamerV2 was run on it: scores/published/dreamerv2_pixelpoint.csv.
  """

  act_space = spaces.ActionSpace('discrete', len(MOVES))
  reach = 0.15
  far = RIM
  width = 40

  def _move(self, action):
    return MOVES[np.argmax(action)][::-1].astype(np.float32)  # row, column


def _dot(centre, width):
  """A Gaussian of 1 at the centre, row and column; float32 [64, 64]."""
  rows, columns = (
      (np.arange(64, dtype=np.float32) - x) ** 2 for x in centre)
  return np.exp(-(rows[:, None] + columns) / width)


def _draw(image, position, radius, color):
  x, y = np.round((position + 1) / 2 * 51 + 6).astype(int)
  image[y - radius:y + radius + 1, x - radius:x + radius + 1] = color
