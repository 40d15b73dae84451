"""DeepMind Lab: against a stand-in, and against the module where it is built.

The real module, like the stand-in, ends its process at some mistakes and
beside TensorFlow, so whatever touches it runs in a process of its own.
"""

import importlib.util
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from dreamer import envs
from dreamer.envs import spaces
from dreamer.envs.suites import dmlab
from dreamer.envs.workers import remote
from dreamer.errors import UserError
from dreamer.run.driver import Driver
from tests.support import ROOT, mapped
from tests.support.env_tools import assert_same, make_config, rollout

STANDINS = ROOT / 'tests' / 'support' / 'standins'
BUILT = importlib.util.find_spec('deepmind_lab') is not None
FRAMES = 30  # of the stand-in's episodes


@pytest.fixture(params=['standin', pytest.param('real', marks=(
    pytest.mark.skipif(not BUILT, reason='deepmind_lab is not built here')))])
def lab(request, monkeypatch):
  """Workers and scripts import the stand-in, or the real module."""
  if request.param == 'standin':
    monkeypatch.setenv('PYTHONPATH', str(STANDINS))
  return request.param


@pytest.fixture
def standin(monkeypatch):
  """For what only the stand-in shows."""
  monkeypatch.setenv('PYTHONPATH', str(STANDINS))


@pytest.fixture
def make():
  """Makes environments in workers, and closes them after the test."""
  made = []

  def function(task='dmlab_collect', **overrides):
    made.extend(envs.make_envs(configure(task, **overrides)))
    return made[-1]

  yield function
  for env in made:
    env.close()


def configure(task='dmlab_collect', **overrides):
  return make_config(**{
      'task': task, 'action_repeat': 4, 'time_limit': 10 ** 5,
      'envs.worker': 'process', 'envs.timeout': 120.0, **overrides})


def one_hot(index, size=9):
  return np.eye(size, dtype=np.float32)[index]


def script(text):
  """Runs Python without TensorFlow; returns the finished process."""
  return subprocess.run(
      [sys.executable, '-c', textwrap.dedent(text)], cwd=ROOT,
      capture_output=True, text=True, timeout=120)


# The module


LAB = '''
    import numpy as np
    import deepmind_lab
    LEVEL = 'contributed/dmlab30/rooms_watermaze'
    SIZE = {'width': '64', 'height': '64'}
    def make(level=LEVEL, observations=['RGB_INTERLEAVED'], config=SIZE):
      return deepmind_lab.Lab(level, observations, config=config)
    def action(*values, dtype=np.intc):
      return np.array(values or [0] * 7, dtype)
    def started():
      lab = make()
      lab.reset(seed=1)
      return lab
    def ended():
      lab = started()
      while lab.is_running():
        lab.step(action(), num_steps=100)
      return lab
'''


@pytest.mark.parametrize('call, error', [
    ("make(observations=('RGB_INTERLEAVED',))", 'TypeError'),
    ('make(config=None)', 'TypeError'),
    ("make(config={'width': 64})", 'TypeError'),
    ("make('rooms_watermaze')", 'RuntimeError'),
    ("make('no_such_level')", 'RuntimeError'),
    ("make(config={**SIZE, 'unheard_of': '1'})", 'RuntimeError'),
    ("make(observations=['UNHEARD_OF'])", 'ValueError'),
    ('make().reset(seed=np.int64(3))', 'ValueError'),
    ('ended().observations()', 'RuntimeError'),
    ('started().fps()', 'AttributeError')])
def test_what_the_module_refuses(lab, call, error):
  """The wrapper is written around these."""
  done = script(f'''{LAB}
    try:
      {call}
    except {error} as e:
      print('as expected', type(e).__name__ == '{error}')
  ''')
  assert done.stdout.endswith('as expected True\n'), done.stderr


@pytest.mark.parametrize('call', [
    'lab.reset(seed=1)', 'lab.observation_spec()', 'lab.action_spec()'])
def test_calls_after_close_end_the_process(lab, call):
  done = script(f'''{LAB}
    lab = started()
    lab.close()
    assert not lab.is_running()
    print('closed', flush=True)
    {call}
    print('survived')
  ''')
  assert done.stdout.endswith('closed\n') and done.returncode < 0


def test_how_the_module_steps(lab):
  done = script(f'''{LAB}
    lab = started()
    image = lab.observations()['RGB_INTERLEAVED']
    assert image.shape == (64, 64, 3) and image.dtype == np.uint8
    assert type(lab.step(action(), num_steps=4)) is float
    assert lab.is_running() and lab.num_steps() == 4
    assert [x['name'] for x in lab.action_spec()] == [
        'LOOK_LEFT_RIGHT_PIXELS_PER_FRAME',
        'LOOK_DOWN_UP_PIXELS_PER_FRAME', 'STRAFE_LEFT_RIGHT',
        'MOVE_BACK_FORWARD', 'FIRE', 'JUMP', 'CROUCH']
    names = [x['name'] for x in lab.observation_spec()]
    assert 'RGB_INTERLEAVED' in names
    while lab.is_running():
      lab.step(action(), num_steps=1000)  # stops at the end
    print('fine')
  ''')
  assert done.stdout.endswith('fine\n'), done.stderr


