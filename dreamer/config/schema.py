"""YAML presets and command-line overrides -> a frozen, checked Config.

A schema file has three parts: `defaults` (every key with its default and what
else it may be), `shapes` (the keys of sections that look alike; how both are
written: `declare.py`) and `presets` (named sets of overrides; `a+b` applies by
itself where a and b are both named, after the later of them). Everything a
user can get wrong raises ConfigError with one line that names the key, the
value and the remedy.
"""

import collections.abc
import pathlib
import sys

from dreamer.config import declare
from dreamer.config.declare import flatten, prefixed
from dreamer.config.rules import convert, nearest, show
from dreamer.errors import ConfigError
from dreamer.files import ROOT, atomic_write

# Words of schema files and command lines that no key can be.
RESERVED = ('configs', declare.LIKE, declare.INHERITS)


class Section(collections.abc.Mapping):
  """Frozen nested mapping; keys are attributes too: `section.deter`."""

  __slots__ = ('_values', '_path')

  def __init__(self, values, path=''):
    """Takes a nested dict; `path` is the dotted prefix for messages."""
    nested = {
        key: Section(value, f'{path}{key}.') if isinstance(value, dict)
        else value for key, value in values.items()}
    object.__setattr__(self, '_values', nested)
    object.__setattr__(self, '_path', path)

  def __getitem__(self, key):
    return self._values[key]

  def __iter__(self):
    return iter(self._values)

  def __len__(self):
    return len(self._values)

  def __getattr__(self, name):
    if name.startswith('_'):  # Not set yet while a copy is being made.
      raise AttributeError(name)
    if name in self._values:
      return self._values[name]
    raise AttributeError(
        f'no key {self._path}{name}{nearest(name, self._values)}')

  def __setattr__(self, name, value):
    raise AttributeError(
        f'{self._path}{name}: a config is frozen; use config.update()')

  def __delattr__(self, name):
    self.__setattr__(name, None)

  def __reduce__(self):
    return Section, (_nest(self.flat), self._path)

  def __repr__(self):
    return f'{type(self).__name__}({self.flat})'

  @property
  def flat(self):
    """A new dict of dotted keys, below this section, to plain values."""
    return flatten(self)


class Config(Section):
  """All settings of a run, checked against their schema."""

  __slots__ = ('schema',)

  def __init__(self, schema, flat):
    """Made by Schema; takes checked values by dotted key."""
    super().__init__(_nest(flat))
    object.__setattr__(self, 'schema', schema)

  def update(self, overrides):
    """Returns a new checked Config; keys may be dotted or nested."""
    return self.schema.config(overrides={**self.flat, **flatten(overrides)})

  def save(self, path):
    """Writes YAML that `Schema.read` takes back, atomically."""
    with atomic_write(path, 'w') as file:
      _yaml().dump(_nest(self.flat), file)

  def __reduce__(self):
    return Config, (self.schema, self.flat)


