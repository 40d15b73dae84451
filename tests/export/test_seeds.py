"""Several seeds of an exported agent at once: to their end, by steps."""

import json
import signal
import subprocess
import time

import pytest

from dreamer import launch
from dreamer.errors import UserError
from dreamer.export import seeds
from dreamer.log.jsonlines import read_lines

# Of the programs; and of the runs.
SETTINGS = ['--configs', 'debug', '--task', 'dummy_continuous']
RUN = ['--steps', '500', '--save_every', '100']


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  pytest.importorskip('jax')
  out = tmp_path_factory.mktemp('exported')
  seeds.export('dreamerv1', out, 2, SETTINGS)
  return out


def started(folder, logdir, *options):
  return subprocess.Popen(
      launch.command('dreamer.export.seeds', 'train', str(folder), '--logdir',
                     str(logdir), *RUN, *options),
      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def reached(logdir):
  """Environment steps of both runs."""
  found = []
  for seed in range(2):
    path = logdir / f'seed{seed}' / 'metrics.jsonl'
    lines, _ = read_lines(path) if path.exists() else ([], 0)
    found.append(lines[-1]['step'] if lines else 0)
  return found


@pytest.mark.slow
def test_each_seed_has_its_own_weights_and_noise(folder):
  one, two = (folder / f'seed{seed}' for seed in range(2))
  for name in ('state.npz', 'train.stablehlo'):
    assert (one / name).read_bytes() != (two / name).read_bytes()
  configs = [json.loads((x / 'program.json').read_text())['config']
             for x in (one, two)]
  assert [x['seed'] for x in configs] == [0, 1]


@pytest.mark.slow
@pytest.mark.parametrize('signum', [signal.SIGTERM, signal.SIGKILL])
def test_it_goes_on_after_its_end(folder, tmp_path, signum):
  child = started(folder, tmp_path)
  while min(reached(tmp_path)) < 200:
    assert child.poll() is None, child.stdout.read()
    time.sleep(0.2)
  child.send_signal(signum)
  assert child.wait() != 0
  again = started(folder, tmp_path)
  text = again.communicate()[0]
  assert again.returncode == 0, text
  assert reached(tmp_path) == [500, 500]
  assert 'updates/s of all seeds together' in text


@pytest.mark.slow
def test_a_budget_of_time(folder, tmp_path):
  child = started(folder, tmp_path, '--minutes', '0.01')
  text = child.communicate()[0]
  assert child.returncode == 0, text
  assert max(reached(tmp_path)) < 500


@pytest.mark.parametrize('options, match', [
    (['--seed', '3'], '--seed'), (['--logdir=x'], '--seed')])
def test_seeds_are_its_own_affair(tmp_path, options, match):
  with pytest.raises(UserError, match=match):
    seeds.export('dreamerv1', tmp_path, 1, options)
  with pytest.raises(UserError, match=match):
    seeds.train(tmp_path, tmp_path / 'runs', rest=options)


def test_mistakes(tmp_path):
  with pytest.raises(UserError, match='seed0'):
    seeds.train(tmp_path, tmp_path / 'runs')
  with pytest.raises(UserError, match='--minutes: 0'):
    seeds.train(tmp_path, tmp_path / 'runs', 0)
  with pytest.raises(UserError, match='--seeds: 0'):
    seeds.export('dreamerv1', tmp_path, 0, [])
