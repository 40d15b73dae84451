"""Command lines of settings: --configs NAME ..., --key value, --key=value."""

from __future__ import annotations

from collections.abc import Sequence

from dreamer.config.rules import show
from dreamer.errors import ConfigError


def options(argv: Sequence[str]) -> list[tuple[str, list[str]]]:
  """Splits a command line into [(name, [values])]. Raises ConfigError."""
  found: list[tuple[str, list[str]]] = []
  for arg in argv:
    if arg.startswith('--') and len(arg) > 2:
      name, equals, value = arg[2:].partition('=')
      found.append((name, [value] if equals else []))
    elif not found:
      raise ConfigError(
          f'{show(arg)} stands alone; write --key value, or '
          '--configs PRESET ...')
    else:
      found[-1][1].append(arg)
  return found


def single(name: str, values: Sequence[str]) -> str:
  """The one value of a key. Raises ConfigError."""
  if not values:
    raise ConfigError(f'--{name}: its value is missing; write --{name} VALUE')
  if len(values) > 1:
    raise ConfigError(
        f'{show(values[1])} stands alone after --{name} '
        f'{show(values[0])}; write --key value')
  return values[0]
