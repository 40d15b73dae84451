"""DeepMind Lab: against a stand-in, and against the module where it is built.

The real module, like the stand-in, ends its process at some mistakes and
beside TensorFlow, so whatever touches it runs in a process of its own.
"""

import importlib.util
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import sysconfig
import textwrap

import numpy as np
import pytest

from dreamer import envs
from dreamer.envs import spaces
from dreamer.envs.suites import dmlab
from dreamer.envs.workers import remote
from dreamer.errors import UserError
from dreamer.run.driver import Driver
from tests.support import ROOT, agent_tools_v3, mapped
from tests.support.env_tools import assert_same, make_config, rollout

STANDINS = ROOT / 'tests' / 'support' / 'standins'
BUILT = importlib.util.find_spec('deepmind_lab') is not None
FRAMES = 30  # of the stand-in's episodes
MOVES_V3 = [
    (0, 0, 0, 1, 0), (0, 0, 0, -1, 0), (0, 0, -1, 0, 0), (0, 0, 1, 0, 0),
    (-10, 0, 0, 0, 0), (10, 0, 0, 0, 0), (-60, 0, 0, 0, 0), (60, 0, 0, 0, 0),
    (0, 10, 0, 0, 0), (0, -10, 0, 0, 0), (-10, 0, 0, 1, 0), (10, 0, 0, 1, 0),
    (-60, 0, 0, 1, 0), (60, 0, 0, 1, 0), (0, 0, 0, 0, 1)]


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

  def function(task='dmlab_collect', config=make_config, **overrides):
    made.extend(envs.make_envs(configure(task, config, **overrides)))
    return made[-1]

  yield function
  for env in made:
    env.close()


def configure(task='dmlab_collect', config=make_config, **overrides):
  return config(**{
      'task': task, 'action_repeat': 4, 'time_limit': 10 ** 5,
      'envs.worker': 'process', 'envs.timeout': 120.0, **overrides})


def one_hot(index, size=9):
  return np.eye(size, dtype=np.float32)[index]


def script(text):
  """Runs Python without TensorFlow; returns the finished process."""
  return subprocess.run(
      [sys.executable, '-c', textwrap.dedent(text)], cwd=ROOT,
      capture_output=True, text=True, timeout=250)


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


def test_the_30_levels_by_name(standin, make):
  """Of a pair of levels the one to train in; no words are read."""
  assert len(set(dmlab.DMLAB30)) == 30
  assert set(envs.task_list()) >= {f'dmlab_{key}' for key in dmlab.DMLAB30}
  assert sum(x.startswith(dmlab.LANGUAGE) for x in dmlab.DMLAB30) == 4
  for name in ('rooms_collect_good_objects_test', 'rooms_watermaze'):
    assert make(f'dmlab_{name}').reset(0)['is_first']
  with pytest.raises(UserError, match='build it with the levels'):
    make('dmlab_natlab_fixed_large_map').reset(0)  # unknown to the stand-in
  assert dmlab.level_of('rooms_collect_good_objects_test') == (
      dmlab.LEVELS['collect'])
  assert set(map(dmlab.level_of, dmlab.LEVELS)) == set(dmlab.LEVELS.values())


def test_as_dreamerv3_has_it(standin, make):
  """15 actions, and images of any size."""
  env = make('dmlab_watermaze', config=agent_tools_v3.make_config, **{
      'action_repeat': 1, 'image_size': 96})
  image = env.reset(0)['image']
  assert env.obs_space['image'].shape == image.shape == (96, 96, 3)
  assert env.act_space.dim == len(MOVES_V3)
  for index, move in enumerate(MOVES_V3):
    pixels = env.step(one_hot(index, 15))['image'][0, :7, 0]
    assert tuple(pixels.astype(int) - 128) == (*move, 0, 0)


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


@pytest.mark.parametrize('task', ['dmlab_watermaze', 'dmlab_lasertag_3'])
def test_an_episode_is_a_function_of_its_seed(lab, make, task):
  """Whatever came before it in this process, and in another one."""
  actions = [one_hot(i % 9) for i in range(6)]
  one, two = make(task), make(task)
  rollout(one, 5, actions)
  expected = rollout(two, 7, actions)
  for env in (one, two):
    for left, right in zip(rollout(env, 7, actions), expected):
      assert_same(left, right)


def test_processes_are_renewed(standin, make, capfd):
  """Before the simulators of many episodes have eaten its memory."""
  env, other = make('dmlab_watermaze'), make('dmlab_watermaze')
  env.reset(0)
  pids = {env.pid}
  for seed in range(1, 205):
    env.reset(seed)
    pids.add(env.pid)
  assert len(pids) == 3
  assert_same(env.reset(7), other.reset(7))
  assert_same(
      env.replay(7, [one_hot(0)]), rollout(other, 7, [one_hot(0)])[-1])
  assert not capfd.readouterr().err


def test_the_engine_is_quiet(standin, make, capfd):
  make('dmlab_keys').reset(0)
  output = capfd.readouterr()
  assert not output.out and not output.err


