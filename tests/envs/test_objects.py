"""Questions to objects of users survive any answer."""

import types
import weakref

import numpy as np
import pytest

from dreamer.envs import gl, objects, seeding
from dreamer.envs.suites.repeats import Repeats
from dreamer.envs.workers import inline
from dreamer.run import arguments, env_identity


def attributes(**values):
  """A class, of an environment's form, with these entries."""
  return type('Env', (), {
      'reset': lambda self: None, 'step': lambda self, action: None,
      'action_space': None, **values})


def failing(error):
  def fail(self, *_):
    raise error
  return fail


class Endless:
  """Wraps one more, whenever it is asked."""

  action_space = None

  def reset(self):
    pass

  step = reset

  @property
  def env(self):
    return Endless()

  unwrapped = task = random_state = np_random = env

  @property
  def __dict__(self):
    return {'env': Endless()}


class Recursive:
  def reset(self):
    pass

  def __getattr__(self, name):
    return getattr(self, f'_{name}')


class Raises(dict):
  def values(self):
    raise ValueError('nothing to see')
  items = values


class Breaks(list):
  def __iter__(self):
    yield np.random.default_rng()
    raise RuntimeError('stop here')


class Tiring(type):
  """A class whose attributes can't be read."""

  def __getattr__(cls, name):
    raise OSError(name)


class Lying(type):
  """A class that answers wrong about itself."""

  __mro__ = property(failing(OSError('mro')))
  __dict__ = property(failing(OSError('dict')))


def dead_proxy():
  return weakref.proxy(attributes()())


def no_dict(value):
  return attributes(__dict__=property(lambda self: value))()


ODD = {
    'a property that raises': attributes(
        np_random=property(failing(ValueError('no')))),
    'SystemExit': attributes(unwrapped=property(failing(SystemExit(3)))),
    'an array as __dict__': lambda: no_dict(np.arange(3)),
    'a list as __dict__': lambda: no_dict([1]),
    'a __dict__ that raises': attributes(
        __dict__=property(failing(KeyError('x')))),
    'a dict that raises': lambda: no_dict(Raises(a=1)),
    'endless': Endless,
    'recursive': Recursive,
    'a part that raises': lambda: with_part(Raises(a=1)),
    'a list that breaks': lambda: with_part(Breaks([1])),
    'a dead proxy': lambda: with_part(dead_proxy()),
    'a lying class': lambda: with_part(
        attributes(__class__=property(failing(ReferenceError('x'))))()),
    'no module': lambda: with_part(attributes(__module__=None)()),
    'a module of its own kind': lambda: with_part(
        attributes(__module__=property(lambda self: 5))()),
    'a metaclass that raises': lambda: with_part(Tiring('T', (), {})()),
    'a metaclass that lies': lambda: with_part(Lying('T', (), {})()),
    'no truth': lambda: with_part(attributes(
        __bool__=failing(ValueError('ambiguous')),
        __eq__=failing(ValueError('ambiguous')), __hash__=None,
        __len__=failing(ValueError('none')))()),
    'getattr that raises': lambda: with_part(attributes(
        __getattr__=failing(ConnectionError('gone')))()),
    'getattribute that raises': lambda: with_part(attributes(
        __getattribute__=failing(ConnectionError('gone')))()),
    'an array for everything': attributes(
        __getattr__=lambda self, name: np.zeros(4)),
    'a space that can not be seeded': lambda: with_part(None, space=attributes(
        seed=failing(TypeError('takes no seed')))()),
    'itself': lambda: itself()}


def with_part(part, space=None):
  env = attributes(action_space=space)()
  env.part = part
  return env


def itself():
  env = attributes()()
  env.env = env.unwrapped = env
  return env


@pytest.mark.parametrize('name', ODD)
def test_a_walk_survives(name):
  rng = np.random.default_rng()
  odd = ODD[name]()
  holder = attributes()()
  holder.first, holder.rng = odd, rng
  seeding.seed_everything(odd, 3)
  seeding.seed_everything(holder, 3)
  assert any(rng is found for found in seeding.generators(holder))


@pytest.mark.parametrize('name', ODD)
def test_all_other_questions_survive(name):
  odd = ODD[name]()
  assert not gl.draws(odd) or name in ('an array for everything', 'recursive')
  assert Repeats(odd).range() == (1, 1)
  assert isinstance(env_identity.task(odd), str)
  assert arguments.is_object(odd) or name == 'recursive'
  assert inline.own_limit(odd) > 0
  assert objects.amount(odd) is None
  assert len(objects.chain(odd)) <= objects.MANY


def test_generators_that_can_not_be_seeded():
  class Fixed(np.random.RandomState):
    def seed(self, seed=None):
      raise NotImplementedError

  class Odd(np.random.PCG64):
    def __init__(self, seed=None, required=None):
      if required is None:
        raise TypeError('required')
      super().__init__(seed)
  last = np.random.default_rng()
  env = types.SimpleNamespace(
      one=Fixed(), two=np.random.Generator(Odd(1, required=1)), last=last)
  draws = []
  for seed in (3, 3, 4):
    seeding.seed_everything(env, seed)
    draws.append(last.uniform())
  assert draws[0] == draws[1] != draws[2]


def test_a_list_that_breaks_is_read_until_then():
  assert len(seeding.generators(with_part(Breaks([1])))) == 1


def test_ctrl_c_is_no_answer():
  env = attributes(np_random=property(failing(KeyboardInterrupt())))()
  with pytest.raises(KeyboardInterrupt):
    seeding.generators(env)


def test_what_is_wrapped_is_found_by_any_name():
  inner, outer = attributes()(), attributes()()
  outer.simulator = inner
  outer.anything = 5
  assert objects.chain(outer) == [outer, inner]
  outer.model = attributes()()
  assert objects.chain(outer) == [outer]
  outer._env = outer.simulator
  assert objects.chain(outer) == [outer, inner]
