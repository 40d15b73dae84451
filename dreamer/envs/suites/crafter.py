"""Crafter: survival in a generated world, with and without rewards."""

from __future__ import annotations

from typing import Any

import numpy as np

from dreamer.config.schema import Section
from dreamer.envs import base, spaces, suggest
from dreamer.envs.suites.gym import import_quietly
from dreamer.errors import UserError

KINDS = ('reward', 'noreward')


def make(name: str, config: Section, mode: str) -> base.Env:
  """Makes `reward`, or `noreward` where all rewards are 0."""
  del mode  # The same task evaluates.
  if name not in KINDS:
    raise suggest.unknown(
        'task', f'crafter_{name}', [f'crafter_{kind}' for kind in KINDS])
  return Crafter(name == 'reward', base.image_size(config))


class Crafter(base.Env):
  """The benchmark as published; 17 actions, images only.

  An episode terminates with death, and ends without terminating after 10000
  steps if TimeLimit is no stricter. It is a function of the seed given to
  `reset` and of its actions, in any process. Unlocked achievements show in
  the reward (1 each); they are no entries of the observation, as all those
  are stored.

  game: the library's own object, made deterministic.

  Raises:
    UserError: the package isn't there.
  """

  def __init__(self, rewards: bool = True, size: int = spaces.SIZE) -> None:
    self.game = _import_env()(size=(size, size), reward=rewards, seed=0)
    self.act_space = spaces.ActionSpace('discrete', self.game.action_space.n)
    self.obs_space = {'image': spaces.image_space(size)}
    self._image: Any = None

  def reset(self, seed: int | None = None) -> dict:
    self._image = self.game.begin(seed)
    return base.first({})

  def step(self, action: np.ndarray) -> dict:
    choice = int(np.argmax(action))
    self._image, reward, done, info = self.game.step(choice)
    return base.following({}, reward, info['discount'], done)

  def render(self) -> np.ndarray:
    """The step's own image: drawing another would move its generator on."""
    return self._image.copy()


def _import_env():
  # It imports gym, whose notices are hidden.
  crafter: Any = import_quietly('crafter')
  if crafter is None:
    raise UserError(
        'crafter tasks need crafter; pip install -r requirements.txt')

  class Env(crafter.Env):
    """Deterministic: with seeds for episodes and creatures in an order.

    The library draws a creature to remove from a set, whose order follows
    addresses in memory.
    """

    def begin(self, seed):
      if seed is not None:
        self._seed, self._episode = seed, 0
      return self.reset()

    def _balance_object(self, chunk, creatures, *args):
      creatures = sorted(creatures, key=lambda x: tuple(x.pos))
      super()._balance_object(chunk, creatures, *args)

  return Env
