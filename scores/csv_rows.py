"""The flat form of scores: one number per row, in CSV files.

Columns:
  task: as in training, `dmc_walker_walk`; where training takes several names,
    that of `task_name`. Or what an aggregate is taken of.
  method: the agent or baseline, with its variant: `dreamer_horizon_15`.
  seed: a number; or `mean`, `min`, `max` over seeds.
  env_steps: environment steps (frames), action repeat included; empty where
    there are none.
  value: undiscounted return, or the aggregate; empty where there is none.
  std: over the seeds of a mean, divided by n (not n - 1); may be empty.
  n: how many seeds (games for a table's mean) a mean is taken of; or empty.
  source: a key of sources.csv.
  note: a key of notes.csv, or `key:detail`; empty where nothing is doubtful.
"""

from __future__ import annotations

import csv
import functools
import io
import math
import os
import pathlib
import re
import typing
from collections.abc import Iterable

from dreamer.errors import UserError
from dreamer.files import DATA, atomic_write

LEAST = {'env_steps': 0, 'std': 0, 'n': 1}  # of the columns
PUBLISHED = DATA / 'scores' / 'published'
NAMES = (('dmc_ball_in_cup_', 'dmc_cup_'),
         (r'gym_procgen:procgen-(\w+)-v0$', r'procgen_\1'))


class Row(typing.NamedTuple):
  """One number; see the module."""

  task: str
  method: str
  seed: str
  env_steps: int | None
  value: float | None
  std: float | None = None
  n: int | None = None
  source: str = ''
  note: str = ''

  @property
  def carried(self) -> int | None:
    """The step that a value is carried forward from, or None."""
    name, _, step = self.note.partition(':')
    return int(step) if name == 'carried' and step else None


@functools.cache
def published(name: str) -> list[Row]:
  """Returns the rows of a file in scores/published, without its `.csv`."""
  rows = read(PUBLISHED / f'{name}.csv')
  for row in rows:
    if row.source not in sources():
      raise UserError(f'{name}.csv: source {row.source!r} isn\'t in '
                      'sources.csv; add it there')
    if row.note and row.note.split(':')[0] not in notes():
      raise UserError(f'{name}.csv: note {row.note!r} isn\'t in notes.csv; '
                      'add it there')
  return rows


def task_name(task: str) -> str:
  """Returns the one name that scores have for a task of several names."""
  for pattern, name in NAMES:
    task = re.sub(rf'^{pattern}', name, task)
  return task


def sources() -> dict[str, str]:
  """Returns what the keys in the column `source` mean."""
  return _texts('sources')


def notes() -> dict[str, str]:
  """Returns what the keys in the column `note` mean."""
  return _texts('notes')


def explain(note: str) -> str:
  """Returns the text of a row's note."""
  name, _, detail = note.partition(':')
  return notes()[name] + (f' ({int(detail):,})' if detail else '')


def read(path: str | os.PathLike) -> list[Row]:
  """Returns the rows of a file. Raises UserError with the line at fault."""
  path = pathlib.Path(path)
  try:
    with open(path, encoding='utf-8', newline='') as file:
      lines = list(csv.reader(file))
  except (OSError, UnicodeDecodeError, csv.Error) as e:
    raise UserError(f'{path}: cannot read: {e}') from None
  if not lines or tuple(lines[0]) != Row._fields:
    raise UserError(
        f'{path}: the first line has to be {",".join(Row._fields)}')
  return [_parse(line, f'{path}: line {number}')
          for number, line in enumerate(lines[1:], 2)]


def write(path: str | os.PathLike, rows: Iterable[Row]) -> None:
  """Writes rows to a file, atomically."""
  with atomic_write(path, 'w') as file:
    file.write(text(rows))


def text(rows: Iterable[Row]) -> str:
  """Returns rows as CSV."""
  file = io.StringIO()
  writer = csv.writer(file, lineterminator='\n')
  writer.writerow(Row._fields)
  writer.writerows([_show(value) for value in row] for row in rows)
  return file.getvalue()


@functools.cache
def _texts(name):
  with open(PUBLISHED / f'{name}.csv', encoding='utf-8', newline='') as file:
    return dict(list(csv.reader(file))[1:])


def _parse(line, where):
  if len(line) != len(Row._fields):
    raise UserError(
        f'{where}: {len(line)} columns instead of {len(Row._fields)}')
  row = dict(zip(Row._fields, line, strict=True))
  for key, kind in (
      ('env_steps', int), ('value', float), ('std', float), ('n', int)):
    row[key] = _number(row[key], kind, f'{where}: {key}')
  for key, least in LEAST.items():
    if row[key] is not None and row[key] < least:
      raise UserError(
          f'{where}: {key} {row[key]} is not allowed; allowed: {least}..')
  if not row['task'] or not row['method']:
    raise UserError(f'{where}: task and method must not be empty')
  return Row(**{**row, 'task': task_name(row['task'])})


def _number(value, kind, where):
  if value == '':
    return None
  try:
    number = kind(value)
  except ValueError:
    number = math.nan
  if not math.isfinite(number):
    raise UserError(f'{where}: {value!r} is no finite number; empty: none')
  return number


def _show(value):
  if value is None:
    return ''
  whole = isinstance(value, float) and value.is_integer()
  return str(int(value)) if whole else str(value)
