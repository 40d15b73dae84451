"""DeepMind Lab levels; users build the module `deepmind_lab` themselves."""

from __future__ import annotations

import ctypes
import importlib
import os
import pathlib
import shutil
import sys
from typing import Any

import numpy as np

from dreamer import cli, files
from dreamer.envs import base, spaces, suggest
from dreamer.envs.suites import dmlab_module
from dreamer.envs.workers.tempfolder import TempFolder
from dreamer.errors import UserError

# Task dmlab_<key> -> level of DMLab-30.
LEVELS = {
    'collect': 'rooms_collect_good_objects_train',
    'collect_few': 'explore_object_rewards_few',
    'compare': 'psychlab_sequential_comparison',
    'doors_large': 'explore_obstructed_goals_large',
    'doors_small': 'explore_obstructed_goals_small',
    'explore_small': 'explore_object_locations_small',
    'find_large': 'explore_goal_locations_large',
    'find_small': 'explore_goal_locations_small',
    'keys': 'rooms_keys_doors_puzzle',
    'lasertag_1': 'lasertag_one_opponent_small',
    'lasertag_3': 'lasertag_three_opponents_small',
    'recognize': 'psychlab_visual_search',
    'watermaze': 'rooms_watermaze',
}
# The 30 of DreamerV3, which are tasks by their own names as well. Of a pair of
# levels the one to train in is meant, as in its release.
DMLAB30 = (
    'explore_goal_locations_large', 'explore_goal_locations_small',
    'explore_object_locations_large', 'explore_object_locations_small',
    'explore_object_rewards_few', 'explore_object_rewards_many',
    'explore_obstructed_goals_large', 'explore_obstructed_goals_small',
    'language_answer_quantitative_question', 'language_execute_random_task',
    'language_select_described_object', 'language_select_located_object',
    'lasertag_one_opponent_large', 'lasertag_one_opponent_small',
    'lasertag_three_opponents_large', 'lasertag_three_opponents_small',
    'natlab_fixed_large_map', 'natlab_varying_map_randomized',
    'natlab_varying_map_regrowth', 'psychlab_arbitrary_visuomotor_mapping',
    'psychlab_continuous_recognition', 'psychlab_sequential_comparison',
    'psychlab_visual_search', 'rooms_collect_good_objects_test',
    'rooms_exploit_deferred_effects_test', 'rooms_keys_doors_puzzle',
    'rooms_select_nonmatching_object', 'rooms_watermaze',
    'skymaze_irreversible_path_hard', 'skymaze_irreversible_path_varied')
FOLDER = 'contributed/dmlab30'
TURN = 20  # pixels per frame
SMALL, LARGE = 10, 60  # the same, in the set of 15
# Look left/right, look down/up, strafe, move, fire, jump, crouch.
MOVES = {
    'forward': (0, 0, 0, 1, 0, 0, 0),
    'backward': (0, 0, 0, -1, 0, 0, 0),
    'strafe_left': (0, 0, -1, 0, 0, 0, 0),
    'strafe_right': (0, 0, 1, 0, 0, 0, 0),
    'look_left': (-TURN, 0, 0, 0, 0, 0, 0),
    'look_right': (TURN, 0, 0, 0, 0, 0, 0),
    'left_forward': (-TURN, 0, 0, 1, 0, 0, 0),
    'right_forward': (TURN, 0, 0, 1, 0, 0, 0),
    'fire': (0, 0, 0, 0, 1, 0, 0),
    'idle': (0, 0, 0, 0, 0, 0, 0),
    'look_down': (0, SMALL, 0, 0, 0, 0, 0),
    'look_up': (0, -SMALL, 0, 0, 0, 0, 0),
    **{f'{name}_{size}': (sign * pixels, 0, 0, move, 0, 0, 0)
       for size, pixels in (('small', SMALL), ('large', LARGE))
       for name, sign, move in (
           ('look_left', -1, 0), ('look_right', 1, 0),
           ('left_forward', -1, 1), ('right_forward', 1, 1))},
}
ACTIONS = {
    15: ('forward', 'backward', 'strafe_left', 'strafe_right',
         'look_left_small', 'look_right_small', 'look_left_large',
         'look_right_large', 'look_down', 'look_up', 'left_forward_small',
         'right_forward_small', 'left_forward_large', 'right_forward_large',
         'fire'),
    9: ('forward', 'backward', 'strafe_left', 'strafe_right', 'look_left',
        'look_right', 'left_forward', 'right_forward', 'fire'),
    7: ('forward', 'backward', 'strafe_left', 'strafe_right', 'look_left',
        'look_right', 'idle'),
    3: ('forward', 'look_left', 'look_right'),
}
IMAGE = 'RGB_INTERLEAVED'
# Levels whose maps are always the same; those of all others are compiled at
# each reset, with the help of the program zip.
READY = ('collect', 'compare', 'recognize', 'watermaze')
LANGUAGE = 'language_'


def make(name: str, config: Any, mode: str) -> DMLab:
  """Makes the level of this key with the settings in config.dmlab."""
  del mode  # The same levels train and evaluate.
  return DMLab(name, config.dmlab.actions, config.dmlab.level_cache,
               base.image_size(config))


