"""Atari games on the Arcade Learning Environment's emulator, ale-py."""

from __future__ import annotations

import pathlib

import numpy as np

from dreamer.config.schema import Section
from dreamer.envs import base, resize, spaces, suggest
from dreamer.errors import UserError

# The 55 games of the paper (arXiv 2010.02193, table K.1), and the two that
# complete the 57 of the literature.
GAMES = (
    'alien', 'amidar', 'assault', 'asterix', 'asteroids', 'atlantis',
    'bank_heist', 'battle_zone', 'beam_rider', 'berzerk', 'bowling', 'boxing',
    'breakout', 'centipede', 'chopper_command', 'crazy_climber',
    'demon_attack', 'double_dunk', 'enduro', 'fishing_derby', 'freeway',
    'frostbite', 'gopher', 'gravitar', 'hero', 'ice_hockey', 'james_bond',
    'kangaroo', 'krull', 'kung_fu_master', 'montezuma_revenge', 'ms_pacman',
    'name_this_game', 'phoenix', 'pitfall', 'pong', 'private_eye', 'qbert',
    'riverraid', 'road_runner', 'robotank', 'seaquest', 'skiing', 'solaris',
    'space_invaders', 'star_gunner', 'tennis', 'time_pilot', 'tutankham',
    'up_n_down', 'venture', 'video_pinball', 'wizard_of_wor', 'yars_revenge',
    'zaxxon', 'defender', 'surround')
ROMS = {**{game: game for game in GAMES}, 'james_bond': 'jamesbond'}
NOOP, ACTIONS = 0, 18
MIDDLE = 84  # pixels between the screen's and the image's, for area84
RESIZE = {
    'area': resize.area,
    'area84': lambda screen, *size: resize.area(
        resize.area(screen, MIDDLE, MIDDLE), *size),
    'bilinear': resize.bilinear,
}


def make(name: str, config: Section, mode: str) -> base.Env:
  """Makes the game of this name with the settings in config.atari."""
  return Atari(
      name, config.atari.sticky, config.atari.noops, config.atari.actions,
      config.atari.color, config.atari.resize,
      one_life=config.atari.life_loss == 'always' or (
          config.atari.life_loss == 'end' and mode == 'train'),
      size=base.image_size(config))


