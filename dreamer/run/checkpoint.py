"""Checkpoints: named arrays and a JSON-able description, without pickle."""

from __future__ import annotations

import json
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from dreamer import files, npz

_META = '__meta__'
_NAME = re.compile(r'\d{12,}\.npz')


class Checkpoints:
  """The last `keep` checkpoints of a run, `<env_steps:012d>.npz` each.

  A file is complete or absent; next to the arrays it holds their names,
  shapes and dtypes and the caller's `meta` as JSON. It is read as a whole, so
  the zip's checksums cover every byte that is used.
  """

  def __init__(self, directory: str | os.PathLike, keep: int = 2) -> None:
    assert keep >= 1, keep
    self.directory = pathlib.Path(directory)
    self.keep = keep

  def save(
      self, arrays: Mapping[str, Any], meta: Mapping[str, Any]
  ) -> pathlib.Path:
    """Writes one checkpoint, then removes those beyond the last `keep`.

    arrays: dict of name -> array (numbers, bools or strings; any name).
    meta: JSON-able dict with an int `env_steps`.
    Returns the path. Raises UserError when the disk is full; the older
    checkpoints then stay as they were.
    """
    arrays = {name: np.asarray(array) for name, array in arrays.items()}
    for name, array in arrays.items():
      assert name != _META, name
      assert array.dtype.kind in 'biufUS', (name, array.dtype)
    path = self.directory / f'{int(meta["env_steps"]):012d}.npz'
    text = json.dumps({'meta': meta, 'arrays': _manifest(arrays)})
    npz.write(path, {_META: np.array(text), **arrays})
    files.remove_leftovers(self.directory, '.npz')
    for old in self._paths()[self.keep:]:
      if old != path:
        old.unlink(missing_ok=True)
    return path

  def load(self, move: bool = False) -> tuple[dict, dict] | None:
    """The newest good checkpoint as (arrays, meta); None if there is none.

    Damaged ones are reported as warnings and left where they are; `move`,
    for the run's own process, puts them into `damaged/`.
    """
    paths = self._paths()
    for path in paths:
      try:
        return _read(path)
      except (OSError, *npz.DAMAGE) as error:
        files.check_readable(path, error)
        where = ''
        if move and files.move_aside(path, 'damaged'):
          where = 'moved to damaged/, '
        then = 'there is no other one' if path == paths[-1] else (
            'the previous one is used')
        files.warn(f'checkpoint {path} is damaged ({error}): {where}{then}')
    return None

  @property
  def newest(self) -> int | None:
    """Environment steps of the newest one by its name, unread, or None."""
    return next((int(x.stem) for x in self._paths()), None)

  def _paths(self):
    """Newest first."""
    paths = [x for x in self.directory.glob('*.npz')
             if _NAME.fullmatch(x.name)]
    return sorted(paths, key=lambda x: int(x.stem), reverse=True)


def _manifest(arrays):
  return {k: [list(v.shape), v.dtype.str] for k, v in arrays.items()}


def _read(path):
  arrays = npz.read(path)
  content = json.loads(str(arrays.pop(_META)))
  if content['arrays'] != _manifest(arrays):
    raise ValueError('arrays are missing or differ from the list in the file')
  return arrays, content['meta']


def below(state: Mapping[str, Any], prefix: str) -> dict[str, Any]:
  """The entries of a flat dict whose keys start with `prefix`, without it."""
  return {key.removeprefix(prefix): value for key, value in state.items()
          if key.startswith(prefix)}
