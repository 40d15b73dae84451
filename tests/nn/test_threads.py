"""TensorFlow's threads: as the settings say, and without a trace in results."""

import subprocess
import sys

import pytest

from dreamer.run.resume import checkpoints
from tests.support import ROOT
from tests.support.run_tools import assert_same_bits

CODE = """
import os
os.environ['TF_USE_LEGACY_KERAS'] = '1'
import dreamerv1
from dreamer.errors import UserError
from dreamer.nn import device

def threads(wanted, per_op):
  device.setup(dreamerv1.configure(
      ['debug'], logdir='x', threads=wanted, threads_per_op=per_op))
  import tensorflow as tf
  return (tf.config.threading.get_intra_op_parallelism_threads(),
          tf.config.threading.get_inter_op_parallelism_threads())

assert threads(2, 1) == (1, 2)
assert threads(2, 0) == (1, 2)  # It runs already, with so many threads.
for wanted, per_op, words in (
    (3, 1, 'threads: TensorFlow runs already, not with 3'),
    (2, 3, 'threads_per_op: 3 is not allowed with threads 2; allowed: 0..2')):
  try:
    threads(wanted, per_op)
  except UserError as e:
    assert str(e).startswith(words)
  else:
    raise AssertionError
"""


def test_inside_operations_and_beside_each_other():
  done = subprocess.run([sys.executable, '-c', CODE], cwd=ROOT, text=True,
                        capture_output=True)
  assert not done.returncode, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize('agent, presets', [
    ('dreamerv1', ['dmc', 'laptop']), ('dreamerv2', ['dmc_vision', 'laptop']),
    ('dreamerv2', ['minatar', 'laptop']),
    ('dreamerv3', ['dmc_vision', 'laptop'])])
def test_any_number_gives_the_same_bits(agent, presets, tmp_path):
  first = {'prefill': 800, 'pretrain_updates': 20} if (
      agent != 'dreamerv3') else {'log_every': 500}
  settings = {**first, 'steps': 1200, 'eval_every': 0}
  runs = []
  for threads in 1, 2:
    logdir = tmp_path / str(threads)
    command = [sys.executable, '-m', agent, 'train', '--configs', *presets]
    for key, value in {
        **settings, 'threads': threads, 'logdir': logdir}.items():
      command += [f'--{key}', str(value)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    runs.append(checkpoints(logdir).load())
  assert runs[0][1]['updates'] >= 40
  assert_same_bits(*runs)
