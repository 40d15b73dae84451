"""Observations and actions of the environment that a policy was trained in.

`./run.sh export` writes this file, and `resize.py` which it needs, into the
folder of a policy; both need NumPy alone (pictures smaller than 64x64: Pillow
too). What the keys of a description mean: dreamer/envs/suites/mapping.py.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np


class Environment:
  """Between the arrays of a user's environment and those of a policy.

  Args:
    content: What program.json says.

  Raises:
    ValueError: it says nothing about the environment.
  """

  def __init__(self, content: Mapping[str, Any]) -> None:
    if not content.get('environment'):
      raise ValueError('program.json does not say how observations and '
                       'actions are mapped: no own environment, or an old run')
    self._spec = content['environment']
    self._image = content['obs_space'].get('image')
    self.repeat = content['config']['action_repeat']  # steps with one action

  def observe(
      self, obs: Any, frame: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """Arrays by name, as the policy takes them.

    obs: as `reset` and `step` return it. frame: what the environment renders,
    uint8 [H, W, 3], where that was the image.
    """
    found = {name: _vector(_at(obs, part), part)
             for name, part in self._spec['vectors'].items()}
    parts = self._spec['image']
    if parts is None:
      return found
    if parts == 'render':
      if frame is None:
        raise ValueError('the image was what the environment renders; pass it '
                         'as frame')
      image = self._fit((frame[..., None] if frame.ndim == 2 else frame)[
          ..., :3])
    else:
      image = np.concatenate([
          self._fit(_picture(_at(obs, part), part)) for part in parts], -1)
    gray = image.shape[-1] == 1
    return {**found, 'image': np.repeat(image, 3, -1) if gray else image}

  def action(self, action: np.ndarray) -> Any:
    """What `step` takes, for an action [A] of the policy."""
    spec = self._spec['actions']
    sent = {'choice': _choice, 'combination': _combination,
            'scaled': _scaled}[spec['kind']](np.asarray(action), spec)
    return np.asarray(sent)[None] if spec['stacks'] else sent

  def _fit(self, image):
    """[H, W, C] in the size that the policy sees."""
    size = self._image[0][:2]
    if list(image.shape[:2]) == size:
      return image
    resize: Any = importlib.import_module('resize')  # beside this file
    shrinks = min(image.shape[:2]) >= min(size)
    return (resize.area if shrinks else resize.bilinear)(image, *size)


def _at(obs, part):
  for key in part['path']:
    obs = obs[key]
  return np.asarray(obs).reshape(part['shape'])  # also with an axis of 1


def _vector(array, part):
  if 'choices' not in part:
    return array.astype(np.float32).reshape(-1)
  index = array.reshape(-1) - np.array(part['start'])
  return np.concatenate([np.arange(amount) == i for i, amount in zip(
      index, part['choices'], strict=True)]).astype(np.float32)


def _picture(array, part):
  """uint8 [H, W, C]"""
  low, high, row = part['low'], part['high'], part['row']
  if (low, high, part['dtype']) != (0, 255, 'uint8'):
    share = (array.astype(np.float64) - low) / (high - low)
    array = np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)
  array = np.moveaxis(array, (row, row + 1), (0, 1))
  return array.reshape(*array.shape[:2], math.prod(array.shape[2:]))


def _choice(action, spec):
  index = int(np.argmax(action)) + spec['start']
  return index if spec['dtype'] is None else np.array(index, spec['dtype'])


def _combination(action, spec):
  amounts = np.array(spec['amounts'])
  index = np.unravel_index(int(np.argmax(action)), amounts.reshape(-1))
  choices = np.reshape(index, amounts.shape) + np.array(spec['start'])
  return choices.astype(spec['dtype'])


def _scaled(action, spec):
  """[-1, 1] to low and high; never beyond the bounds, rounded or not."""
  low, high = np.array(spec['low']), np.array(spec['high'])
  share = (np.clip(action.astype(np.float64), -1, 1) + 1) / 2
  if spec['whole']:
    amount = high - low + 1
    value = low + np.minimum(np.floor(share * amount), amount - 1)
    return value.astype(spec['dtype']).reshape(spec['shape'])
  value = (low + share * (high - low)).astype(spec['dtype'])
  least = [-np.inf if x is None else x for x in spec['least']]
  most = [np.inf if x is None else x for x in spec['most']]
  bounds = [np.array(x).astype(spec['dtype']) for x in (least, most)]
  return np.clip(value, *bounds).reshape(spec['shape'])
