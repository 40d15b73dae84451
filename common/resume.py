"""May this configuration start, or continue, in this folder?"""

import pathlib

from common.checkpoint import Checkpoints
from common.config import ConfigError, UserError

# What may change between two parts of one run: none of it changes shapes,
# gradients or the random numbers of training.
HARMLESS = (
    'logdir', 'steps', 'threads', 'log_every', 'save_every', 'eval_every',
    'video_every', 'envs.timeout', 'envs.restarts', 'replay.memory_gb')


def checkpoints(logdir):
  return Checkpoints(pathlib.Path(logdir) / 'checkpoints')


def open_logdir(config, agent):
  """Returns the newest checkpoint (arrays, meta), or None for a new run.

  Writes `config.yaml`. Raises UserError for a folder that holds something
  else: another agent or task, other settings, foreign files.
  """
  if not config.logdir:
    raise ConfigError('logdir: is missing; write --logdir FOLDER')
  logdir = pathlib.Path(config.logdir)
  if logdir.exists() and not logdir.is_dir():
    raise ConfigError(f'logdir: {logdir} is a file; name a folder')
  saved = checkpoints(logdir).load()
  if saved is not None:
    check_meta(saved[1], config, agent)
  else:
    _check_new(logdir, config)
  try:
    logdir.mkdir(parents=True, exist_ok=True)
  except OSError as e:
    raise ConfigError(f'logdir: cannot create {logdir}: {e.strerror}') from e
  config.save(logdir / 'config.yaml')
  return saved


def load_run(schema, logdir, agent):
  """Returns (config, arrays, meta) of a run's newest checkpoint."""
  logdir = pathlib.Path(logdir)
  if not logdir.is_dir():
    raise UserError(f'logdir: {logdir} is no folder')
  saved = checkpoints(logdir).load()
  if saved is None:
    raise UserError(
        f'logdir: {logdir} holds no checkpoint; train there first')
  check_agent(saved[1], logdir, agent)
  config = schema.read(logdir / 'config.yaml')
  check_meta(saved[1], config, agent)
  return config, *saved


def check_agent(meta, logdir, agent):
  """Raises UserError when a checkpoint belongs to another agent."""
  if meta.get('agent') != agent:
    raise UserError(
        f'logdir: {logdir} holds a run of {meta.get("agent")}, not {agent}; '
        f'use python -m {meta.get("agent")}.train or another --logdir')


def check_meta(meta, config, agent):
  """Raises UserError when a checkpoint belongs to another run."""
  check_agent(meta, config.logdir, agent)
  found = _differences(meta['config'], config.flat)
  if found:
    key, old, new = min(found, key=lambda x: x[0] != 'task')
    more = f' (and {len(found) - 1} more keys)' if found[1:] else ''
    raise UserError(
        f'{key}: the run in {config.logdir} has {_show(old)}, this command '
        f'{_show(new)}{more}; continue it with --{key} {_show(old)} or start '
        'another --logdir')


def _check_new(logdir, config):
  """Without a checkpoint only what a run writes before its first is fine."""
  present = sorted(x.name for x in logdir.iterdir()) if logdir.exists() else []
  if not set(present) - {'episodes'}:
    return
  if 'config.yaml' not in present:
    name = (set(present) - {'episodes'}).pop()
    raise UserError(
        f'logdir: {logdir} holds {name} but no run; name an empty folder')
  metrics = logdir / 'metrics.jsonl'
  if (logdir / 'checkpoints' / 'damaged').exists() or (
      metrics.exists() and metrics.stat().st_size):
    raise UserError(
        f'logdir: {logdir} holds a run without a usable checkpoint; name '
        'another folder, or delete this one')
  try:
    old = config.schema.read(logdir / 'config.yaml').flat
  except ConfigError as e:
    raise UserError(f'logdir: {logdir} holds another run: {e}') from None
  if _differences(old, config.flat):
    key = _differences(old, config.flat)[0][0]
    raise UserError(
        f'logdir: {logdir} holds the config of another run (differs in '
        f'{key}); name another folder, or delete this one')


def _differences(old, new):
  """Returns [(key, old value, new value)] that forbid continuing."""
  return [
      (key, old.get(key), new.get(key)) for key in {**new, **old}
      if key not in HARMLESS and old.get(key) != new.get(key)]


def _show(value):
  return str(value).lower() if isinstance(value, bool) else str(value)
