"""Tables as text, Markdown and HTML: every command prints them by these."""

from __future__ import annotations

import html
import math
import typing
from collections.abc import Iterable, Mapping, Sequence


class Table(typing.NamedTuple):
  """A title, names of columns, rows of texts, and lines below.

  left: how many columns are set to the left; the others go to the right.
  details: lines below a row, by its index; only texts show them.
  """

  title: str
  header: Sequence[str]
  rows: Sequence[Sequence[str]]
  notes: Sequence[str] = ()
  left: int = 1
  details: Mapping[int, Sequence[str]] = {}


def to_text(table: Table) -> str:
  """Returns a table with columns aligned by spaces; without rows its title."""
  if not table.rows:
    return '\n\n'.join(filter(None, [table.title, '\n'.join(table.notes)]))
  lines = [tuple(table.header), *map(tuple, table.rows)]
  widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
  head, *body = (_aligned(line, widths, table.left) for line in lines)
  return '\n'.join([
      *([table.title, ''] if table.title else []), head,
      '  '.join('-' * width for width in widths),
      *(line for index, row in enumerate(body)
        for line in (row, *table.details.get(index, ()))),
      *([''] if table.notes else []), *table.notes])


def to_markdown(table: Table) -> str:
  """Returns a table in Markdown, without its title; notes follow it."""
  right = len(table.header) - table.left
  lines = [table.header, ['---'] * table.left + ['---:'] * right, *table.rows]
  body = ['| ' + ' | '.join(x.replace('|', '\\|') for x in line) + ' |'
          for line in lines]
  return '\n'.join([*body, *([''] if table.notes else []), *table.notes])


def to_titled_markdown(table: Table) -> str:
  """The same below its title, for several tables one after another."""
  title = [f'**{table.title}**'] if table.title else []
  return '\n\n'.join([*title, to_markdown(table)])


def to_html(table: Table) -> str:
  """Returns a table as HTML; every text is escaped."""
  head = _cells('th', table.header)
  rows = ''.join(f'<tr>{_cells("td", row)}</tr>\n' for row in table.rows)
  notes = ''.join(f'<p class="note">{html.escape(note)}</p>\n'
                  for note in table.notes)
  return (f'<h3>{html.escape(table.title)}</h3>\n<div class="wide"><table>\n'
          f'<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n'
          f'</table></div>\n{notes}')


def number(value: float | None, digits: int = 1) -> str:
  """Returns a number for a cell; `-` where there is none."""
  return '-' if value is None else f'{value:,.{digits}f}'


def interval(mean: float, low: float, high: float, digits: int = 1) -> str:
  """Returns a number with its interval, if that is finite."""
  if not math.isfinite(low + high):
    return number(mean, digits)
  return (f'{number(mean, digits)} [{number(low, digits)}, '
          f'{number(high, digits)}]')


def amount(steps: float) -> str:
  """Returns a large number in short: 500, 200k, 1.5M."""
  for size, unit in ((1e9, 'G'), (1e6, 'M'), (1e3, 'k')):
    if abs(steps) >= size:
      return f'{steps / size:g}{unit}'
  return f'{steps:g}'


def _aligned(line: Sequence[str], widths: Sequence[int], left: int) -> str:
  cells = (text.ljust(width) if i < left else text.rjust(width)
           for i, (text, width) in enumerate(zip(line, widths, strict=True)))
  return '  '.join(cells).rstrip()


def _cells(tag: str, texts: Iterable[str]) -> str:
  return ''.join(f'<{tag}>{html.escape(text)}</{tag}>' for text in texts)
