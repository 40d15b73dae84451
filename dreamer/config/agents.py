"""Agents by name: found where they are, and the settings of their runs.

An agent is a package with an `Entry` called `entry` and a `__main__`. This
module knows none by name: those of this project are the packages whose
settings are in `configs/`; any other one is found by its name, wherever Python
imports from. Only what `find` is asked for is imported.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import pathlib
import re
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from dreamer.config import yaml_files
from dreamer.config.declare import flatten, prefixed
from dreamer.config.rules import nearest, show
from dreamer.config.schema import Config, Schema, Section
from dreamer.errors import ConfigError
from dreamer.files import DATA

GROUP = 'dreamer.agents'  # of entry points, by which installed agents are known
HOW = ("entry = Interface('{0}', ...) in {0}/__init__.py, as "
       'dreamer/run/interface.py describes it')


class Size(NamedTuple):
  """A size of an agent whose speed is measured.

  presets and settings beside them; channels of the image; kind (continuous or
  discrete) and number of the actions. threads: as the settings have them, for
  each that acting beside learning is measured with.
  """

  presets: Sequence[str]
  settings: Mapping[str, Any]
  channels: int
  kind: str
  actions: int
  threads: Sequence[int] = ()


class Published(NamedTuple):
  """Which published scores belong beside a run.

  tasks: how the names of its tasks begin. reference: a name of `scores
  compare --help`; None: there are none. method: of those it has; None: the
  paper's agent. preset: that has to hold.
  """

  tasks: str
  reference: str | None
  method: str | None = None
  preset: str | None = None


class Entry(Protocol):
  """What an agent says of itself, without importing TensorFlow.

  In this project an Interface of `dreamer.run.interface`, which says what
  each of these is.
  """

  name: str
  title: str
  settings: pathlib.Path
  sources: pathlib.Path | None
  flops: Callable[..., float] | None
  stored: Callable[..., Mapping[str, Any]]
  losses: Sequence[str]
  sizes: Mapping[str, Size]
  published: Sequence[Published]
  validate: Callable[..., None]
  replay: Callable[..., Any]

  def schema(self) -> Schema: ...

  def configure(
      self, presets: str | Sequence[str] = (), **overrides: Any) -> Config: ...

  def make_agent(
      self, config: Config, obs_space: Any, act_space: Any) -> Any: ...

  def main(
      self, argv: Sequence[str] | None = None, beside: str = '') -> None: ...


class Saved(NamedTuple):
  """What the config.yaml of a run says; it may be of another version.

  agent: its name; of files that lack it, by the keys.
  presets: those it was made of, or None where the file doesn't say.
  config: the settings as they were written.
  """

  agent: str
  presets: tuple[str, ...] | None
  config: Section


def known() -> list[str]:
  """Names of this project's agents, then of installed ones, sorted."""
  own = [x.stem for x in (DATA / 'configs').glob('*.yaml')]
  installed = [x.name for x in importlib.metadata.entry_points(group=GROUP)]
  return [*sorted(filter(_is_package, own)), *sorted(installed)]


def find(name: str) -> Entry:
  """Returns the entry of an agent, which is imported.

  Raises ConfigError where there is none of this name, or it has no entry.
  """
  if not isinstance(name, str) or not _is_package(name):
    names = known()
    raise ConfigError(
        f'unknown agent {show(name)}{nearest(name, names)}; '
        f'allowed: {", ".join(names)}, or a package of yours that Python '
        'finds: run this in the folder that holds it, or put that on '
        'PYTHONPATH')
  entry: Any = getattr(importlib.import_module(name), 'entry', None)
  if not _is_entry(entry):
    raise ConfigError(
        f'{name} is no agent: the package has no entry; write {HOW}'.format(
            name))
  return entry


def is_loaded(package: str) -> bool:
  """Whether a package of this name is imported, and an agent."""
  return _is_entry(getattr(sys.modules.get(package), 'entry', None))


def schema(agent: str) -> Schema:
  """Returns the settings of an agent."""
  return find(agent).schema()


def saved(run: str | pathlib.Path) -> Saved:
  """Reads the config.yaml of a run's folder, or a file like it.

  Raises ConfigError where that is no such file, or says no agent.
  """
  file = _file(run)
  with prefixed(f'{file}: '):
    content = yaml_files.read(file, prefix=False)
    agent, presets = yaml_files.header(content)
    keys = set(flatten(content))
    agent = agent or _of_keys(keys)
  return Saved(agent, presets, Section(content))


def read(run: str | pathlib.Path) -> Config:
  """Returns the checked Config of a run's folder, or of a file like its.

  Keys that are younger than the run have their defaults; a warning names
  them. Raises ConfigError for anything else.
  """
  agent, presets, config = saved(run)
  with prefixed(f'{_file(run)}: '):
    own, flat = schema(agent), config.flat
  missing = [key for key in own.defaults.flat if key not in flat]
  if missing:
    warnings.warn(
        f'{_file(run)}: has no {", ".join(missing[:5])}'
        f'{f" and {len(missing) - 5} more" if missing[5:] else ""}: older than '
        'that, or damaged; the defaults count', stacklevel=2)
  with prefixed(f'{_file(run)}: '):
    return own.complete(flat, presets)


def _is_package(name):
  """Whether there is a package of this name that `python -m` can run.

  What a name in a file imports is at least meant to be run by its name.
  """
  if not re.fullmatch(r'[^\W\d]\w*', name):
    return False
  try:
    found = importlib.util.find_spec(name)
  except (ImportError, ValueError):
    return False
  return any((pathlib.Path(x) / '__main__.py').exists() for x in (
      found and found.submodule_search_locations or ()))


def _is_entry(value):
  return hasattr(value, 'make_agent') and hasattr(value, 'schema')


def _file(run: str | pathlib.Path) -> pathlib.Path:
  run = pathlib.Path(run)
  if not run.is_dir():
    return run
  if not (run / 'config.yaml').exists():
    raise ConfigError(f'{run}: no config.yaml in it: not the folder of a run')
  return run / 'config.yaml'


def _of_keys(keys: set[str]) -> str:
  """The agent that has most of these keys. Raises ConfigError for a tie."""
  common = {agent: len(keys & set(schema(agent).defaults.flat))
            for agent in known()}
  found = [x for x, amount in common.items() if amount == max(common.values())]
  if len(found) > 1:
    raise ConfigError(f'names no agent, and its keys fit {", ".join(found)}; '
                      f'write a line such as agent: {found[0]} into it')
  return found[0]
