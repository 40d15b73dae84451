"""gym and gymnasium environments by id."""

import numpy as np
import pytest

from dreamer import envs
from dreamer.envs.suites import gym as suite
from dreamer.errors import UserError
from tests.support import strange_envs as strange
from tests.support.env_tools import make_config, rollout


def test_gym_by_id():
  import gymnasium
  gymnasium.register('StrangeTest-v0', strange.NewStyle)
  env = envs.make_env(make_config(task='gym_StrangeTest-v0'))
  assert not env.reset(0)['is_last']


def test_old_gym_by_id_under_new_numpy(capfd):
  gym = suite.import_quietly('gym')
  assert 'unmaintained' not in capfd.readouterr().err
  gym.register('StrangeOldTest-v0', _OldRegistered)
  env = envs.make_env(make_config(task='gym_StrangeOldTest-v0'))
  obs = rollout(env, 0, np.eye(2, dtype=np.float32))
  assert (obs[1]['image'] == 7).all()


class _OldRegistered:
  """What gym 0.26 accepts; made by id."""

  def __new__(cls, render_mode=None):
    import gym

    class Env(gym.Env):
      metadata = {'render_modes': ['rgb_array'], 'render_fps': 10}
      observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
      action_space = gym.spaces.Discrete(2)

      def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

      def step(self, action):
        return np.zeros(2, np.float32), 1.0, np.bool_(False), False, {}

      def render(self):
        return np.full((64, 64, 3), 7, np.uint8)

    env = Env()
    env.render_mode = render_mode
    return env


def test_unknown_gym_id_names_the_nearest():
  with pytest.raises(UserError, match='did you mean .*gym_CartPole-v1'):
    envs.make_env(make_config(task='gym_CartPol-v1'))