def test_seeds_differ(lab, make):
  actions = [one_hot(0)] * 4
  left, right = (rollout(make('dmlab_watermaze'), seed, actions)[-1]['image']
                 for seed in (5, 6))
  assert (left != right).any()


@pytest.mark.parametrize('task, words', [
    ('dmlab_colect', 'did you mean dmlab_collect'),
    ('dmlab_rooms_watermazes', 'did you mean dmlab_rooms_watermaze'),
    ('dmlab_language_execute_random_task', 'said in words')])
def test_unknown_level(standin, make, task, words):
  with pytest.raises(UserError, match=words) as info:
    make(task).reset(0)
  assert '\n' not in str(info.value)


@pytest.mark.skipif(BUILT, reason='deepmind_lab is built here')
def test_without_the_module_says_how_to_build_it(make, monkeypatch):
  with pytest.raises(UserError) as info:
    make('dmlab_watermaze').reset(0)
  text = str(info.value)
  assert text.startswith('task=dmlab_watermaze: needs deepmind_lab; no pack')
  assert 'google-deepmind/lab/blob/master/docs/users/build.md' in text
  assert 'google-deepmind/lab/issues/258' in text
  assert '\n' not in text and 'pip install deepmind' not in text


NUMPY = """
import sys
try:
  from numpy.core._multiarray_umath import _ARRAY_API
except ImportError:
  sys.excepthook(*sys.exc_info())
  raise ImportError('numpy.core.multiarray failed to import') from None
"""


@pytest.mark.parametrize('code, words', [
    ('raise ModuleNotFoundError("No module named \'imp\'", name="imp")',
     'but it needs the module imp; which Python has no more since 3.12'),
    ('raise ModuleNotFoundError("No module", name="pkg_resources")',
     "but it needs the module pkg_resources; pip install 'setuptools<81'"),
    ('import dm_env_gone', 'it needs the module dm_env_gone; install that'),
    ('raise ImportError("libpython3.9.so.1: cannot open")',
     'but does not load: ImportError: libpython3.9.so.1: cannot open'),
    (NUMPY, 'but was built with the headers of NumPy 1, and here is NumPy 2'),
    ('', 'but does not load: AttributeError: .* has no attribute .Lab')])
def test_what_an_installed_module_lacks(
    make, monkeypatch, tmp_path, capfd, code, words):
  """What its package raises, by files that raise the same."""
  package = tmp_path / 'deepmind_lab'
  package.mkdir()
  (package / '__init__.py').write_text(code)
  monkeypatch.setenv('PYTHONPATH', str(tmp_path))
  with pytest.raises(UserError, match=words) as info:
    make('dmlab_watermaze').reset(0)
  text = str(info.value)
  assert f'deepmind_lab is installed ({package}/__init__.py)' in text
  assert 'build it from source' not in text and '\n' not in text
  assert not capfd.readouterr().err


EXTENSION = r"""
#include <Python.h>
static int fill(PyObject* module) {
  return PyModule_AddIntConstant(module, "Lab", 1);
}
static PyModuleDef_Slot slots[] = {{Py_mod_exec, fill}, {0, NULL}};
static PyModuleDef module = {
  PyModuleDef_HEAD_INIT, "deepmind_lab", "", 0, NULL, slots};
PyMODINIT_FUNC PyInit_deepmind_lab(void) { return PyModuleDef_Init(&module); }
"""
PACKAGE = """
import imp_gone
imp_gone.load_dynamic(__name__, 'deepmind_lab.so')
"""


@pytest.mark.skipif(not shutil.which('cc'), reason='no C compiler here')
def test_the_extension_is_loaded_without_its_package(tmp_path):
  """A real one, which must believe to lie in the package, as its data do."""
  include = sysconfig.get_path('include')
  if not pathlib.Path(include, 'Python.h').exists():
    pytest.skip('no headers of Python here')
  package = tmp_path / 'deepmind_lab'
  package.mkdir()
  (package / '__init__.py').write_text(PACKAGE)
  (package / 'code.c').write_text(EXTENSION)
  subprocess.run(
      ['cc', '-shared', '-fPIC', f'-I{include}', 'code.c', '-o',
       'deepmind_lab.so'], cwd=package, check=True)
  done = script(f"""
      import sys
      sys.path.insert(0, {str(tmp_path)!r})
      from dreamer.envs.suites import dmlab_module
      module = dmlab_module.load('dmlab_keys')
      assert sys.modules['deepmind_lab'] is module
      print(module.__name__, module.__file__)
  """)
  assert done.stdout == f'deepmind_lab {package}/deepmind_lab.so\n', (
      done.stderr)


@pytest.mark.parametrize('task, refused', [
    ('keys', True), ('lasertag_1', True), ('find_large', True),
    ('watermaze', False), ('collect', False), ('recognize', False)])
