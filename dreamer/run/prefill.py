"""What collects before an agent acts, and what becomes of its last episodes."""

from __future__ import annotations

import zlib

import numpy as np

from dreamer.envs.spaces import ActionSpace
from dreamer.rng import pack_rng, unpack_rng
from dreamer.run.checkpoint import below
from dreamer.run.protocols import Arrays


class Glue:
  """Puts unfinished episodes before the next ones, as danijar/dreamerv2 does.

  There the driver forgets the episodes that are unfinished when the prefill
  ends, and the replay does not: it stores each together with the next one of
  the same environment. In the middle stands the second one's reset row.
  """

  def __init__(self) -> None:
    self._heads: dict[int, Arrays] = {}  # env index: what waits

  def keep(self, episodes: dict[int, Arrays]) -> None:
    """Takes unfinished episodes, dict of env index to episode."""
    self._heads.update(episodes)

  def __call__(self, episode: Arrays, index: int) -> Arrays:
    """The episode of an environment, with what waits put before it."""
    head = self._heads.pop(index, None)
    if head is None:
      return episode
    return {k: np.concatenate([head[k], v]) for k, v in episode.items()}

  def state(self) -> Arrays:
    return {f'{index}/{key}': value for index, head in self._heads.items()
            for key, value in head.items()}

  def restore(self, state: Arrays) -> None:
    indices = {name.split('/')[0] for name in state}
    self._heads = {int(x): below(state, f'{x}/') for x in indices}


class RandomPolicy:
  """Uniform actions, from its own generator; for `Driver.send`."""

  def __init__(self, act_space: ActionSpace, seed: int) -> None:
    self._act_space = act_space
    self._rng = np.random.default_rng([seed, zlib.crc32(b'random_policy')])

  def __call__(
      self, obs: Arrays, state: Arrays | None = None
  ) -> tuple[np.ndarray, Arrays | None]:
    amount = len(obs['is_first'])
    actions = [self._act_space.sample(self._rng) for _ in range(amount)]
    return np.stack(actions), state

  def state(self) -> Arrays:
    return {'rng': pack_rng(self._rng)}

  def restore(self, state: Arrays) -> None:
    unpack_rng(self._rng, state['rng'])
