"""YAML presets and command-line overrides -> a frozen, checked Config.

A schema file has three parts: `defaults` (every key with its default and what
else it may be), `shapes` (the keys of sections that look alike, more of which
may stand in a file that is `shared`; how both are written: `declare.py`) and
`presets` (named sets of overrides; `a+b` applies by itself where a and b are
both named, after the later of them; a preset may be `beneath` all others for
the tasks of some suites). A file that extends another one has all of its
parts too, and of its own only what differs: other defaults for its keys, more
keys, shapes and presets; a preset of one name has the values of both.
Everything a user can get wrong raises ConfigError with one line that names the
key, the value and the remedy.

A Config knows its agent and the presets that it was made of, and writes them
above its keys.
"""

from __future__ import annotations

import collections.abc
import os
import pathlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from dreamer.config import command_line, declare, yaml_files
from dreamer.config.declare import flatten, prefixed
from dreamer.config.rules import Plain, Rule, convert, nearest, plain, show
from dreamer.config.yaml_files import AGENT, PARTS, PRESETS
from dreamer.errors import ConfigError
from dreamer.files import DATA

# Words of files and command lines that no key can be.
RESERVED = (
    'configs', AGENT, PRESETS, declare.LIKE, declare.INHERITS,
    declare.BENEATH)
FOR_PRESETS = ('config', 'configs', 'preset', PRESETS)  # what people write


class Section(collections.abc.Mapping):
  """Frozen nested mapping; keys are attributes too: `section.deter`."""

  __slots__ = ('_values', '_path')

  def __init__(self, values: Mapping[str, Any], path: str = '') -> None:
    """Takes a nested dict; `path` is the dotted prefix for messages."""
    nested = {
        key: Section(value, f'{path}{key}.') if isinstance(value, dict)
        else value for key, value in values.items()}
    object.__setattr__(self, '_values', nested)
    object.__setattr__(self, '_path', path)

  def __getitem__(self, key: str) -> Any:
    return self._values[key]

  def __iter__(self) -> Iterator[str]:
    return iter(self._values)

  def __len__(self) -> int:
    return len(self._values)

  def __getattr__(self, name: str) -> Any:
    if name.startswith('_'):  # Not set yet while a copy is being made.
      raise AttributeError(name)
    if name in self._values:
      return self._values[name]
    raise AttributeError(
        f'no key {self._path}{name}{nearest(name, self._values)}')

  def __setattr__(self, name: str, value: Any) -> None:
    raise AttributeError(
        f'{self._path}{name}: a config is frozen; use config.update()')

  def __delattr__(self, name: str) -> None:
    self.__setattr__(name, None)

  def __reduce__(self) -> tuple:
    return Section, (_nest(self.flat), self._path)

  def __repr__(self) -> str:
    return f'{type(self).__name__}({self.flat})'

  @property
  def flat(self) -> dict[str, Any]:
    """A new dict of dotted keys, below this section, to plain values."""
    return flatten(self)

  @property
  def nested(self) -> dict[str, Any]:
    """A new dict of keys to plain values and dicts."""
    return _nest(self.flat)


class Config(Section):
  """All settings of a run, checked against their schema.

  presets: the names that it was made of, in order; None where unknown.
  """

  __slots__ = ('schema', 'presets', '_origin')

  def __init__(
      self, schema: Schema, flat: dict[str, Plain],
      presets: Sequence[str] | None = (),
      origin: tuple[Sequence[str], dict[str, Any]] | None = None) -> None:
    """Made by Schema; takes checked values by dotted key.

    origin: the presets and the overrides that were asked for; None: all
    values stand for themselves.
    """
    super().__init__(_nest(flat))
    object.__setattr__(self, 'schema', schema)
    object.__setattr__(
        self, 'presets', None if presets is None else tuple(presets))
    object.__setattr__(self, '_origin', origin)

  @property
  def agent(self) -> str:
    """The name of the agent whose settings these are."""
    return self.schema.agent

  def update(self, overrides: Mapping[str, Any]) -> Config:
    """Returns a new checked Config; keys may be dotted or nested.

    With a task of another suite, another preset may be beneath.
    """
    if self._origin is not None:
      presets, earlier = self._origin
      return self.schema.config(
          presets, {**earlier, **self.schema.given(overrides)})
    flat = self.schema.checked({**self.flat, **self.schema.given(overrides)})
    return Config(self.schema, flat, self.presets)

  def save(self, path: str | os.PathLike) -> None:
    """Writes YAML that `agents.read` takes back, atomically."""
    head: dict[str, Any] = {AGENT: self.agent}
    if self.presets is not None:
      head[PRESETS] = list(self.presets)
    yaml_files.write(path, {**head, **_nest(self.flat)})

  def __reduce__(self) -> tuple:
    return Config, (self.schema, self.flat, self.presets, self._origin)


