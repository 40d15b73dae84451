"""Plain values of settings: their types, what is allowed, how they look."""

from __future__ import annotations

import difflib
import math
import numbers
import os
import re
import reprlib
import shlex
from collections.abc import Iterable
from typing import Any, TypeAlias

Plain: TypeAlias = bool | int | float | str


class Rule:
  """What a setting may be: a list of values, or bounds.

  spec: a list, 'LOW..HIGH' (either may be missing), or '>LOW'.
  Raises ValueError for anything else.
  """

  def __init__(self, spec: list | str) -> None:
    self._choices = spec if isinstance(spec, list) else None
    self._text = str(spec)
    if self._choices is None:
      self._low, self._high, self._above = _bounds(self._text)

  @property
  def choices(self) -> list | None:
    """All values, where they can be listed."""
    return self._choices

  def meant(self, value: Any) -> Any:
    """The value, or `on` and `off` for a truth value where these are choices.

    YAML 1.1 makes one of them without being asked.
    """
    words = {'true': 'on', 'false': 'off'}
    if self._choices is None or not {'on', 'off'} <= set(self._choices):
      return value
    if not isinstance(value, (str, bool)):
      return value
    return words.get(str(value).lower(), value)

  def check(self, value: Plain) -> None:
    """Raises ValueError that says what is allowed."""
    near = ''
    if self._choices is not None:
      good, near = value in self._choices, nearest(value, self._choices)
    else:
      good = self._low <= value <= self._high and value > self._above
    if not good:
      raise ValueError(f'{show(value)} is not allowed{near}; allowed: {self}')

  def __str__(self) -> str:
    if self._choices is not None:
      return ', '.join(map(str, self._choices))
    return self._text


def plain(value: Any) -> Any:
  """A number, text or truth value of NumPy or PyTorch as Python's own."""
  is_scalar = getattr(value, 'shape', None) == () and hasattr(value, 'item')
  return value.item() if is_scalar else value


def convert(value: Any, kind: type, allowed: str = '') -> Plain:
  """Returns a value as bool, int, float or str; text is parsed.

  Whole numbers may be written as 5e6. Raises ValueError that says what would
  do, and what is allowed; NaN and infinities are no numbers here.
  """
  try:
    return _CONVERT[kind](value)
  except (ValueError, OverflowError):
    raise ValueError(f'{show(value)} is not {_KINDS[kind]}'
                     + f'; allowed: {allowed}' * bool(allowed)) from None


def nearest(name: Any, known: Iterable) -> str:
  """Returns ' (did you mean ...?)' with the most similar name, or ''."""
  near = difflib.get_close_matches(str(name), list(map(str, known)), 1, 0.5)
  return f' (did you mean {near[0]}?)' if near else ''


def show(value: Any) -> str:
  """Returns a value for a message: one line, shortened, text in quotes."""
  shorten = reprlib.Repr()
  shorten.maxstring = shorten.maxother = 80
  return shorten.repr(value)


def typed(value: Any) -> str:
  """Returns a value as it would stand on a command line."""
  return shlex.quote(str(value).lower() if isinstance(value, bool)
                     else str(value))


def _bounds(spec):
  number = r'-?\d+(?:\.\d+)?(?:e-?\d+)?'
  match = re.fullmatch(rf'({number})?\.\.({number})?|>({number})', spec)
  if not match:
    raise ValueError(
        f"{show(spec)} is neither a list nor 'LOW..HIGH' nor '>LOW'")
  none = (-math.inf, math.inf, -math.inf)
  return [other if text is None else float(text)
          for text, other in zip(match.groups(), none, strict=True)]


def _to_bool(value):
  if isinstance(value, str) and value.lower() in ('true', 'false'):
    return value.lower() == 'true'
  if isinstance(value, bool):
    return value
  raise ValueError


def _to_float(value):
  if isinstance(value, bool) or not isinstance(value, (str, numbers.Real)):
    raise ValueError
  value = float(value)
  if not math.isfinite(value):
    raise ValueError
  return value


def _to_int(value):
  if isinstance(value, numbers.Integral) and not isinstance(value, bool):
    whole = int(value)
  elif isinstance(value, str) and re.fullmatch(r'\s*[-+]?\d+\s*', value):
    whole = int(value)  # Exact beyond the 53 bits of a float.
  else:
    whole = int(value := _to_float(value))
    if whole != value:
      raise ValueError
  if not -2 ** 63 <= whole < 2 ** 63:
    raise ValueError
  return whole


def _to_str(value):
  if isinstance(value, os.PathLike):
    value = os.fspath(value)
  if not isinstance(value, str):
    raise ValueError
  return value


_CONVERT = {bool: _to_bool, int: _to_int, float: _to_float, str: _to_str}
_KINDS = {
    bool: 'true or false',
    int: 'a whole number (of 64 bits)',
    float: 'a finite number',
    str: 'a text',
}
