"""Fixtures that several tests use."""

import os
import signal

import pytest

import dreamerv1

# As in dreamer/nn/device.py, also for tests that don't set TensorFlow up by it.
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
# As in dreamer/cli.py: a third less of TensorFlow's import.
os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')


@pytest.fixture
def debug_config(tmp_path):
  """Makes configs of tiny runs: in this process, without OpenGL."""
  def make(**overrides):
    return dreamerv1.configure(['debug'], **{
        'task': 'dummy_continuous', 'logdir': str(tmp_path / 'run'),
        'envs.worker': 'inline', **overrides})
  return make


@pytest.fixture
def eager(request):
  """TensorFlow op by op, which starts faster, unless the test is `compiled`."""
  from tests.support.agent_running import eagerly  # Imports TensorFlow.
  with eagerly('compiled' not in request.fixturenames):
    yield


@pytest.fixture
def hangups():
  """Hangups end processes, as where tests are not run under nohup."""
  before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
  yield
  signal.signal(signal.SIGHUP, before)


@pytest.fixture
def compiled():
  """Runs a test that is `eager` with compiled graphs, as training does."""
