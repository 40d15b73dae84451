"""Types of an agent's settings, for editors and checkers.

    python -m dreamer.config.types [AGENT ...] [--check]

writes AGENT/settings.py from the YAML: a class for each section, in which every
key has its type and what it may be. `config: settings.Config` in an agent's
code then lets mypy know `config.kl.free`. Nothing imports the file at run time.
With --check it only says, and fails, where a file is not up to date.
"""

from __future__ import annotations

import importlib.util
import keyword
import pathlib
import textwrap
from collections.abc import Sequence
from typing import Any

from dreamer import cli
from dreamer.config import agents
from dreamer.config.schema import Schema, Section
from dreamer.errors import UserError
from dreamer.files import atomic_write, check_ours

NAME = 'settings.py'
MARK = 'Written by `python -m dreamer.config.types`'
HEAD = '''\
"""Types of the settings of {title}, for checkers; nothing imports them.

{mark} from the YAML.
"""

from __future__ import annotations

from typing import Any, Literal, Protocol, TypeAlias
'''
CONFIG = '''
  agent: str
  presets: tuple[str, ...] | None
  flat: dict[str, Any]

  def __getitem__(self, key: str) -> Any: ...
'''


def main(argv: Sequence[str] | None = None) -> None:
  """Writes the files of agents, by default of those of this project."""
  parser = cli.Parser(prog='python -m dreamer.config.types',
                      description=__doc__.split('\n')[0])
  parser.add_argument('agents', nargs='*', metavar='AGENT')
  parser.add_argument('--check', action='store_true')
  args = parser.parse_args(argv)
  for name in args.agents or agents.known():
    path, code = file(name), text(agents.schema(name), agents.find(name).title)
    if path.exists() and path.read_text(encoding='utf-8') == code:
      continue
    if args.check:
      raise UserError(f'{path}: is not what the settings are; write it anew by '
                      f'python -m dreamer.config.types {name}')
    check_ours(path, MARK.encode())
    with atomic_write(path, 'w') as stream:
      stream.write(code)
    print(path)


def file(agent: str) -> pathlib.Path:
  """Returns the path of an agent's types."""
  spec = importlib.util.find_spec(agent)
  if spec is None or not spec.origin:
    raise UserError(f'{agent}: is no package with a folder')
  return pathlib.Path(spec.origin).with_name(NAME)


def text(schema: Schema, title: str) -> str:
  """Returns the code of the types of a schema.

  Sections that have the same keys share a class, named by the first of them.
  """
  classes: dict[tuple, str] = {}
  lines = _members(schema, schema.defaults, '', classes)
  aliases = ''.join(
      _alias(name, choices) for choices, name in _long(schema).items())
  body = aliases + ''.join(
      f'\n\nclass {name}(Protocol):\n' + ''.join(
          f'  {line}\n' for line in members)
      for members, name in classes.items())
  config = '\n\nclass Config(Protocol):\n' + ''.join(
      f'  {line}\n' for line in lines)
  return HEAD.format(title=title, mark=MARK) + body + config + CONFIG


def _members(schema, section, path, classes):
  """Lines of a class; those of its sections are added to `classes`."""
  lines = []
  for key, value in section.items():
    if keyword.iskeyword(key):
      continue  # read as config['lambda']
    where = f'{path}{key}'
    kind = _class(schema, value, where, classes) if (
        isinstance(value, Section)) else _type(schema, where, value)
    lines.append(f'{key}: {kind}')
  return lines


def _class(schema, section, path, classes):
  members = tuple(_members(schema, section, f'{path}.', classes))
  if members not in classes:
    words = path.replace('.', '_').split('_')
    classes[members] = ''.join(word.capitalize() for word in words)
  return classes[members]


def _type(schema: Schema, key: str, default: Any) -> str:
  rule = schema.allowed.get(key)
  choices = rule.choices if rule else None
  if not choices:
    return type(default).__name__
  if not all(isinstance(x, (str, int)) for x in choices):
    return type(default).__name__
  if alias := _long(schema).get(tuple(choices)):
    return alias
  return f'Literal[{_listed(choices)}]'


def _long(schema):
  """{choices: name} of those that fill more than a line."""
  return {tuple(rule.choices): key.split('.')[-1].capitalize()
          for key, rule in schema.allowed.items()
          if rule.choices and len(_listed(rule.choices)) > 50}


def _alias(name, choices):
  lines = textwrap.fill(
      _listed(choices), 78, initial_indent='    ', subsequent_indent='    ')
  return f'\n{name}: TypeAlias = Literal[\n{lines}]\n'


def _listed(choices):
  return ', '.join(map(repr, choices))


if __name__ == '__main__':
  cli.guard(main)
