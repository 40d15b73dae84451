"""The text of --help, from a config schema and the comments of its YAML."""

from __future__ import annotations

import re
import textwrap
from typing import Any


def text(schema: Any, prog: str) -> str:
  """Returns usage, presets, and each key with default, allowed, comment.

  schema: a Schema, whose `parse` calls this.
  """
  found = _comments(schema)
  lines = [f'usage: {prog} [--configs PRESET ...] [--key value ...]', '',
           'Presets, applied left to right:']
  for name in schema.presets:
    lines += _entry(name, found.get(('presets', name), ''))
  lines += ['', 'Keys with their defaults, allowed values and meaning. Counts',
            'are environment steps unless the name says otherwise.']
  seen = set()
  for key, value in schema.defaults.flat.items():
    group = key.rpartition('.')[0]
    heads = [key] if not group or group in seen else [group, key]
    for title in [found.get(('title', head)) for head in heads]:
      lines += ['', f'{title}:'] if title else []
    if group not in seen and ('defaults', group) in found:
      lines += _entry(f'{group}.*', found['defaults', group])
    seen.add(group)
    allowed = f'[{schema.allowed[key]}]' if key in schema.allowed else ''
    allowed = '[true, false]' if isinstance(value, bool) else allowed
    note = f'{allowed} {_comment(schema, found, key)}'
    lines += _entry(f'--{key} {_plain(value)}', note)
  return '\n'.join(lines)


def comments(schema: Any) -> dict[str, str]:
  """Returns {key: the comment beside it, or beside that of its shape}."""
  found = _comments(schema)
  return {key: _comment(schema, found, key) for key in schema.defaults.flat}


def presets(schema: Any) -> dict[str, str]:
  """Returns {preset: the comment beside it, or ''}."""
  found = _comments(schema)
  return {name: found.get(('presets', name), '') for name in schema.presets}


def _comment(schema, found, key):
  own = found.get(('defaults', key))
  return own or found.get(('shapes', schema.shapes.get(key)), '')


def _comments(schema):
  """Returns {(part, dotted key): comment} of a schema's files."""
  found = _comments(schema.parent) if schema.parent else {}
  found.update(_read(schema.path.read_text(encoding='utf-8')))
  if schema.shared:
    shared = _read(schema.shared.read_text(encoding='utf-8'))
    found.update({('shapes', f'{shape}.{key}'): comment
                  for (shape, key), comment in shared.items()})
  return found


def _read(source):
  """Returns {(part, dotted key): comment} of a schema file's source.

  Under the part 'title' stand the whole-line comments above a key.
  """
  found: dict[tuple[str, str], str] = {}
  stack: list[str] = []
  title = ''
  for line in source.splitlines():
    match = re.match(r'( *)([\w.+]+):(?:.*?\s#\s*(.*))?', line)
    if match:
      indent, key, comment = match.groups()
      stack = stack[:len(indent) // 2] + [key]
      name = '.'.join(stack[1:])
      if comment:
        found[stack[0], name] = comment
      if title and stack[0] == 'defaults':
        found['title', name] = title
    title = line.strip('# ') if line.startswith('  # ') else ''
  return found


def _entry(name, note):
  first = f'  {name:<30} '
  return textwrap.wrap(
      note.strip(), 79, initial_indent=first, subsequent_indent=' ' * 33,
      break_on_hyphens=False) or [first.rstrip()]


def _plain(value):
  if isinstance(value, bool):
    return str(value).lower()
  return repr(value) if value == '' else str(value)
