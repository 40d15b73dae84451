"""gym and gymnasium environments by id."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import io
import re
import sys
import types
import warnings

from dreamer.config.schema import Section
from dreamer.envs import base, suggest
from dreamer.envs.suites import atari, user
from dreamer.errors import UserError

NOTICE = ('Gym has been unmaintained', 'Please upgrade to Gymnasium',
          'Users of this version of Gym', 'See the migration guide')


def make(name: str, config: Section, mode: str) -> base.Env:
  """Makes the environment of this id, from gymnasium or else from gym.

  Raises:
    UserError: unknown id, or a package it needs is missing.
  """
  known: list[str] = []
  for library in ('gymnasium', 'gym'):
    module = import_quietly(library)
    if module is None:
      continue
    _import_registering(name)
    registry = module.envs.registration.registry
    if name.split(':')[-1] in registry:
      env = _make(module, name, base.has_images(config, mode))
      return user.wrap(env, f'gym_{name}', config, mode)
    known.extend(f'gym_{key}' for key in registry)
  if not known:
    raise UserError(f'task=gym_{name}: pip install gymnasium')
  raise suggest.unknown('task', f'gym_{name}', known, _of_atari(name))


def _of_atari(name):
  """Both names of the game, where an id is nearly one of Atari's."""
  known = {game.replace('_', ''): game for game in atari.GAMES}
  spaced, short = name.rpartition(':')[2].partition('/')[::2]
  is_ale = bool(short) and spaced == 'ALE'
  word = re.sub(
      r'(NoFrameskip|Deterministic|-ram|-v\d+)', '', short if is_ale else
      name.rpartition(':')[2]).lower()
  near = difflib.get_close_matches(word, known, 1, 0.5 if is_ale else 0.9)
  return [found for key in near for found in (
      f'gym_ale_py:ALE/{atari.camel(known[key])}-v5', f'atari_{known[key]}')]


def import_quietly(library: str) -> types.ModuleType | None:
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
        f'task=gym_{name}: cannot import {module}: {error}; install the '
        'package that registers the id') from error


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
