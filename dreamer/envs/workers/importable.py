"""Which functions of a user's another process finds again by their names.

A module may be there and yet not be found: one that was started as a script,
run by `runpy` or `exec`, loaded from a file beside the search path, or typed
into a notebook. What a worker would not find, or would find elsewhere, runs
in this process.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from dreamer.envs import objects

FINDERS = (
    importlib.machinery.BuiltinImporter, importlib.machinery.FrozenImporter,
    importlib.machinery.PathFinder)


class Importable(NamedTuple):
  """name: `module:function` for a worker, or None; why: none, in words."""

  name: str | None
  why: str = ''


def find(function: Callable) -> Importable:
  """Says by which name a worker can import a function or class."""
  module = objects.ask(function, '__module__')
  name = objects.ask(function, '__qualname__')
  if not isinstance(module, str) or not isinstance(name, str) or '<' in name:
    return Importable(None, 'it has no name that a worker could import')
  if module == '__main__':
    return Importable(
        None, f'{name} is of the program itself, which no worker imports')
  found: Any = sys.modules.get(module)
  file = objects.ask(found, '__file__')
  for part in name.split('.'):
    found = objects.ask(found, part)
  if found is not function:
    return Importable(None, f'{module} has another {name}, or none')
  if not _is_found(module, file):
    return Importable(
        None, f'no worker finds the module {module} on the search path')
  return Importable(f'{module}:{name}')


def _is_found(module, file):
  """Whether the search path leads to the file that a module came from."""
  importlib.invalidate_caches()
  spec, path, name = None, None, ''
  for part in module.split('.'):
    name = f'{name}.{part}'.lstrip('.')
    spec = _spec(name, path)
    if spec is None:
      return False
    path = spec.submodule_search_locations
  return spec is not None and isinstance(file, str) and bool(
      spec.origin) and os.path.realpath(file) == os.path.realpath(spec.origin)


def _spec(name, path):
  """By finders that every process has, those of editable installs included."""
  for finder in sys.meta_path:
    if finder in FINDERS or 'editable' in str(
        objects.ask(finder, '__module__')):
      spec = objects.guard(finder.find_spec, name, path)
      if spec is not None:
        return spec
  return None
