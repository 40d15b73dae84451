"""What the replay keeps of the agent beside each row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dreamer.replay.stored import Stored

if TYPE_CHECKING:
  from dreamerv3 import settings


def stored(config: settings.Config) -> dict[str, Stored]:
  """Latents that sequences start from, and that updates renew.

  deter [deter], as it is computed; stoch [stoch, classes], as class indices.
  None without a row of context. Source: Nature, Methods, Replay.
  """
  if not config.replay.context:
    return {}
  rssm = config.rssm
  return {'deter': Stored((rssm.deter,), config.precision),
          'stoch': Stored((rssm.stoch, rssm.classes), onehot=True)}
