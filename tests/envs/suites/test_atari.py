"""Atari on the real emulator, and the pictures it gives."""

import fractions
import math
import os
import signal

import numpy as np
import pytest

from dreamer import envs
from dreamer.config import agents
from dreamer.envs import resize, spaces
from dreamer.envs.suites import atari
from dreamer.envs.workers import remote
from dreamer.errors import UserError
from tests.support import mapped
from tests.support.env_tools import assert_same, draw_actions, rollout

FIRE, RIGHT, LEFT = 1, 3, 4


def make_config(task, agent='dreamerv2', **overrides):
  schema = agents.schema(agent)
  overrides = {
      key.replace('__', '.'): value for key, value in overrides.items()}
  return schema.config(overrides={'task': f'atari_{task}', **overrides})


def make(task, mode='train', **overrides):
  return envs.make_env(make_config(task, **overrides), mode)


def action(env, index):
  return np.eye(env.act_space.dim, dtype=np.float32)[index]


# Names


def test_games_are_those_of_the_score_table():
  assert len(atari.GAMES) == len(set(atari.GAMES)) == 57
  assert {'james_bond', 'up_n_down', 'riverraid', 'surround'} <= set(
      atari.GAMES)
  tasks = envs.task_list()
  assert all(f'atari_{game}' in tasks for game in atari.GAMES)


@pytest.mark.parametrize('name, rom', [
    ('james_bond', 'jamesbond'), ('jamesbond', 'jamesbond'),
    ('upndown', 'up_n_down'), ('mspacman', 'ms_pacman')])
def test_both_spellings(name, rom):
  path = atari.rom(name)
  assert path.stem == rom and path.exists()


@pytest.mark.parametrize('task, near', [
    ('pnog', 'atari_pong'), ('space_invader', 'atari_space_invaders'),
    ('Breakout', 'atari_breakout'), ('combat', 'unknown'), ('', 'unknown')])
def test_unknown_game_names_the_nearest(task, near):
  with pytest.raises(UserError, match=near) as info:
    make(task)
  assert str(info.value).startswith(f'task=atari_{task}: unknown')
  assert '\n' not in str(info.value)


def test_without_the_package(monkeypatch):
  monkeypatch.setitem(__import__('sys').modules, 'ale_py', None)
  with pytest.raises(UserError, match='need ale-py.*pip install -r'):
    make('pong')


# Actions


@pytest.mark.parametrize('game, minimal', [('pong', 6), ('skiing', 3)])
def test_action_sets(game, minimal):
  for kind, amount in (('minimal', minimal), ('full', 18)):
    space = atari.Atari(game, actions=kind).act_space
    assert space == spaces.ActionSpace('discrete', amount)


def test_actions_are_those_of_the_joystick():
  """Pong's third minimal action is the joystick's fourth: right."""
  full, minimal = (
      atari.Atari('pong', sticky=0.0, noops=0, actions=kind)
      for kind in ('full', 'minimal'))
  def look(env, index):
    env.reset(0)
    for _ in range(30):
      env.step(action(env, index))
    return env.render()
  right, left = look(full, RIGHT), look(full, LEFT)
  np.testing.assert_array_equal(look(minimal, 2), right)
  np.testing.assert_array_equal(look(minimal, 3), left)
  assert (left != right).any()


@pytest.mark.parametrize('sticky', [0.0, 0.25])
def test_sticky_actions_by_frequency(sticky):
  """A second emulator tells which of two actions a frame has seen."""
  env, plain = (
      atari.Atari('breakout', x, noops=0) for x in (sticky, 0.0))
  env.reset(3)
  plain.reset(3)
  other = plain.ale
  repeats, last = [], None
  for index in range(700):
    state, wanted = env.ale.cloneState(), (RIGHT, LEFT)[index % 2]
    env.step(action(env, wanted))
    taken = []
    for choice in (RIGHT, LEFT):
      other.restoreState(state)
      other.act(choice)
      if (other.getRAM() == env.ale.getRAM()).all():
        taken.append(choice)
    assert taken
    if last not in (None, wanted) and len(taken) == 1:
      repeats.append(taken == [last])
    last = taken[0] if len(taken) == 1 else None
  assert len(repeats) > 400
  assert np.mean(repeats) == pytest.approx(sticky, abs=0.065 if sticky else 0)


