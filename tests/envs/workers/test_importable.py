"""Modules of users in workers: found again, run here, or refused; never run
again without end."""

import os
import subprocess
import sys
import textwrap

import pytest

import dreamerv1
from dreamer import envs
from dreamer.envs.workers import importable
from dreamer.errors import UserError
from dreamer.files import ROOT
from dreamer.processes import nested
from tests.support import env_tools
from tests.support import strange_envs as strange

ROOM = '''
import os, sys, types
import numpy as np
with open('executed', 'a') as file:
  file.write('x')
if os.path.getsize('executed') > 9:
  os._exit(9)  # so that a test that fails ends

class Room:
  observation_space = types.SimpleNamespace(
      shape=(64, 64, 3), dtype=np.uint8, low=0, high=255)
  action_space = types.SimpleNamespace(n=3)

  def reset(self, seed=None, options=None):
    return np.zeros((64, 64, 3), np.uint8), {}

  def step(self, action):
    return np.ones((64, 64, 3), np.uint8), 0.0, False, False, {}
'''
TRAIN = '''
import dreamerv1
config = dreamerv1.configure(['debug'], logdir='run', steps=210)
dreamerv1.train(Room, config.update({'envs.worker': 'process'}))
'''
MAIN = '''
import dreamerv1, gymnasium
if 'Room-v0' not in gymnasium.registry:
  gymnasium.register('Room-v0', Room)
dreamerv1.main([
    'train', '--configs', 'debug', '--task', 'gym_study:Room-v0', '--logdir',
    'run', '--envs.worker', 'process'])
'''
CHILD = '''
import gymnasium, subprocess
if 'Room-v0' not in gymnasium.registry:
  gymnasium.register('Room-v0', Room)
subprocess.run(check=True, args=[
    sys.executable, '-m', 'dreamerv1', 'train', '--configs', 'debug',
    '--task', 'gym_study:Room-v0', '--logdir', 'run', '--envs.worker',
    'process'])
'''
MAKE = '''
import dreamerv1
from dreamer.envs import make_envs
config = dreamerv1.configure(['debug']).update({'envs.worker': 'process'})
env, = make_envs(config, 'train', 1, Room)
env.reset(0)
'''
SHOW = '''
import dreamerv1
from dreamer.envs import make_envs
def show(make):
  config = dreamerv1.configure(['debug']).update({'envs.worker': 'process'})
  env, = make_envs(config, 'train', 1, make)
  env.reset(0)
  print('place:', env.place or 'a worker')
  env.close()
'''


def python(folder, *args, text=None):
  """A Python in this folder; returns the finished process."""
  environ = {**os.environ, 'PYTHONPATH': str(ROOT), 'MUJOCO_GL': 'osmesa'}
  return subprocess.run(
      [sys.executable, *args], cwd=folder, env=environ, input=text,
      capture_output=True, text=True, timeout=240)


@pytest.mark.parametrize('code, executed', [
    (TRAIN, 3), (MAIN, 3), (CHILD, 5), (MAKE, 3)])
def test_a_module_that_trains_when_imported(tmp_path, code, executed):
  (tmp_path / 'study.py').write_text(ROOM + code)
  done = python(tmp_path, '-c', 'import study')
  assert "under: if __name__ == '__main__':" in (
      done.stderr if code == CHILD else done.stderr.splitlines()[-1])
  assert len((tmp_path / 'executed').read_text()) <= executed


def test_a_script_that_ends_the_process_when_imported(tmp_path):
  (tmp_path / 'study.py').write_text(
      ROOM + 'import argparse\nif __name__ != "__main__" and len(sys.argv) > '
      '1:\n  argparse.ArgumentParser().parse_args()\n' + MAKE)
  done = python(tmp_path, '-c', 'import study')
  last = done.stderr.splitlines()[-1]
  assert 'SystemExit: 2' in last and "under: if __name__" in last


