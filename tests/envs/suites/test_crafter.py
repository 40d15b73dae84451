"""Crafter as published, made a function of its seed."""

import numpy as np
import pytest

from dreamer import envs
from dreamer.config import agents
from dreamer.envs import spaces
from dreamer.envs.suites import crafter
from dreamer.errors import UserError
from tests.support import mapped
from tests.support.env_tools import assert_same, draw_actions, rollout


def make_config(task='crafter_reward', **overrides):
  schema = agents.schema('dreamerv2')
  return schema.config(overrides={
      'task': task, 'action_repeat': 1, 'time_limit': 10000, **overrides})


def make(task='crafter_reward', **overrides):
  return envs.make_env(make_config(task, **overrides))


def bare(env):
  while hasattr(env, 'env'):
    env = env.env
  return env


def inside(env):
  """The library's own object."""
  return bare(env).game


def until_the_end(env, seed):
  """Random actions; returns all observations, and the actions."""
  rng = np.random.default_rng(seed)
  obs, actions = [env.reset(seed)], []
  while not obs[-1]['is_last']:
    actions.append(env.act_space.sample(rng))
    obs.append(env.step(actions[-1]))
  return obs, actions


def test_death_terminates_and_the_limit_does_not():
  env = make()
  assert env.act_space == spaces.ActionSpace('discrete', 17)
  assert env.obs_space == {'image': spaces.IMAGE}
  obs, _ = until_the_end(env, 1)
  assert 50 < len(obs) < 1000
  assert obs[-1]['is_terminal'] and obs[-1]['discount'] == 0
  assert not any(x['is_terminal'] or x['is_last'] for x in obs[:-1])
  # What a random player loses are 9 hearts, what it unlocks pays 1.
  total = sum(float(x['reward']) for x in obs)
  unlocked = sum(x['reward'] > 0.5 for x in obs)
  assert unlocked >= 1 and total == pytest.approx(unlocked - 0.9, abs=1e-5)


@pytest.mark.parametrize('limit, native', [(7, 10000), (10000, 7)])
def test_limits_only_cut(limit, native):
  env = make(time_limit=limit)
  assert inside(env)._length == 10000
  inside(env)._length = native
  obs = rollout(env, 0, draw_actions(env.act_space, 7))
  assert [x['is_last'] for x in obs] == [False] * 7 + [True]
  assert not obs[-1]['is_terminal'] and obs[-1]['discount'] == 1


def test_without_rewards_the_world_is_the_same():
  one, two = make(), make('crafter_noreward')
  actions = draw_actions(one.act_space, 60, seed=3)
  left, right = rollout(one, 4, actions), rollout(two, 4, actions)
  assert sum(abs(x['reward']) for x in left) > 0
  for x, y in zip(left, right, strict=True):
    np.testing.assert_array_equal(x['image'], y['image'])
    assert y['reward'] == 0


def test_seeds_and_replay():
  env = make()
  actions = draw_actions(env.act_space, 30)
  first = rollout(env, 5, actions)
  other = rollout(env, 6, actions)
  assert (first[0]['image'] != other[0]['image']).any()
  assert_same(env.replay(5, actions), first[-1])
  assert (env.reset()['image'] != first[0]['image']).any()


def test_rendering_moves_nothing_on():
  """At night the library draws noise from the world's own generator."""
  env, other = make(), make()
  for x in (env, other):
    x.reset(2)
    inside(x)._step = 250  # darkness
  for index in range(30):
    bare(env).render()
    action = np.eye(17, dtype=np.float32)[index % 5]
    assert_same(env.step(action), other.step(action))


def test_creatures_go_in_an_order_of_their_own():
  """Not in that of a set, which follows addresses in memory."""
  from crafter import objects  # Slow to import, for few tests.
  env = inside(make())
  kept = []
  for flip in (1, -1):
    env.begin(8)
    world = env._world
    cows = [x for x in world.objects if isinstance(x, objects.Cow)][:4]
    assert len(cows) == 4
    before = {tuple(x.pos) for x in cows}
    env._balance_object(
        (0, 12, 0, 12), cows[::flip], objects.Cow, 'grass', 0, 0, 0.0, 1.0,
        None, lambda amount, space: (0, 0))
    kept.append(before - {tuple(x.pos) for x in world.objects if x in cows})
  assert len(kept[0]) == 1 and kept[0] == kept[1]


@pytest.mark.slow
def test_same_in_another_process_for_long():
  """The library alone parts after some hundred steps."""
  inline = make()
  worker, = envs.make_envs(make_config())
  junk = [object() for _ in range(54321)]
  for seed in range(6):
    left, actions = until_the_end(inline, seed)
    right = rollout(worker, seed, actions)
    for x, y in zip(left, right, strict=True):
      assert_same(x, y)
  assert 'tensorflow' not in ' '.join(mapped(worker.pid))
  worker.close()
  del junk


def test_a_wrong_name_names_the_nearest():
  with pytest.raises(UserError, match='did you mean crafter_reward') as info:
    make('crafter_rewards')
  assert '\n' not in str(info.value)


def test_without_the_package(monkeypatch):
  monkeypatch.setattr(crafter, 'import_quietly', lambda name: None)
  with pytest.raises(UserError, match='need crafter; pip install'):
    make()


def test_gym_says_no_farewell(capfd):
  make()
  assert 'unmaintained' not in capfd.readouterr().err
