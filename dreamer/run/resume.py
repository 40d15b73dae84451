"""May this configuration start, or continue, in this folder?"""

from __future__ import annotations

import contextlib
import os
import pathlib
import re
from collections.abc import Iterator, Mapping

from dreamer import cli, files
from dreamer.config import agents, rules
from dreamer.config.schema import Config, Schema
from dreamer.errors import ConfigError, UserError
from dreamer.locks import Lock
from dreamer.run import env_identity
from dreamer.run.checkpoint import Checkpoints

# What may change between two parts of one run: none of it changes shapes,
# gradients or the random numbers of training.
HARMLESS = (
    'logdir', 'steps', 'threads', 'threads_per_op', 'devices', 'log_every',
    'save_every', 'eval_every', 'video_every', 'envs.timeout',
    'envs.reset_timeout', 'envs.restarts', 'replay.memory_gb',
    'replay.spare_gb', 'dmlab.level_cache')
OWN = (
    'config.yaml', env_identity.FILE, 'checkpoints', 'episodes',
    'metrics.jsonl', 'scores.jsonl', 'videos')

KEYS = 'logdir', 'task', 'action_repeat', 'batch_length'  # of every config.yaml


def checkpoints(logdir: str | os.PathLike) -> Checkpoints:
  return Checkpoints(pathlib.Path(logdir) / 'checkpoints')


def open_logdir(
    config: Config, agent: str) -> tuple[Config, tuple[dict, dict] | None]:
  """Returns the config and the newest checkpoint (arrays, meta), or None.

  Without a checkpoint it is a new run. The config has the run's own task,
  where that is only the name of a user's environment. Writes `config.yaml`,
  for readers. Raises UserError for a folder that holds something else:
  another agent or task, other settings, foreign files.
  """
  logdir = pathlib.Path(config.logdir)
  ours = _is_ours(logdir)
  saved = checkpoints(logdir).load(move=ours)
  if saved is None:
    _check_new(logdir, ours)
  elif saved[1]['env_steps'] == 0 and not any(
      (logdir / 'episodes').glob('*.npz')):
    saved = None  # Nothing would be lost, whatever it was.
  else:
    config = env_identity.same_task(config, saved[1]['config']['task'])
    check_meta(saved[1], config, agent)
    _warn_if_edited(logdir, saved[1]['config'], config.schema, move=True)
  for name in OWN:
    files.remove_leftovers(logdir, name)
  config.save(logdir / 'config.yaml')
  return config, saved


@contextlib.contextmanager
def locked(logdir: str | os.PathLike,
           who: str = 'another process trains') -> Iterator[None]:
  """Makes the folder and keeps a second run out of it meanwhile.

  who: what the second one is told of the first.

  The lock is one on the folder itself and ends with the process, however
  that ends. File systems without locks go without.
  """
  if not logdir:
    raise ConfigError('logdir: is missing; write --logdir FOLDER')
  try:
    os.makedirs(logdir, exist_ok=True)
    lock = Lock(logdir)
  except FileExistsError:
    raise ConfigError(f'logdir: {logdir} is a file; name a folder') from None
  except (OSError, ValueError) as e:
    reason = getattr(e, 'strerror', None) or e
    raise ConfigError(f'logdir: can not create {logdir}: {reason}') from None
  with lock:
    if lock.taken:
      raise UserError(
          f'logdir: {who} in {logdir}; wait for its end, or '
          'name another folder')
    yield


def load_run(
    schema: Schema, logdir: str, agent: str) -> tuple[Config, dict, dict]:
  """Returns (config, arrays, meta) of a run's newest checkpoint."""
  if not pathlib.Path(logdir).is_dir():
    raise UserError(f'logdir: {logdir} is no folder; name that of a run')
  saved = checkpoints(logdir).load()
  if saved is None:
    raise UserError(f'logdir: {logdir} has no checkpoint; train there first')
  arrays, meta = saved
  check_agent(meta, logdir, agent)
  _warn_if_edited(pathlib.Path(logdir), meta['config'], schema)
  try:
    config = schema.complete(meta['config'], meta.get('presets'))
  except ConfigError as e:
    raise UserError(
        f'logdir: {logdir} is of another version of {agent}: {e}') from None
  return config.update({'logdir': str(logdir)}), arrays, meta