def test_without_zip(standin, make, monkeypatch, tmp_path, task, refused):
  """Known before a level is compiled, and not retried."""
  monkeypatch.setenv('PATH', str(tmp_path))
  env = make(f'dmlab_{task}')
  if not refused:
    assert env.reset(0)['is_first']
    return
  with pytest.raises(UserError, match='zip, which is not on the PATH') as info:
    env.reset(0)
  assert not isinstance(info.value, remote.WorkerError)


def test_without_the_software_renderer(standin, make, monkeypatch):
  monkeypatch.setenv('STANDIN_LAB_RENDERER', 'none')
  with pytest.raises(UserError, match='system package libosmesa6') as info:
    make().reset(0)
  assert 'Failed to connect RL API' in str(info.value)
  assert not isinstance(info.value, remote.WorkerError)


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
  def compiled(task, cache, seed=1):
    return make(task, **{'dmlab.level_cache': cache}).reset(
        seed)['image'][0, 8, 0]
  assert compiled('dmlab_collect', '') == 0  # its map is always the same
  assert compiled('dmlab_keys', '') == 1
  assert compiled('dmlab_keys', str(folder)) == 1
  file, = folder.iterdir()
  assert file.read_bytes() == b'map' and file.suffix == '.pk3'
  assert compiled('dmlab_keys', str(folder)) == 0
  assert compiled('dmlab_keys', str(folder), seed=2) == 1  # another map
  assert compiled('dmlab_explore_small', str(folder)) == 1
  assert len(list(folder.iterdir())) == 3


def test_level_cache_that_fails_costs_only_time(tmp_path):
  cache = dmlab.LevelCache(tmp_path / 'maps')
  target = tmp_path / 'map.pk3'
  target.write_bytes(b'map')
  (tmp_path / 'maps').rmdir()
  (tmp_path / 'maps').write_text('in the way')
  with pytest.warns(UserWarning, match='dmlab.level_cache: can not write'):
    cache.write('a/b', target)
  with pytest.warns(UserWarning, match='can not write .*2nd time'):
    cache.write('a/b', target)
  assert not cache.fetch('a/b', target)


def test_level_cache_that_can_not_be_a_folder(standin, make, tmp_path):
  (tmp_path / 'file').write_text('')
  with pytest.raises(UserError, match='dmlab.level_cache=.*file') as info:
    make(**{'dmlab.level_cache': str(tmp_path / 'file')}).reset(0)
  assert '\n' not in str(info.value)


# What the module leaves behind


def folders(where):
  return sorted(path.name for path in where.rglob('dmlab_temp_folder_*'))


@pytest.fixture
def temp(standin, monkeypatch, tmp_path):
  monkeypatch.setenv('TMPDIR', str(tmp_path))
  return tmp_path


def test_a_closed_level_leaves_nothing(make, temp):
  env = make()
  env.reset(0)
  env.reset(1)
  assert len(folders(temp)) == 1
  env.close()
  assert not list(temp.iterdir())


def test_folders_of_killed_workers_are_removed(make, temp):
  """By the next worker; those of living ones stay."""
  dead, alive = make(), make()
  for env in (dead, alive):
    env.reset(0)
  kept = folders(temp)
  os.kill(dead.pid, signal.SIGKILL)
  with pytest.raises(remote.WorkerError, match='signal 9'):
    dead.step(one_hot(0))
  assert folders(temp) == kept and len(kept) == 2
  dead.restart()
  dead.reset(0)
  assert len(folders(temp)) == 2 and len(set(folders(temp)) & set(kept)) == 1
  alive.step(one_hot(0))
  alive.close()
  dead.close()
  assert not list(temp.iterdir())


def test_a_level_that_does_not_load_leaves_nothing(make, temp, monkeypatch):
  monkeypatch.setenv('STANDIN_LAB_RENDERER', 'none')
  with pytest.raises(UserError):
    make().reset(0)
  assert not list(temp.iterdir())


# Failures and continuing


def drive(env, steps, state=None):
  """A Driver after so many agent steps forward; its episodes."""
  episodes = []
  driver = Driver([env], env.act_space, 0, 'train', (
      lambda episode, index: episodes.append(episode)), restarts=3)
  if state:
    driver.restore(state)
  advance(driver, steps)
  return driver, episodes


def advance(driver, steps):
  for _ in range(steps):
    driver.send(lambda obs, state: (one_hot(0)[None], state))
    driver.receive()


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


@pytest.mark.parametrize('episodes', [0, 2])
def test_any_episode_is_continued(lab, make, episodes):
  """In a fresh process, though others came before it in the first one."""
  driver, found = drive(make('dmlab_watermaze'), 3)
  while len(found) < episodes:
    advance(driver, 1)
  advance(driver, 2)
  state = driver.state()
  resumed, after = drive(make('dmlab_watermaze'), 0, state)
  assert resumed.dropped == 0
  assert_same(resumed.state(), state)
  before = len(found)
  for one in (driver, resumed):
    advance(one, 20)
  for left, right in zip(found[before:], after, strict=True):
    assert_same(left, right)
  assert_same(driver.state(), resumed.state())
