"""How audits look: text, JSON, Markdown, and the documents' sections."""

from __future__ import annotations

import json
import textwrap
import typing

from dreamer import tables
from dreamer.audit.sources import NOWHERE, PAPER, Entry, Sources
from dreamer.config import agents

SECTION = 'audit'  # the name of their marks
INTRO = """\
Where the sources disagree, the profile decides. Counts are in environment
steps. (silent): the paper names no value; this is ours. \\*: deliberately not
followed, for the reason below the table. `./run.sh audit` prints all keys and
judges a run; `./run.sh audit --readme` wrote this section."""


class Audit(typing.NamedTuple):
  """An audit, or a comparison of two configs, as plain data."""

  head: dict  # what is audited
  columns: dict  # name -> title
  rows: list  # dicts; a column is None or a dict of value and source
  notes: dict  # counts, and what is left out


def as_text(table: Audit, sources: bool = False) -> str:
  """Aligned columns, with a summary below."""
  head = '\n'.join(f'{name}: {value}' for name, value in table.head.items())
  reasons = [f'{row["key"]}: {row["reason"]}' for row in table.rows
             if row.get('reason')]
  notes = ['Deviations:', *(
      line for reason in reasons for line in _indented(reason)), '']
  details = {index: _indented(_sources(row, table))
             for index, row in enumerate(table.rows)} if sources else {}
  titles = _titles(table)
  return tables.to_text(tables.Table(
      head, titles, [_line(row, table) for row in table.rows],
      [*(notes if reasons else []), *_summary(table)], len(titles), details))


def as_json(table: Audit, sources: bool = False) -> str:
  """All data; values keep their types."""
  del sources
  return json.dumps(
      {**table.head, 'rows': table.rows, **table.notes}, indent=1)


def as_markdown(table: Audit, sources: bool = False) -> str:
  """A table for documents."""
  titles = _titles(table) + (['sources'] if sources else [])
  lines = []
  for row in table.rows:
    key, *line = _line(row, table)
    if row.get('reason'):
      line[-1] += f': {row["reason"]}'
    lines.append([f'`{key}`', *line] + (
        [_sources(row, table)] if sources else []))
  head = [f'{name}: {value}  ' for name, value in table.head.items()]
  return '\n'.join([*head, '', _markdown(titles, lines, _summary(table))])


def _markdown(header, rows, notes=()):
  return tables.to_markdown(
      tables.Table('', header, rows, notes, left=len(header)))


FORMATS = {'text': as_text, 'json': as_json, 'markdown': as_markdown}


def value_text(value: object) -> str:
  """A value as it is printed; None: a dash."""
  if value is None:
    return '-'
  if isinstance(value, bool):
    return str(value).lower()
  if isinstance(value, int):
    return f'{value:,}'
  return f'{value:g}' if isinstance(value, float) else str(value or "''")


def _titles(table):
  more = [] if 'count' in table.notes else ['this run', 'verdict']
  return ['key', *table.columns.values(), *more]


def _line(row, table):
  """The cells of a row as texts."""
  texts = [value_text(row[name] and row[name]['value'])
           for name in table.columns]
  if 'verdict' in row:
    texts += [value_text(row['this run']['value']), row['verdict']]
  return [row['key'], *texts]


def _sources(row, table):
  """Where the values of a row stand, and its note, in one line."""
  found = [f'{title}: {row[name]["source"]}' for name, title in
           table.columns.items() if row[name] and 'source' in row[name]]
  return '; '.join(found + ([row['note']] if row.get('note') else []))


def _summary(table):
  if 'count' in table.notes:
    return [f'Keys that differ: {table.notes["count"]}.']
  counts = table.notes['counts']
  found = ', '.join(f'{count} {name}' for name, count in counts.items())
  lines = [f'{sum(counts.values())} keys: {found}.']
  groups: dict[str, list[str]] = {}
  for key, reason in table.notes['not audited'].items():
    why = NOWHERE if reason == NOWHERE else (
        'neither published nor of an effect')
    groups.setdefault(why, []).append(key)
  for why, keys in groups.items():
    lines += textwrap.wrap(f'Not audited, as {why}: {", ".join(keys)}.', 79)
  return lines


def _indented(text):
  return textwrap.wrap(
      text, 79, initial_indent='    ', subsequent_indent='    ')


def sections() -> dict[str, str]:
  """Returns {file: its section on conflicts}."""
  found = [Sources.load(name) for name in agents.known()
           if agents.find(name).sources]
  lines = [line for sources in found for line in (
      '', f'### {agents.find(sources.agent).title}', '', *_long(sources))]
  return {'configs/README.md': '\n'.join([INTRO, *lines])}


def _long(sources):
  """Lines on all conflicts, and who follows what."""
  lines = [_markdown(['column', 'what', 'profile'], [
      [column['title'], column['what'],
       f'`{column["preset"]}`' if 'preset' in column else 'none']
      for column in sources.columns.values()])]
  for name in sources.suites:
    lines += _suite(sources, name)
  return lines


def _suite(sources, name):
  """Lines on the conflicts of a suite; none where it has none."""
  found, suite = conflicts(sources, name), sources.suites[name]
  if not found:
    return []
  head = f'Suite `{suite.name}`'
  head += f', beyond `{suite.parent}`' if suite.parent else ''
  head += f' ({suite.note}):' if suite.note else ':'
  return ['', head, '', _conflicts(sources, found), *_reasons(found)]


def _conflicts(sources, entries):
  return _markdown(
      ['key', *sources.titles.values()], _grouped(sources, entries))


def conflicts(sources: Sources, suite: str) -> list[Entry]:
  """Lists the entries of a suite about which the sources disagree.

  What its parent has as well is left out.
  """
  own = sources.suites[suite]
  parent = sources.suites.get(own.parent or '')
  return [
      entry for key, entry in own.entries.items()
      if own.concerns(key) and _disagree(entry) and not (
          parent and parent.concerns(key) and _values(
              entry).items() <= _values(parent.entries[key]).items())]


def _disagree(entry):
  return entry.also or entry.exceptions or len(
      set(_values(entry).values())) > 1


def _values(entry):
  """What each column, and each preset that deviates, has."""
  silent = {PAPER: entry.silent} if entry.silent else {}
  cells = {**silent, **entry.cells, **entry.exceptions}
  return {name: cell.value for name, cell in cells.items()}


def _grouped(sources, entries):
  """Lines of a table; keys with the same values share one."""
  groups: dict[tuple[str, ...], list[str]] = {}
  for entry in entries:
    texts = tuple(_cell(entry, name, column.get('preset'))
                  for name, column in sources.columns.items())
    groups.setdefault(texts, []).append(f'`{entry.key}`')
  return [[', '.join(keys), *texts] for texts, keys in groups.items()]


def _cell(entry, column, preset):
  if column == PAPER and entry.silent:
    return f'{value_text(entry.silent.value)} (silent)'
  cell = entry.cells.get(column)
  texts = [value_text(cell and cell.value)]
  texts += [value_text(also.value) for name, also in entry.also
            if name == column]
  return ', '.join(texts) + (' \\*' if preset in entry.exceptions else '')


def _reasons(entries):
  lines = [
      f'- \\* `{entry.key}` is {value_text(cell.value)} in `{preset}`: '
      f'{cell.source}'
      for entry in entries for preset, cell in entry.exceptions.items()]
  return ['', *lines] if lines else []