class DMLab(base.Env):
  """One level; a step is one frame of 60 a second.

  Episodes end by the level's clock only, so never as a termination. The last
  image is black, as in the paper's code: the module has none any more.

  An episode is a function of its seed and of nothing before: each has a
  simulator of its own, as one that is reset carries something over, and
  libc's random numbers, which some levels use, begin with the seed. A
  simulator leaves descriptors and memory behind, so the process should be
  renewed now and then.

  Args:
    name: Key of LEVELS, or one of DMLAB30.
    actions: Size of the action set: 15, 9, 7 or 3.
    level_cache: Folder that keeps compiled maps, or ''.
    size: Pixels of the image's side.

  Raises:
    UserError: unknown level, or what deepmind_lab needs is missing.
  """

  resets_per_process = 100

  def __init__(
      self, name: str, actions: int = 9, level_cache: str = '',
      size: int = spaces.SIZE) -> None:
    self._moves = [np.array(MOVES[key], np.intc) for key in ACTIONS[actions]]
    self.act_space = spaces.ActionSpace('discrete', len(self._moves))
    self.obs_space = {'image': spaces.image_space(size)}
    self._rng = np.random.default_rng(0)
    self._running = False
    self._new = _opener(name, level_cache, size)
    self._folder = TempFolder('dreamer_dmlab_')
    self._used = False
    try:
      self._lab: Any = self._new()
    except RuntimeError as error:  # What is missing is told at once.
      self._folder.close()
      raise UserError(f'task=dmlab_{name}: {_why(name, error)}') from error

  def reset(self, seed: int | None = None) -> dict:
    if seed is None:
      seed = int(self._rng.integers(2 ** 31))
    seed = int(seed) % 2 ** 31  # No other type will do.
    if self._used:
      self._close_lab()
      self._lab = self._new()
    self._used = True
    self._lab.reset(seed=seed)
    ctypes.CDLL(None).srand(seed)
    self._running = True
    return base.first({})

  def step(self, action: np.ndarray) -> dict:
    reward = self._lab.step(self._moves[np.argmax(action)], num_steps=1)
    self._running = self._lab.is_running()
    return base.following({}, reward, last=not self._running)

  def render(self) -> np.ndarray:
    if not self._running:
      return np.zeros(self.obs_space['image'].shape, np.uint8)
    return np.array(self._lab.observations()[IMAGE])

  def close(self) -> None:
    """May be called again, unlike that of the module."""
    self._close_lab()
    self._folder.close()

  def _close_lab(self):
    lab, self._lab = self._lab, None
    if lab is not None:
      lab.close()


class LevelCache:
  """Keeps compiled maps in a folder, also for other runs.

  The module calls `fetch` before it compiles a map, for 4 to 25 seconds, and
  `write` afterwards. Each seed has a map of its own, so this pays only where
  seeds are repeated: evaluations with one seed, episodes that are resumed.
  What goes wrong with a file here only costs the time.
  """

  def __init__(self, folder: str | os.PathLike) -> None:
    self._failed = 0
    self._folder = pathlib.Path(folder).expanduser()
    try:
      self._folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
      raise UserError(
          f'dmlab.level_cache={folder}: {error.strerror}; name a folder that '
          "can be written, or '' for none") from error

  def fetch(self, key: str, pk3_path: str) -> bool:
    """Copies the map to `pk3_path`; returns whether it is there."""
    try:
      shutil.copyfile(self._path(key), pk3_path)
    except OSError:
      return False
    return True

  def write(self, key: str, pk3_path: str) -> None:
    """Keeps the map at `pk3_path`; it replaces no file."""
    if self._path(key).exists():
      return
    try:
      with open(pk3_path, 'rb') as source:
        with files.atomic_write(self._path(key)) as target:
          shutil.copyfileobj(source, target)
    except (OSError, UserError) as error:
      self._failed += 1
      files.warn(f'dmlab.level_cache: {error}', self._failed)

  def _path(self, key):
    return self._folder / f'{key}.pk3'.replace('/', '_')


def _opener(name, level_cache, size):
  """Returns a function that makes the module's environment of this level.

  That raises RuntimeErrors, as the module does.
  """
  task, level = f'dmlab_{name}', level_of(name)
  if level not in map(level_of, READY) and not shutil.which('zip'):
    raise UserError(
        f'task={task}: compiles maps with the program zip, which is not on '
        'the PATH; install the system package zip')
  module = dmlab_module.load(task)
  cache = LevelCache(level_cache) if level_cache else None
  # Without WARN it prints dozens of lines at each reset.
  config = {'width': str(size), 'height': str(size), 'logLevel': 'WARN'}
  return lambda: module.Lab(
      f'{FOLDER}/{level}', [IMAGE], config=config, renderer='software',
      level_cache=cache)


def level_of(name: str) -> str:
  """The level of a task's name: a key of LEVELS, or one of DMLAB30.

  Raises UserError where there is none, or its instructions are text.
  """
  if name not in LEVELS and name not in DMLAB30:
    raise suggest.unknown(
        'task', f'dmlab_{name}', [f'dmlab_{x}' for x in (*LEVELS, *DMLAB30)])
  if name.startswith(LANGUAGE):
    raise UserError(
        f'task=dmlab_{name}: what is to be done there is said in words, which '
        'no agent here reads; choose another level')
  level = LEVELS.get(name, name)
  if level.endswith('_test'):
    level = level.removesuffix('_test') + '_train'
  return level


def _why(name, error):
  if 'Failed to connect RL API' in str(error):
    return (
        f'deepmind_lab says {error}: its software renderer does not load; '
        'install the system package libosmesa6')
  return (f'deepmind_lab can not load {FOLDER}/{level_of(name)}: '
          f'{cli.one_line(error)}; build it with the levels of DMLab-30')


if __name__ == '__main__':
  # By name: the check imports this module.
  check = importlib.import_module('dreamer.envs.suites.dmlab_check')
  cli.guard(check.command, sys.argv[1:])
