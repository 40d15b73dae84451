"""The trained agent of a run: its settings, state and environment."""

from __future__ import annotations

import pathlib
from typing import Any

from dreamer import cli
from dreamer.config import agents
from dreamer.config.schema import Config
from dreamer.errors import UserError
from dreamer.npz import Arrays
from dreamer.run import arguments, env_identity
from dreamer.run.checkpoint import below
from dreamer.run.resume import load_run


def load(
    logdir: str, entry: agents.Entry) -> tuple[Config, Arrays, dict | None]:
  """Config and state of a run's newest checkpoint, and its environment.

  The settings are those of the checkpoint; on how many devices it learned is
  no matter. Raises UserError.
  """
  logdir = arguments.folder(logdir, '--logdir')
  config, arrays, _ = load_run(entry.schema(), logdir, entry.name)
  recorded = recorded_environment(pathlib.Path(logdir), config)
  return config.update({'devices': 1}), below(arrays, 'agent/'), recorded


def recorded_environment(logdir: pathlib.Path, config: Any) -> dict | None:
  """What the run recorded, None: nothing; see env_identity.read.

  Raises UserError for a user's environment, of which nothing else tells.
  """
  recorded = env_identity.read(logdir)
  own = env_identity.is_own(config.task)
  remedy = (f'continue the run once, by {config.agent}.train(env, config) '
            'with more steps, which records it')
  if own and not recorded:
    raise UserError(f'logdir={logdir}: has no {env_identity.FILE}, and '
                    f'{config.task} is an environment of your own; {remedy}')
  if own and recorded and not recorded[env_identity.MAPPING]:
    cli.tell(f'warning: {logdir}: does not say how observations and actions '
             f'are mapped, as it is of an older version; {remedy}')
  return recorded
