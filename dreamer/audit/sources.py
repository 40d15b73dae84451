"""What papers and releases say of every key, and how a config compares.

Reads `configs/paper_<agent>.yaml`. Columns are the paper and the releases,
suites their groups of tasks; each key that a source has a value for has an
entry in each suite.
"""

from __future__ import annotations

import os
import typing
from collections.abc import Mapping

from dreamer.config import agents, yaml_files
from dreamer.config.rules import nearest, show
from dreamer.config.schema import Config, Schema
from dreamer.errors import ConfigError
from dreamer.files import DATA

PAPER = 'paper'
ENVIRONMENTS = ('dmc_', 'atari_', 'dmlab_')
VERDICTS = ('as paper', 'silent', 'as released', 'deviation', 'yours')
NOWHERE = 'in no source'  # why a key has no entry, unless another is given
FIELDS = {
    'paper', 'silent', 'same', 'also', 'variants', 'except', 'note', 'general'}


class Cell(typing.NamedTuple):
  """A value and where it stands."""

  value: object
  source: str


class Entry(typing.NamedTuple):
  """What is known of a key in a suite."""

  key: str
  cells: dict  # column -> Cell; a column that says nothing is missing
  silent: Cell | None  # where the value is from that the paper leaves open
  same: dict  # value -> value of the same meaning
  also: list  # (column, Cell): where a source contradicts itself
  variants: list  # Cells of the paper's ablations and sweeps
  exceptions: dict  # preset -> Cell: what it keeps instead, and why
  note: str


class Suite(typing.NamedTuple):
  """A group of tasks with the same settings."""

  name: str
  tasks: str  # how names of its tasks begin
  parent: str | None  # the suite that it is described by
  note: str
  entries: dict  # key -> Entry; also of other suites' environments

  def concerns(self, key: str) -> bool:
    """Whether a key is not one of another suite's environment."""
    group = f'{key.split(".")[0]}_'
    return group not in ENVIRONMENTS or self.tasks.startswith(group)


class Row(typing.NamedTuple):
  """A key of a config, judged."""

  entry: Entry
  value: object
  verdict: str  # one of VERDICTS
  detail: str  # which release, where from, or the reason

  @property
  def key(self) -> str:
    return self.entry.key

  @property
  def differs(self) -> bool:
    """Whether the paper, or what fills its silence, has another value."""
    paper = self.entry.cells.get(PAPER, self.entry.silent)
    assert paper, self.key  # one of the two is there
    return self.entry.same.get(self.value, self.value) != paper.value

  @property
  def text(self) -> str:
    """The verdict in words; a deviation without its reason."""
    if self.verdict == 'deviation' or not self.detail:
      return self.verdict
    return f'{self.verdict} ({self.detail})'


