"""A paper's classes, or what keys of a config name in their place.

A variant is a subclass of a paper's class that overrides little of it. The
table of an agent says which value of which key asks for which of them:

  TABLE = {'kl.free_by': {'mean': FreeMean}, 'image_noise': {True: GreyNoise}}

Other values are the paper's. Variants of one class override different methods,
or call super(), so that every mixture of keys is possible.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

C = TypeVar('C')
PART = '_class'  # ends the names of class attributes that are chosen as well


class Unless:
  """Asks for variants wherever a key has another value than this one."""

  def __init__(self, value: Any, *variants: type) -> None:
    self._value, self._variants = value, variants

  def get(self, value: Any, default: Any = ()) -> Any:
    return default if value == self._value else self._variants


Table = Mapping[str, Mapping[Any, Any] | Unless]


def choose(kind: type[C], table: Table, config: Any) -> type[C]:
  """A paper's class with the variants of it that a config asks for.

  kind: the class, or a subclass of it. Of its part in `rssm_class = RSSM` the
    class is chosen in the same way.
  table: {key: {value: variant, or a tuple of them}}. Of two that override the
    same method the later one comes first. A variant of another variant counts
    only where that one, which stands further up, is chosen too.
  """
  bases = [kind]
  for variant in _named(table, config):
    ours = any(issubclass(base, variant.__bases__[0]) for base in bases)
    if ours and variant not in bases:
      bases.insert(0, variant)
  if len(bases) > 1:
    kind = _derive(kind, tuple(bases), {})
  parts = {name: getattr(kind, name) for name in dir(kind)
           if name.endswith(PART)}
  chosen = {name: choose(part, table, config) for name, part in parts.items()}
  return kind if chosen == parts else _derive(kind, (kind,), chosen)


def _derive(kind, bases, attributes):
  """A subclass that goes by the name of the paper's class."""
  return type(kind.__name__, bases, {
      **attributes, '__module__': kind.__module__, '__doc__': kind.__doc__})


def _named(table, config) -> Iterator[type]:
  """The variants that all keys ask for, in the order of the table."""
  for key, options in table.items():
    value = config
    for name in key.split('.'):
      value = value[name]
    found = options.get(value, ())
    yield from found if isinstance(found, tuple) else (found,)
