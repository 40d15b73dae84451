"""How an agent's actions become those of any other space, always inside it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from dreamer.envs import spaces
from dreamer.errors import UserError

HUGE = 1e10  # A bound beyond it, as the limits of float32, is none.
COMBINATIONS = 1024  # of several choices, at most, that become one


class Choice:
  """One-hot actions to the whole numbers `start` .. `start + amount - 1`.

  They are int, or arrays () of a dtype.
  """

  def __init__(
      self, amount: int, start: int = 0,
      dtype: DTypeLike | None = None) -> None:
    self.space = spaces.ActionSpace('discrete', int(amount))
    self.text = f'{amount} choices, one-hot'
    self.start, self.dtype = int(start), dtype

  def __call__(self, action: np.ndarray) -> int | np.ndarray:
    index = int(np.argmax(action)) + self.start
    return index if self.dtype is None else np.array(index, self.dtype)


class Combination:
  """One-hot actions to arrays of choices, one for each combination of them.

  Args:
    amounts: Number of choices of each entry, of any shape.
    start: The first choice of each entry.
    dtype: Of the arrays.

  Raises:
    UserError: there are too many combinations.
  """

  def __init__(
      self, amounts: ArrayLike, start: ArrayLike = 0,
      dtype: DTypeLike = np.int64) -> None:
    amounts = np.asarray(amounts)
    total = math.prod(int(x) for x in amounts.reshape(-1))
    if total > COMBINATIONS:
      raise UserError(
          f'action space: its {total} combinations are more than '
          f'{COMBINATIONS}; give it fewer choices, or one Box')
    self.space = spaces.ActionSpace('discrete', total)
    sizes = ' x '.join(str(x) for x in amounts.reshape(-1))
    self.text = f'{sizes} = {total} combinations, one-hot'
    self.amounts, self.start, self.dtype = amounts, start, dtype

  def __call__(self, action: np.ndarray) -> np.ndarray:
    index = np.unravel_index(
        int(np.argmax(action)), self.amounts.reshape(-1))
    choices = np.reshape(index, self.amounts.shape) + np.asarray(self.start)
    return np.asarray(choices, self.dtype)


class Scaled:
  """Numbers in [-1, 1] to arrays within bounds, each entry by itself.

  With two bounds, [-1, 1] is stretched to them. Without any it stays what it
  is. With one it stays too if that lies inside, and else is moved to begin
  or to end at the bound. A bound beyond `HUGE` is none. Whole numbers need
  two bounds and get equal shares of [-1, 1].

  Args:
    shape, dtype: Of the arrays.
    low, high: Bounds that fit the shape.

  Raises:
    UserError: there is nothing to choose, or no number to send.
  """

  def __init__(
      self, shape: tuple, dtype: DTypeLike, low: ArrayLike = -np.inf,
      high: ArrayLike = np.inf) -> None:
    self.shape, self.dtype = tuple(shape), np.dtype(dtype)
    if not math.prod(self.shape):
      raise UserError(f'action space of shape {self.shape}: it is empty')
    lows, highs = self.bounds = self._fit(low), self._fit(high)
    if not np.all(lows <= highs):  # NaN too
      raise UserError(
          f'action space: bounds {lows.tolist()} and {highs.tolist()}; the '
          'low ones must not exceed the high ones')
    self.whole = self.dtype.kind in 'iub'
    free = lows < -HUGE, highs > HUGE
    if self.whole and np.any(free):
      raise UserError(
          'action space of whole numbers without bounds; give it bounds, or '
          'make it Discrete')
    self.low, self.high = _interval(lows, highs, *free)
    self.space = spaces.ActionSpace('continuous', math.prod(self.shape))
    self.text = self._describe()

  def __call__(self, action: np.ndarray) -> np.ndarray:
    action = np.clip(np.asarray(action, np.float64), -1, 1)
    share = (action.reshape(self.shape) + 1) / 2
    if self.whole:
      amount = self.high - self.low + 1
      steps = np.minimum(np.floor(share * amount), amount - 1)
      return np.asarray(self.low + steps, self.dtype)
    value = self.low + share * (self.high - self.low)
    # Rounding to the dtype must not lead out of the space.
    bounds = [x.astype(self.dtype) for x in self.bounds]
    return np.asarray(np.clip(value.astype(self.dtype), *bounds))

  def _fit(self, bound):
    bound = np.asarray(bound, np.float64)
    try:
      return np.broadcast_to(bound, self.shape)
    except ValueError:
      raise UserError(
          f'action space: bounds of shape {bound.shape} do not fit its shape '
          f'{self.shape}') from None

  def _describe(self):
    name = f'{self.space.dim} {"whole " if self.whole else ""}number' + (
        's' if self.space.dim > 1 else '')
    kinds = list(dict.fromkeys(zip(
        *(x.reshape(-1).tolist() for x in (
            *self.bounds, self.low, self.high)), strict=True)))
    if len(kinds) > 3 and np.array_equal(
        self.bounds, [self.low, self.high]):
      return f'{name}, [-1, 1] to the bounds of each'
    return f'{name}, [-1, 1] to ' + ', '.join(
        dict.fromkeys(_range(*kind) for kind in kinds))


def _interval(low, high, no_low, no_high):
  """Returns what [-1, 1] becomes; see Scaled."""
  start = np.where(no_low, -1.0, low)
  end = np.where(no_high, 1.0, high)
  above = np.maximum(start, -1.0)  # with a low bound only
  below = np.minimum(end, 1.0)  # with a high bound only
  only_low, only_high = ~no_low & no_high, no_low & ~no_high
  return (np.where(only_low, above, np.where(only_high, below - 2, start)),
          np.where(only_low, above + 2, np.where(only_high, below, end)))


def _range(low, high, start, end):
  text = f'[{start:g}, {end:g}]'
  if (low, high) == (start, end):
    return text
  return f'{text} of {"(" if low < -HUGE else "["}{low:g}, {high:g}' + (
      ')' if high > HUGE else ']')


def from_space(space: Any) -> Choice | Combination | Scaled:
  """Actions for a space of gym or gymnasium, or one that looks like it.

  Raises UserError for spaces that are something else.
  """
  start = getattr(space, 'start', 0)
  shape = tuple(getattr(space, 'shape', None) or ())
  dtype = getattr(space, 'dtype', None)
  if hasattr(space, 'nvec'):
    return Combination(space.nvec, start, dtype or np.int64)
  if hasattr(space, 'n') and shape:  # MultiBinary
    return Combination(np.full(shape, 2), 0, dtype or np.int8)
  if hasattr(space, 'n'):
    return Choice(space.n, start)
  if hasattr(space, 'low') and np.dtype(dtype).kind in 'biuf':
    return _from_bounds(shape, dtype, space.low, space.high)
  raise UserError(
      f'action space {space}: must be Box, Discrete, MultiDiscrete or '
      'MultiBinary; wrap the environment')


def from_spec(spec: Any) -> Choice | Scaled:
  """Actions for a spec of dm_env; the same as `from_space`."""
  if hasattr(spec, 'num_values'):
    return Choice(
        spec.num_values, getattr(spec, 'minimum', 0), spec.dtype)
  if hasattr(spec, 'shape') and np.dtype(
      getattr(spec, 'dtype', object)).kind in 'biuf':
    return _from_bounds(
        spec.shape, spec.dtype, getattr(spec, 'minimum', -np.inf),
        getattr(spec, 'maximum', np.inf))
  raise UserError(
      f'action spec {spec}: must be one array of numbers; wrap the '
      'environment')


def _from_bounds(shape, dtype, low, high):
  if tuple(shape) == () and np.dtype(dtype).kind in 'iub' and (
      np.isfinite([low, high]).all()):
    amount = int(high) - int(low) + 1
    if 0 < amount <= COMBINATIONS:
      return Choice(amount, int(low), dtype)
  return Scaled(shape, dtype, low, high)
