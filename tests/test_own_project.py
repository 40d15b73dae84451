"""A user's own folder, with modules whose names are those of folders here."""

import os
import subprocess
import sys

import pytest

from tests.support import ROOT

NAMES = ('common', 'config', 'configs', 'cli', 'files', 'stats', 'errors',
         'rng', 'nn', 'replay', 'envs', 'run', 'log', 'audit', 'bench',
         'scores', 'npz', 'agent', 'rssm', 'checks', 'train', 'eval')

ENVIRONMENT = '''
import gymnasium, numpy as np
import common, config, envs
assert common.NAME == 'common' and envs.NAME == 'envs'

class Env(gymnasium.Env):
  observation_space = gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)
  action_space = gymnasium.spaces.Box(-1, 1, (2,))

  def reset(self, seed=None, options=None):
    self.time = 0
    return np.zeros((64, 64, 3), np.uint8), {}

  def step(self, action):
    self.time += 1
    return np.zeros((64, 64, 3), np.uint8), 1, False, self.time >= 5, {}
'''
TRAIN = '''
import common, config, replay, run, scores
import dreamerv1, dreamerv2
from tests.support.fakes import FakeInterface
from mine import Env
assert replay.NAME == 'replay' and not hasattr(scores, '__path__')
for agent in (dreamerv1, dreamerv2):
  agent.configure(['debug'])
agent = FakeInterface()
settings = agent.configure(
    ['debug'], logdir='runs/mine', batch_length=3, time_limit=5, prefill=20,
    steps=40, eval_every=0)
agent.train(Env, settings)
print(agent.evaluate(Env, 'runs/mine', 2)[0]['mean'])
'''


@pytest.fixture
def folder(tmp_path):
  for name in NAMES:
    (tmp_path / f'{name}.py').write_text(f'NAME = {name!r}\n')
  (tmp_path / 'mine.py').write_text(ENVIRONMENT)
  return tmp_path


def python(folder, *command):
  """Runs Python in a folder, with this project on its path."""
  return subprocess.run(
      [sys.executable, *command], cwd=folder, capture_output=True, text=True,
      timeout=250, env={**os.environ, 'PYTHONPATH': str(ROOT)})


def test_training_and_evaluating(folder):
  """The environment, which imports modules of its own, is in a worker."""
  (folder / 'my_training.py').write_text(TRAIN)
  done = python(folder, 'my_training.py')
  assert done.stdout == '5.0\n', done.stderr
  assert (folder / 'runs' / 'mine' / 'checkpoints').exists()


@pytest.mark.parametrize('agent', ['dreamerv1', 'dreamerv2'])
def test_the_command_line(folder, agent):
  done = python(folder, '-m', agent, 'train', '--task', 'none')
  assert done.stderr.startswith('error: logdir: '), done.stderr


@pytest.mark.parametrize('agent', ['dreamerv1', 'dreamerv2'])
@pytest.mark.parametrize('script', ['my_training.py', 'dreamer.py'])
def test_a_module_called_dreamer(folder, agent, script):
  """It hides the core, as Python has it: one line says so."""
  (folder / 'dreamer.py').write_text('NAME = "dreamer"\n')
  (folder / script).write_text(f'import {agent}\n{agent}.configure()\n')
  done = python(folder, script)
  last = done.stderr.splitlines()[-1]
  assert last.startswith(f'ImportError: {folder}/dreamer.py hides'), last
  assert 'give it another name' in last


def test_a_folder_called_dreamer(folder):
  """Without modules it hides nothing: such is the name of many a clone."""
  (folder / 'dreamer').mkdir()
  done = python(folder, '-c', 'import dreamerv1; dreamerv1.configure()')
  assert (done.returncode, done.stderr) == (0, '')