class Schema:
  """Defaults, allowed values and presets of one agent."""

  @classmethod
  def load(cls, path: str | os.PathLike, agent: str | None = None,
           parent: Schema | None = None) -> Schema:
    """Reads a schema file; a relative path is one of configs/.

    agent: whose settings these are, by default the file's name. parent: the
    schema that this one extends.
    """
    path = DATA / path
    content = yaml_files.parts(path, parent.content if parent else None)
    return cls(*content, path, agent, parent)

  def __init__(self, content: Mapping[str, Any], shared: pathlib.Path | None,
               path: str | os.PathLike, agent: str | None = None,
               parent: Schema | None = None) -> None:
    """Checks the content of the file at `path`; see
    `yaml_files.parts`."""
    self.path, self.shared = pathlib.Path(path), shared
    self.agent, self.parent = agent or self.path.stem, parent
    self.content = content
    missing = set(PARTS) ^ set(content)
    if missing:
      raise ConfigError(
          f'{path}: needs exactly the parts {", ".join(PARTS)}; '
          f'differs in {", ".join(sorted(map(str, missing)))}')
    with prefixed(f'{path}: '):
      self.declared: dict[str, declare.Declared] = declare.keys(
          content['defaults'], content['shapes'],
          parent.declared if parent else {})
      self._flat = {key: x.default for key, x in self.declared.items()}
      self.allowed: dict[str, Rule] = {
          key: x.rule for key, x in self.declared.items()
          if x.rule is not None}
      self.shapes = {
          key: x.shape for key, x in self.declared.items()
          if x.shape is not None}
      self._groups = {
          key.rsplit('.', i)[0] for key in self._flat
          for i in range(1, 1 + key.count('.'))}
      self._check_names()
      self.presets: dict[str, dict[str, Plain]] = {}
      for name, values in declare.presets(content['presets'] or {}).items():
        with prefixed(f'preset {name}: '):
          self.presets[name] = self.checked(values)
      self.beneath = declare.beneath(content['presets'] or {})
      self.defaults = self.config()

  def config(
      self, presets: Sequence[str] = (),
      overrides: Mapping[str, Any] | None = None) -> Config:
    """Returns a Config: defaults, then presets in order, then overrides.

    Where the task's suite has a preset beneath, that one goes first.
    """
    overrides = self.given(overrides or {})
    presets = origin = list(map(plain, presets))
    flat = self._apply(presets, overrides)
    first = self.beneath.get(str(flat.get('task')).partition('_')[0])
    if first and first not in presets:
      presets = [first, *presets]
      flat = self._apply(presets, overrides)
    return Config(self, self.checked(flat), presets, (origin, overrides))

  def given(self, nested: Any) -> dict[str, Any]:
    """As flatten; refuses {} as the value of a key, which would be lost."""
    flat = flatten(nested)
    for key in declare.empty(nested):
      if key not in self._groups:
        self.check(key, {})
    return flat

  def _apply(self, presets, overrides):
    """The values of all keys, not checked yet."""
    flat = dict(self._flat)
    for index, name in enumerate(presets):
      if name not in self.names:
        raise ConfigError(
            f'unknown preset {show(name)}{nearest(name, self.names)}; '
            f'allowed: {", ".join(self.names)}')
      flat.update(self.presets[name])
      for joint in self._joints(name, presets[:index + 1]):
        flat.update(self.presets[joint])
    return {**flat, **overrides}

  def complete(
      self, flat: Mapping[str, Any],
      presets: Sequence[str] | None = None) -> Config:
    """Returns the Config of a run's values; keys it lacks have defaults.

    presets: the names it was made of, for the record.
    """
    return Config(self, self.checked({**self._flat, **flat}), presets)

  @property
  def names(self) -> list[str]:
    """Presets that can be named: those without `+`."""
    return [name for name in self.presets if '+' not in name]

  def _joints(self, name, named):
    """Presets `a+b` that become complete with `name`."""
    parts = {joint: set(joint.split('+')) for joint in self.presets
             if '+' in joint}
    return [joint for joint, part in parts.items()
            if name in part and part <= set(named)]

  def parse(self, argv: Sequence[str], prog: str | None = None) -> Config:
    """Returns the Config of a command line; prints and exits for --help.

    Takes `--configs NAME ...`, `--key value` and `--key=value`; the last
    value of a key counts.
    """
    if any(arg in ('-h', '--help') for arg in argv):
      from dreamer.config import help as usage  # Reads files, for this only.
      print(usage.text(self, prog or f'python -m {self.agent} train'))
      sys.exit(0)
    presets, overrides = None, {}
    for name, values in command_line.options(argv):
      if name == 'configs':
        presets = self._parse_presets(presets, values)
      else:
        self._known(name)
        overrides[name] = command_line.single(name, values)
    return self.config(presets or (), overrides)

  def check(self, key: str, value: Any) -> Plain:
    """Returns the value in the type of the key's default, or raises."""
    default = self._flat[self._known(key)]
    rule, value = self.allowed.get(key), plain(value)
    try:
      if rule is None:
        return convert(value, type(default))
      value = convert(rule.meant(value), type(default), str(rule))
      rule.check(value)
    except ValueError as e:
      raise ConfigError(f'{key}: {e}') from None
    return value

  def _known(self, key):
    if key in self._flat:
      return key
    if key in self._groups:
      inside = [k for k in self._flat if k.startswith(f'{key}.')]
      raise ConfigError(
          f'{key} is a group of keys and has no value; its keys: '
          f'{", ".join(inside)}')
    if key in FOR_PRESETS:
      raise ConfigError(
          f'unknown key {show(key)}; presets are named by --configs NAME ..., '
          'in Python by the first argument, configure([NAME, ...], key=value)')
    raise ConfigError(
        f'unknown key {show(key)}{nearest(key, [*self._flat, "configs"])}; '
        '--help and the files in configs/ list all keys')

  def checked(self, flat: Mapping[str, Any]) -> dict[str, Plain]:
    """Returns {key: value}, each as `check` does."""
    return {key: self.check(key, value) for key, value in flat.items()}

  def _check_names(self):
    for key in self._flat:
      parts = key.split('.')
      if key in RESERVED or any(hasattr(Config, part) for part in parts):
        raise ConfigError(f'{key}: this name has a meaning already')
      if key in self._groups:
        raise ConfigError(f'{key}: is a key and a group of keys')

  def _parse_presets(self, earlier, values):
    if earlier is not None:
      raise ConfigError('--configs given twice; name all presets after one')
    if not values:
      raise ConfigError(
          f'--configs: no preset named; allowed: {", ".join(self.names)}')
    return values


def diff(a: Section, b: Section) -> list[tuple[str, Any, Any]]:
  """Returns [(key, value in a, value in b)] where two configs differ."""
  one, two = a.flat, b.flat
  keys = [*one, *(key for key in two if key not in one)]
  return [(key, one.get(key), two.get(key)) for key in keys
          if key not in one or key not in two or one[key] != two[key]]


def _nest(flat: Mapping[str, Any]) -> dict[str, Any]:
  nested: dict[str, Any] = {}
  for key, value in flat.items():
    *groups, name = key.split('.')
    inner = nested
    for group in groups:
      inner = inner.setdefault(group, {})
    inner[name] = value
  return nested
