"""Whole runs of DreamerV3: continued, killed, in parallel, shown, evaluated."""

import sys

import numpy as np
import pytest

import dreamerv3
from dreamer.envs import make_envs
from dreamer.run import training
from dreamer.run.stop import Stop
from dreamerv3.stored import stored
from tests.support import agent_tools_v3 as tools
from tests.support import stream_tools
from tests.support.agent_running import eagerly
from tests.support.run_tools import metrics

VECTORS = {'images': 'none', **{
    f'{name}.{kind}': value for name in ('encoder', 'decoder')
    for kind, value in (('images', 'none'), ('vectors', 'all'))}}
SETTINGS = {
    **tools.SIZES, 'task': 'dummy_discrete', 'envs.worker': 'inline',
    'envs.amount': 2, 'action_repeat': 1, 'time_limit': 20, 'steps': 64,
    'train_ratio': 1.0, 'save_every': 16, 'log_every': 20, 'eval_every': 0,
    'opt.lr': 1e-3}


def configure(logdir, **overrides):
  return dreamerv3.configure(['debug'], **{
      **SETTINGS, 'logdir': str(logdir), **overrides})


def assert_same(one, two):
  stream_tools.assert_same(one, two, stored(one))
  assert metrics(one) == metrics(two)


class Crash(Exception):
  pass


def train(config, crash=None):
  """To the end, or to the update of a crash."""
  def make(*args):
    agent = dreamerv3.make_agent(*args)
    learn = agent.train

    def train(batch, env_steps=0):
      if agent.updates == crash:
        raise Crash
      return learn(batch, env_steps)

    agent.train = train
    return agent

  training.train(config, 'dreamerv3', make, make_envs, Stop(), 'dreamerv3',
                 make_replay=dreamerv3.entry.replay)


class TestResume:

  @pytest.mark.parametrize('extra', [
      pytest.param({}, marks=pytest.mark.slow),
      {**VECTORS, 'task': 'dummy_continuous', 'precision': 'bfloat16',
       'replay.consec': 2, 'replay.online': False}],
      ids=['images', 'vectors'])
  def test_continued_run_has_the_same_bits(self, extra, tmp_path):
    """Stopped at a checkpoint, and crashed after what no checkpoint knows."""
    whole, parts = (configure(tmp_path / x, **extra) for x in 'ab')
    with eagerly():
      train(whole)
      train(parts.update({'steps': 40}))
      done = stream_tools.content(parts, stored(parts))['updates']
      for crash in (done, done + 1):
        with pytest.raises(Crash):
          train(parts, crash)
      train(parts)
    found = stream_tools.content(whole, stored(whole))
    assert done + 2 <= found['updates'] < 9
    # What was written back is not what acting stored.
    assert found['good'].sum() > 50
    assert_same(whole, parts)

  @pytest.mark.slow
  @pytest.mark.timeout(1200)
  def test_killed_at_any_moment(self, tmp_path):
    """kill -9, compiled; nothing that was acknowledged is lost."""
    whole, parts = (configure(tmp_path / x, video_every=0) for x in 'ab')
    train(whole)
    given = {**SETTINGS, 'video_every': 0, 'logdir': parts.logdir}
    argv = [sys.executable, '-m', 'dreamerv3', 'train', '--configs', 'debug',
            *(f'--{key}={value}' for key, value in given.items())]
    stream_tools.killed_on_its_way(argv, parts, kills=3, wait=0.1)
    assert_same(whole, parts)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize('extra', [
    {'parallel': True}, {'precision': 'float16'}, {'precision': 'bfloat16'},
    {'jit': 'on'}, {'unroll': True}], ids=lambda x: next(iter(x)))
def test_other_ways_to_run(extra, tmp_path):
  """To the end, and on from there."""
  config = configure(tmp_path / 'run', **{**VECTORS, **extra})
  train(config)
  train(config.update({'steps': 90}))
  found = stream_tools.content(config, stored(config))
  assert found['driver/steps'] == 90
  assert 7 < found['updates'] < 13
  assert all(np.isfinite(x).all() for x in found.values()
             if np.issubdtype(x.dtype, np.floating))


def test_what_a_run_leaves(tmp_path, capsys):
  """Scores of training episodes, videos, an evaluation; what it needs."""
  config = configure(tmp_path / 'run', steps=40, eval_every=40, video_every=40)
  with eagerly():
    train(config)
    dreamerv3.main([
        'eval', '--logdir', config.logdir, '--episodes', '1', '--video',
        str(tmp_path / 'one.gif')])
  keys = {key for line in metrics(config) for key in line}
  assert {'train/return', 'eval/return', 'loss/total'} <= keys
  videos = [x.name for x in (tmp_path / 'run' / 'videos').iterdir()]
  assert any('openloop' in x for x in videos) and len(videos) >= 2
  assert (tmp_path / 'one.gif').stat().st_size > 100
  err = capsys.readouterr().err
  assert 'train_ratio 1: ' in err and 'replay: at most ' in err


@pytest.mark.parametrize('size', [
    96, pytest.param(32, marks=pytest.mark.slow)])
def test_images_of_another_size(size, tmp_path):
  config = configure(
      tmp_path / 'run', image_size=size, steps=40, video_every=0)
  with eagerly():
    train(config)
  assert metrics(config)[-1]['updates'] > 0
