"""Fixtures that several tests use."""

import pytest

import dreamerv1


@pytest.fixture
def debug_config(tmp_path):
  """Makes configs of tiny runs: in this process, without OpenGL."""
  def make(**overrides):
    return dreamerv1.configure(['debug'], **{
        'task': 'dummy_continuous', 'logdir': str(tmp_path / 'run'),
        'envs.worker': 'inline', **overrides})
  return make
