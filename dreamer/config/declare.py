"""What a schema file declares: keys with defaults and rules, and shapes.

A key is declared by its default alone or with what is allowed beside it:

  name: text                any value of the default's type
  name: a | b | c           one of these; the first is the default
  name: 5 in 0..10          bounds; either may be missing
  name: 0.1 > 0             a bound that is itself not allowed

A number needs bounds; `5 in ..` is any. A section that says `like: SHAPE` has
that shape's keys too, where the word stands; values of its own for them are
its defaults. A shape may be like one that stands above it. A preset that says
`inherits: PRESET` has that one's values too, but for those of its own. One
that says `beneath: SUITE SUITE` applies by itself, before all others, where
the task is of one of these suites.
"""

from __future__ import annotations

import collections.abc
import contextlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from dreamer.config.rules import Plain, Rule, convert, nearest, show
from dreamer.errors import ConfigError

LIKE, INHERITS, BENEATH = 'like', 'inherits', 'beneath'


class Declared(NamedTuple):
  """A key of a schema."""

  default: Plain
  rule: Rule | None  # None: any value of the default's type
  shape: str | None = None  # where it is declared, if in a shape: 'head.act'


def keys(defaults: Any, shapes: Any,
         earlier: Mapping[str, Declared] | None = None) -> dict[str, Declared]:
  """Returns {dotted key: Declared} of the parts `defaults` and `shapes`.

  earlier: keys that are there already; values for them are their defaults.
  Raises ConfigError where a shape is unknown or a declaration malformed.
  """
  found = _section(defaults, _shapes(shapes or {}), earlier)
  for key, (default, rule, _) in found.items():
    if rule is None and not isinstance(default, (bool, str)):
      raise ConfigError(f"{key}: {default} needs bounds, such as '0..'; "
                        "'..' allows any number")
  return found


def presets(content: Any) -> dict[str, dict[str, Any]]:
  """Returns {name: {dotted key: value}}, inherited values included.

  Raises ConfigError where a parent is unknown or inherits from its heir.
  """
  flatten(content)  # Raises for what is no mapping.
  own: dict[str, dict] = {}
  found: dict[str, dict] = {}
  for name, preset in content.items():
    with prefixed(f'preset {name}: '):
      own[name] = flatten(preset or {})
  for name in own:
    with prefixed(f'preset {name}: '):
      found[name] = _inherited([name], own)
      found[name].pop(BENEATH, None)
  return found


def both(earlier: Mapping[str, Any], content: Any) -> dict[str, Any]:
  """Presets of two files; one of the same name has the values of both."""
  flatten(content)  # Raises for what is no mapping.
  return {**earlier, **{
      name: {**flatten(earlier.get(name) or {}), **flatten(preset or {})}
      for name, preset in content.items()}}


def beneath(content: Mapping[str, Any]) -> dict[str, str]:
  """Returns {suite: the preset that applies first for its tasks}.

  Raises ConfigError where that is no text, or there are two for a suite.
  """
  found: dict[str, str] = {}
  for name, preset in content.items():
    suites = (preset or {}).get(BENEATH, '')
    with prefixed(f'preset {name}: {BENEATH}: '):
      if not isinstance(suites, str):
        raise ConfigError(f'{show(suites)} is no text; name suites')
      for suite in suites.split():
        if suite in found:
          raise ConfigError(f'{found[suite]} is beneath {suite} already')
        found[suite] = name
  return found


def _inherited(line: list[str], own: Mapping) -> dict[str, Any]:
  """Values of the last preset of a line of heirs, which begins it."""
  values = dict(own[line[-1]])
  if INHERITS not in values:
    return values
  parent = values.pop(INHERITS)
  if parent not in own:
    raise ConfigError(
        f'{INHERITS}: unknown preset {show(parent)}{nearest(parent, own)}')
  if parent in line:
    raise ConfigError(
        f'{INHERITS}: {" from ".join([*line, parent])} is a circle')
  return {**_inherited([*line, parent], own), **values}


def _section(content: Any, known: Mapping,
             earlier: Mapping | None = None) -> dict[str, Declared]:
  """Its keys in order, those of the shapes that it is like among them."""
  found: dict[str, Declared | None] = dict(earlier or {})
  own: dict[str, Any] = {}
  for key, value in flatten(content).items():
    group, dot, last = key.rpartition('.')
    if last == LIKE:
      found.update({f'{group}{dot}{inner}': declared for inner, declared
                    in _shape(key, value, known).items()})
    else:
      found.setdefault(key, None)
      own[key] = value
  return {key: _own(key, declared, own) for key, declared in found.items()}


