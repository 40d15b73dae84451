"""What a start loads."""

import subprocess
import sys

from tests.support import ROOT

CODE = """
import os, sys
os.environ['TF_USE_LEGACY_KERAS'] = '1'
import dreamerv1
from dreamer.nn import device
device.setup(dreamerv1.configure(['debug'], logdir='x', threads=1))
hidden = {'h5py', 'jax', 'keras', 'pandas', 'scipy', 'tf_keras'}
assert not hidden & set(sys.modules)
import dreamerv1.variants
assert 'tensorflow_probability' not in sys.modules
import tensorflow.keras  # Whoever wants it has it, as always.
from tensorflow.keras.layers import Dense
import pandas, scipy, tensorflow_probability
assert pandas.DataFrame and tensorflow_probability.distributions.Normal
"""


def test_without_what_nobody_asked_for():
  done = subprocess.run([sys.executable, '-c', CODE], cwd=ROOT, text=True,
                        capture_output=True)
  assert not done.returncode, done.stderr