# Pictures


class TwoBuffers:
  """The releases' way to a picture, on an environment of single frames."""

  def __init__(self, env, repeat, resize):
    self.env, self.repeat, self.resize = env, repeat, atari.RESIZE[resize]

  def reset(self, seed):
    self.env.reset(seed)
    self.buffers = [self.env.screen(), 0 * self.env.screen()]
    return self.picture()

  def step(self, action):
    total, self.at = 0.0, None
    for index in range(self.repeat):
      obs = self.env.step(action)
      total += obs['reward']
      if obs['is_last']:
        self.at = index
        break
      if index == self.repeat - 2:
        self.buffers[1] = self.env.screen()
      elif index == self.repeat - 1:
        self.buffers[0] = self.env.screen()
    return self.picture(), total, obs['is_last']

  def picture(self):
    self.buffers[0] = np.maximum(*self.buffers)
    return self.resize(self.buffers[0], 64, 64).reshape(64, 64, -1)


@pytest.mark.parametrize('game, options, seeds', [
    ('breakout', {'atari__life_loss': 'end', 'atari__color': 'rgb',
                  'atari__resize': 'bilinear'}, 4),
    ('ms_pacman', {}, 1)])
def test_pictures_and_rewards_are_those_of_the_releases(game, options, seeds):
  env = make(game, **options)
  kind = options.get('atari__life_loss') == 'end'
  config = make_config(game, **options)
  plain = TwoBuffers(
      atari.make(game, config, 'train'), 4, config.atari.resize)
  flickers, rewards, ends = 0, 0, set()
  for seed in range(seeds):
    np.testing.assert_array_equal(
        env.reset(seed)['image'], plain.reset(seed))
    for one in draw_actions(env.act_space, 100, seed):
      obs = env.step(one)
      image, reward, last = plain.step(one)
      np.testing.assert_array_equal(obs['image'], image)
      assert obs['reward'] == reward and obs['is_last'] == last
      flickers += not last and (
          plain.env.screen() != plain.buffers[0]).any()
      rewards = max(rewards, reward)
      if last:
        ends.add(plain.at)
        break
  assert flickers > 5, 'no flicker: the maximum is untested'
  assert rewards >= (1 if game == 'breakout' else 10)
  assert bool(ends) == kind


def test_flicker_is_gone():
  """What is on either of the last two screens is in the picture."""
  env = make('asteroids', action_repeat=4, atari__noops=0)
  inner = innermost(env)
  seen, original = [], inner.screen
  inner.screen = lambda: seen.append(original()) or seen[-1]
  env.reset(1)
  assert len(seen) == 1
  brighter = 0
  for _ in range(30):
    seen.clear()
    obs = env.step(action(env, 0))
    assert len(seen) == 2, 'screens that nobody sees are not fetched'
    both = np.maximum(*seen)
    np.testing.assert_array_equal(
        obs['image'][..., 0], atari.RESIZE['area84'](both, 64, 64))
    brighter += (both > seen[1]).any() and (both > seen[0]).any()
  assert brighter > 10


def innermost(env):
  while hasattr(env, 'env'):
    env = env.env
  return env


def test_without_repeat_there_is_no_maximum():
  env = make('asteroids', action_repeat=1, time_limit=10)
  env.reset(1)
  for _ in range(4):
    obs = env.step(action(env, 0))
    screen = innermost(env).ale.getScreenGrayscale()
    np.testing.assert_array_equal(
        obs['image'][..., 0], atari.RESIZE['area84'](screen, 64, 64))


def test_rendering_twice_gives_the_same():
  env = atari.Atari('asteroids')
  env.reset(0)
  env.step(action(env, 0))
  env.peek()
  env.step(action(env, 0))
  np.testing.assert_array_equal(env.render(), env.render())