class Sources:
  """All entries of an agent."""

  @classmethod
  def load(cls, agent: str, schema: Schema | None = None) -> Sources:
    """Reads what the sources of an agent say, and its schema unless given.

    Raises ConfigError where no file says it, or a key is unknown, missing in
    a suite or out of bounds.
    """
    entry = agents.find(agent)
    if entry.sources is None:
      raise ConfigError(
          f'audit: nothing says what the paper of {agent} has; write it into '
          f'a file like configs/paper_dreamerv2.yaml, and name that as '
          f'`sources` of its entry')
    path = os.path.relpath(entry.sources, DATA)
    return cls(agent, schema or entry.schema(),
               yaml_files.read(entry.sources),
               path if not path.startswith('..') else str(entry.sources))

  def __init__(self, agent: str, schema: Schema,
               content: Mapping[str, typing.Any], path: str):
    self.agent, self.schema, self.path = agent, schema, path
    self.columns, self._fills = content['columns'], content['silent']
    self.suites: dict[str, Suite] = {}
    raw: dict[str, dict] = {}
    for name, suite in content['suites'].items():
      raw[name] = _inherit(suite, raw, self._fills)
    self.unpublished = self._unpublished(content['unpublished'], raw)
    for name, suite in content['suites'].items():
      self.suites[name] = Suite(
          name, suite['tasks'], suite.get('inherits'), suite.get('note', ''),
          self._entries(name, raw[name]))

  @property
  def titles(self) -> dict[str, str]:
    """Columns: name -> title."""
    return {name: column['title'] for name, column in self.columns.items()}

  @property
  def presets(self) -> dict[str, str]:
    """Profiles: preset -> the column that it follows."""
    return {column['preset']: name for name, column in self.columns.items()
            if 'preset' in column}

  def config(self, suite: str, preset: str = PAPER) -> Config:
    """The config that a suite and a profile stand for."""
    return self.schema.config([suite, preset])

  def rows(self, config: Config, suite: str,
           preset: str = PAPER) -> list[Row]:
    """Judges a config that means to follow a profile: list of Row."""
    flat, found = config.flat, self.suites[suite]
    return [Row(entry, flat[key], *self.judge(entry, flat[key], preset))
            for key, entry in found.entries.items() if found.concerns(key)]

  def judge(self, entry: Entry, value: object,
            preset: str = PAPER) -> tuple[str, str]:
    """Returns (verdict, detail) of a value under a profile."""
    value = entry.same.get(value, value)
    kept = entry.exceptions.get(preset)
    if kept and value == kept.value:
      return 'deviation', kept.source
    own = self.presets[preset]
    others = [name for name in self.columns if name not in (PAPER, own)]
    for name in dict.fromkeys([PAPER, own]):
      if self._says(entry, name, value):
        return self._follows(name)
    for name, cell in entry.also:
      if value == cell.value:
        return self._follows(name, cell.source)
    if entry.silent and value == entry.silent.value:
      return 'silent', f'from {entry.silent.source}'
    for name in others:
      if self._says(entry, name, value):
        return self._follows(name)
    for cell in entry.variants:
      if value == cell.value:
        return self._follows(PAPER, cell.source)
    return 'yours', ''

  def identify(self, config: Config) -> tuple[str, str]:
    """Returns (suite, profile) that a config means to follow.

    Of one whose presets are not known: the nearest, by the number of keys
    that differ.
    """
    presets = config.presets
    named = [name for name in presets or () if name in self.suites]
    suites = named[-1:] or [
        name for name, suite in self.suites.items()
        if config.task.startswith(suite.tasks)] or list(self.suites)[:1]
    named = [name for name in presets or () if name in self.presets]
    profiles = named[-1:] or (list(self.presets) if presets is None
                              else [PAPER])
    pairs = [(suite, name) for suite in suites for name in profiles]
    return min(pairs, key=lambda pair: self._distance(config, *pair))

  def _distance(self, config, suite, preset):
    flat, other = config.flat, self.config(suite, preset).flat
    return sum(flat[key] != other[key] for key in self.suites[suite].entries)

  def _says(self, entry, column, value):
    return column in entry.cells and entry.cells[column].value == value

  def _follows(self, column, source=''):
    if column == PAPER:
      return 'as paper', source
    return 'as released', source or self.columns[column]['title']

  def _unpublished(self, reasons, raw):
    """Keys without an entry in any suite, with the reasons that are given."""
    known = {key for entries in raw.values() for key in entries}
    keys = list(self.schema.defaults.flat)
    for key in reasons:
      if key not in keys:
        self._fail('unpublished', key, f'unknown key{nearest(key, keys)}')
      if key in known:
        self._fail('unpublished', key, 'has an entry')
    return {key: reasons.get(key, NOWHERE) for key in keys
            if key not in known}

  def _entries(self, suite, raw):
    """Checked entries in the order of the schema."""
    keys = list(self.schema.defaults.flat)
    for key in raw:
      if key not in keys:
        self._fail(suite, key, f'unknown key{nearest(key, keys)}')
    for key in keys:
      if key not in raw and key not in self.unpublished:
        self._fail(suite, key, 'no entry here, but in another suite')
    return {key: self._entry(suite, key, raw[key]) for key in keys
            if key in raw}

  def _entry(self, suite, key, raw):
    unknown = set(raw) - FIELDS - set(self.columns)
    if unknown:
      self._fail(suite, key, f'unknown field {show(min(unknown))}')
    if 'paper' in raw and 'silent' in raw:
      self._fail(suite, key, 'has both `paper` and `silent`')
    if 'paper' not in raw:
      raw = {'silent': self._fills, **raw}
    cells = {name: self._cell(suite, key, raw[name]) for name in self.columns
             if name in raw}
    check = self.schema.check
    return Entry(
        key, cells, self._silent(suite, key, raw.get('silent'), cells),
        {check(key, a): check(key, b) for a, b in raw.get(
            'same', {}).items()},
        [(column, self._cell(suite, key, cell)) for column, *cell in raw.get(
            'also', [])],
        [self._cell(suite, key, [value, source]) for values, source in raw.get(
            'variants', []) for value in (
                values if isinstance(values, list) else [values])],
        {name: self._cell(suite, key, cell) for name, cell in raw.get(
            'except', {}).items()}, raw.get('note', ''))

  def _silent(self, suite, key, spec, cells):
    if spec is None:
      return None
    if isinstance(spec, str):
      if spec not in cells:
        self._fail(suite, key, f'silent: {spec} has no value')
      return Cell(cells[spec].value, self.columns[spec]['title'])
    return self._cell(suite, key, spec)

  def _cell(self, suite, key, spec):
    if not isinstance(spec, list) or len(spec) != 2 or not all(
        isinstance(x, (bool, int, float, str)) for x in spec):
      self._fail(suite, key, f'{show(spec)} is not [value, source]')
    try:
      return Cell(self.schema.check(key, spec[0]), str(spec[1]))
    except ConfigError as error:
      raise ConfigError(f'{self.path}: {suite}: {error}') from None

  def _fail(self, suite, key, text):
    raise ConfigError(f'{self.path}: {suite}: {key}: {text}')


def _inherit(suite, known, fills):
  """Returns {key: fields} of a suite, the inherited ones included.

  fills: the column whose new value, where a suite gives one, is ours too.
  """
  base = suite.get('inherits')
  raw = {key: dict(fields) for key, fields in known.get(base, {}).items()}
  for fields in raw.values():
    fields.pop(suite.get('without'), None)
    if suite.get('paper') == 'silent' and 'paper' in fields and not (
        fields.get('general')):
      fields['silent'] = [fields.pop('paper')[0], f'the paper for {base}']
      fields.pop('also', None)
  for keys, fields in suite['keys'].items():
    for key in keys.split(', '):
      merged = raw.setdefault(key, {})
      for old, new in (
          ('silent', 'paper'), ('paper', 'silent'), ('paper', fills),
          ('silent', fills)):
        if fields.get(new) is not None and old not in fields:
          merged.pop(old, None)
      merged.update(fields)
      raw[key] = {k: v for k, v in merged.items() if v is not None}
  return raw
