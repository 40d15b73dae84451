"""Continuing from a checkpoint gives the bits of a run that never stopped."""

import signal
import subprocess
import sys
import time

import pytest

import dreamerv2
from dreamer.files import ROOT
from tests.support import agent_tools_v2
from tests.support.agent_running import eagerly
from tests.support.run_tools import SETTINGS
from tests.support.run_tools import assert_same_bits as assert_same
from tests.support.run_tools import run_agent as run

# 5 updates, 2 of them after the cut.
FEW = {**agent_tools_v2.SIZES, 'steps': 130, 'prefill': 80, 'time_limit': 40,
       'action_repeat': 2, 'pretrain_updates': 1, 'train_every': 10,
       'train_updates': 1, 'save_every': 25, 'eval_every': 0,
       'envs.worker': 'inline', 'reward_norm.momentum': 0.9}
EXPLORES = {'expl.kind': 'plan2explore', 'expl.reward_norm.momentum': 0.9}
VECTORS = {'images': 'none', **{
    f'{name}.{kind}': value for name in ('encoder', 'decoder')
    for kind, value in (('images', 'none'), ('vectors', 'all'))}}


@pytest.mark.slow
@pytest.mark.parametrize('task, extra', [
    ('dummy_discrete', {'envs.amount': 2}), ('dmc_cartpole_swingup', {})])
def test_continued_run_has_the_same_bits(task, extra, tmp_path):
  whole = run(tmp_path / 'whole', task, **extra)
  # The cut is in the middle of an episode.
  _, meta = run(tmp_path / 'parts', task, steps=280, **extra)
  parts = run(tmp_path / 'parts', task, **extra)
  assert whole[1]['updates'] - meta['updates'] >= 20
  assert whole[1]['updates'] >= 40
  assert_same(whole, parts)


@pytest.mark.parametrize('task, extra', [
    ('dummy_discrete', EXPLORES),
    pytest.param('dummy_continuous', VECTORS, marks=pytest.mark.slow)])
def test_continued_run_of_dreamerv2_has_the_same_bits(task, extra, tmp_path):
  settings = {'agent': dreamerv2, **FEW, **extra}
  with eagerly():  # starts faster
    whole = run(tmp_path / 'whole', task, **settings)
    _, meta = run(tmp_path / 'parts', task, **{**settings, 'steps': 106})
    parts = run(tmp_path / 'parts', task, **settings)
  assert (meta['updates'], whole[1]['updates']) == (3, 5)
  names = [key for key in whole[0] if key.endswith('/mag')]
  assert len(names) == (4 if extra is EXPLORES else 1)
  assert all(whole[0][key] != 1 for key in names if 'extrinsic' not in key)
  assert_same(whole, parts)


@pytest.mark.slow
def test_continued_compiled_run_of_dreamerv2(tmp_path):
  extra = {'agent': dreamerv2, 'action_repeat': 2, 'precision': 'float16'}
  whole = run(tmp_path / 'whole', 'dummy_discrete', **extra)
  _, meta = run(tmp_path / 'parts', 'dummy_discrete', steps=280, **extra)
  parts = run(tmp_path / 'parts', 'dummy_discrete', **extra)
  assert whole[1]['updates'] - meta['updates'] >= 20
  assert_same(whole, parts)


def test_killed_run_continues_from_its_checkpoint(tmp_path):
  """kill -9 loses what came after the checkpoint, and collects it again."""
  whole = run(tmp_path / 'whole', 'dummy_continuous')
  settings = {**SETTINGS, 'task': 'dummy_continuous',
              'logdir': tmp_path / 'killed'}
  command = [sys.executable, '-m', 'dreamerv1', 'train', '--configs', 'debug']
  for key, value in settings.items():
    command += [f'--{key}', str(value)]
  process = subprocess.Popen(
      command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
  wait_for(lambda: list((tmp_path / 'killed' / 'checkpoints').glob('*.npz')))
  process.send_signal(signal.SIGKILL)
  process.wait()
  assert_same(whole, run(tmp_path / 'killed', 'dummy_continuous'))


def wait_for(condition, seconds=250):
  end = time.time() + seconds
  while not condition():
    assert time.time() < end, 'timed out'
    time.sleep(0.05)
