"""What users pass, from Python or the command line: understood or refused."""

from __future__ import annotations

import collections.abc
import inspect
import os
import pathlib
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from dreamer import files
from dreamer.config.rules import Rule, convert, nearest, show
from dreamer.config.schema import Config, Schema
from dreamer.envs import SUITES, objects
from dreamer.errors import ConfigError, UserError
from dreamer.run.provenance import POLICIES, SIZES

_COUNTS = {'episodes': '1..2147483647', 'seed': '0..2147483647',
           'amount': '1..2147483647'}
_WANTED = 'pass an environment, or a function without arguments that makes one'


class Evaluation(NamedTuple):
  """A checked wish: which run, and how it is measured.

  amount: of environments in parallel; None: as in training.
  video: of the first episode? True, False, or a path that ends with .gif.
  """

  logdir: str
  episodes: int
  policy: str
  seed: int
  amount: int | None
  video: bool | pathlib.Path


def evaluation(
    logdir: Any, episodes: Any = 10, policy: Any = 'trained', seed: Any = 0,
    amount: Any = None, video: Any = False,
    label: Callable[[str], str] = str) -> Evaluation:
  """Checks the options of an evaluation.

  label: how the user writes the option of a name, for messages.
  Raises UserError.
  """
  count = lambda name, value: _count(value, _COUNTS[name], label(name))
  return Evaluation(
      folder(logdir, label('logdir')), count('episodes', episodes),
      _choice(policy, POLICIES, label('policy')), count('seed', seed),
      None if amount is None else count('amount', amount),
      _video(video, label('video')))


def folder(path: Any, label: str = 'logdir') -> str:
  """Returns a path as text, `~` expanded. Raises UserError."""
  if not isinstance(path, (str, os.PathLike)) or not isinstance(
      os.fspath(path), str):
    raise UserError(f'{label}: {_what(path)} is no path of a folder')
  if not os.fspath(path):
    raise UserError(f'{label}: is empty; name the folder of a run')
  return files.expand(path)


def presets(given: Any) -> list:
  """Returns the presets that `configure` takes: one, several, or None."""
  if given is None:
    return []
  if isinstance(given, str):
    return [given]
  if isinstance(given, (
      collections.abc.Mapping, collections.abc.Set, bytes, bytearray)) or (
          not isinstance(given, Iterable)):
    raise ConfigError(
        f'presets: {_what(given)} is no list of names; write '
        "configure(['laptop'], key=value)")
  return list(given)


def names_task(schema: Schema, names: list, overrides: dict) -> bool:
  """Whether a task is chosen: by itself, or by the preset of a suite.

  A size has a task too, but only for runs that name none.
  """
  chosen = [name for name in names if isinstance(name, str)
            and name in schema.presets and name not in SIZES]
  return 'task' in overrides or any(
      'task' in schema.presets[name] for name in chosen)


def config(given: Any, agent: str) -> Config:
  """Returns the Config, if it is one of this agent. Raises UserError."""
  if not isinstance(given, Config):
    raise UserError(
        f'config: {_what(given)} is no Config; make one by {agent}.configure('
        "presets, logdir='FOLDER', ...)")
  if given.agent != agent:
    raise UserError(
        f'config: is of {given.agent}; make one by {agent}.configure(...)')
  if not given.logdir:
    raise UserError(
        f"logdir: is missing; write {agent}.configure(..., logdir='FOLDER')")
  return given


def environment(env: Any, agent: str) -> None:
  """Raises UserError for what is neither an environment nor makes one."""
  problem = _no_environment(env, agent)
  if problem:
    raise UserError(f'env: {problem}')


def is_object(env: Any) -> bool:
  """Whether this is one environment, not something that makes them."""
  return not isinstance(env, type) and objects.has(env, 'step')


def _no_environment(env, agent):
  """Returns what is wrong with it, and the remedy; or None."""
  if isinstance(env, str):
    suite = env.partition('_')[0]
    task = env if suite in SUITES else f'gym_{env}'
    return (f'{show(env)} is text; {_WANTED} (or train on a task that has a '
            f'name by python -m {agent} train --task {task})')
  if isinstance(env, collections.abc.Mapping):
    return (f'{_what(env)} is no environment; write {agent}.train(env, '
            'config)')
  if isinstance(env, (list, tuple, set)):
    return (f'a {type(env).__name__} of {len(env)}; pass a function without '
            f'arguments that makes one, and envs.amount {len(env)}')
  if is_object(env):
    several = objects.amount(env)
    return several not in (None, 1) and (
        f'{_what(env)} holds {several} environments; pass a function that '
        f'makes a single one, and envs.amount {several}')
  if not callable(env):
    return f'{_what(env)} is no environment; {_WANTED}'
  missing = _parameters(env)
  return missing and (
      f'{_what(env)} needs arguments ({", ".join(missing)}); pass a function '
      'without, such as functools.partial makes')


def _parameters(function):
  """Names of those that a call has to give."""
  try:
    parameters = inspect.signature(function).parameters.values()
  except (TypeError, ValueError):
    return []
  return [x.name for x in parameters if x.default is x.empty
          and x.kind not in (x.VAR_POSITIONAL, x.VAR_KEYWORD)]


def _count(value, allowed, label):
  try:
    value = convert(value, int)
    Rule(allowed).check(value)
  except ValueError as e:
    raise UserError(f'{label}: {e}') from None
  return value


def _choice(value, allowed, label):
  if not isinstance(value, str) or value not in allowed:
    raise UserError(
        f'{label}: {show(value)} is not allowed{nearest(value, allowed)}; '
        f'allowed: {", ".join(allowed)}')
  return value


def _video(value, label):
  if value is None or isinstance(value, bool):
    return bool(value)
  if not isinstance(value, (str, os.PathLike)):
    raise UserError(f'{label}: {_what(value)} is no path of a GIF')
  path = pathlib.Path(files.expand(value))
  if path.suffix != '.gif':
    raise UserError(f'{label}: {path} has to end with .gif')
  files.check_ours(path)
  return path


def _what(value):
  """What it is, for a message."""
  if value is None:
    return 'None'
  if isinstance(value, Config):
    return 'a Config'
  if isinstance(value, type) or inspect.isroutine(value):
    return value.__name__
  if isinstance(value, (str, int, float)):
    return show(value)
  return f'an object of type {type(value).__name__}'
