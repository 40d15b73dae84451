"""What other people's environments show: their spaces as named entries.

An entry is one array of an observation, however deep it is nested in dicts
and tuples. What becomes of each, `selected.select` decides.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from dreamer.envs import pictures
from dreamer.errors import UserError

ONE_HOT = 1024  # more choices than that stay a number


@dataclasses.dataclass(frozen=True)
class Entry:
  """One array of an observation.

  Attributes:
    path: Keys and indices that lead to it.
    name: The same, joined by slashes; `observation` for a single array.
    shape, dtype: Of its values.
    low, high: The bounds that all its numbers share; None: none, or several.
    choices: The number of choices of each of its whole numbers, or ().
    start: Their first choice.
    problem: Why it can't be read at all, or ''.
    alone: Whether its values may have one more axis, a leading one of 1.
  """

  path: tuple
  name: str
  shape: tuple = ()
  dtype: np.dtype = np.dtype(object)
  low: float | None = None
  high: float | None = None
  choices: tuple = ()
  start: object = 0
  problem: str = ''
  alone: bool = False

  def picture(self) -> pictures.Picture:
    """It read as a picture. Raises UserError where it is none."""
    return pictures.Picture(self.shape, self.dtype, self.low, self.high)

  @property
  def why_no_picture(self) -> str:
    """Why it can't be read as a picture, or ''."""
    try:
      self.picture()
    except UserError as error:
      return str(error)
    return ''

  @property
  def may_be_picture(self) -> bool:
    """Whether `image_key` can name it."""
    return len(self.shape) > 1 and not self.why_no_picture

  @property
  def title(self) -> str:
    return f'observation {self.name}' if self.path else 'the observation'

  @property
  def text(self) -> str:
    return f'{self.dtype} {"x".join(map(str, self.shape)) or "number"}'


def entries(space: Any) -> list[Entry]:
  """Entries of a space of gym or gymnasium, or of specs of dm_env.

  Raises UserError where two entries have one name.
  """
  found = list(_walk(space, ()))
  names = [entry.name for entry in found]
  twice = [name for name in names if names.count(name) > 1]
  if twice:
    raise UserError(
        f'two observations are called {twice[0]}; rename one of them')
  return found


def _walk(space, path):
  inner = _inner(space)
  if inner is None:
    yield _entry(space, path)
    return
  for key, value in inner.items():
    yield from _walk(value, (*path, key))


def _inner(space):
  """The spaces inside of a dict or a tuple; None for anything else."""
  if isinstance(space, collections.abc.Mapping):
    return space
  if isinstance(space, (list, tuple)):
    return dict(enumerate(space))
  kinds = {kind.__name__ for kind in type(space).__mro__}
  if 'Dict' in kinds or 'Tuple' in kinds:
    return _inner(space.spaces)
  return None


def _entry(space, path):
  name = '/'.join(map(str, path)) or 'observation'
  dtype = getattr(space, 'dtype', None)
  shape = getattr(space, 'shape', None)
  if dtype is None or np.dtype(dtype).kind not in 'biuf' or shape is None:
    return Entry(path, name, problem=f'{type(space).__name__} is no array of '
                 'numbers')
  shape = tuple(int(x) for x in shape)
  if not math.prod(shape):
    return Entry(path, name, problem='it is empty')
  low, high = _bounds(space)
  choices, start = _choices(space, shape)
  return Entry(path, name, shape, np.dtype(dtype), low, high, choices, start)


def _bounds(space):
  low = getattr(space, 'low', getattr(space, 'minimum', None))
  high = getattr(space, 'high', getattr(space, 'maximum', None))
  if low is None or high is None or hasattr(space, 'num_values'):
    return None, None
  low, high = np.asarray(low, np.float64), np.asarray(high, np.float64)
  if not low.size or not high.size or not (
      np.all(low == low.flat[0]) and np.all(high == high.flat[0])):
    return None, None
  return float(low.flat[0]), float(high.flat[0])