@pytest.mark.parametrize('color, channels', [('gray', 1), ('rgb', 3)])
def test_colors(color, channels):
  env = make('seaquest', atari__color=color, atari__resize='area')
  assert env.obs_space == {
      'image': spaces.Space((64, 64, channels), 'uint8', 0, 255)}
  image = env.reset(0)['image'].astype(float)
  ale = innermost(env).ale
  screen = ale.getScreenGrayscale() if color == 'gray' else ale.getScreenRGB()
  # Blocks of 105 x 5 pixels cover 32 x 2 new ones.
  means = screen.reshape(2, 105, 32, 5, channels).mean((1, 3))
  np.testing.assert_allclose(
      image.reshape(2, 32, 32, 2, channels).mean((1, 3)), means, atol=0.5)
  if color == 'rgb':
    assert np.abs(image[..., 0] - image[..., 2]).max() > 50


# Resizing


def slow_area(image, height, width):
  """Exact, pixel by pixel."""
  result = np.zeros((height, width))
  y, x = (fractions.Fraction(a, b) for a, b in zip(
      image.shape, (height, width)))
  for i in range(height):
    for j in range(width):
      total = fractions.Fraction(0)
      for row in range(math.floor(i * y), math.ceil((i + 1) * y)):
        tall = min((i + 1) * y, row + 1) - max(i * y, row)
        for column in range(math.floor(j * x), math.ceil((j + 1) * x)):
          wide = min((j + 1) * x, column + 1) - max(j * x, column)
          total += tall * wide * int(image[row, column])
      result[i, j] = round(total / (x * y))
  return result


def test_area_on_a_worked_example():
  image = np.uint8([[0, 90, 255]] * 3)
  np.testing.assert_array_equal(resize.area(image, 1, 2), [[30, 200]])
  image = np.uint8([[0, 100], [100, 60]])
  assert resize.area(image, 1, 1).tolist() == [[65]]


@pytest.mark.parametrize('shape, target', [
    ((21, 16), (8, 6)), ((84, 84), (64, 64)), ((30, 7), (10, 7))])
def test_area_equals_the_slow_sum(shape, target):
  image = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
  # Sums of float32 may break a tie the other way.
  found = resize.area(image, *target).astype(float)
  expected = slow_area(image, *target)
  assert np.abs(found - expected).max() <= 1
  assert (found != expected).mean() < 0.005
  three = resize.area(np.stack([image, 255 - image, image], -1), *target)
  np.testing.assert_array_equal(three[..., 2], found)
  assert np.abs(three[..., 1] + found - 255).max() <= 1


def test_area_is_that_of_opencv():
  """Figures by OpenCV 5.0.0, cv2.resize with INTER_AREA."""
  y, x = np.mgrid[:210, :160]
  image = ((7 * y + 13 * x + (y * x) % 11 * 9) % 256).astype(np.uint8)
  once, twice = (atari.RESIZE[x](image, 64, 64) for x in ('area', 'area84'))
  assert once[10, :12].tolist() == [
      136, 55, 91, 128, 147, 175, 145, 134, 113, 45, 97, 124]
  assert once[63, -6:].tolist() == [63, 88, 118, 127, 202, 206]
  assert twice[10, :12].tolist() == [
      132, 61, 92, 129, 151, 167, 169, 130, 110, 67, 97, 130]
  assert twice[63, -6:].tolist() == [63, 88, 113, 140, 188, 206]


def slow_bilinear(line, size):
  """One direction: a triangle of two new pixels' width, edges cut off."""
  scale, result = len(line) / size, []
  for i in range(size):
    center, total, weight = (i + 0.5) * scale, 0.0, 0.0
    for j, value in enumerate(line):
      share = max(0.0, 1 - abs(j + 0.5 - center) / scale)
      total, weight = total + share * value, weight + share
    result.append(total / weight)
  return np.array(result)


