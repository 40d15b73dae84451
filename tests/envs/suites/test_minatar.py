"""MinAtar's games, through the project's wrappers."""

import numpy as np
import pytest

import dreamerv2
from dreamer import envs
from dreamer.envs.suites import minatar
from dreamer.errors import UserError


def make(game, **overrides):
  config = dreamerv2.configure(['minatar'], **{
      'task': f'minatar_{game}', 'envs.worker': 'inline', **overrides})
  return envs.make_env(config)


def play(env, seed, steps=60):
  rng = np.random.default_rng(seed)
  rows = [env.reset(seed)]
  while len(rows) <= steps and not rows[-1]['is_last']:
    rows.append(env.step(env.act_space.sample(rng)))
  return rows


@pytest.mark.parametrize('game', minatar.GAMES)
def test_games(game):
  rows = play(make(game), 0)
  assert rows[0]['image'].shape == (64, 64, 3)
  assert any((a['image'] != b['image']).any()
             for a, b in zip(rows, rows[1:], strict=False))


def test_episode_is_a_function_of_seed_and_actions():
  env = make('space_invaders')
  one = play(env, 3)
  play(env, 4)
  two = play(env, 3)
  assert len(one) == len(two)
  for a, b in zip(one, two, strict=True):
    np.testing.assert_array_equal(a['image'], b['image'])
    assert a['reward'] == b['reward']
  other = play(env, 5)
  assert len(other) != len(one) or any(
      (a['image'] != b['image']).any()
      for a, b in zip(one, other, strict=True))


def test_lost_game_terminates_and_time_does_not():
  env = make('space_invaders')
  rows = play(env, 0, 5000)
  assert rows[-1]['is_last'] and rows[-1]['is_terminal']
  assert rows[-1]['discount'] == 0
  rows = play(make('freeway', time_limit=10), 0)
  assert len(rows) == 11 and rows[-1]['is_last']
  assert not rows[-1]['is_terminal'] and rows[-1]['discount'] == 1


def test_picture_shows_every_kind_of_object_in_its_cell():
  state = np.zeros((10, 10, 3), bool)
  state[0, 9, 0] = state[4, 5, 1] = state[4, 5, 2] = True
  image = minatar.draw(np.zeros((64, 64, 3), np.uint8), state)
  for row, column, color in ((0, 9, 0), (4, 5, 2)):
    cell = image[2 + 6 * row:8 + 6 * row, 2 + 6 * column:8 + 6 * column]
    assert (cell == minatar.COLORS[color]).all()
  assert (image != 0).any(-1).sum() == 2 * 36


def test_colors_differ():
  assert len({tuple(color) for color in minatar.COLORS}) == 10


def test_wrong_game():
  with pytest.raises(UserError, match='minatar_freway.*minatar_freeway'):
    make('freway')
