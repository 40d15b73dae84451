"""Which observations an agent reads and predicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dreamer.errors import UserError

Sizes = dict[str, int]


def choose(
    name: str, config: Any, obs_space: Mapping[str, Any]
) -> tuple[Sizes, Sizes]:
  """Sizes of the images and vectors that encoder or decoder use.

  config has `images` and `vectors`: names with commas, `all` or `none`.
  Returns dicts of key to channels and of key to length. Raises UserError for
  names that the environment doesn't have, or that have another shape.
  """
  images = {key: space.shape[-1] for key, space in obs_space.items()
            if len(space.shape) == 3}
  vectors = {key: space.shape[0] for key, space in obs_space.items()
             if len(space.shape) == 1}
  found = (_named(f'{name}.images', config.images, images),
           _named(f'{name}.vectors', config.vectors, vectors))
  for key in found[0]:
    check_image(key, obs_space[key].shape)
  if not found[0] and not found[1]:
    raise UserError(
        f'{name}.images, {name}.vectors: nothing is named; the environment '
        f'has {", ".join(obs_space)}')
  return found


def check_image(key: str, shape: tuple) -> None:
  """Raises UserError for an image that the networks do not fit."""
  if len(shape) != 3 or tuple(shape[:2]) != (64, 64):
    raise UserError(
        f'{key}: shape {tuple(shape)}; the networks need (64, 64, C), resize '
        'it')


def _named(key, names, known):
  """Those of `known` that a comma-separated list names."""
  if names in ('all', 'none'):
    return dict(known) if names == 'all' else {}
  chosen = [name.strip() for name in names.split(',')]
  for name in chosen:
    if name not in known:
      raise UserError(
          f'{key}: the environment has no {name!r} of this kind; it has '
          f'{", ".join(known) or "none"}; allowed are names, all, none')
  return {name: known[name] for name in chosen}
