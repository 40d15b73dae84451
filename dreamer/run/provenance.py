"""Where scores come from: agent, presets, settings, commit, and the protocol.

The protocol is how they were measured; a table needs all of it beside returns.
"""

from __future__ import annotations

import functools
import hashlib
import json
import subprocess
from typing import Any

from dreamer.config import help
from dreamer.config.schema import Schema
from dreamer.files import ROOT
from dreamer.run import resume

POLICIES = ('trained', 'untrained', 'random')  # that are evaluated
EMULATOR = ('sticky', 'actions', 'life_loss', 'noops')
# What makes no other experiment, beside resume.HARMLESS.
VARYING = ('seed', 'eval_episodes')
SIZES = ('debug', 'laptop')  # presets that overrule all others


def describe(config: Any, agent: str) -> dict[str, Any]:
  """Returns what all evaluations of a run share, for JSON.

  agent: its name. Keys: agent, task, seed; presets that hold; config: a hash
  that the seeds of one experiment share; commit of the code, or None;
  protocol: a flat dict.
  """
  return {
      'agent': agent, 'task': config.task, 'seed': config.seed,
      'presets': presets(config), 'config': config_hash(config),
      'commit': commit(), 'protocol': protocol(config)}


def protocol(config: Any) -> dict[str, Any]:
  """Returns how evaluation episodes are played; None: does not apply."""
  flat = config.flat
  suite = config.task.split('_')[0]
  atari = flat if suite == 'atari' else {}
  return {
      'returns': 'evaluation', 'mode': 'eval',
      'noise': flat.get('expl.eval_noise'),
      'collect': flat.get('collect'), 'episodes': config.eval_episodes,
      'every': config.eval_every, 'action_repeat': config.action_repeat,
      'time_limit': config.time_limit,
      **{key: atari.get(f'atari.{key}') for key in EMULATOR},
      'suite': {key.split('.', 1)[1]: value for key, value in flat.items()
                if key.startswith(f'{suite}.')
                and key not in resume.HARMLESS}}


def told(config: Any) -> str:
  """What a run says of its settings: the presets named, whose the rest is.

  '' for an agent without the preset of a paper.
  """
  comments = {name: text.split('. ')[0]
              for name, text in help.presets(config.schema).items()}
  if 'paper' not in comments:
    return ''
  names = [*(x for x in config.presets or () if x != 'paper'), 'paper']
  *others, paper = (
      f'{name} ({comments[name]})' if comments.get(name) else name
      for name in names)
  return f'presets: {", ".join(others) or "none"}; all else: {paper}'


def presets(config: Any, schema: Schema | None = None) -> list[str]:
  """Returns the names of all presets that hold and differ from the defaults.

  A preset holds if the config has each of its values, or (but not for all)
  those of a joint preset `a+b`, or of a size that holds, whether it was named
  or not; other tasks of its suite, other lengths and harmless keys count as
  the same, and so do keys that an older run lacks. A preset that bears the
  name of its task needs that task, one beneath some suites one of these.
  schema: by default that of the config.
  """
  schema = schema or config.schema
  defaults = schema.defaults.flat
  found: list[str] = []
  for name in reversed(schema.presets):
    if '+' not in name and _holds(config, schema, name, found):
      found.insert(0, name)
  return [name for name in found if any(
      defaults[key] != value == config.flat.get(key, value)
      for key, value in schema.presets[name].items()
      if key not in ('task', *resume.HARMLESS))]


def config_hash(config: Any, schema: Schema | None = None) -> str:
  """Returns 12 hex digits that the seeds of one experiment share.

  They count what differs from the defaults, but the seed and harmless keys:
  so a key that an older run lacks makes no other experiment while it has its
  default. schema: by default that of the config.
  """
  defaults = (schema or config.schema).defaults.flat
  flat = {key: value for key, value in config.flat.items()
          if key not in (*resume.HARMLESS, *VARYING)
          and not (key in defaults and defaults[key] == value)}
  text = json.dumps(flat, sort_keys=True)
  return hashlib.sha256(text.encode()).hexdigest()[:12]


@functools.cache
def commit() -> str | None:
  """Returns the commit of this code, `-dirty` if files differ, or None."""
  if _git('rev-parse', '--show-toplevel') != str(ROOT):
    return None  # No repository, or one that the code only lies in.
  name = _git('rev-parse', '--short=12', 'HEAD')
  changed = _git('status', '--porcelain', '--untracked-files=no')
  return f'{name}-dirty' if name and changed else name


def _holds(config, schema, name, later):
  flat, preset = config.flat, schema.presets[name]
  suites = [key for key, value in schema.beneath.items() if value == name]
  if suites and flat['task'].split('_')[0] not in suites:
    return False
  others = [
      values for other, values in schema.presets.items()
      if other in SIZES and other in later or (
          '+' in other and name in other.split('+'))]
  values = {key: (value, *(x[key] for x in others if key in x))
            for key, value in preset.items() if key not in resume.HARMLESS}
  return all(
      any(_same_tasks(flat[key], x, name) for x in allowed)
      if key == 'task' else flat.get(key, allowed[0]) in allowed
      for key, allowed in values.items())


def _same_tasks(task, preset, name):
  (suite, *ours), (other, *theirs) = task.split('_'), preset.split('_')
  return suite == other and (name in ours or name not in theirs)


def _git(*command):
  """Returns what git prints, or None where it can't."""
  try:
    done = subprocess.run(
        ['git', *command], cwd=ROOT, capture_output=True, text=True,
        timeout=10)
  except (OSError, subprocess.SubprocessError):
    return None
  return done.stdout.strip() if done.returncode == 0 else None
