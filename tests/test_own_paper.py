"""README's agent in a folder of one's own: found, trained, continued."""

import json
import math
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from dreamer.config import agents
from dreamer.envs.spaces import IMAGE, ActionSpace
from dreamer.errors import UserError
from dreamer.log.jsonlines import read_lines
from dreamer.run import resume
from dreamer.sweep import jobs, own_runs
from tests.support import ROOT

FILES = '__init__.py', '__main__.py', 'settings.yaml', 'agent.py'
RUN = ('--configs', 'debug', '--task', 'dummy_discrete', '--threads', '1',
       '--eval_every', '0', '--video_every', '0', '--envs.worker', 'inline')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """The folder that README's package is in."""
  text = (ROOT / 'README.md').read_text()
  section = text[text.index('## A new paper in'):].partition('\n## ')[0]
  blocks = re.findall(r'```(?:python|yaml)\n(.*?)```', section, re.S)
  path = tmp_path_factory.mktemp('own')
  (path / 'mypaper').mkdir()
  for name, block in zip(FILES, blocks, strict=True):
    (path / 'mypaper' / name).write_text(block)
  return path


@pytest.fixture
def entry(folder, monkeypatch):
  monkeypatch.syspath_prepend(folder)
  yield agents.find('mypaper')
  for name in [x for x in sys.modules if x.split('.')[0] == 'mypaper']:
    del sys.modules[name]


def test_it_has_sixty_lines(folder):
  lines = [line for path in (folder / 'mypaper').iterdir()
           for line in path.read_text().splitlines() if line.strip()]
  assert len(lines) <= 60


def test_its_keys_and_presets_are_those_of_both(entry):
  schema, other = entry.schema(), agents.schema('dreamerv2')
  assert schema.agent == 'mypaper'
  ours, theirs = (x.defaults.flat for x in (schema, other))
  assert ours == {**theirs, 'reward_head': 'symlog', 'reward.layers': 3}
  assert set(schema.presets) == {*other.presets, 'as_dreamerv2'}
  plain = schema.config(['atari', 'as_dreamerv2']).flat
  assert plain == {**other.config(['atari']).flat, 'reward_head': 'normal'}
  with pytest.raises(UserError, match="reward_head: 'log'.*symlog, normal"):
    schema.config(overrides={'reward_head': 'log'})
  with pytest.raises(UserError, match='did you mean reward_head'):
    schema.config(overrides={'reward_had': 'normal'})


def test_help_lists_all_of_them(entry, capsys):
  with pytest.raises(SystemExit):
    entry.schema().parse(['--help'])
  text = capsys.readouterr().out
  assert 'python -m mypaper train' in text
  assert re.search(r'--reward_head symlog +\[symlog, normal\] the target', text)
  assert re.search(r'--horizon 15 +\[.*\] \S', text)  # its parent's comment


def test_a_sweep_takes_it(entry, tmp_path):
  path = tmp_path / 'own.yaml'
  path.write_text('a: mypaper --configs debug --reward_head normal\n')
  job, = own_runs.jobs(str(path))
  assert jobs.config_of(job).agent == job.agent == 'mypaper'
  path.write_text('a: mypapers --configs debug\n')
  with pytest.raises(UserError, match='own.yaml: a: unknown agent .mypapers'):
    own_runs.jobs(str(path))


def test_its_head_predicts_the_symlog(entry):
  """A reward of e - 1 has symlog 1, that of its negative -1."""
  import tensorflow as tf  # Only here.
  space = ActionSpace('discrete', 3)
  make = lambda *presets: entry.make_agent(
      entry.configure(['debug', *presets]), {'image': IMAGE}, space)
  head, plain = (make(*x).model.reward for x in ((), ('as_dreamerv2',)))
  feat = tf.ones([2, head.layers[0].w['kernel'].shape[0]])
  target = tf.constant([math.e - 1, 1 - math.e])
  raw = head(feat)
  np.testing.assert_allclose(
      head.log_prob(feat, target),
      -0.5 * (raw - [1, -1]) ** 2 - 0.5 * math.log(2 * math.pi), rtol=1e-5)
  np.testing.assert_allclose(
      head.mean(feat), np.sign(raw) * np.expm1(np.abs(raw)), rtol=1e-5)
  np.testing.assert_array_equal(plain.mean(feat), plain(feat))


# Real runs, by the commands, from the folder.


def call(folder, *argv):
  env = {**os.environ, 'PYTHONPATH': str(ROOT)}
  done = subprocess.run(
      [sys.executable, '-m', *map(str, argv)], cwd=folder, env=env, text=True,
      capture_output=True, timeout=280)
  assert not done.returncode, done.stdout + done.stderr
  return done.stdout + done.stderr


def last(logdir):
  """Arrays of the newest checkpoint."""
  arrays, _ = resume.checkpoints(logdir).load()
  return {key: x for key, x in arrays.items() if 'names' not in key}


@pytest.mark.slow
def test_it_trains_and_continues_bit_for_bit(folder):
  call(folder, 'mypaper', 'train', *RUN, '--steps', 400, '--logdir', 'whole')
  call(folder, 'mypaper', 'train', *RUN, '--steps', 300, '--logdir', 'parts')
  call(folder, 'mypaper', 'train', *RUN, '--steps', 400, '--logdir', 'parts')
  steps = [row['step'] for row in (
      read_lines(folder / 'parts' / 'metrics.jsonl')[0])]
  assert steps == sorted(set(steps)) and {300, 400} <= set(steps)
  whole, parts = last(folder / 'whole'), last(folder / 'parts')
  assert whole.keys() == parts.keys()
  for key, value in whole.items():
    np.testing.assert_array_equal(value, parts[key], key)
  rows, _ = read_lines(folder / 'whole' / 'metrics.jsonl')
  assert any(np.isfinite(row.get('loss/reward', np.nan)) for row in rows)


@pytest.mark.slow
def test_it_is_evaluated_swept_compared_and_audited(folder):
  shutil.rmtree(folder / 'runs', ignore_errors=True)
  command = ' '.join(('mypaper', *RUN)).replace(
      '--eval_every 0', '--eval_every 200')
  (folder / 'own.yaml').write_text(
      f'symlog: {command} --steps 600\n'
      f'plain: {command} --steps 600 --reward_head normal\n')
  text = call(folder, 'scores', 'sweep', 'own.yaml', '--cpus-per-run', 1)
  assert '2 of 2 runs are finished' in text
  symlog, plain = (f'runs/own/{name}/dummy_discrete/seed0' for name in (
      'symlog', 'plain'))
  call(folder, 'mypaper', 'eval', '--logdir', symlog, '--episodes', 2)
  line = json.loads((folder / symlog / 'eval.jsonl').read_text())
  assert line['agent'] == 'mypaper' and len(line['returns']) == 2
  call(folder, 'scores', 'collect', plain, '--out', 'plain.json')
  text = call(folder, 'scores', 'compare', symlog, '--to', 'plain.json',
              '--bin', 200)
  assert 'dummy_discrete' in text
  text = call(folder, 'dreamer.audit', '--logdir', symlog)
  assert 'mypaper' in text


@pytest.mark.slow
def test_it_acts_in_a_process_of_its_own(folder):
  call(folder, 'mypaper', 'train', *RUN, '--steps', 400, '--parallel', 'true',
       '--logdir', 'beside')
  assert last(folder / 'beside')['agent/counter/updates'] > 0
