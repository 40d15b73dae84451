"""Whether a run has the settings that its programs were exported with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dreamer.config import rules
from dreamer.config.schema import Config
from dreamer.errors import UserError
from dreamer.run.resume import HARMLESS

# Settings of the loop, its environments and its replay: no program depends on
# them.
FREE = {
    *HARMLESS, 'task', 'prefill', 'prefill_end', 'pretrain_updates',
    'train_every', 'train_ratio', 'train_updates', 'sync_updates',
    'eval_episodes', 'action_repeat', 'time_limit', 'images',
    'image_key', 'image_size'}
FREE_GROUPS = 'update_ratio', 'envs', 'atari', 'dmc', 'dmlab', 'replay'
COMPILED = 'devices', 'replay.context', 'replay.consec'


def check(config: Config, compiled: Mapping[str, Any], folder: Path,
          rows: int) -> None:
  """Raises UserError for settings that the programs of a folder don't have.

  compiled: the settings of the export. rows: environments that it acts for.
  """
  for key, value in config.flat.items():
    free = key in FREE or key.split('.')[0] in FREE_GROUPS
    if value != compiled[key] and (key in COMPILED or not free):
      raise UserError(
          f'{key}: {rules.typed(value)} is not what the programs in {folder} '
          f'were compiled with, {rules.typed(compiled[key])}; leave it out, or '
          'export again')
  amount = config.envs.amount
  if amount > rows:
    raise UserError(
        f'envs.amount: {amount}, but {folder} acts for {rows}; lower it, or '
        f'export again with --envs {amount}')
