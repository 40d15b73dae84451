"""Environments of users, objects of gym, gymnasium or dm_env."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from typing import Any

import numpy as np

from dreamer.config.schema import Section
from dreamer.envs import (
  base,
  gl,
  objects,
  pictures,
  selected,
  spaces,
)
from dreamer.envs.suites import adapters, mapping
from dreamer.envs.suites.repeats import Repeats
from dreamer.errors import UserError

BLIND = 'preset vectors'


def wrap(env: Any, name: str, config: Section, mode: str) -> UserEnv:
  """Adapts an object with the settings of a run."""
  return UserEnv(
      env, name, config.image_key, base.has_images(config, mode),
      BLIND if 'images' in config else '',
      config.get(base.LOSSES, '').split(','), base.image_size(config),
      config.get('images') == 'eval')


class UserEnv(base.Env):
  """Adapts a gym 0.26, gymnasium or dm_env object, and gym's older form.

  What the image is and what are vectors says `selected.select`; what
  becomes of actions, `actions`. Nested names are joined: `arm/angle`; a
  single observation is called `observation`. An episode that was truncated
  is not terminal. `about` tells all of this.

  Args:
    env: The object.
    name: In messages; by default that of its class.
    image_key: Which observations are the image; see `selected.select`.
    images: Whether anybody wants one.
    blind: What to do without an image, for the message that there is none;
      '' where the agent needs one.
    losses: Of the agent, which no vector is called like; see `base.inside`.
    size: Pixels of the image's side.
    beside: Whether others of this run go without images; see
      `selected.select`.

  Raises:
    UserError: the object has another interface or unsupported spaces.
  """

  def __init__(
      self, env: Any, name: str = '', image_key: str = '',
      images: bool = True, blind: str = '',
      losses: Collection[str] = (), size: int = spaces.SIZE,
      beside: bool = False) -> None:
    self._env, self._size = env, size
    self.name = name or type(
        objects.ask(env, 'unwrapped', env)).__name__
    self._blind = blind
    self._repeats = Repeats(env)
    self.opengl = gl.draws(env) or None
    with self._named():
      self._adapter = adapters.adapt(env)
      self._selection = selected.select(
          self._adapter.entries, image_key, images, losses, beside)
    self.act_space = self._adapter.actions.space
    chosen = self._selection.images
    self._image = selected.Image(chosen, size) if chosen else None
    self.obs_space = {
        'image': self._image.space if self._image else (
            spaces.image_space(size)),
        **{key: spaces.vector_space((reader.size,))
           for key, reader in self._selection.vectors.items()}}
    self._obs: Any = None
    self._frame: tuple | None = None  # shape of what was rendered

  def reset(self, seed: int | None = None) -> dict:
    with self._named():
      self._obs = self._adapter.reset(seed)
      return base.first(self._vectors())

  def step(self, action: np.ndarray) -> dict:
    with self._named():
      self._obs, reward, discount, last = self._repeats.step(
          self._adapter.step, action)
      return base.following(self._vectors(), reward, discount, last)

  def render(self) -> np.ndarray:
    with self._named():
      if self._image is not None:
        return self._image(self._obs)
      try:
        frame = self._adapter.frame(self._size)
        self._frame = frame.shape
        return pictures.rendered(frame, self._size)
      except UserError as error:
        raise UserError(f'no image: {error}{self._remedy()}') from error

  def close(self) -> None:
    if objects.has(self._env, 'close'):
      self._env.close()

  def about(self) -> dict:
    """See base.Env.about."""
    adapter, selection = self._adapter, self._selection
    size = 'x'.join(map(str, self._frame)) if self._frame else 'render'
    return {
        'name': self.name, 'interface': adapter.interface + self._dropped(),
        'image': self._image.text if self._image else f'render() ({size})',
        'vectors': {key: reader.text
                    for key, reader in selection.vectors.items()},
        'left_out': selection.left_out, 'actions': adapter.actions.text,
        'ends': adapter.ends, 'repeats': list(self._repeats.range()),
        'mapping': mapping.describe(
            selection, self._image, adapter.actions, adapter.stacks)}

  def _vectors(self):
    return {key: reader.vector(self._obs)
            for key, reader in self._selection.vectors.items()}

  def _dropped(self):
    """Says what a vector of one environment had too much."""
    readers = [*self._selection.vectors.values(), *(
        self._image.readers if self._image else ())]
    names = [x.entry.name for x in readers if x.dropped]
    return f', a leading axis of 1 dropped from {", ".join(names)}' if (
        names) else ''

  def _remedy(self):
    """What there is beside render, and what to do."""
    rejected = self._selection.rejected
    texts = [f'; observation {name} is '
             f'{"no image" if name in rejected else "left out"}: {why}'
             for name, why in self._selection.left_out.items()]
    texts += [f'; image_key {reader.entry.name} takes {reader.entry.text} as '
              'one' for reader in self._selection.vectors.values()
              if reader.entry.may_be_picture]
    texts.append('; or return a uint8 observation [H, W, 3]')
    if self._blind and self._selection.vectors:
      texts.append(f', or learn from vectors alone, with the {self._blind}')
    return ''.join(texts)

  @contextlib.contextmanager
  def _named(self):
    """Puts the environment's name before what is wrong in it."""
    try:
      yield
    except UserError as error:
      raise UserError(f'environment {self.name}: {error}') from error