def test_standin_dies_beside_tensorflow(standin):
  done = script(f'''{LAB}
    import sys
    sys.modules['tensorflow'] = None
    make()
  ''')
  assert done.returncode == -6, done.stderr


def test_standin_dies_in_a_forked_process(standin):
  done = script(f'''{LAB}
    import os
    lab = started()
    child = os.fork()
    if not child:
      lab.observations()
      os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
  ''')
  assert done.stdout == '-6\n', done.stderr


# The environment


@pytest.mark.parametrize('key', dmlab.LEVELS)
def test_every_level(lab, make, key):
  env = make(f'dmlab_{key}')
  assert env.act_space == spaces.ActionSpace('discrete', 9)
  assert env.obs_space == {'image': spaces.IMAGE}
  first = env.reset(3)
  assert first['is_first'] and first['image'].std() > 0
  obs = env.step(one_hot(0))
  assert obs['image'].shape == (64, 64, 3) and obs['image'].dtype == np.uint8
  assert (obs['image'] != first['image']).any()
  assert not obs['is_first'] and isinstance(obs['reward'], np.float32)


def test_levels_are_those_of_the_paper():
  assert len(dmlab.LEVELS) == 13
  assert set(envs.task_list()) >= {f'dmlab_{key}' for key in dmlab.LEVELS}
  assert dmlab.LEVELS['watermaze'] == 'rooms_watermaze'


def test_episode_ends_by_its_clock(lab, make):
  env = make()
  env.reset(0)
  rows = []
  while not rows or not rows[-1]['is_last']:
    rows.append(env.step(one_hot(len(rows) % 9)))
  assert not any(x['is_terminal'] for x in rows)
  assert all(x['discount'] == 1 for x in rows)
  assert all(x['image'].any() for x in rows[:-1])
  assert not rows[-1]['image'].any()
  assert env.reset(1)['image'].any()
  assert env.step(one_hot(4))['image'].any()