LOAD = '''
import importlib.util, sys
spec = importlib.util.spec_from_file_location('study', 'below/study.py')
study = sys.modules['study'] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(study)
'''
WAYS = {
    'a script': (['below/study.py'], 'show(Room)', None),
    'python -m': (['-m', 'below.study'], 'show(Room)', None),
    'python -c': (['-c', f'{ROOM}{SHOW}show(Room)'], '', None),
    'stdin': (['-'], '', f'{ROOM}{SHOW}show(Room)'),
    'a function of a function': (
        ['below/study.py'], 'show(lambda: Room())', None),
    'runpy': (['-c', 'import runpy; runpy.run_path("below/study.py", '
               'run_name="study")'], 'show(Room)', None),
    'runpy afterwards': (
        ['-c', 'import runpy; found = runpy.run_path("below/study.py"); '
         'found["show"](found["Room"])'], '', None),
    'exec': (['-c', 'exec(open("below/study.py").read(), {"__name__": '
              '"study"})'], 'show(Room)', None),
    'exec in a module': (
        ['-c', 'import sys, types; m = sys.modules["study"] = types.ModuleType'
         '("study"); exec(open("below/study.py").read(), vars(m))'],
        'show(Room)', None),
    'a file beside the path': (['-c', LOAD], 'show(Room)', None),
    'another file of that name': (
        ['-c', 'import os; os.rename("other.py", "study.py")\n' + LOAD],
        'show(Room)', None)}


@pytest.mark.parametrize('way', WAYS)
def test_what_no_worker_finds_runs_here(tmp_path, way):
  args, last, text = WAYS[way]
  (tmp_path / 'below').mkdir()
  (tmp_path / 'below' / 'study.py').write_text(f'{ROOM}{SHOW}{last}')
  (tmp_path / 'other.py').write_text('Room = None')
  done = python(tmp_path, *args, text=text)
  assert done.stdout.startswith('place: in this process ('), done.stderr
  assert (tmp_path / 'executed').read_text() == 'x'


@pytest.mark.parametrize('name, code', [
    ('study', 'import study\n'), ('below.study', 'from below import study\n'),
    ('moved', 'import sys; sys.path.insert(0, "below")\nimport study\n')])
def test_what_a_worker_finds_runs_there(tmp_path, name, code):
  for folder in (tmp_path, tmp_path / 'below'):
    folder.mkdir(exist_ok=True)
    if (folder == tmp_path) == (name == 'study'):
      (folder / 'study.py').write_text(ROOM)
  done = python(tmp_path, '-c', f'{code}{SHOW}show(study.Room)')
  assert done.stdout == 'place: a worker\n', done.stderr
  assert (tmp_path / 'executed').read_text() == 'xx'


def test_names_of_our_own_are_no_others(tmp_path):
  """A folder's `tests` is that of whoever stands there."""
  (tmp_path / 'tests').mkdir()
  (tmp_path / 'tests' / '__init__.py').write_text('')
  (tmp_path / 'tests' / 'rooms.py').write_text(ROOM)
  done = python(tmp_path, '-c', f'from tests import rooms\n{SHOW}'
                'show(rooms.Room)')
  assert done.stdout == 'place: a worker\n', done.stderr


def test_a_function_that_only_this_process_has(tmp_path):
  (tmp_path / 'study.py').write_text(ROOM + textwrap.dedent('''
      if os.path.getsize('executed') == 1:
        def make():
          return Room()
  '''))
  done = python(tmp_path, '-c', f'import study\n{SHOW}show(study.make)')
  last = done.stderr.splitlines()[-1]
  assert 'factory study:make: a worker can not import it' in last
  assert 'envs.worker=inline' in last


def test_names():
  find = importable.find
  base = 'tests.support.strange_envs'
  assert find(strange.crash) == (f'{base}:crash', '')
  assert find(strange.NewStyle).name == f'{base}:NewStyle'
  assert find(lambda: None).name is None
  assert 'another' in find(type('NewStyle', (), {'__module__': base})).why
  assert find(5).name is None


@pytest.mark.parametrize('call', [
    lambda: dreamerv1.train(strange.NewStyle, dreamerv1.configure(
        ['debug'], logdir='run')),
    lambda: dreamerv1.evaluate(strange.NewStyle, 'run'),
    lambda: dreamerv1.main(['train', '--logdir', 'run']),
    lambda: dreamerv1.main(['eval', '--logdir', 'run'])])
def test_a_worker_neither_trains_nor_evaluates(call, monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  for key, value in nested.environ('train environment 0').items():
    monkeypatch.setenv(key, value)
  with pytest.raises(UserError, match='never end; put what only the script'):
    call()
  assert not list(tmp_path.iterdir())


def test_an_environment_may_have_a_worker_itself(monkeypatch):
  for key, value in nested.environ('train environment 0').items():
    monkeypatch.setenv(key, value)
  config = env_tools.make_config(**{'envs.worker': 'process'})
  env, = envs.make_envs(config)
  assert env.reset(0)['is_first']
  env.close()
