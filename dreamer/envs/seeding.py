"""Seeds all random states of somebody else's environment.

Some environments take a seed in `reset`; others keep a generator in the task,
in themselves or in what they wrap, and never hear of it.
"""

from __future__ import annotations

import collections
import random
import types

import numpy as np

from dreamer.config import agents
from dreamer.envs import objects

GENERATORS = (np.random.RandomState, np.random.Generator, random.Random)
# Attributes that may only exist once they are asked for.
PROPERTIES = ('unwrapped', 'task', 'random_state', 'np_random')
SPACES = ('action_space', 'observation_space')
OBJECTS = objects.MANY  # so many are looked at, from the outside to the inside
FOREIGN = ('dreamer', 'tensorflow', 'numpy')  # and agents
PLAIN = (str, bytes, int, float, complex, np.ndarray, np.generic, type,
         types.ModuleType, types.FunctionType, types.MethodType)


def seed_everything(env: object, seed: int) -> None:
  """Seeds every generator and space that the environment holds.

  Found are those in attributes of it, of its classes, of what it wraps and
  of its parts. Each gets a seed of its own, the first one `seed` itself.
  Whatever the objects answer, this raises nothing.
  """
  for number, state in enumerate(generators(env)):
    objects.guard(_seed, state, _derive(seed, number))
  for number, space in enumerate(_spaces(env)):
    if objects.has(type(space), 'seed'):
      objects.guard(
          lambda space, seed: space.seed(seed), space,
          _derive(seed, number) % 2 ** 31)


def generators(env: object) -> list:
  """Returns all generators of `env` and its parts, always in one order."""
  return [part for part in _parts(env) if objects.is_a(part, GENERATORS)]


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
  if objects.is_a(part, GENERATORS):
    return []
  if objects.is_a(part, (dict, list, tuple)):
    values = objects.ask(part, 'values') if objects.is_a(part, dict) else None
    return objects.members(objects.guard(values) if values else part)
  kinds = [kind for kind in objects.bases(type(part)) if not _is_foreign(kind)]
  values = list(objects.fields(part).values())
  values += [x for kind in kinds for x in objects.of_class(kind)
             if objects.is_a(x, GENERATORS)]
  # Asked of the class, as objects may answer for others, far away.
  names = PROPERTIES if objects.has(type(part), 'reset') else ()
  return values + [objects.ask(part, name) for name in names]


def _is_plain(value):
  return value is None or objects.is_a(value, PLAIN) or (
      not objects.is_a(value, GENERATORS) and (
          _is_foreign(type(value)) or _is_space(value)))


def _is_foreign(kind):
  package = next(objects.modules(kind), '')
  return package in FOREIGN or agents.is_loaded(package)


def _is_space(value):
  kind = type(value)
  return objects.has(kind, 'sample') and objects.has(kind, 'contains')


def _spaces(env):
  found = [objects.ask(part, name) for part in _parts(env)
           if objects.has(type(part), 'reset') for name in SPACES]
  return list({id(space): space for space in found if space is not None}
              .values())


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
