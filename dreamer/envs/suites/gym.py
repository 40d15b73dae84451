"""gym and gymnasium environments by id, and environments of users."""

import contextlib
import importlib
import io
import math
import sys
import warnings

import numpy as np

from dreamer.envs import base, gl, names, resize, spaces
from dreamer.envs.suites import adapters
from dreamer.errors import UserError

SIZE = (64, 64)
NOTICE = ('Gym has been unmaintained', 'Please upgrade to Gymnasium',
          'Users of this version of Gym', 'See the migration guide')


def make(name, config, mode):
  """Makes the environment of this id, from gymnasium or else from gym.

  Raises:
    UserError: unknown id, or a package it needs is missing.
  """
  known = []
  for library in ('gymnasium', 'gym'):
    module = import_quietly(library)
    if module is None:
      continue
    _import_registering(name)
    registry = module.envs.registration.registry
    if name.split(':')[-1] in registry:
      env = _make(module, name, base.has_images(config, mode))
      return UserEnv(env, f'gym_{name}')
    known.extend(f'gym_{key}' for key in registry)
  if not known:
    raise UserError(f'task=gym_{name}: pip install gymnasium')
  raise names.unknown('task', f'gym_{name}', known)


class UserEnv(base.Env):
  """Adapts a gym 0.26, gymnasium or dm_env object, and gym's older form.

  The image is the first uint8 observation that looks like one, preferably
  called `image`, and otherwise what `render` returns; it is scaled to 64x64
  with three channels. Other observations become float32 vectors [n], except
  further images, which are left out. Nested names are joined: `arm/angle`;
  a single observation is called `observation`. Actions in [-1, 1] are mapped
  to the bounds where those are finite. An episode that was truncated is not
  terminal.

  Raises:
    UserError: the object has another interface or unsupported spaces.
  """

  def __init__(self, env, name=None):
    self._env = env
    self.name = (
        name or type(getattr(env, 'unwrapped', env)).__name__)
    self.opengl = gl.draws(env) or None
    self._adapter = adapters.adapt(env)
    kind, size, low, high = self._adapter.actions
    self._shape, self._low, self._high = size, low, high
    dim = size if kind == 'discrete' else int(np.prod(size))
    self.act_space = spaces.ActionSpace(kind, dim)
    self._image = _find_image(self._adapter.observations)
    self._keys = [
        key for key, (shape, dtype) in self._adapter.observations.items()
        if not _is_image(shape, dtype)]
    self.obs_space = {'image': spaces.IMAGE, **self._vector_spaces()}
    self._obs = None

  def reset(self, seed=None):
    self._obs = self._adapter.reset(seed)
    return base.first(self._vectors())

  def step(self, action):
    action = self._native(np.asarray(action))
    self._obs, reward, discount, last = self._adapter.step(action)
    return base.following(self._vectors(), reward, discount, last)

  def render(self):
    if self._image is not None:
      return to_image(self._obs[self._image], self.name)
    try:
      frame = self._adapter.frame()
    except Exception as error:
      raise UserError(
          f'environment {self.name}: render() failed: '
          f'{type(error).__name__}: {_line(error)}'
          f'{gl.remedy(error)}') from error
    if frame is None:
      raise UserError(
          f'environment {self.name}: neither observations nor render() give '
          "an image; make it with render_mode='rgb_array'")
    return to_image(frame, self.name)

  def close(self):
    if hasattr(self._env, 'close'):
      self._env.close()

  def _native(self, action):
    if self.act_space.discrete:
      return int(np.argmax(action))
    action = action.reshape(self._shape).astype(np.float64)
    low, high = self._low, self._high
    bounded = np.isfinite(low) & np.isfinite(high)
    low, high = np.where(bounded, low, -1), np.where(bounded, high, 1)
    return np.clip(low + (action + 1) / 2 * (high - low), low, high)

  def _vector_spaces(self):
    result = {}
    for key in self._keys:
      if key in base.RESERVED or key == 'image':
        raise UserError(
            f'environment {self.name}: observation {key} must be renamed' + (
                ', or be uint8 [H, W, 3]' if key == 'image' else ''))
      shape = self._adapter.observations[key][0]
      result[key] = spaces.vector_space((math.prod(shape),))
    return result

  def _vectors(self):
    return {
        key: spaces.as_vector(self._obs[key]).reshape(-1)
        for key in self._keys}


def to_image(value, name='image'):
  """Scales any uint8 image to [64, 64, 3].

  Takes [H, W], [H, W, C] or [C, H, W] with C in 1, 3 or 4 (alpha is
  dropped). Shrinks by area, enlarges bilinearly.
  """
  value = np.asarray(value)
  if not _is_image(value.shape, value.dtype):
    raise UserError(
        f'environment {name}: image has shape {value.shape} and dtype '
        f'{value.dtype}; return uint8 [H, W, 3]')
  value = value[..., None] if value.ndim == 2 else value
  if value.shape[-1] not in (1, 3, 4):
    value = value.transpose(1, 2, 0)
  value = value[..., :3]
  if value.shape[-1] == 1:
    value = np.repeat(value, 3, -1)
  if value.shape[:2] != SIZE:
    shrinks = min(value.shape[:2]) >= min(SIZE)
    value = (resize.area if shrinks else resize.bilinear)(value, *SIZE)
  return np.array(value)


def _is_image(shape, dtype):
  if np.dtype(dtype) != np.uint8:
    return False
  if len(shape) == 3:
    return shape[-1] in (1, 3, 4) or shape[0] in (1, 3, 4)
  return len(shape) == 2 and min(shape) >= 16


def _find_image(observations):
  images = [
      key for key, (shape, dtype) in observations.items()
      if _is_image(shape, dtype)]
  return 'image' if 'image' in images else next(iter(images), None)


def import_quietly(library):
  """Imports a library that imports gym, or returns None; without farewell."""
  output = io.StringIO()
  try:
    with contextlib.redirect_stderr(output):
      return importlib.import_module(library)
  except ModuleNotFoundError:
    return None
  finally:
    for line in output.getvalue().splitlines():
      if line and not line.startswith(NOTICE):
        print(line, file=sys.stderr)


def _import_registering(name):
  """The `module:` in front of an id registers it when imported."""
  module, colon, _ = name.rpartition(':')
  if not colon:
    return
  try:
    importlib.import_module(module)
  except ImportError as error:
    raise UserError(
        f'task=gym_{name}: cannot import {module}: {error}') from error


def _make(module, name, images):
  make = _make_rendering if images else _make_blind
  try:
    with warnings.catch_warnings():
      # Without a rendering mode the observation must have the image.
      warnings.filterwarnings('ignore', '.*not in the possible render_modes')
      return make(module, name)
  except (ImportError, module.error.Error) as error:
    raise UserError(f'task=gym_{name}: {_line(error)}') from error


def _make_rendering(module, name):
  # The checker of gym 0.26 uses np.bool8, which NumPy 2 lacks.
  try:
    return module.make(
        name, render_mode='rgb_array', disable_env_checker=True)
  except TypeError:  # It takes no render_mode.
    return _make_blind(module, name)


def _make_blind(module, name):
  return module.make(name, disable_env_checker=True)


def _line(error):
  return ' '.join(str(error).split())
