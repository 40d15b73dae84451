"""The command that tells whether a `deepmind_lab` is usable."""

import importlib.util
import os
import re
import subprocess
import sys

import pytest

from dreamer.envs.suites import dmlab, dmlab_check
from tests.support import ROOT

STANDINS = ROOT / 'tests' / 'support' / 'standins'
BUILT = importlib.util.find_spec('deepmind_lab') is not None
# A module like the stand-in, with something wrong.
FAULTY = '''
import importlib.util, sys
sys.path.insert(0, {standins!r})
spec = importlib.util.spec_from_file_location(
    'standin', {standins!r} + '/deepmind_lab.py')
standin = importlib.util.module_from_spec(spec)
spec.loader.exec_module(standin)
class Lab(standin.Lab):
  {code}
'''
CODES = {
    'seed': ('''
  def reset(self, episode=-1, seed=None):
    super().reset(episode, seed)
    self._seed = [id(self), id(self._folder)]''',
             'two episodes with one seed differ, in fresh simulators'),
    'levels': ('''
  def __init__(self, level, *args, **kwargs):
    if 'lasertag' in level: raise RuntimeError('Level not found')
    super().__init__(level, *args, **kwargs)''',
               '2 of 13 do not load .* lasertag_one_opponent_small'),
    'other levels': ('''
  def action_spec(self): return super().action_spec()[:5]''',
                     'step.. takes .* does not know such a version'),
    'cache': ('''
  def __init__(self, *args, level_cache=None, **kwargs):
    super().__init__(*args, **kwargs)''',
              'the module does not ask for it'),
    'renderer': ('''
  def __init__(self, *args, **kwargs): raise RuntimeError(
      'Failed to connect RL API')''', 'install the system package libosmesa6'),
    'module': ('pass\nraise ImportError("libpython3.9.so.1: cannot open")',
               'does not load: ImportError: libpython3.9'),
    'crash in seed': ('''
  def step(self, *args, **kwargs):
    print("engine: fatal"); import os; os.abort()''',
                      'signal 6; last output: engine: fatal')}


def check(path, cwd=ROOT, **environ):
  """Runs the command; returns (status, its lines)."""
  done = subprocess.run(
      [sys.executable, '-m', 'dreamer.envs.suites.dmlab', 'check'], cwd=cwd,
      env={**os.environ, 'PYTHONPATH': f'{path}:{ROOT}', **environ},
      capture_output=True, text=True, timeout=240)
  assert not done.stderr
  return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize('path', [
    STANDINS, pytest.param('', marks=pytest.mark.skipif(
        not BUILT, reason='deepmind_lab is not built here'))])
def test_a_good_one(path):
  status, lines = check(path)
  assert status == 0 and lines[-1] == 'deepmind_lab is usable'
  assert [re.match(r'(\w+) +(\w+): .', x)[2] for x in lines[:-1]] == [
      x.__name__ for x in dmlab_check.CHECKS]
  assert all(x.startswith('ok ') for x in lines[:-1])


@pytest.mark.parametrize('fault', CODES)
def test_a_faulty_one(fault, tmp_path):
  """The check that fails, with the remedy; nothing before it does."""
  code, wanted = CODES[fault]
  (tmp_path / 'deepmind_lab.py').write_text(
      FAULTY.format(standins=str(STANDINS), code=code.strip('\n').lstrip()))
  status, lines = check(tmp_path)
  failed = [line for line in lines if line.startswith('FAILED')]
  assert status == 1 and re.search(wanted, failed[0]), lines
  name = fault.split()[-1]
  assert failed[0].split()[1] == f'{name}:'
  assert lines[-1].startswith('deepmind_lab is not usable as it is: ' + name)
  if name in ('module', 'renderer') or 'crash' in fault:
    assert len(failed) == 1


@pytest.mark.parametrize('below, path', [('', ''), ('..', 'standins')])
def test_one_where_the_caller_stands(below, path):
  status, lines = check(path, cwd=STANDINS / below)
  assert status == 0, lines


def test_without_zip(tmp_path):
  status, lines = check(STANDINS, PATH=str(tmp_path))
  assert status == 1 and lines[-1].endswith('as it is: cache')
  assert 'install the system package zip' in lines[-2]


@pytest.mark.skipif(BUILT, reason='deepmind_lab is built here')
def test_without_any():
  status, lines = check(ROOT)
  assert status == 1 and len(lines) == 2
  assert 'needs deepmind_lab; no package index has it' in lines[0]


def test_the_page_knows_every_level():
  text = (ROOT / 'dreamer/envs/suites/README.md').read_text()
  rows = re.findall(r'\| `(\w+)` \| `(\w+)` \| (\w+) \|', text)
  assert {(key, name) for key, name, _ in rows} == set(dmlab.LEVELS.items())
  assert {key for key, _, map_ in rows if map_ == 'ready'} == set(dmlab.READY)
