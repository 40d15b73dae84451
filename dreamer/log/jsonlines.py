"""Files of one JSON object per line, read with care: a crash may cut them."""

from __future__ import annotations

import json
import os
import pathlib

from dreamer.errors import UserError


def read_lines(path: str | os.PathLike) -> tuple[list[dict], int]:
  """Returns (dicts of a JSON lines file, number of damaged lines).

  A missing file is empty. Raises UserError where it can't be read.
  """
  try:
    text = pathlib.Path(path).read_text(encoding='utf-8', errors='replace')
  except FileNotFoundError:
    return [], 0
  except OSError as e:
    raise UserError(f'{path}: cannot read: {e.strerror or e}') from None
  rows = [_parse(line) for line in text.split('\n') if line]
  good = [row for row in rows if row is not None]
  return good, len(rows) - len(good)


def to_line(row: dict) -> str:
  """Returns a dict as one line; numbers must be finite, or None."""
  return json.dumps(row, allow_nan=False) + '\n'


def _parse(line):
  try:
    row = json.loads(line, parse_constant=lambda name: None)
  except (ValueError, RecursionError):
    return None
  return row if isinstance(row, dict) else None
