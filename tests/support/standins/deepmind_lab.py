"""A stand-in for deepmind_lab that is as strict as the real module.

What the real one refuses raises the same error here, and what crashes its
process aborts here: TensorFlow in the same process, a forked process, calls
after `close`. The game itself is trivial and visible: the first pixels of an
image hold the last action, the frame, at first whether the map was compiled,
and noise of the episode; the reward of frame n is n / 8.

STANDIN_LAB_ABORT=n: the process aborts in frame n of each episode.
STANDIN_LAB_RENDERER=none: there is no software renderer.
"""

import ctypes
import json
import os
import pathlib
import shutil
import sys
import tempfile

import numpy as np

FRAMES = 30  # an episode; no multiple of 4
SPEC = json.loads(
    (pathlib.Path(__file__).parent / 'deepmind_lab.json').read_text())
LEVELS = [f'contributed/dmlab30/{name}' for name in SPEC['levels']] + [
    'lt_chasm', 'nav_maze_static_01', 'seekavoid_arena_01',
    'stairway_to_melon']
READY = ('rooms_collect_good_objects_train', 'psychlab_', 'rooms_watermaze')
LIBC = ctypes.CDLL(None)
CONFIG = ('width', 'height', 'fps', 'levelDirectory', 'appendCommand',
          'logLevel', 'mixerSeed', 'allowHoldOutLevels')


class Lab:

  def __init__(self, level, observations, config={},  # noqa: B006
               renderer='software', level_cache=None):
    _abort_if('tensorflow' in sys.modules)
    _check_arguments(level, observations, config, renderer)
    if os.environ.get('STANDIN_LAB_RENDERER') == 'none':
      raise RuntimeError('Failed to connect RL API')
    self._resets = 0
    self._quiet = config.get('logLevel') == 'WARN'
    temp = os.environ.get('TEST_TMPDIR', os.environ.get('TMPDIR', '/tmp'))
    self._folder = tempfile.mkdtemp(prefix='dmlab_temp_folder_', dir=temp)
    self._owner = os.getpid()
    self._level, self._cache = level, level_cache
    self._names = list(observations)
    size = int(config.get('height', 240)), int(config.get('width', 320))
    self._size = size
    self._closed = self._running = self._compiled = False

  def reset(self, episode=-1, seed=None):
    self._check_alive()
    if seed is not None and type(seed) is not int:
      raise ValueError("'seed' must be int or None, was "
                       f"'{type(seed).__name__}'.")
    self._resets += 1
    for line in range(0 if self._quiet else 53):
      os.write(1, f'line {line} of the engine\n'.encode())
    self._compile(seed)
    self._seed = [seed or 0, self._resets]  # the latter is not in our hands
    LIBC.srand(int.from_bytes(os.urandom(4), 'little'))
    self._action = np.zeros(7, np.intc)
    self._frame, self._running = 0, True
    return True

  def step(self, action, num_steps=1):
    self._check_alive()
    if not (isinstance(action, np.ndarray) and action.shape == (7,)
            and action.dtype == np.intc and action.flags.c_contiguous):
      raise ValueError('action must be a contiguous array of 7 np.intc')
    if not self._running:
      raise RuntimeError('Environment in wrong status for call to step()')
    reward = 0.0
    for _ in range(num_steps):
      self._frame += 1
      _abort_if(self._frame == int(os.environ.get('STANDIN_LAB_ABORT', -1)))
      reward += self._frame / 8
      if 'lasertag' in self._level:  # the bots decide
        self._seed = [*self._seed[:2], LIBC.rand()]
      if self._frame >= FRAMES:
        self._running = False
        break
    self._action = action.copy()
    return reward

  def observations(self):
    self._check_alive()
    if not self._running:
      raise RuntimeError(
          'Environment in wrong status for call to observations()')
    rng = np.random.default_rng([*self._seed, self._frame])
    image = rng.integers(0, 256, (*self._size, 4), np.uint8)
    image[0, :7, 0] = self._action + 128
    image[0, 7:9, 0] = self._frame, self._compiled and not self._frame
    forms = {'RGB_INTERLEAVED': image[..., :3], 'RGBD_INTERLEAVED': image,
             'RGB': image[..., :3].transpose(2, 0, 1)}
    return {name: forms.get(name, np.zeros(1)) for name in self._names}

  def is_running(self):
    return self._running

  def action_spec(self):
    self._check_alive()
    return [dict(entry) for entry in SPEC['actions']]

  def observation_spec(self):
    self._check_alive()
    sizes = {64: self._size[0]}  # the file's are those of 64x64
    return [{**entry, 'shape': tuple(
        sizes.get(x, x) for x in entry['shape'])}
            for entry in SPEC['observations']]

  def num_steps(self):
    self._check_alive()
    return self._frame

  def close(self):
    self._closed, self._running = True, False
    shutil.rmtree(self._folder, ignore_errors=True)

  def _compile(self, seed):
    """Some levels do at each reset what a cache can spare them."""
    self._compiled = not any(name in self._level for name in READY)
    if not self._compiled:
      return
    if not shutil.which('zip'):
      raise RuntimeError(
          'Failed to start environment - "[string]:1: zip\nstack traceback:')
    key = f'{self._level}_{seed}'.replace('/', '_')
    with tempfile.TemporaryDirectory() as folder:
      path = os.path.join(folder, 'map.pk3')
      if self._cache is not None and self._cache.fetch(key, path):
        self._compiled = pathlib.Path(path).read_bytes() != b'map'
        return
      pathlib.Path(path).write_bytes(b'map')
      if self._cache is not None:
        self._cache.write(key, path)

  def _check_alive(self):
    _abort_if(self._closed or self._owner != os.getpid())


def _check_arguments(level, observations, config, renderer):
  if not isinstance(level, str):
    raise TypeError('level must be a str')
  if not isinstance(observations, list):
    raise TypeError(f'observations must be list, not '
                    f'{type(observations).__name__}')
  if not isinstance(config, dict):
    raise TypeError(f'config must be dict, not {type(config).__name__}')
  for pair in config.items():
    if not all(isinstance(x, str) for x in pair):
      raise TypeError('invalid configuration: keys and values are str')
  if renderer not in ('software', 'hardware'):
    raise ValueError(f'renderer {renderer}')
  if level not in LEVELS:
    raise RuntimeError(f'Level not found: {level}')
  if set(config) - set(CONFIG):
    raise RuntimeError(f'Invalid setting: {set(config) - set(CONFIG)}')
  if any(int(config.get(key, 4)) % 4 for key in ('width', 'height')):
    raise RuntimeError('width and height must be multiples of 4')
  known = [entry['name'] for entry in SPEC['observations']]
  unknown = [name for name in observations if name not in known]
  if unknown:
    raise ValueError(f'Unknown observation "{unknown[0]}".')


def _abort_if(fault):
  if fault:
    os.abort()
