"""The agents by name, and the settings of their runs.

This is the one place of the core that knows which agents there are. It
imports none of them; `dreamer.bench`, which measures them, does, and the
agents make themselves known to users by `dreamer.run.interface`.
"""

from __future__ import annotations

import pathlib
import warnings
from typing import NamedTuple

from dreamer.config.declare import flatten, prefixed
from dreamer.config.rules import nearest, show
from dreamer.config.schema import Config, Schema, Section, header, read_yaml
from dreamer.errors import ConfigError
from dreamer.files import DATA

AGENTS = ('dreamerv1', 'dreamerv2')


class Saved(NamedTuple):
  """What the config.yaml of a run says; it may be of another version.

  agent: its name; of files that lack it, by the keys.
  presets: those it was made of, or None where the file doesn't say.
  config: the settings as they were written.
  """

  agent: str
  presets: tuple[str, ...] | None
  config: Section


def path(agent: str) -> pathlib.Path:
  """Returns the schema file of an agent; raises ConfigError."""
  if agent not in AGENTS:
    raise ConfigError(
        f'unknown agent {show(agent)}{nearest(agent, AGENTS)}; '
        f'allowed: {", ".join(AGENTS)}')
  return DATA / 'configs' / f'{agent}.yaml'


def schema(agent: str) -> Schema:
  """Returns the settings of an agent."""
  return Schema.load(path(agent))


def saved(run: str | pathlib.Path) -> Saved:
  """Reads the config.yaml of a run's folder, or a file like it.

  Raises ConfigError where that is no such file, or of no agent.
  """
  file = _file(run)
  with prefixed(f'{file}: '):
    content = read_yaml(file, prefix=False)
    agent, presets = header(content)
    keys = set(flatten(content))
    agent = agent or _of_keys(keys)
    path(agent)  # Raises for an unknown one.
  return Saved(agent, presets, Section(content))


def read(run: str | pathlib.Path) -> Config:
  """Returns the checked Config of a run's folder, or of a file like its.

  Keys that are younger than the run have their defaults; a warning names
  them. Raises ConfigError for anything else.
  """
  agent, presets, config = saved(run)
  own, flat = schema(agent), config.flat
  missing = [key for key in own.defaults.flat if key not in flat]
  if missing:
    warnings.warn(
        f'{_file(run)}: has no {", ".join(missing[:5])}'
        f'{f" and {len(missing) - 5} more" if missing[5:] else ""}: older than '
        'that, or damaged; the defaults count', stacklevel=2)
  with prefixed(f'{_file(run)}: '):
    return own.complete(flat, presets)


def _file(run: str | pathlib.Path) -> pathlib.Path:
  run = pathlib.Path(run)
  if not run.is_dir():
    return run
  if not (run / 'config.yaml').exists():
    raise ConfigError(f'{run}: no config.yaml in it: not the folder of a run')
  return run / 'config.yaml'


def _of_keys(keys: set[str]) -> str:
  """The agent that has most of these keys."""
  return max(AGENTS, key=lambda agent: len(
      keys & set(schema(agent).defaults.flat)))
