"""One-line errors for names that nothing is known by."""

import difflib

from dreamer.errors import UserError


def unknown(key, name, known):
  """A UserError that names the nearest known names."""
  known = list(dict.fromkeys(known))
  near = difflib.get_close_matches(name, known, 3, 0.5)
  if near:
    return UserError(f'{key}={name}: unknown; did you mean {join(near)}?')
  return UserError(f'{key}={name}: unknown; known are {join(known[:8])}')


def join(names):
  *most, last = names
  return f'{", ".join(most)} or {last}' if most else last
