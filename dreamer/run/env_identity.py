"""Which environment a run is of: what it answers, not what it is called.

A run in a user's environment has the task `own_NAME`. The name is a label:
`partial(Env, 1)` and `partial(Env, 2)` share one, and a lambda has none. So a
run's folder records what the environment answers, and a run that continues
with another one stops instead of mixing the two in its replay.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import pathlib
from typing import Any

from dreamer import files
from dreamer.config.schema import Config
from dreamer.envs import objects
from dreamer.errors import UserError
from dreamer.run import env_probe

OWN = 'own_'  # start of the task of runs in a user's environment
FILE = 'environment.json'
MAPPING = 'mapping'  # key of it, and of what `about` tells
_ANONYMOUS = ('>', '(...)')


def is_own(task: str) -> bool:
  """Whether a run of this task is in a user's environment."""
  return task.startswith(OWN)


def task(env: Any, config: Config | None = None) -> str:
  """Returns the task of a user's environment, or of what makes it.

  A config whose task starts with `own_` gives it the name.
  """
  if config and is_own(config.task) and config.task != OWN:
    return config.task
  return OWN + _name(env)


def probe(env: Any, task: str) -> env_probe.Probe:
  """Looks whether a user's environment follows its seed; see `start`."""
  if is_own(task) or task.startswith('gym_'):
    return env_probe.probe(env)
  return env_probe.Probe(None, ())


def is_anonymous(task: str) -> bool:
  """Whether the name tells nothing: of a lambda, of a call with arguments."""
  return task.endswith(_ANONYMOUS)


def same_task(config: Config, recorded: str) -> Config:
  """Returns the config with the recorded task where names decide nothing."""
  both = is_own(config.task) and is_own(recorded)
  if both and (is_anonymous(config.task) or is_anonymous(recorded)):
    return config.update({'task': recorded})
  return config


def describe(env: Any, task: str, first: dict | None = None) -> dict:
  """Returns what an environment answers, for JSON.

  obs: dict of name to a described Space; act: [kind, dim]; first: as given,
  digests of the first observation of an episode, of users' environments only.
  """
  act = env.act_space
  return {
      'obs': {name: space.describe()
              for name, space in sorted(env.obs_space.items())},
      'act': [act.kind, act.dim],
      'first': first if is_own(task) else None}


def check(
    logdir: str, env: Any, task: str, new: bool, first: dict | None,
    mapping: dict | None = None) -> None:
  """Compares an environment with that of a run, or records it.

  new: whether the run begins here. first: see `env_probe.Probe`. mapping:
  what becomes of its observations and actions, for exports; it is not
  compared. Raises UserError where they differ.
  """
  path = pathlib.Path(logdir) / FILE
  recorded = None if new else read(logdir)
  found = {**describe(env, task, first), MAPPING: mapping}
  if recorded is None:
    _write(path, found)
    return
  more = (f'observation {name} is not known there'
          for name in found['obs'] if name not in recorded['obs'])
  for problem in itertools.chain(
      _other_spaces(recorded, found), more, _other_answers(recorded, found)):
    raise UserError(
        f'environment: the run in {logdir} is of another one: {problem}; '
        'continue it with the same environment, or name another folder (if '
        'it is the same, on another machine or in another version, delete '
        f'{path})')
  if mapping and not recorded[MAPPING]:  # of a run of an older version
    _write(path, {**recorded, MAPPING: mapping})


def read(logdir: str | os.PathLike) -> dict | None:
  """Returns what a run has recorded of its environment; None: nothing.

  That is `describe`, and its mapping; None: an older version did not write
  it, or the environment is none of a user's. Raises UserError.
  """
  return _read(pathlib.Path(logdir) / FILE)


def evaluated(logdir: str, env: Any, trained: str, task: str) -> str:
  """Returns the task of an evaluation of a run, for its line.

  trained: the run's task; task: that of the environment which is evaluated
  in. It is the run's if it answers as recorded or, where that is not known,
  if the name is the same. It may have more observations, as evaluations that
  make a video do. Raises UserError where the run's agent can't act in it.
  """
  seen = probe(env, task)
  if seen.differs:
    files.warn(env_probe.warning(task, seen.differs))
  found = describe(env, task, seen.first)
  recorded = read(logdir) or {**found, 'first': None}
  for problem in _other_spaces(recorded, found):
    raise UserError(
        f'environment: the run in {logdir} is of another one: {problem}; '
        'evaluate it in the same environment')
  for problem in _other_answers(recorded, found):
    task = task if task != trained else f'{task} (another)'
    files.warn(
        f'the run in {logdir} is of another environment: {problem}; this '
        f'evaluation is recorded as one of {task}')
    return task
  known = recorded['first'] and found['first']
  if known or is_anonymous(task) or is_anonymous(trained):
    return trained
  return task


def _name(env):
  if isinstance(env, functools.partial):
    return _name(env.func).removesuffix('(...)') + '(...)'
  name = objects.ask(env, '__name__')
  if isinstance(name, str):
    return name
  kind = type(objects.ask(env, 'unwrapped', env)).__name__
  return kind if objects.has(env, 'step') else f'{kind}(...)'


def _write(path, content):
  with files.atomic_write(path, 'w') as file:
    json.dump(content, file)


def _read(path):
  try:
    text = path.read_text(encoding='utf-8')
  except FileNotFoundError:
    return None
  except OSError as e:
    raise UserError(f'can not read {path}: {e.strerror or e}') from None
  try:
    recorded = json.loads(text)
    return {**{key: recorded[key] for key in ('obs', 'act', 'first')},
            MAPPING: recorded.get(MAPPING)}
  except (ValueError, KeyError, TypeError):
    raise UserError(
        f'{path} is damaged; delete it, to record the environment anew'
    ) from None


def _other_spaces(old, new):
  """Yields what an agent that was made for the old ones can't do without."""
  if old['act'] != new['act']:
    yield f'actions are {_words(new["act"])}, there {_words(old["act"])}'
  for name, space in old['obs'].items():
    if name not in new['obs']:
      yield f'observation {name} is missing'
    elif new['obs'][name] != space:
      yield (f'observation {name} is {_words(new["obs"][name])}, there '
             f'{_words(space)}')


def _other_answers(old, new):
  """Yields where the same reset gives something else, as far as known."""
  for name, digest in (old['first'] or {}).items():
    if new['first'] and new['first'].get(name) != digest:
      yield f'after a reset with seed {env_probe.SEED}, {name} differs'


def _words(values):
  return ' '.join(map(str, values))
