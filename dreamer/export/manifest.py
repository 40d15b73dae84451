"""The page of an exported folder: program.json."""

from __future__ import annotations

import json
import pathlib
from typing import Any

from dreamer.errors import UserError

FILE = 'program.json'
# What an agent needs of it; `presets` is younger than the first exports.
KEYS = (
    'agent', 'config', 'obs_space', 'act_space', 'rows', 'environment',
    'batch_keys', 'metrics', 'obs_keys', 'learns_ends', 'stored', 'state',
    'programs')


def read(folder: pathlib.Path) -> dict[str, Any]:
  """What it says. Raises UserError."""
  remedy = 'write one with python -m dreamer.export'
  try:
    content = json.loads((folder / FILE).read_text(encoding='utf-8'))
  except (OSError, ValueError) as e:
    raise UserError(f'{folder}: no exported agent: {e}; {remedy}') from None
  missing = [x for x in KEYS if not isinstance(content, dict) or (
      x not in content)]
  if missing:
    raise UserError(f'{folder}: no exported agent, or one of another version: '
                    f'{FILE} lacks {missing[0]}; {remedy}')
  return content