def _warn_if_edited(logdir, settings, schema, move=False):
  """A run's settings are those of its checkpoint, whatever config.yaml says.

  move: whether an edited one is put into `edited/`, as a new one follows.
  """
  reason = _edited(logdir / 'config.yaml', settings, schema)
  if reason:
    moved = move and files.move_aside(logdir / 'config.yaml', 'edited')
    files.warn(f"{reason}: the checkpoint's settings count"
               f'{", the file is in edited/ now" if moved else ""}')


def _edited(path, settings, schema):
  """How a run's file differs from its settings; None where it does not."""
  if not path.exists():
    return None
  try:
    flat = agents.saved(path.parent).config.flat
  except UserError as e:
    return str(e)
  own = {**schema.defaults.flat, **settings}
  for key, value in flat.items():
    if key not in own:
      return f'{path}: {key} is no key of the run'
    if key not in HARMLESS and own[key] != value:
      return (f'{path}: {key} is {rules.typed(value)} there, the run has '
              f'{rules.typed(own[key])}')
  return None


def check_agent(meta: Mapping, logdir: str, agent: str) -> None:
  """Raises UserError when a checkpoint belongs to another agent."""
  if meta.get('agent') != agent:
    raise UserError(
        f'logdir: {logdir} holds a run of {meta.get("agent")}, not {agent}; '
        f'use {meta.get("agent")} or name another folder')


def check_meta(meta: Mapping, config: Config, agent: str) -> None:
  """Raises UserError when a checkpoint belongs to another run."""
  check_agent(meta, config.logdir, agent)
  gone = sorted(set(meta['config']) - set(config.flat))
  if gone:
    raise UserError(
        f'logdir: {config.logdir} holds a run of another version of {agent}, '
        f'with a setting {gone[0]}; continue it with that version or name '
        'another folder')
  found = _differences(meta['config'], config)
  if found:
    key, old, new = min(found, key=lambda x: x[0] != 'task')
    more = f' (and {len(found) - 1} more keys)' if found[1:] else ''
    this = 'call' if env_identity.is_own(config.task) else 'command'
    raise UserError(
        f'{key}: the run in {config.logdir} has {rules.typed(old)}, '
        f'this {this} {rules.typed(new)}{more}; '
        f'{_remedy(config, agent, key, old)} or name another logdir')


def _remedy(config, agent, key, value):
  """How to continue a run with its own value of a setting."""
  own, was_own = (env_identity.is_own(x) for x in (
      config.task, value if key == 'task' else config.task))
  if own and was_own and key == 'task':
    name = value.removeprefix(env_identity.OWN)
    return (f'pass {name} again or, if both make the same environment, say '
            f'so by configure(task={value!r})')
  if not was_own:
    command = f'{cli.command("train", agent)} ' if own else ''
    return f'continue it with {command}--{key} {rules.typed(value)}'
  if not own:
    return f'continue it from Python by {agent}.train(env, config)'
  pair = f"**{{{key!r}: {value!r}}}" if '.' in key else f'{key}={value!r}'
  return f'continue it with configure({pair})'


def _is_ours(logdir):
  """Whether a run of ours has begun there: it first writes config.yaml."""
  try:
    text = (logdir / 'config.yaml').read_text(encoding='utf-8')
  except (OSError, ValueError):
    return False
  return all(re.search(f'(?m)^{key}: ', text) for key in KEYS)


def _check_new(logdir, ours):
  """Without a checkpoint there is only what a run makes before its first.

  Or nothing but recorded episodes, which may be put there.
  """
  if not logdir.exists():
    return
  allowed = OWN if ours else ('episodes',)
  foreign = sorted(x.name for x in logdir.iterdir() if x.name not in allowed
                   and not x.name.startswith('events.out.tfevents')
                   and files.whole_name(x) not in OWN)
  metrics = logdir / 'metrics.jsonl'
  if ours and ((logdir / 'checkpoints' / 'damaged').exists() or (
      metrics.exists() and metrics.stat().st_size)):
    raise UserError(
        f'logdir: {logdir} holds a run without a usable checkpoint; name '
        'another folder, or delete this one')
  if foreign:
    raise UserError(
        f'logdir: {logdir} holds {foreign[0]}, which is of no run; name a '
        'new or an empty folder')


def _differences(old, config):
  """Returns [(key, old value, new value)] that forbid continuing.

  A key that is younger than the run stands for its default there.
  """
  old = {**config.schema.defaults.flat, **old}
  return [(key, old[key], value) for key, value in config.flat.items()
          if key not in HARMLESS and old[key] != value]