class Atari(base.Env):
  """One game; a step is one frame of the emulator, the reward the score's.

  Observations are images only; the machine's memory (`ram`), which one
  release stores and no agent reads, is left out.

  A picture is the maximum, pixel by pixel, of the screen and of the one that
  `peek` has seen a frame before, since games draw some objects in every
  other frame only. Where a game (or a life that counts as one) ends, the
  screen isn't looked at any more: the last picture is the one before, in
  maximum with a screen that was peeked at. Both releases do this, as their
  buffers keep what was there.

  An episode is a function of the seed given to `reset` and of its actions,
  in any process. To that end every reset loads the game anew (a tenth of a
  second): in a third of the games, what the emulator's own reset leaves
  depends on what was played before. The no-ops of the start count neither
  as steps nor for the score.

  Args:
    name: As in GAMES, or the same without underscores.
    sticky: Probability that a frame repeats the action of the frame before.
    noops: A reset does 1 to so many no-ops; 0: none.
    actions: full: the joystick's 18 (a game that knows fewer, Skiing, takes
      the others as no-ops); minimal: those that differ in this game.
    color: gray (the emulator's own weighting) or rgb.
    resize: area84 (to 84x84, then to the image's), area or bilinear.
    one_life: Whether a lost life ends the episode, as a termination. The
      next one is a new game, as in both releases of DreamerV1.
    size: Pixels of the image's side.

  Attribute ale: The emulator, an ale_py.ALEInterface.

  Raises:
    UserError: unknown game, no ale-py, or area84 for a larger image.
  """

  def __init__(
      self, name: str, sticky: float = 0.25, noops: int = 30,
      actions: str = 'full', color: str = 'gray', resize: str = 'area84',
      one_life: bool = False, size: int = spaces.SIZE) -> None:
    if resize == 'area84' and size > MIDDLE:
      raise UserError(
          f'atari.resize: area84 would enlarge {MIDDLE} x {MIDDLE} pixels to '
          f'image_size {size}; use bilinear or area')
    self._path, self.ale = rom(name), _emulator()
    self.ale.setFloat('repeat_action_probability', sticky)
    self._actions = range(ACTIONS) if actions == 'full' else self._minimal()
    channels = 1 if color == 'gray' else 3
    self.act_space = spaces.ActionSpace('discrete', len(self._actions))
    self.obs_space = {'image': spaces.image_space(size, channels)}
    self._gray = color == 'gray'
    self._resize = RESIZE[resize]
    self._noops, self._one_life = noops, one_life
    self._rng = np.random.default_rng(0)

  def reset(self, seed: int | None = None) -> dict:
    if seed is not None:
      self._rng = np.random.default_rng(seed)
    self._load(int(self._rng.integers(1, 2 ** 31)))
    if self._noops:
      self._wait(self._rng.integers(1, self._noops + 1))
    self._lives = self.ale.lives()
    self._ended = False
    self._peeked: np.ndarray | None = None  # screens a frame ago
    self._before: np.ndarray | None = None
    self._shown: np.ndarray | None = None  # last, in the emulator's size
    return base.first({})

  def step(self, action: np.ndarray) -> dict:
    self._before, self._peeked = self._peeked, None
    reward = self.ale.act(self._actions[np.argmax(action)])
    lives, before = self.ale.lives(), self._lives
    self._lives = lives
    self._ended = self.ale.game_over() or self._one_life and lives < before
    return base.following({}, reward, 1 - self._ended, self._ended)

  def screen(self) -> np.ndarray:
    """What the emulator shows now: uint8 [210, 160] or [210, 160, 3]."""
    return self.ale.getScreenGrayscale() if self._gray else (
        self.ale.getScreenRGB())

  def peek(self) -> None:
    self._peeked = self.screen()

  def render(self) -> np.ndarray:
    """Returns uint8 [S, S, 1] or [S, S, 3]."""
    screen = self._shown if self._ended else None
    if screen is None:
      screen = self.screen()
    if self._before is not None:
      screen = np.maximum(screen, self._before)
    self._shown = screen
    height, width, channels = self.obs_space['image'].shape
    return self._resize(np.asarray(screen), height, width).reshape(
        height, width, channels)

  def _minimal(self):
    self._load(1)
    return [action.value for action in self.ale.getMinimalActionSet()]

  def _load(self, seed):
    """Only loading takes the seed, which is that of the sticky actions."""
    self.ale.setInt('random_seed', seed)
    self.ale.loadROM(self._path)
    self.ale.reset_game()

  def _wait(self, frames):
    for _ in range(frames):
      self.ale.act(NOOP)
      if self.ale.game_over():
        self.ale.reset_game()


def camel(game: str) -> str:
  """Returns what ids of gymnasium call a game: `UpNDown`."""
  return ''.join(part.capitalize() for part in ROMS[game].split('_'))


def rom(name: str) -> pathlib.Path:
  """Where a game's ROM is, for a name as `Atari` takes it.

  Raises UserError: unknown game, or no ale-py.
  """
  known = {**ROMS, **{
      game.replace('_', ''): rom for game, rom in ROMS.items()}}
  if name not in known:
    raise suggest.unknown(
        'task', f'atari_{name}', [f'atari_{game}' for game in GAMES])
  try:
    from ale_py import roms  # Only for Atari.
  except ModuleNotFoundError as error:
    raise UserError(
        f'atari tasks need ale-py, but {error}; pip install -r '
        'requirements.txt') from error
  return roms.get_rom_path(known[name])


def _emulator():
  """A silent one, without a game."""
  import ale_py  # Only for Atari; `rom` has found it.
  ale_py.ALEInterface.setLoggerMode(ale_py.LoggerMode.Error)
  return ale_py.ALEInterface()