class Schema:
  """Defaults, allowed values and presets of one agent."""

  @classmethod
  def load(cls, path):
    """Reads a schema file; a relative path counts from the project root."""
    path = ROOT / path
    return cls(read_yaml(path), path)

  def __init__(self, content, path):
    """Checks the content of the file at `path`."""
    self.path = pathlib.Path(path)
    missing = {'shapes', 'defaults', 'presets'} ^ set(content)
    if missing:
      raise ConfigError(
          f'{path}: needs exactly the parts shapes, defaults, presets; '
          f'differs in {", ".join(sorted(map(str, missing)))}')
    with prefixed(f'{path}: '):
      declared = declare.keys(content['defaults'], content['shapes'])
      self._flat = {key: x.default for key, x in declared.items()}
      self.allowed = {
          key: x.rule for key, x in declared.items() if x.rule is not None}
      self._groups = {
          key.rsplit('.', i)[0] for key in self._flat
          for i in range(1, 1 + key.count('.'))}
      self._check_names()
      self.presets = {}
      for name, values in declare.presets(content['presets'] or {}).items():
        with prefixed(f'preset {name}: '):
          self.presets[name] = self._check_all(values)
      self.defaults = self.config()

  def config(self, presets=(), overrides=None):
    """Returns a Config: defaults, then presets in order, then overrides."""
    flat = dict(self._flat)
    for index, name in enumerate(presets):
      if name not in self.names:
        raise ConfigError(
            f'unknown preset {show(name)}{nearest(name, self.names)}; '
            f'allowed: {", ".join(self.names)}')
      flat.update(self.presets[name])
      for joint in self._joints(name, presets[:index + 1]):
        flat.update(self.presets[joint])
    flat.update(flatten(overrides or {}))
    return Config(self, self._check_all(flat))

  @property
  def names(self):
    """Presets that can be named: those without `+`."""
    return [name for name in self.presets if '+' not in name]

  def _joints(self, name, named):
    """Presets `a+b` that become complete with `name`."""
    parts = {joint: set(joint.split('+')) for joint in self.presets
             if '+' in joint}
    return [joint for joint, part in parts.items()
            if name in part and part <= set(named)]

  def read(self, path):
    """Returns the Config that `Config.save` wrote; every key must be there."""
    with prefixed(f'{path}: '):
      flat = flatten(read_yaml(path, prefix=False))
      checked = self._check_all(flat)
      missing = [key for key in self._flat if key not in flat]
      if missing:
        raise ConfigError(
            f'missing key {", ".join(missing[:5])}'
            f'{", ..." if len(missing) > 5 else ""}: damaged, or written by '
            'another version; add it or start a new run')
    return Config(self, {key: checked[key] for key in self._flat})

  def parse(self, argv, prog=None):
    """Returns the Config of a command line; prints and exits for --help.

    Takes `--configs NAME ...`, `--key value` and `--key=value`; the last
    value of a key counts.
    """
    if any(arg in ('-h', '--help') for arg in argv):
      from dreamer.config import help as usage
      print(usage.text(self, prog or f'python -m {self.path.stem} train'))
      sys.exit(0)
    presets, overrides = None, {}
    for name, values in _options(argv):
      if name == 'configs':
        presets = self._parse_presets(presets, values)
      else:
        self._known(name)
        overrides[name] = _single(name, values)
    return self.config(presets or (), overrides)

  def check(self, key, value):
    """Returns the value in the type of the key's default, or raises."""
    default = self._flat[self._known(key)]
    try:
      value = convert(value, type(default))
      if key in self.allowed:
        self.allowed[key].check(value)
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
    raise ConfigError(
        f'unknown key {show(key)}{nearest(key, self._flat)}; '
        '--help lists all keys')

  def _check_all(self, flat):
    return {key: self.check(key, value) for key, value in flat.items()}

  def _check_names(self):
    for key in self._flat:
      parts = key.split('.')
      if key in RESERVED or any(hasattr(Config, part) for part in parts):
        raise ConfigError(f'{key}: this name has a meaning already')

  def _parse_presets(self, earlier, values):
    if earlier is not None:
      raise ConfigError('--configs given twice; name all presets after one')
    if not values:
      raise ConfigError(
          f'--configs: no preset named; allowed: {", ".join(self.names)}')
    return values


def diff(a, b):
  """Returns [(key, value in a, value in b)] where two configs differ."""
  a, b = a.flat, b.flat
  keys = [*a, *(key for key in b if key not in a)]
  return [(key, a.get(key), b.get(key)) for key in keys
          if key not in a or key not in b or a[key] != b[key]]


def _nest(flat):
  nested = {}
  for key, value in flat.items():
    *groups, name = key.split('.')
    inner = nested
    for group in groups:
      inner = inner.setdefault(group, {})
    inner[name] = value
  return nested


def _options(argv):
  """Splits a command line into [(name, [values])]."""
  options = []
  for arg in argv:
    if arg.startswith('--') and len(arg) > 2:
      name, equals, value = arg[2:].partition('=')
      options.append((name, [value] if equals else []))
    elif not options:
      raise ConfigError(
          f'{show(arg)} stands alone; write --key value, or '
          '--configs PRESET ...')
    else:
      options[-1][1].append(arg)
  return options


def _single(name, values):
  if not values:
    raise ConfigError(f'--{name}: its value is missing; write --{name} VALUE')
  if len(values) > 1:
    raise ConfigError(
        f'{show(values[1])} stands alone after --{name} '
        f'{show(values[0])}; write --key value')
  return values[0]


def _yaml():
  from ruamel.yaml import YAML  # Slow to import; workers never read YAML.
  # Without `pure` an installed C parser would read YAML 1.1: off -> False.
  yaml = YAML(typ='safe', pure=True)
  yaml.default_flow_style = False
  yaml.sort_base_mapping_type_on_output = False
  return yaml


def read_yaml(path, prefix=True):
  """Returns the dict in a YAML file, or raises ConfigError with its path."""
  from ruamel.yaml.error import YAMLError
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
