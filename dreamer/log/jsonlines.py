"""Files of one JSON object per line, read with care: a crash may cut them."""

from __future__ import annotations

import json
import os
import pathlib

from dreamer.errors import UserError


def read_numbered(path: str | os.PathLike) -> list[tuple[int, dict | None]]:
  """Returns (number, dict) of all lines of a file; None: a damaged line.

  Empty lines don't count; a missing file has none. NaN becomes None. Raises
  UserError where the file can't be read.
  """
  try:
    text = pathlib.Path(path).read_text(encoding='utf-8', errors='replace')
  except FileNotFoundError:
    return []
  except OSError as e:
    raise UserError(f'{path}: cannot read: {e.strerror or e}') from None
  return [(number, _parse(line))
          for number, line in enumerate(text.split('\n'), 1) if line.strip()]


def read_lines(path: str | os.PathLike) -> tuple[list[dict], int]:
  """Returns (dicts of a file, number of damaged lines); see read_numbered."""
  rows = [row for _, row in read_numbered(path)]
  good = [row for row in rows if row is not None]
  return good, len(rows) - len(good)


def to_line(row: dict) -> str:
  """Returns a dict as one line; numbers must be finite, or None."""
  return json.dumps(row, allow_nan=False) + '\n'


def _parse(line: str) -> dict | None:
  try:
    row = json.loads(line, parse_constant=lambda name: None)
  except (ValueError, RecursionError):
    return None
  return row if isinstance(row, dict) else None
