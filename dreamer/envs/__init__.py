"""Environments: the one table from task to environment and wrappers."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dreamer.config import agents
from dreamer.config.schema import Config, Section
from dreamer.envs import objects, suggest
from dreamer.errors import UserError

if TYPE_CHECKING:
  from dreamer.envs.workers.inline import InlineEnv
  from dreamer.envs.workers.remote import RemoteEnv
  from dreamer.envs.wrappers import Checks

# Suite -> module whose make(name, config, mode) gives the bare environment.
SUITES = {
    'atari': 'dreamer.envs.suites.atari',
    'crafter': 'dreamer.envs.suites.crafter',
    'dmc': 'dreamer.envs.suites.dmc',
    'dmlab': 'dreamer.envs.suites.dmlab',
    'dummy': 'dreamer.envs.suites.dummy',
    'gym': 'dreamer.envs.suites.gym',
    'minatar': 'dreamer.envs.suites.minatar',
}
USES_GL = ('dmc',)
MAY_USE_GL = ('gym',)
OWN_GL = ('dmlab',)  # brings its own, to be kept from TensorFlow as well


def make_env(
    config: Section, mode: str = 'train', index: int = 0,
    factory: Callable[[], Any] | None = None) -> Checks:
  """Makes an environment in this process, wrapped as agents expect it.

  Args:
    config: Reads task, action_repeat, time_limit, the suite's section and,
      if it is there, images.
    mode: train or eval.
    index: Number among the environments of this mode.
    factory: Returns a user's environment object; then the task is not read.

  Raises:
    UserError: unknown task, or something that the task needs is missing.
  """
  from dreamer.envs import base, wrappers  # NumPy with it; --help needs none.
  env: base.Env
  if factory:
    from dreamer.envs.suites import user  # NumPy with it; --help needs none.
    own = user.wrap(factory(), '', config, mode)
    env, name = own, own.name
  else:
    suite, name = split_task(config.task)
    env = importlib.import_module(SUITES[suite]).make(name, config, mode)
    name = config.task
  env = wrappers.TimeLimit(env, config.time_limit)
  env = wrappers.ActionRepeat(env, config.action_repeat)
  frames = wrappers.Frames(env, base.has_images(config, mode))
  if not frames.obs_space:
    raise UserError(
        f'images={config.images}: {name} has no observations but images; use '
        'images=all')
  return wrappers.Checks(frames, f'{mode} {index} ({name})', name)


def make_envs(
    config: Section, mode: str = 'train', amount: int = 1,
    factory: Any = None) -> list[RemoteEnv] | list[InlineEnv]:
  """Makes environments with half calls, in workers or inline.

  Args:
    config: envs.worker chooses process or inline.
    mode: train or eval.
    amount: How many.
    factory: None, or a user's environment: an object (runs inline, once),
      or a function without arguments that makes it. Such a function runs in
      a worker if it can be imported by name, and else inline.
  """
  from dreamer.envs import base, gl  # NumPy with it; --help needs none.
  from dreamer.envs.workers import remote  # NumPy with it; --help needs none.
  config = _reserving(config)
  if factory is not None:
    return _user_envs(config, mode, amount, factory)
  suite, _ = split_task(config.task)
  images = base.has_images(config, mode)
  uses_gl = suite in USES_GL and images
  if uses_gl and config.envs.worker == 'process':
    gl.choose_gl()
  elif suite in MAY_USE_GL and images:
    gl.prefer_gl()
  if config.envs.worker == 'process':
    return [remote.RemoteEnv(config, mode, i) for i in range(amount)]
  if uses_gl or suite in OWN_GL:
    raise UserError(
        f'envs.worker=inline: {config.task} renders with OpenGL, which '
        'crashes beside TensorFlow; use envs.worker=process')
  return [_inline(config, mode, i) for i in range(amount)]


def task_list() -> list[str]:
  """Names of all tasks but those of gym, which are `gym_<Id>`."""
  # NumPy with it; --help needs none.
  from dreamer.envs.suites import atari, dmc, dmlab, minatar
  return [
      *(f'dmc_{name}' for name in dmc.TASKS),
      *(f'atari_{name}' for name in atari.GAMES),
      *(f'dmlab_{name}' for name in (*dmlab.LEVELS, *dmlab.DMLAB30)),
      *(f'minatar_{name}' for name in minatar.GAMES),
      'crafter_reward', 'crafter_noreward',
      'dummy_continuous', 'dummy_discrete', 'dummy_pixelpoint',
      'dummy_pixelpoint_discrete']


def split_task(task: str) -> tuple[str, str]:
  """Returns suite and name within it of `<suite>_<name>`."""
  suite, _, name = task.partition('_')
  if suite not in SUITES or not name:
    known = [*task_list(), 'gym_<Id>']
    of_each_suite = {x.partition('_')[0]: x for x in reversed(known)}
    raise suggest.unknown('task', task, [*of_each_suite.values(), *known])
  return suite, name


def _reserving(config):
  """The settings, and which names the agent's losses have."""
  from dreamer.envs import base  # NumPy with it; --help needs none.
  if not isinstance(config, Config):
    return config
  losses = agents.find(config.agent).losses
  return Section({**config.nested, base.LOSSES: ','.join(losses)})


def _user_envs(config, mode, amount, factory):
  from dreamer.envs import base, gl  # NumPy with it; --help needs none.
  from dreamer.envs.workers import (  # NumPy with it; --help needs none.
      importable,
      remote,
  )
  if base.has_images(config, mode):
    gl.prefer_gl()  # before its code imports what renders
  is_class = isinstance(factory, type)
  if not is_class and objects.has(factory, 'step'):
    if amount > 1:
      raise UserError(
          f'envs.amount={amount}: one environment object can only be stepped '
          'once; pass a function that makes environments')
    return [_inline(config, mode, 0, lambda: factory, factory)]
  if config.envs.worker == 'inline':
    return [_inline(config, mode, i, factory) for i in range(amount)]
  name, why = importable.find(factory)
  if name:
    return [remote.RemoteEnv(config, mode, i, name) for i in range(amount)]
  return [_inline(config, mode, i, factory, why=why) for i in range(amount)]


def _inline(config, mode, index, factory=None, shared=None, why=''):
  from dreamer.envs import base, gl  # NumPy with it; --help needs none.

  # NumPy with it; --help needs none.
  from dreamer.envs.workers.inline import InlineEnv
  env = InlineEnv(
      lambda: make_env(config, mode, index, factory),
      f'{mode} environment {index} ({config.task})', shared, why)
  if env.opengl is not False:
    gl.check_loaded(config.task)
    if base.has_images(config, mode):
      gl.check_inline(config.task, certain=env.opengl)
  return env
