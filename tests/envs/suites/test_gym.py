"""gym and gymnasium environments by id."""

import numpy as np
import pytest

from dreamer import envs
from dreamer.envs.suites import atari
from dreamer.envs.suites import gym as suite
from dreamer.errors import UserError
from tests.support import strange_envs as strange
from tests.support.env_tools import make_config, rollout


def test_gym_by_id():
  import gymnasium  # Slow to import, for few tests.
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
    import gym  # Slow to import, for few tests.

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


@pytest.mark.parametrize('name, found', [
    ('ALE/Pong-v5', 'gym_ale_py:ALE/Pong-v5 or atari_pong'),
    ('ale_py:ALE/Pnog-v5', 'gym_ale_py:ALE/Pong-v5 or atari_pong'),
    ('PongNoFrameskip-v9', 'gym_ale_py:ALE/Pong-v5 or atari_pong'),
    ('Pong-v5', 'gym_ale_py:ALE/Pong-v5 or atari_pong'),
    ('ALE/UpNDown-v4', 'gym_ale_py:ALE/UpNDown-v5 or atari_up_n_down'),
    ('CartPole-v7', 'gym_CartPole-v1')])
def test_ids_of_atari_are_found_by_both_names(name, found, monkeypatch):
  import gymnasium  # Slow to import, for few tests.
  # As long as nobody has imported ale_py.
  monkeypatch.delitem(gymnasium.registry, name, raising=False)
  with pytest.raises(UserError, match='did you mean') as info:
    envs.make_env(make_config(task=f'gym_{name}'))
  assert found in str(info.value)


def test_every_game_has_its_id():
  import ale_py  # noqa: F401 - registers them
  import gymnasium
  for game in atari.GAMES:
    assert f'ALE/{atari.camel(game)}-v5' in gymnasium.registry


def test_a_package_that_is_missing():
  with pytest.raises(UserError, match='install the package that registers'):
    envs.make_env(make_config(task='gym_no_such_thing:Grid-v0'))


def test_frames_that_the_environment_repeats_itself():
  import gymnasium  # Slow to import, for few tests.
  inner = gymnasium.make('ale_py:ALE/Pong-v5')
  env = envs.make_env(make_config(action_repeat=1), factory=lambda: inner)
  env.reset(0)
  emulator = inner.unwrapped.ale
  before = emulator.getFrameNumber()
  env.step(np.eye(6, dtype=np.float32)[0])
  assert emulator.getFrameNumber() - before == 4
  assert env.about()['repeats'] == [4, 4]
