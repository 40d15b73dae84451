"""Settings that do not fit each other are refused before anything starts."""

import subprocess
import sys

import pytest

import dreamerv1
import dreamerv2
import dreamerv3
from dreamer.errors import UserError
from dreamer.files import ROOT
from dreamer.run import checks, training
from tests.support.fakes import FakeInterface


@pytest.mark.parametrize('settings, wanted', [
    ({'batch_length': 51}, 'batch_length: 51 is longer than an episode .50'),
    ({'batch_length': 50, 'replay.starts': 'exclusive'},
     'batch_length: 50 is longer than an episode .50 rows'),
    ({'replay.min_length': 30, 'replay.max_length': 20},
     'min_length: 30 and replay.max_length: 20'),
    ({'replay.min_length': 50}, 'min_length: 50 is longer than an episode'),
    ({'steps': 199}, 'steps: 199 is less than prefill 200, nothing would')])
def test_schedule(settings, wanted):
  base = dreamerv2.configure(['debug'], **{
      'time_limit': 98, 'action_repeat': 2, 'batch_length': 50,
      'replay.starts': 'inclusive'})
  checks.schedule(base)
  checks.schedule(base.update({'replay.min_length': 49, 'steps': 200}))
  with pytest.raises(UserError, match=wanted):
    checks.schedule(base.update(settings))


@pytest.mark.parametrize('agent, settings, wanted', [
    (dreamerv1, {'steps': 1}, 'steps: 1 is less than prefill'),
    (dreamerv2, {'update_ratio': {'least': 2, 'most': 1}}, 'ratio.least: 2.0'),
    (dreamerv3, {'update_ratio': {'least': 2, 'most': 1}}, 'ratio.least: 2.0'),
    (dreamerv3, {'replay.capacity': 7}, 'replay.capacity: 7 is less than')])
def test_each_agent_checks_its_schedule(agent, settings, wanted):
  with pytest.raises(UserError, match=wanted):
    agent.entry.validate(agent.configure(['debug'], **settings))


WRONG = {'cpc.enabled': True, 'cpc.contrast': 'window',
         'cpc.window_batch': 1000}


def test_before_workers_start(tmp_path):
  """On the command line."""
  argv = ['--configs', 'debug', '--logdir', str(tmp_path / 'run')]
  argv += [f'--{key}={value}' for key, value in WRONG.items()]
  with pytest.raises(UserError, match='cpc.window_batch: 1000 is more than'):
    training.main(FakeInterface(), pytest.fail, argv)
  assert not (tmp_path / 'run').exists()


def test_before_an_environment_is_made(tmp_path):
  """From Python."""
  config = dreamerv1.configure(
      ['debug'], logdir=str(tmp_path / 'run'), **WRONG)
  with pytest.raises(UserError, match='cpc.window_batch: 1000 is more than'):
    dreamerv1.train(lambda: pytest.fail('made'), config)
  assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('agent', ['dreamerv1', 'dreamerv2'])
def test_spaces_before_tensorflow(agent):
  code = f"""
import sys
import {agent} as agent
from dreamer.envs.spaces import ActionSpace, Space
from dreamer.errors import UserError
try:
  agent.make_agent(agent.configure(['debug']), {{
      'image': Space((84, 84, 3), 'uint8')}}, ActionSpace('continuous', 2))
except UserError as e:
  print(e, 'tensorflow' in sys.modules)"""
  done = subprocess.run(
      [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
  assert done.stdout == (
      'image: shape (84, 84, 3); the networks need (64, 64, C), resize it '
      'False\n'), done.stderr