@pytest.mark.parametrize('repeat', [1, 2, 4])
def test_repeats_and_the_last_partial_one(standin, make, repeat):
  env = make(**{'action_repeat': repeat})
  env.reset(0)
  rewards = []
  while True:
    obs = env.step(one_hot(0))
    rewards.append(obs['reward'])
    if obs['is_last']:
      break
    assert obs['image'][0, 7, 0] == repeat * len(rewards)  # frames so far
  assert len(rewards) == -(-FRAMES // repeat)
  assert rewards[0] == sum(range(1, repeat + 1)) / 8
  assert sum(rewards) == sum(range(FRAMES + 1)) / 8


@pytest.mark.parametrize('size, moves', [
    (9, [(0, 0, 0, 1, 0), (0, 0, 0, -1, 0), (0, 0, -1, 0, 0), (0, 0, 1, 0, 0),
         (-20, 0, 0, 0, 0), (20, 0, 0, 0, 0), (-20, 0, 0, 1, 0),
         (20, 0, 0, 1, 0), (0, 0, 0, 0, 1)]),
    (7, [(0, 0, 0, 1, 0), (0, 0, 0, -1, 0), (0, 0, -1, 0, 0), (0, 0, 1, 0, 0),
         (-20, 0, 0, 0, 0), (20, 0, 0, 0, 0), (0, 0, 0, 0, 0)]),
    (3, [(0, 0, 0, 1, 0), (-20, 0, 0, 0, 0), (20, 0, 0, 0, 0)])])
def test_action_sets(standin, make, size, moves):
  env = make(**{'dmlab.actions': size, 'action_repeat': 1})
  assert env.act_space.dim == len(moves)
  env.reset(0)
  for index, move in enumerate(moves):
    pixels = env.step(one_hot(index, size))['image'][0, :7, 0]
    assert tuple(pixels.astype(int) - 128) == (*move, 0, 0)


def test_same_history_in_a_fresh_process_gives_the_same_bits(lab, make):
  actions = [one_hot(i % 9) for i in range(6)]
  one, two = (make('dmlab_watermaze') for _ in range(2))
  for seed in (5, 7):
    for left, right in zip(
        rollout(one, seed, actions), rollout(two, seed, actions)):
      assert_same(left, right)


def test_seeds_differ(lab, make):
  actions = [one_hot(0)] * 4
  left, right = (rollout(make('dmlab_watermaze'), seed, actions)[-1]['image']
                 for seed in (5, 6))
  assert (left != right).any()


@pytest.mark.parametrize('task, words', [
    ('dmlab_colect', 'did you mean dmlab_collect'),
    ('dmlab_rooms_watermaze', 'unknown')])
def test_unknown_level(standin, make, task, words):
  with pytest.raises(UserError, match=words) as info:
    make(task).reset(0)
  assert '\n' not in str(info.value)


def test_without_the_module_says_how_to_build_it(make, monkeypatch):
  blocker = STANDINS / 'none'  # a path that holds no module
  monkeypatch.setenv('PYTHONPATH', str(blocker))
  if BUILT:
    pytest.skip('deepmind_lab is built here')
  with pytest.raises(UserError) as info:
    make('dmlab_keys').reset(0)
  text = str(info.value)
  assert 'task=dmlab_keys: needs deepmind_lab' in text and '\n' not in text
  assert 'build it from source' in text and 'bazel build' in text
  assert 'pip install deepmind' not in text


def test_build_without_these_levels(standin, make, monkeypatch, tmp_path):
  (tmp_path / 'deepmind_lab.py').write_text(
      'def Lab(*args, **kwargs): raise RuntimeError("Level not found")')
  monkeypatch.setenv('PYTHONPATH', str(tmp_path))
  with pytest.raises(UserError, match='can not load contributed/dmlab30/ro'):
    make('dmlab_watermaze').reset(0)


def test_is_kept_from_tensorflow(standin, make):
  with pytest.raises(UserError, match='envs.worker=inline'):
    envs.make_envs(configure(**{'envs.worker': 'inline'}))
  env = make()
  env.reset(0)
  assert 'tensorflow' not in ' '.join(mapped(env.pid))


def test_close_is_clean(standin, make, capfd):
  env = make()
  env.reset(0)
  env.close()
  env.close()
  assert 'Abort' not in capfd.readouterr().err
  done = script('''
      from dreamer.envs.suites import dmlab
      env = dmlab.DMLab('keys')
      env.close()
      env.close()
  ''')
  assert done.returncode == 0, done.stderr


# Maps


def test_level_cache_spares_the_compiler(standin, make, tmp_path):
  folder = tmp_path / 'maps'
  def compiled(task, cache):
    return make(task, **{'dmlab.level_cache': cache}).reset(
        1)['image'][0, 8, 0]
  assert compiled('dmlab_collect', '') == 1
  assert compiled('dmlab_collect', str(folder)) == 1
  file, = folder.iterdir()
  assert file.read_bytes() == b'map' and file.suffix == '.pk3'
  assert compiled('dmlab_collect', str(folder)) == 0
  assert compiled('dmlab_explore_small', str(folder)) == 1
  assert len(list(folder.iterdir())) == 2


def test_level_cache_that_fails_costs_only_time(tmp_path):
  cache = dmlab.LevelCache(tmp_path / 'maps')
  target = tmp_path / 'map.pk3'
  target.write_bytes(b'map')
  (tmp_path / 'maps').rmdir()
  (tmp_path / 'maps').write_text('in the way')
  with pytest.warns(UserWarning, match='dmlab.level_cache: can not write'):
    cache.write('a/b', target)
  assert not cache.fetch('a/b', target)


def test_level_cache_that_can_not_be_a_folder(standin, make, tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match='dmlab.level_cache=.*file') as info:
    make(**{'dmlab.level_cache': str(tmp_path / 'file')}).reset(0)
  assert '\n' not in str(info.value)


# Failures and continuing


def drive(env, steps, state=None):
  """A Driver after so many agent steps forward; its episodes."""
  episodes = []
  driver = Driver([env], env.act_space, 0, 'train', (
      lambda episode, index: episodes.append(episode)), restarts=3)
  if state:
    driver.restore(state)
  for _ in range(steps):
    driver.send(lambda obs, state: (one_hot(0)[None], state))
    driver.receive()
  return driver, episodes


def test_crash_of_the_module_drops_the_episode(standin, make, monkeypatch):
  monkeypatch.setenv('STANDIN_LAB_ABORT', '10')
  env = make()
  env.reset(0)
  env.step(one_hot(0))
  env.step(one_hot(0))
  env.send_step(one_hot(0))
  with pytest.raises(remote.WorkerError, match='signal 6'):
    env.receive()
  env.restart()
  with pytest.warns(UserWarning, match='signal 6'):
    driver, episodes = drive(env, 7)
  assert driver.dropped == 2 and driver.steps == 7 and not episodes


def test_first_episode_of_a_process_is_continued(lab, make):
  driver, _ = drive(make('dmlab_watermaze'), 5)
  state = driver.state()
  resumed, _ = drive(make('dmlab_watermaze'), 0, state)
  assert resumed.dropped == 0
  assert_same(resumed.state(), state)


def test_later_episode_is_dropped_with_a_warning(standin, make):
  """It can't be promised: a fresh process has no first episode behind it."""
  length = -(-FRAMES // 4)
  driver, episodes = drive(make(), length + 3)
  assert len(episodes) == 1
  with pytest.warns(UserWarning, match='did not return to where it was'):
    resumed, _ = drive(make(), 0, driver.state())
  assert resumed.dropped == 1
  resumed, episodes = drive(make(), length, resumed.state())
  assert len(episodes) == 1 and len(episodes[0]['reward']) == length + 1