def test_bilinear_equals_the_slow_sum():
  image = np.random.default_rng(0).integers(0, 256, (105, 80, 3), np.uint8)
  found = resize.bilinear(image, 64, 64)
  wide = np.stack([
      slow_bilinear(row, 64) for row in image[..., 1].astype(float)])
  both = np.stack([slow_bilinear(x, 64) for x in wide.T], 1)
  assert np.abs(found[..., 1] - both).max() <= 1.1  # Two roundings.
  assert np.abs(found[..., 1] - both).mean() < 0.5


# Episodes


@pytest.mark.parametrize('noops, expected', [(0, {0}), (3, {1, 2, 3})])
def test_noops_come_from_the_seed(noops, expected):
  env = atari.Atari('freeway', noops=noops)
  def frames(seed):
    env.reset(seed)
    return env.ale.getEpisodeFrameNumber()
  found = [frames(seed) for seed in range(6)]
  assert set(found) == expected
  assert [frames(seed) for seed in (5, 2)] == [found[5], found[2]]


def test_thirty_noops_by_default():
  env = innermost(make('pong'))
  found = []
  for seed in range(10):
    env.reset(seed)
    found.append(env.ale.getEpisodeFrameNumber())
  assert 1 <= min(found) < 11 and 20 < max(found) <= 30


@pytest.mark.parametrize('limit, steps', [(40, 10), (42, 11)])
def test_time_limit_is_no_termination(limit, steps):
  env = make('asteroids', time_limit=limit)
  obs = rollout(env, 0, draw_actions(env.act_space, steps))
  assert [x['is_last'] for x in obs] == [False] * steps + [True]
  assert not obs[-1]['is_terminal'] and obs[-1]['discount'] == 1
  game = innermost(env)
  now = atari.RESIZE['area84'](game.screen(), 64, 64)
  alone = (now == obs[-1]['image'][..., 0]).all()
  assert alone == (limit % 4 > 0), 'cut within a repeat: one screen'


def lives(env):
  return innermost(env).ale.lives()


def play_breakout(env, seed=0, limit=400):
  """Serves and never moves; yields an observation and the lives left."""
  env.reset(seed)
  for _ in range(limit):
    obs = env.step(action(env, FIRE))
    yield obs, lives(env)
    if obs['is_last']:
      return


def test_a_lost_life_ends_training_episodes_only():
  options = {'agent': 'dreamerv1', 'action_repeat': 4, 'time_limit': 108000}
  train, test = (make('breakout', mode, **options)
                 for mode in ('train', 'eval'))
  assert train.obs_space['image'].shape == (64, 64, 3)
  assert train.act_space.dim == 4
  start = train.reset(0)
  full = lives(train)
  *before, (last, left) = play_breakout(train)
  assert left == full - 1
  assert all(x == full and not obs['is_last'] for obs, x in before)
  assert last['is_terminal'] and last['discount'] == 0
  assert_same(train.reset(0), start)
  assert lives(train) == full, 'the next episode is a new game'
  whole = list(play_breakout(test))
  assert len(whole) > len(before) + 10
  obs, left = whole[len(before)]
  assert left == full - 1 and not obs['is_last'] and obs['discount'] == 1


def test_a_lost_life_may_end_episodes_of_evaluations():
  env = make('breakout', 'eval', atari__life_loss='always')
  env.reset(0)
  full = lives(env)
  *_, (last, left) = play_breakout(env)
  assert left == full - 1 and last['is_terminal']


def test_the_end_of_a_game_is_a_termination():
  env = make('breakout')
  *before, (last, left) = play_breakout(env)
  assert left == 0 and innermost(env).ale.game_over()
  assert last['is_last'] and last['is_terminal'] and last['discount'] == 0
  assert {x for _, x in before} >= {5, 4, 3, 2, 1} or {
      x for _, x in before} >= {3, 2, 1}
  assert not any(obs['is_last'] for obs, _ in before)


