"""May this configuration start, or continue, in this folder?"""

import pathlib

from common.checkpoint import Checkpoints
from common.config import ConfigError, UserError

# What may change between two parts of one run: none of it changes shapes,
# gradients or the random numbers of training.
HARMLESS = (
    'logdir', 'steps', 'threads', 'log_every', 'save_every', 'eval_every',
    'video_every', 'envs.timeout', 'envs.restarts', 'replay.memory_gb')
OWN = (
    'config.yaml', 'checkpoints', 'episodes', 'metrics.jsonl', 'scores.jsonl',
    'videos')


def checkpoints(logdir):
  return Checkpoints(pathlib.Path(logdir) / 'checkpoints')


def open_logdir(config, agent):
  """Returns the newest checkpoint (arrays, meta), or None for a new run.

  Writes `config.yaml`, for readers. Raises UserError for a folder that holds
  something else: another agent or task, other settings, foreign files.
  """
  if not config.logdir:
    raise ConfigError('logdir: is missing; write --logdir FOLDER')
  logdir = pathlib.Path(config.logdir)
  if logdir.exists() and not logdir.is_dir():
    raise ConfigError(f'logdir: {logdir} is a file; name a folder')
  saved = checkpoints(logdir).load()
  if saved is None:
    _check_new(logdir)
  elif saved[1]['env_steps'] == 0:
    saved = None  # Nothing would be lost, whatever it was.
  else:
    check_meta(saved[1], config, agent)
  try:
    logdir.mkdir(parents=True, exist_ok=True)
  except OSError as e:
    raise ConfigError(f'logdir: can not create {logdir}: {e.strerror}') from e
  config.save(logdir / 'config.yaml')
  return saved


def load_run(schema, logdir, agent):
  """Returns (config, arrays, meta) of a run's newest checkpoint."""
  if not pathlib.Path(logdir).is_dir():
    raise UserError(f'logdir: {logdir} is no folder; name that of a run')
  saved = checkpoints(logdir).load()
  if saved is None:
    raise UserError(f'logdir: {logdir} has no checkpoint; train there first')
  arrays, meta = saved
  check_agent(meta, logdir, agent)
  try:
    config = schema.config(overrides=meta['config'])
  except ConfigError as e:
    raise UserError(
        f'logdir: {logdir} is of another version of {agent}: {e}') from None
  return config.update({'logdir': str(logdir)}), arrays, meta


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


def _check_new(logdir):
  """Without a checkpoint there is only what a run makes before its first."""
  if not logdir.exists():
    return
  foreign = sorted(x.name for x in logdir.iterdir() if x.name not in OWN
                   and not x.name.startswith('events.out.tfevents'))
  if foreign:
    raise UserError(
        f'logdir: {logdir} holds {foreign[0]}, which is of no run; name a '
        'new or an empty folder')
  metrics = logdir / 'metrics.jsonl'
  if (logdir / 'checkpoints' / 'damaged').exists() or (
      metrics.exists() and metrics.stat().st_size):
    raise UserError(
        f'logdir: {logdir} holds a run without a usable checkpoint; name '
        'another folder, or delete this one')


def _differences(old, new):
  """Returns [(key, old value, new value)] that forbid continuing."""
  return [
      (key, old.get(key), new.get(key)) for key in {**new, **old}
      if key not in HARMLESS and old.get(key) != new.get(key)]


def _show(value):
  return str(value).lower() if isinstance(value, bool) else str(value)
