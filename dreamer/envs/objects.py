"""What objects of users answer to questions that nobody promised to answer.

A property may raise, `__dict__` may be an array, a class may lie about its
module, a wrapper may wrap without end. Whatever such a question meets counts
as no answer; none of them ends a run.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable, Iterable, Iterator
from typing import Any

MANY = 1000  # so many entries or objects are looked at
SPACES = ('action_space', 'action_spec')


def guard(function: Callable, *args: Any, default: Any = None) -> Any:
  """Calls a function; whatever it raises, but Ctrl-C, gives the default."""
  try:
    return function(*args)
  except KeyboardInterrupt:
    raise
  except BaseException:  # Code of users may raise anything, SystemExit too.
    return default


def ask(thing: object, name: str, default: Any = None) -> Any:
  """An attribute, or the default: it may be a property that fails."""
  return guard(getattr, thing, name, default, default=default)


def has(thing: object, name: str) -> bool:
  """Whether an attribute can be read."""
  missing = object()
  return ask(thing, name, missing) is not missing


def fields(thing: object) -> dict:
  """The attributes in an object's own `__dict__`, if it is a dict."""
  found = ask(thing, '__dict__')
  if not guard(isinstance, found, dict, default=False):
    return {}
  return guard(lambda: dict(itertools.islice(found.items(), MANY)), default={})


def members(values: Any) -> list:
  """What a collection of a user's gives, until it fails or there are many."""
  found: list = []
  guard(lambda: found.extend(_each(values)))
  return found


def bases(kind: type) -> tuple[type, ...]:
  """A class and its bases, whatever its metaclass answers."""
  return type.__dict__['__mro__'].__get__(kind)


def of_class(kind: type) -> list:
  """What stands in a class itself."""
  return list(type.__dict__['__dict__'].__get__(kind).values())


def modules(kind: type) -> Iterator[str]:
  """Names of the packages that a class and its bases come from."""
  for base in bases(kind):
    name = ask(base, '__module__')
    if isinstance(name, str):
      yield name.partition('.')[0]


def is_a(thing: object, kinds: type | tuple) -> bool:
  """As isinstance, where `__class__` may be a property that fails."""
  return guard(isinstance, thing, kinds, default=False)


def is_env(thing: object) -> bool:
  """Whether it is made like an environment."""
  return all(has(type(thing), name) for name in ('reset', 'step')) and any(
      has(thing, name) for name in SPACES)


def amount(env: object) -> int | None:
  """How many environments it says that it holds; None: it does not say."""
  return guard(operator.index, ask(env, 'num_envs'))


def chain(env: Any) -> list:
  """An environment and what it wraps, from the outside to the inside.

  Inside is the attribute that is an environment, by whatever name; where
  there are several, the one that is called like it.
  """
  found, seen = [env], {id(env)}
  while len(found) < MANY:
    inner = _inner(found[-1])
    if inner is None or id(inner) in seen:
      break
    found.append(inner)
    seen.add(id(inner))
  return found


def _each(values: Iterable) -> Iterator:
  return itertools.islice(values, MANY)


def _inner(env):
  own = fields(env)
  single = {key: value[0] for key, value in own.items()
            if type(value) in (list, tuple) and len(value) == 1}
  for candidates in (own, single):
    found = {str(key): value for key, value in candidates.items()
             if is_env(value)}
    if len(found) > 1:
      found = {key: value for key, value in found.items()
               if key.strip('_') in ('env', 'environment')}
    if found:
      return next(iter(found.values()))
  return None
