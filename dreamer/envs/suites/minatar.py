"""MinAtar: five small games on a grid of 10x10 cells, from pixels."""

from __future__ import annotations

import numpy as np

from dreamer.config.schema import Section
from dreamer.envs import base, spaces, suggest
from dreamer.envs.suites.gym import import_quietly
from dreamer.errors import UserError

GAMES = ('asterix', 'breakout', 'freeway', 'seaquest', 'space_invaders')
CELLS = 10  # of each side; what they leave of the pixels is its border

# One colour for each kind of object, far apart; what comes later covers.
COLORS = np.array([
    (255, 255, 255), (230, 60, 60), (60, 120, 240), (250, 210, 60),
    (60, 220, 120), (240, 130, 250), (120, 240, 250), (250, 150, 70),
    (150, 100, 60), (170, 170, 170)], np.uint8)


def make(name: str, config: Section, mode: str) -> base.Env:
  """Makes `<game>`; the same task evaluates."""
  del mode
  if name not in GAMES:
    raise suggest.unknown(
        'task', f'minatar_{name}', [f'minatar_{game}' for game in GAMES])
  return MinAtar(name, base.image_size(config))


class MinAtar(base.Env):
  """One game (arXiv 1903.03176) with the actions it reads.

  As published: sticky actions with probability .1, difficulty ramping,
  termination at the end of the game and no time limit of its own. The image
  has a colour for each kind of object. An episode is a function of the seed
  given to `reset` and of its actions, in any process.

  Raises:
    UserError: the package isn't there.
  """

  def __init__(self, name: str, size: int = spaces.SIZE) -> None:
    module = import_quietly('minatar')
    if module is None:
      raise UserError(
          'minatar tasks need minatar; pip install -r requirements.txt')
    self._game = module.Environment(name)
    self._actions = self._game.minimal_action_set()
    self.act_space = spaces.ActionSpace('discrete', len(self._actions))
    self.obs_space = {'image': spaces.image_space(size)}

  def reset(self, seed: int | None = None) -> dict:
    self._game.seed(seed)
    self._game.last_action = 0
    self._game.reset()
    return base.first({})

  def step(self, action: np.ndarray) -> dict:
    reward, done = self._game.act(self._actions[int(np.argmax(action))])
    return base.following({}, reward, 0.0 if done else 1.0, done)

  def render(self) -> np.ndarray:
    image = np.zeros(self.obs_space['image'].shape, np.uint8)
    return draw(image, self._game.state())


def draw(image: np.ndarray, state: np.ndarray) -> np.ndarray:
  """Colours the cells [10, 10, N] of every kind of object on the image."""
  cell = len(image) // CELLS
  first = (len(image) - CELLS * cell) // 2
  within = slice(first, first + CELLS * cell)
  inner = image[within, within]
  for index, color in enumerate(COLORS[:state.shape[-1]]):
    cells = np.repeat(np.repeat(state[..., index], cell, 0), cell, 1)
    inner[cells.astype(bool)] = color
  return image