def _shapes(shapes: Any) -> dict[str, dict[str, Declared]]:
  known: dict[str, dict[str, Declared]] = {}
  flatten(shapes)  # Raises for what is no mapping.
  for name, shape in shapes.items():
    with prefixed(f'shape {name}: '):
      known[name] = {
          key: declared._replace(shape=declared.shape or f'{name}.{key}')
          for key, declared in _section(shape, known).items()}
  return known


def _shape(key: str, name: Any, known: Mapping) -> dict[str, Declared]:
  if name not in known:
    raise ConfigError(f'{key}: unknown shape {show(name)}'
                      f'{nearest(name, known)}; known: {", ".join(known)}')
  return known[name]


def _own(key: str, shaped: Declared | None, own: Mapping) -> Declared:
  """What a section's own value makes of a key, where it has one."""
  if shaped is None:
    return _declared(key, own[key])
  if key not in own:
    return shaped
  declared = _declared(key, own[key])
  try:
    default = convert(declared.default, type(shaped.default))
  except ValueError as e:
    raise ConfigError(f'{key}: {e}') from None
  return Declared(default, declared.rule or shaped.rule, shaped.shape)


def _declared(key: str, value: Any) -> Declared:
  if not isinstance(value, (bool, int, float, str)):
    raise ConfigError(f'{key}: {show(value)} is no plain value')
  if not isinstance(value, str):
    return Declared(value, None)
  try:
    return _parse(value)
  except ValueError as e:
    raise ConfigError(f'{key}: {e}') from None


def _parse(text: str) -> Declared:
  """Reads a declaration; raises ValueError."""
  words = text.split(' | ')
  if len(words) > 1:
    choices = [_number(_word(word)) for word in words]
    if len(set(map(type, choices))) > 1 or len(set(choices)) < len(choices):
      raise ValueError(f'{show(text)}: choices are of one type, each once')
    return Declared(choices[0], Rule(choices))
  match = re.fullmatch(r'(\S+) (?:in (\S+)|> (\S+))', text)
  if not match:
    return Declared(text and _word(text), None)
  default, bounds, above = match.groups()
  default = _number(_word(default))
  if isinstance(default, str):
    raise ValueError(f'{show(text)}: {show(default)} is no number')
  return Declared(default, Rule(bounds or f'>{above}'))


def _word(text: str) -> str:
  if not re.fullmatch(r'[^\s|<>=]+', text):
    raise ValueError(
        f"{show(text)} is neither a value nor 'VALUE | VALUE ...', "
        "'VALUE in LOW..HIGH' or 'VALUE > LOW'")
  return text


def _number(text: str) -> int | float | str:
  """Returns a number as YAML reads it; any other text as it is."""
  if re.fullmatch(r'[-+]?\d+', text):
    return convert(text, int)
  if re.fullmatch(r'[-+]?\d+\.\d*(e[-+]?\d+)?', text):
    return convert(text, float)
  return text


@contextlib.contextmanager
def prefixed(text: str) -> Iterator[None]:
  """Puts text before the message of a ConfigError from inside the block."""
  try:
    yield
  except ConfigError as e:
    raise ConfigError(f'{text}{e}') from None


def empty(nested: collections.abc.Mapping[str, Any],
          prefix: str = '') -> Iterator[str]:
  """Yields the dotted keys of groups without any key in nested mappings."""
  for key, value in nested.items():
    if isinstance(value, collections.abc.Mapping):
      if not value:
        yield prefix + key
      yield from empty(value, f'{prefix}{key}.')


def flatten(nested: Any, prefix: str = '') -> dict[str, Any]:
  """Returns {dotted key: value} of nested mappings; keys may be dotted.

  Raises ConfigError where a key is no text or is given twice.
  """
  if not isinstance(nested, collections.abc.Mapping):
    raise ConfigError(f'{show(nested)} is no mapping of keys to values')
  if prefix.count('.') > 20:
    raise ConfigError(f'{show(prefix)}: groups are nested too deep')
  flat = {}
  for key, value in nested.items():
    if not isinstance(key, str):
      raise ConfigError(f'key {show(key)} is no text; put it in quotes')
    inner = {prefix + key: value}
    if isinstance(value, collections.abc.Mapping):
      inner = flatten(value, f'{prefix}{key}.')
    for name in inner:
      if name in flat:
        raise ConfigError(f'{name} is given twice')
    flat.update(inner)
  return flat