def _choices(space, shape):
  """How many choices each number of Discrete and MultiDiscrete has."""
  start = getattr(space, 'start', 0)
  if hasattr(space, 'nvec'):
    found = tuple(int(x) for x in np.reshape(space.nvec, -1))
  elif hasattr(space, 'num_values'):
    found, start = (int(space.num_values),), space.minimum
  elif hasattr(space, 'n') and shape == ():
    found = int(space.n),
  else:
    return (), 0
  return (found, start) if sum(found) <= ONE_HOT else ((), 0)


class Reader:
  """Takes one entry out of observations, as a float32 vector [n].

  Choices become one-hot, arrays are flattened.
  """

  def __init__(self, entry: Entry) -> None:
    self.entry = entry
    self.size = sum(entry.choices) or math.prod(entry.shape)
    self.text = self._describe()
    self.dropped = False  # a leading axis of 1, from what came

  def array(self, obs: Any) -> np.ndarray:
    """The entry as it came.

    Raises UserError, with what was expected and what came, where it is
    missing or not as its space says.
    """
    value = obs
    for index, key in enumerate(self.entry.path):
      value = self._inside(value, key, index)
    entry = self.entry
    try:
      array = np.asarray(value)
    except ValueError:  # rows of several lengths
      array = np.asarray(None)
    if entry.alone and array.shape == (1, *entry.shape):
      array, self.dropped = array[0], True
    fits = array.shape == entry.shape or array.size == math.prod(
        entry.shape) == 1
    if array.dtype.kind not in 'biuf' or not fits:
      self.fail(value)
    return array.reshape(entry.shape)

  def vector(self, obs: Any) -> np.ndarray:
    """The entry as float32 [size]."""
    array = self.array(obs)
    if self.entry.choices:
      return self._one_hot(array)
    with np.errstate(over='ignore'):  # Checks tells.
      return array.astype(np.float32).reshape(-1)

  def _inside(self, value, key, index):
    inner = value
    if isinstance(key, int) and isinstance(value, (list, tuple)):
      inner = dict(enumerate(value))
    if not isinstance(inner, collections.abc.Mapping):
      self.fail(value, self.entry.path[:index])
    if key not in inner:
      known = ', '.join(map(str, inner)) or 'nothing'
      raise UserError(
          f'{self.entry.title} is missing; what came holds {known}')
    return inner[key]

  def fail(self, value: Any, path: Sequence | None = None) -> None:
    title, expected = self.entry.title, self.entry.text
    if path is not None:
      title = f'observation {"/".join(map(str, path))}' if path else (
          'the observation')
      kind = type(self.entry.path[len(path)])
      expected = 'a tuple' if kind is int else 'a dict'
    raise UserError(
        f'{title} is {_show(value)}, its space says {expected}')

  def _one_hot(self, array):
    parts = []
    index = (array.astype(np.int64) - self.entry.start).reshape(-1)
    for number, amount in zip(index, self.entry.choices, strict=True):
      if not 0 <= number < amount:
        raise UserError(
            f'{self.entry.title} is {array.tolist()}, which is none of its '
            'choices')
      parts.append(np.arange(amount) == number)
    return np.concatenate(parts).astype(np.float32)

  def _describe(self):
    if self.entry.choices:
      return f'one-hot of {"+".join(map(str, self.entry.choices))}'
    flat = len(self.entry.shape) > 1
    return f'{self.size}' + (
        f' of {"x".join(map(str, self.entry.shape))}' if flat else '')


def _show(value):
  """A value in a few words."""
  if isinstance(value, collections.abc.Mapping):
    return f'a dict with {", ".join(map(str, value)) or "nothing"}'
  if isinstance(value, str) or value is None:
    return repr(value)[:40]
  try:
    array = np.asarray(value)
  except ValueError:
    return f'a {type(value).__name__} of uneven rows'
  if isinstance(value, (tuple, list)) and array.dtype == object:
    return f'a {type(value).__name__} of {len(value)}'
  return f'{array.dtype} {"x".join(map(str, array.shape)) or "number"}'
