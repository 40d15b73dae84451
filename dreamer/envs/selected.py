"""What agents get of an environment's observations.

Which of its entries is the image, which are vectors and which are left out is
decided once, by `select`, from names and spaces; what is not clear is refused
with the choices.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from dreamer.envs import base, pictures, spaces
from dreamer.envs.observations import Entry, Reader
from dreamer.envs.suggest import join
from dreamer.errors import UserError


@dataclasses.dataclass(frozen=True)
class Selection:
  """What an agent gets of the entries.

  Attributes:
    images: Entries whose pictures, joined along their channels, are the
      image; empty: what `render` draws.
    vectors: Dict of the name inside to a Reader.
    left_out: Dict of name to the reason.
    rejected: Of those, what could have been a picture.
  """

  images: tuple
  vectors: dict
  left_out: dict
  rejected: dict


class Image:
  """The pictures of some entries as one image uint8 [S, S, C]; size: S."""

  def __init__(self, found: Sequence[Entry], size: int = spaces.SIZE) -> None:
    self._size = size
    self.readers = [Reader(entry) for entry in found]
    self._pictures = [entry.picture() for entry in found]
    self.parts = list(zip(found, self._pictures, strict=True))
    channels = sum(picture.channels for picture in self._pictures)
    self.space = spaces.image_space(size, 3 if channels == 1 else channels)
    self.text = ' + '.join(
        f'{entry.name} ({picture.text})' for entry, picture in zip(
            found, self._pictures, strict=True))

  def __call__(self, obs: Any) -> np.ndarray:
    parts = []
    for reader, picture in zip(self.readers, self._pictures, strict=True):
      array, entry = reader.array(obs), reader.entry
      if array.dtype != entry.dtype and not (
          array.dtype.kind == entry.dtype.kind == 'f'):
        reader.fail(array)
      try:
        parts.append(picture(array, self._size))
      except UserError as error:
        raise UserError(f'{entry.title}: {error}') from error
    return pictures.colored(np.concatenate(parts, -1))


def select(
    found: list[Entry], key: str = '', images: bool = True,
    losses: Collection[str] = (), beside: bool = False) -> Selection:
  """Decides what each entry is.

  key: names of the entries that are the image, with commas; `render`: what
    render() draws; '': the only entry that is a picture, or the one called
    `image`, or, if there is none, what render() draws.
  images: False: nobody wants an image.
  losses: of the agent; see `base.inside`.
  beside: whether what is a vector without an image stays one as the image.
  Raises UserError where the key names nothing, or is needed.
  """
  left_out = {e.name: e.problem for e in found if e.problem}
  found = [entry for entry in found if not entry.problem]
  kinds = {entry.name: _kind(entry) for entry in found}
  chosen = _chosen(found, kinds, key) if images else []
  rejected = {}
  other = 'not the image, which image_key names' if images else 'no images'
  no_vectors = [entry for entry in found
                if kinds[entry.name] in ('picture', 'unreadable')]
  for entry in no_vectors:
    if entry not in chosen:
      rejected[entry.name] = f'{entry.text}: {entry.why_no_picture or other}'
  vectors = {
      base.inside(entry.name, losses): Reader(entry) for entry in found
      if entry not in no_vectors and (beside or entry not in chosen)}
  return Selection(
      tuple(chosen), vectors, {**left_out, **rejected}, rejected)


def _chosen(found, kinds, key):
  by_name = {entry.name: entry for entry in found}
  names = [name.strip() for name in key.split(',')] if key else []
  if key in by_name:
    names = [key]
  elif key == 'render':
    return []
  unknown = [name for name in names if name not in by_name]
  if unknown:
    raise UserError(
        f'image_key={key}: there is no observation {unknown[0]!r}; '
        f'{_choices_of(found)}')
  for name in names:
    if by_name[name].why_no_picture:
      raise UserError(
          f'image_key={key}: {by_name[name].title}, {by_name[name].text}: '
          f'{by_name[name].why_no_picture}; {_choices_of(found, {name})}')
  return [by_name[name] for name in names] if key else (
      _only_picture(found, kinds))


def _only_picture(found, kinds):
  """The picture that is meant without a name."""
  clear = [entry for entry in found if kinds[entry.name] == 'picture']
  named = [entry for entry in clear if entry.name == 'image']
  if len(clear) == 1 or named:
    return named or clear
  if clear:
    raise UserError(
        f'{len(clear)} observations are pictures: '
        f'{", ".join(entry.name for entry in clear)}; name the one to see as '
        f'image_key, or several with commas, or render')
  doubtful = [entry for entry in found
              if kinds[entry.name] in ('small', 'unreadable')]
  if doubtful:
    entry = doubtful[0]
    why = entry.why_no_picture or (
        'so small that it may be a picture or a board of symbols')
    raise UserError(
        f'{entry.title}, {entry.text}: {why}; '
        f'{_choices_of(found)}')
  return []


def _choices_of(found, without=()):
  names = [e.name for e in found if e.may_be_picture and (
      e.name not in without)]
  return f'choose image_key {join([*names, "render (what render() draws)"])}'


def _kind(entry):
  """picture, unreadable (as a picture), small (a doubtful one) or vector."""
  axes, whole = len(entry.shape), entry.dtype == np.uint8
  if entry.choices or axes < 2 or axes == 2 and not whole:
    return 'vector'
  if not pictures.pairs(entry.shape):
    return 'small' if whole else 'vector'
  return 'unreadable' if entry.why_no_picture else 'picture'
