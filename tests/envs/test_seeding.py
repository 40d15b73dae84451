"""A seed reaches every generator that an environment holds."""

import random
import time

import gymnasium
import numpy as np
import pytest

from dreamer.envs import seeding


class Env:
  """Holds something, as environments do."""

  def __init__(self, **attributes):
    vars(self).update(attributes)

  def reset(self):
    pass

  def step(self, action):
    pass


class Part:
  """A part of an environment, such as a task or a map."""

  def __init__(self, **attributes):
    vars(self).update(attributes)


class ByProperty(Env):
  """As dm_control's composer, with `__slots__` in place of a dict."""

  __slots__ = ('_hidden',)

  def __init__(self, state):
    super().__init__()
    self._hidden = state

  @property
  def random_state(self):
    return self._hidden


class Shared(Env):
  generator = np.random.default_rng()


def state():
  return np.random.RandomState()


FINDS = {
  'attribute': lambda s: Env(rng=s),
  'private attribute': lambda s: Env(_my_numbers=s),
  'property': ByProperty,
  'task': lambda s: Env(_task=Part(_random=s)),
  'wrapped': lambda s: Env(env=Env(_env=Env(rng=s))),
  'part of a part': lambda s: Env(world=Part(maze=Part(rng=s))),
  'list': lambda s: Env(rooms=[Part(rng=s), Part()]),
  'dict': lambda s: Env(rooms={'kitchen': Part(rng=s)}),
}


@pytest.mark.parametrize('name', FINDS)
@pytest.mark.parametrize('make, draw', [
    (state, lambda x: x.uniform()),
    (np.random.default_rng, lambda x: x.uniform()),
    (lambda: np.random.Generator(np.random.MT19937()), lambda x: x.uniform()),
    (random.Random, lambda x: x.random())])
def test_generators_follow_the_seed(name, make, draw):
  found = []
  for seed in (3, 3, 4):
    generator = make()
    seeding.seed_everything(FINDS[name](generator), seed)
    found.append(draw(generator))
  assert found[0] == found[1] != found[2]


def test_the_only_generator_gets_the_seed_itself():
  generator = state()
  seeding.seed_everything(Env(_task=Part(_random=generator)), 11)
  assert generator.uniform() == np.random.RandomState(11).uniform()


def test_several_generators_differ():
  left, right = state(), state()
  seeding.seed_everything(Env(left=left, right=right), 11)
  assert left.uniform() != right.uniform()


def test_generators_of_a_class():
  seeding.seed_everything(Shared(), 5)
  one = Shared.generator.uniform()
  seeding.seed_everything(Shared(), 5)
  assert Shared.generator.uniform() == one


def test_spaces_follow_the_seed():
  env = Env(action_space=gymnasium.spaces.Discrete(10 ** 9))
  draws = []
  for seed in (7, 7, 8):
    seeding.seed_everything(env, seed)
    draws.append(env.action_space.sample())
  assert draws[0] == draws[1] != draws[2]


def test_what_is_made_lazily():
  class Lazy(gymnasium.Env):
    pass
  draws = []
  for seed in (7, 7, 8):
    env = Lazy()
    seeding.seed_everything(env, seed)
    draws.append(env.np_random.integers(10 ** 9))
  assert draws[0] == draws[1] != draws[2]


def test_circles_modules_and_failing_properties():
  class Failing(Env):
    @property
    def np_random(self):
      raise RuntimeError('not yet')
  env = Failing(random=random, numpy=np.random, size=3)
  env.env = env
  assert seeding.generators(env) == []
  seeding.seed_everything(env, 1)


def test_what_answers_for_something_far_away_is_left_alone():
  class Proxy:
    def __getattr__(self, name):
      raise ConnectionError(name)
  rng = np.random.default_rng()
  assert seeding.generators(Env(client=Proxy(), rng=rng)) == [rng]


def test_large_collections_take_no_time():
  rng = np.random.default_rng()
  env = Env(data=list(range(10 ** 6)), table=dict.fromkeys(range(10 ** 6), 0.5),
            rng=rng)
  start = time.process_time()
  assert seeding.generators(env) == [rng]
  assert time.process_time() - start < 0.5  # of this process, not the clock