def test_an_episode_does_not_depend_on_what_was_played_before():
  """The emulator's own reset leaves traces in Ice Hockey."""
  env = make('ice_hockey', atari__sticky=0.0)
  actions = draw_actions(env.act_space, 30)
  first = rollout(env, 5, actions)
  rollout(env, 6, actions[::-1])
  again = rollout(env, 5, actions)
  for one, two in zip(first, again, strict=True):
    assert_same(one, two)
  other = rollout(env, 7, actions[:10])
  assert any((x['image'] != y['image']).any() for x, y in zip(other, first))


def test_sticky_actions_come_from_the_seed():
  def look(sticky, seed):
    env = atari.Atari('freeway', sticky, noops=0)
    env.reset(seed)
    for index in range(80):
      env.step(action(env, 2 if index % 4 < 2 else 5))
    return env.render()
  one, two = look(0.25, 1), look(0.25, 2)
  assert (one != two).any()
  np.testing.assert_array_equal(look(0.25, 1), one)
  np.testing.assert_array_equal(look(0.0, 1), look(0.0, 2))


def test_a_reset_without_seed_is_another_episode():
  env = atari.Atari('pong')
  env.reset(0)
  after = [(env.reset(), env.ale.getEpisodeFrameNumber()) for _ in range(4)]
  assert len({frames for _, frames in after}) > 1


# Processes


@pytest.fixture
def workers(request):
  made = []

  def function(task, **overrides):
    made.extend(envs.make_envs(make_config(task, **overrides)))
    return made[-1]

  yield function
  for env in made:
    env.close()


def test_replay_in_another_process_is_exact(workers):
  """In the middle of an episode, and at a lost life."""
  options = {'atari__life_loss': 'end', 'atari__actions': 'minimal'}
  inline, worker = make('breakout', **options), workers('breakout', **options)
  obs, rng, actions = [inline.reset(21)], np.random.default_rng(21), []
  while not obs[-1]['is_last']:
    actions.append(inline.act_space.sample(rng))
    obs.append(inline.step(actions[-1]))
  game = innermost(inline)
  now = atari.RESIZE['area84'](game.screen(), 64, 64)
  assert (now != obs[-1]['image'][..., 0]).any(), (
      'the last picture is not the present screen')
  assert worker.obs_space == inline.obs_space
  half = len(actions) // 2
  assert_same(worker.replay(21, actions[:half]), obs[half])
  for one, expected in zip(actions[half:], obs[half + 1:], strict=True):
    assert_same(worker.step(one), expected)
  os.kill(worker.pid, signal.SIGKILL)
  worker.send_step(actions[0])
  with pytest.raises(remote.WorkerError):
    worker.receive()
  worker.restart()
  assert_same(worker.replay(21, actions), obs[-1])
  names = ' '.join(mapped(worker.pid))
  assert 'ale_py' in names
  assert 'tensorflow' not in names and 'cv2' not in names


def test_inline_runs_are_allowed():
  env, = envs.make_envs(make_config('pong', envs__worker='inline'))
  assert env.reset(0)['is_first']
  env.close()


def test_a_wrong_game_is_one_line_from_the_worker(workers):
  with pytest.raises(UserError, match='did you mean atari_breakout'):
    workers('breakuot').reset(0)


def test_images_are_all_there_is():
  with pytest.raises(UserError, match='images=none: atari_pong has no observ'):
    make('pong', images='none')


@pytest.mark.slow
@pytest.mark.parametrize('game', atari.GAMES)
def test_every_game(game):
  """Loads, in both spellings; is a function of seed and actions."""
  env, other = make(game), make(game.replace('_', ''))
  assert env.act_space.dim == 18
  actions = draw_actions(env.act_space, 40)
  rollout(other, 6, actions[::-1])
  left, right = rollout(env, 5, actions), rollout(other, 5, actions)
  for one, two in zip(left, right, strict=True):
    assert_same(one, two)
  assert_same(other.replay(5, actions), left[-1])
  assert left[0]['image'].std() > 0
  more = draw_actions(env.act_space, 80, seed=1)  # Some stand still at first.
  assert any((env.step(x)['image'] != left[0]['image']).any() for x in more)
  assert 1 <= make(game, atari__actions='minimal').act_space.dim <= 18
