"""DeepMind Lab levels; users build the module `deepmind_lab` themselves."""

import importlib
import pathlib
import shutil

import numpy as np

from dreamer import files
from dreamer.envs import base, names, spaces
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
FOLDER = 'contributed/dmlab30'
TURN = 20  # pixels per frame
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
}
ACTIONS = {
    9: ('forward', 'backward', 'strafe_left', 'strafe_right', 'look_left',
        'look_right', 'left_forward', 'right_forward', 'fire'),
    7: ('forward', 'backward', 'strafe_left', 'strafe_right', 'look_left',
        'look_right', 'idle'),
    3: ('forward', 'look_left', 'look_right'),
}
IMAGE = 'RGB_INTERLEAVED'
SIZE = spaces.IMAGE.shape[0]
BUILD = (
    'no package index has it, build it from source: git clone '
    'https://github.com/google-deepmind/lab && cd lab && bazel build -c opt '
    'python/pip_package:build_pip_package && ./bazel-bin/python/pip_package/'
    'build_pip_package OUT && pip install OUT/*.whl')


def make(name, config, mode):
  """Makes the level of this key with the settings in config.dmlab."""
  del mode  # The same levels train and evaluate.
  return DMLab(name, config.dmlab.actions, config.dmlab.level_cache)


class DMLab(base.Env):
  """One level; a step is one frame of 60 a second.

  Episodes end by the level's clock only, so never as a termination. The last
  image is black, as in the paper's code: the module has none any more.

  Only the first episode of a process is a function of its seed: the module
  carries something over into later ones. So a run that continues in a new
  process can't return to the middle of a later one, and drops it.

  Args:
    name: Key of LEVELS.
    actions: Size of the action set: 9, 7 or 3.
    level_cache: Folder that keeps compiled maps, or ''.

  Raises:
    UserError: unknown level, or no deepmind_lab.
  """

  def __init__(self, name, actions=9, level_cache=''):
    self._moves = [np.array(MOVES[key], np.intc) for key in ACTIONS[actions]]
    self.act_space = spaces.ActionSpace('discrete', len(self._moves))
    self.obs_space = {'image': spaces.IMAGE}
    self._rng = np.random.default_rng(0)
    self._running = False
    self._lab = _open(name, level_cache)

  def reset(self, seed=None):
    if seed is None:
      seed = self._rng.integers(2 ** 31)
    self._lab.reset(seed=int(seed) % 2 ** 31)  # No other type will do.
    self._running = True
    return base.first({})

  def step(self, action):
    reward = self._lab.step(self._moves[np.argmax(action)], num_steps=1)
    self._running = self._lab.is_running()
    return base.following({}, reward, last=not self._running)

  def render(self):
    if not self._running:
      return np.zeros(spaces.IMAGE.shape, np.uint8)
    return np.array(self._lab.observations()[IMAGE])

  def close(self):
    """May be called again, unlike that of the module."""
    lab, self._lab = self._lab, None
    if lab is not None:
      lab.close()


class LevelCache:
  """Keeps compiled maps in a folder, also for other runs.

  The module calls `fetch` before it compiles a map, for 4 to 15 seconds, and
  `write` afterwards. What goes wrong with a file here only costs the time.
  """

  def __init__(self, folder):
    self._folder = pathlib.Path(folder).expanduser()
    try:
      self._folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
      raise UserError(
          f'dmlab.level_cache={folder}: {error.strerror}; name a folder that '
          "can be written, or '' for none") from error

  def fetch(self, key, pk3_path):
    """Copies the map to `pk3_path`; returns whether it is there."""
    try:
      shutil.copyfile(self._path(key), pk3_path)
    except OSError:
      return False
    return True

  def write(self, key, pk3_path):
    """Keeps the map at `pk3_path`."""
    try:
      with open(pk3_path, 'rb') as source:
        with files.atomic_write(self._path(key)) as target:
          shutil.copyfileobj(source, target)
    except (OSError, UserError) as error:
      files.report(f'dmlab.level_cache: {error}')

  def _path(self, key):
    return self._folder / f'{key}.pk3'.replace('/', '_')


def _open(name, level_cache):
  """Returns the module's environment of this level."""
  if name not in LEVELS:
    raise names.unknown(
        'task', f'dmlab_{name}', [f'dmlab_{other}' for other in LEVELS])
  try:
    module = importlib.import_module('deepmind_lab')
  except ImportError as error:
    raise UserError(
        f'task=dmlab_{name}: needs deepmind_lab, but {error}; {BUILD}'
    ) from error
  cache = LevelCache(level_cache) if level_cache else None
  try:
    return module.Lab(
        f'{FOLDER}/{LEVELS[name]}', [IMAGE],
        config={'width': str(SIZE), 'height': str(SIZE)},
        renderer='software', level_cache=cache)
  except RuntimeError as error:
    raise UserError(
        f'task=dmlab_{name}: deepmind_lab can not load {FOLDER}/'
        f'{LEVELS[name]}: {error}; build it with the levels of DMLab-30'
    ) from error
