"""Seeds all random states of somebody else's environment.

Some environments take a seed in `reset`; others keep a generator in the task,
in themselves or in what they wrap, and never hear of it.
"""

from __future__ import annotations

import collections
import itertools
import random
import types

import numpy as np

from dreamer.config.agents import AGENTS

GENERATORS = (np.random.RandomState, np.random.Generator, random.Random)
# Attributes that may only exist once they are asked for.
PROPERTIES = ('unwrapped', 'task', 'random_state', 'np_random')
SPACES = ('action_space', 'observation_space')
OBJECTS = 1000  # so many are looked at, from the outside to the inside
FOREIGN = ('dreamer', *AGENTS, 'tensorflow', 'numpy')
PLAIN = (str, bytes, int, float, complex, np.ndarray, np.generic, type,
         types.ModuleType, types.FunctionType, types.MethodType)


def seed_everything(env: object, seed: int) -> None:
  """Seeds every generator and space that the environment holds.

  Found are those in attributes of it, of its classes, of what it wraps and
  of its parts. Each gets a seed of its own, the first one `seed` itself.
  """
  for number, state in enumerate(generators(env)):
    _seed(state, _derive(seed, number))
  for number, space in enumerate(_spaces(env)):
    if hasattr(type(space), 'seed'):
      space.seed(_derive(seed, number) % 2 ** 31)


def generators(env: object) -> list:
  """Returns all generators of `env` and its parts, always in one order."""
  return [part for part in _parts(env) if isinstance(part, GENERATORS)]


def _parts(env):
  """The environment and all that its attributes hold, breadth first."""
  queue, seen = collections.deque([env]), {id(env)}
  found: list = []
  while queue and len(found) < OBJECTS:
    part = queue.popleft()
    found.append(part)
    for value in _values(part):
      if id(value) not in seen and not _is_plain(value):
        seen.add(id(value))
        queue.append(value)
  return found


def _values(part):
  if isinstance(part, GENERATORS):
    return []
  if isinstance(part, (dict, list, tuple)):
    values = part.values() if isinstance(part, dict) else part
    return list(itertools.islice(values, OBJECTS))
  kinds = [kind for kind in type(part).__mro__ if not _is_foreign(kind)]
  values = list((_get(part, '__dict__') or {}).values())
  values += [x for kind in kinds for x in vars(kind).values()
             if isinstance(x, GENERATORS)]
  # Asked of the class, as objects may answer for others, far away.
  names = PROPERTIES if hasattr(type(part), 'reset') else ()
  return values + [_get(part, name) for name in names]


def _is_plain(value):
  return value is None or isinstance(value, PLAIN) or (
      not isinstance(value, GENERATORS) and (
          _is_foreign(type(value)) or _is_space(value)))


def _is_foreign(kind):
  return kind.__module__.split('.')[0] in FOREIGN


def _is_space(value):
  kind = type(value)
  return hasattr(kind, 'sample') and hasattr(kind, 'contains')


def _spaces(env):
  found = [_get(part, name) for part in _parts(env)
           if hasattr(type(part), 'reset') for name in SPACES]
  return list({id(space): space for space in found if space is not None}
              .values())


def _get(part, name):
  """An attribute, or None: it may be a property that fails."""
  try:
    return getattr(part, name, None)
  except Exception:
    return None


def _seed(state, seed):
  if isinstance(state, np.random.Generator):
    bits = state.bit_generator
    bits.state = type(bits)(seed).state
  else:
    state.seed(seed)


def _derive(seed, number):
  if not number:
    return seed % 2 ** 32
  sequence = np.random.SeedSequence([seed, number])
  return int(sequence.generate_state(1)[0])
