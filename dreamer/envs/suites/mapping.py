"""What becomes of a user's observations and actions, for JSON.

Whoever acts with an exported policy, on a robot or in another program, does
the same with it: `dreamer/export/act.py` is an example.

    image    null: none; 'render': what the environment draws; or a list of
             parts, joined along their channels: path, shape, dtype, the low
             and high that become 0..255, and `row`, the axis of the height
    vectors  by the name inside: path, shape, and for choices their amounts
             and first ones
    actions  kind choice (amount, start, dtype), combination (amounts, start,
             dtype) or scaled (shape, dtype, whole; low, high: of [-1, 1];
             least, most: bounds or null); stacks: whether step() takes a
             leading axis of 1

A path is the keys and indices that lead to an array in an observation.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dreamer.envs import actions, selected


def describe(
    selection: selected.Selection, image: selected.Image | None,
    act: Any, stacks: bool = False) -> dict:
  """Returns the description; image: None where it is what render() draws."""
  return {
      'image': [_picture(*pair) for pair in image.parts] if image else (
          'render'),
      'vectors': {name: _vector(reader.entry)
                  for name, reader in selection.vectors.items()},
      'actions': {**_actions(act), 'stacks': stacks}}


def _picture(entry, picture):
  low, high = picture.bounds
  return {'path': _path(entry), 'shape': list(entry.shape),
          'dtype': str(entry.dtype), 'low': float(low), 'high': float(high),
          'row': int(picture.row)}


def _vector(entry):
  found = {'path': _path(entry), 'shape': list(entry.shape)}
  if entry.choices:
    start = np.broadcast_to(entry.start, entry.shape).reshape(-1)
    found.update(choices=list(entry.choices), start=start.tolist())
  return found


def _path(entry):
  return [key if isinstance(key, (int, str)) else str(key)
          for key in entry.path]


def _actions(act):
  dtype = None if act.dtype is None else str(np.dtype(act.dtype))
  if isinstance(act, actions.Choice):
    return {'kind': 'choice', 'amount': act.space.dim, 'start': act.start,
            'dtype': dtype}
  if isinstance(act, actions.Combination):
    start = np.broadcast_to(act.start, act.amounts.shape)
    return {'kind': 'combination', 'amounts': act.amounts.tolist(),
            'start': start.tolist(), 'dtype': dtype}
  least, most = (
      [x if np.isfinite(x) else None for x in bound.reshape(-1).tolist()]
      for bound in act.bounds)
  return {'kind': 'scaled', 'shape': list(act.shape), 'dtype': dtype,
          'whole': act.whole, 'low': act.low.reshape(-1).tolist(),
          'high': act.high.reshape(-1).tolist(), 'least': least, 'most': most}
