"""Tables as text, Markdown and HTML."""

import html
import typing


class Table(typing.NamedTuple):
  """A title, names of columns, rows of texts, and lines below.

  The first column is set to the left, the others to the right.
  """

  title: str
  header: tuple
  rows: list
  notes: tuple = ()


def to_text(table):
  """Returns a table with columns aligned by spaces."""
  lines = [tuple(table.header), *map(tuple, table.rows)]
  widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
  body = [_aligned(line, widths) for line in lines]
  return '\n'.join([
      table.title, '', body[0], '  '.join('-' * width for width in widths),
      *body[1:], *([''] if table.notes else []), *table.notes])


def to_markdown(table):
  """Returns a table in Markdown, without its title; notes follow it."""
  lines = [table.header, ['---', *['---:'] * (len(table.header) - 1)],
           *table.rows]
  body = ['| ' + ' | '.join(x.replace('|', '\\|') for x in line) + ' |'
          for line in lines]
  return '\n'.join([*body, *([''] if table.notes else []), *table.notes])


def to_html(table):
  """Returns a table as HTML; every text is escaped."""
  head = _cells('th', table.header)
  rows = ''.join(f'<tr>{_cells("td", row)}</tr>\n' for row in table.rows)
  notes = ''.join(f'<p class="note">{html.escape(note)}</p>\n'
                  for note in table.notes)
  return (f'<h3>{html.escape(table.title)}</h3>\n<div class="wide"><table>\n'
          f'<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n'
          f'</table></div>\n{notes}')


def number(value, digits=1):
  """Returns a number for a cell; `-` where there is none."""
  return '-' if value is None else f'{value:,.{digits}f}'


def _aligned(line, widths):
  first, *rest = (
      text.ljust(width) if not i else text.rjust(width)
      for i, (text, width) in enumerate(zip(line, widths, strict=True)))
  return '  '.join([first, *rest]).rstrip()


def _cells(tag, texts):
  return ''.join(f'<{tag}>{html.escape(text)}</{tag}>' for text in texts)
