"""One-line errors for names that nothing is known by."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from dreamer.errors import UserError


def unknown(
    key: str, name: str, known: Iterable[str],
    meant: Iterable[str] = ()) -> UserError:
  """A UserError that names what is meant, or the nearest known names."""
  known = list(dict.fromkeys(known))
  near = list(meant) or difflib.get_close_matches(name, known, 3, 0.5)
  if near:
    return UserError(f'{key}={name}: unknown; did you mean {join(near)}?')
  more = f' (of {len(known)})' if known[8:] else ''
  return UserError(f'{key}={name}: unknown; known are {join(known[:8])}{more}')


def join(names: list[str]) -> str:
  """Some words with commas, and `or` before the last."""
  *most, last = names
  return f'{", ".join(most)} or {last}' if most else last
