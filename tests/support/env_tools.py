"""What tests of environments share: configs, episodes, their comparison."""

import numpy as np

from dreamer.config import schema as configs
from dreamer.envs import make_env


def make_config(**overrides):
  """DreamerV1's, in this process; `a__b` stands for the key `a.b`."""
  schema = configs.Schema.load('configs/dreamerv1.yaml')
  overrides = {
      key.replace('__', '.'): value for key, value in overrides.items()}
  return schema.config(overrides={
      'task': 'dummy_continuous', 'envs.worker': 'inline', **overrides})


def make_user_env(factory, **overrides):
  """An environment of somebody else's, in this process, without a repeat."""
  config = make_config(**{'action_repeat': 1, **overrides})
  return make_env(config, factory=factory)


def rollout(env, seed, actions):
  """All observations of an episode with these actions."""
  return [env.reset(seed)] + [env.step(action) for action in actions]


def assert_same(left, right):
  """Equal to the bit, as dicts of arrays."""
  assert left.keys() == right.keys()
  for key in left:
    np.testing.assert_array_equal(left[key], right[key], err_msg=key)


def draw_actions(space, amount, seed=0):
  """Uniform actions [amount, A]."""
  rng = np.random.default_rng(seed)
  return np.stack([space.sample(rng) for _ in range(amount)])
