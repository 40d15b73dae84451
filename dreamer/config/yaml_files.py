"""YAML files: of settings as they are declared, and as runs keep them."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Mapping
from typing import Any

from dreamer.config import declare
from dreamer.config.declare import flatten, prefixed
from dreamer.config.rules import show
from dreamer.errors import ConfigError
from dreamer.files import atomic_write

AGENT, PRESETS = 'agent', 'presets'  # above the keys of a saved config
PARTS = 'shapes', 'defaults', 'presets'  # of a schema file


def parts(
    path: pathlib.Path, parent: Mapping[str, Any] | None = None
) -> tuple[dict, pathlib.Path | None]:
  """Returns the parts of a schema file, and the file of its shared shapes.

  Those are among the shapes then. parent: the parts of a file that this one
  extends; its shapes are there too, and the presets are those of both. Raises
  ConfigError.
  """
  content = read(path)
  name = content.pop('shared', None)
  shared = None if name is None else path.parent / str(name)
  if shared:
    _add_shapes(content, read(shared), path, shared)
  if parent:
    content = {**dict.fromkeys(PARTS), **content}
    _add_shapes(content, parent['shapes'] or {}, path,
                'what it extends')
    with prefixed(f'{path}: presets: '):
      content['presets'] = declare.both(
          parent['presets'] or {}, content['presets'] or {})
    content['defaults'] = content['defaults'] or {}
  return content, shared


def _add_shapes(content, shapes, path, source):
  own = content.get('shapes') or {}
  with prefixed(f'{path}: shapes: '):
    flatten(own)  # Raises for what is no mapping.
    for shape in set(shapes) & set(own):
      raise ConfigError(f'{shape} is in {source} too')
  content['shapes'] = {**shapes, **own}


def header(content: dict) -> tuple[str | None, tuple[str, ...] | None]:
  """Takes agent and presets out of a saved config; None: it doesn't say."""
  agent, presets = content.pop(AGENT, None), content.pop(PRESETS, None)
  if not isinstance(agent, str | None):
    raise ConfigError(f'{AGENT}: {show(agent)} is no name')
  if presets is None:
    return agent, None
  if not isinstance(presets, list) or not all(
      isinstance(name, str) for name in presets):
    raise ConfigError(f'{PRESETS}: {show(presets)} is no list of names')
  return agent, tuple(presets)


def _yaml() -> Any:
  from ruamel.yaml import YAML  # Slow to import; workers never read YAML.
  # Without `pure` an installed C parser would read YAML 1.1: off -> False.
  yaml: Any = YAML(typ='safe', pure=True)
  yaml.default_flow_style = False
  yaml.sort_base_mapping_type_on_output = False
  return yaml


def write(path: str | os.PathLike, content: dict) -> None:
  """Writes a dict as YAML, atomically."""
  with atomic_write(path, 'w') as file:
    _yaml().dump(content, file)


def read(path: str | os.PathLike, prefix: bool = True) -> dict:
  """Returns the dict in a YAML file, or raises ConfigError with its path."""
  from ruamel.yaml.error import YAMLError  # Slow to import.
  start = f'{path}: ' if prefix else ''
  try:
    content = _yaml().load(pathlib.Path(path).read_text(encoding='utf-8'))
  except OSError as e:
    raise ConfigError(f'{start}cannot read: {e.strerror or e}') from None
  except (YAMLError, ValueError) as e:
    mark = getattr(e, 'problem_mark', None)
    where = f' in line {mark.line + 1}' if mark else ''
    what = str(getattr(e, 'problem', None) or e).split('\n')[0]
    raise ConfigError(f'{start}no valid YAML{where}: {what}') from None
  if not isinstance(content, dict):
    raise ConfigError(f'{start}no mapping of keys to values')
  return content
