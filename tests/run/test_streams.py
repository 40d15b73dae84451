"""Runs with a replay of endless streams: pace, resuming, kills, parallel."""

import functools
import pathlib

import numpy as np
import pytest

from dreamer.envs import make_envs
from dreamer.run import replays, resume, training
from dreamer.run.checkpoint import below
from dreamer.run.driver import unfinished
from dreamer.run.stop import Stop, Stopped
from tests.support.fake_streams import MODULE, StreamAgent, configure
from tests.support.run_tools import StopAt, metrics


@pytest.fixture
def config(tmp_path):
  def make(**overrides):
    return configure(**{
        'logdir': str(tmp_path / 'run'), 'steps': 420, 'save_every': 70,
        'eval_every': 150, 'eval_episodes': 2, 'video_every': 200,
        'time_limit': 50, 'batch_size': 2, 'batch_length': 8,
        'envs.amount': 2, **overrides})
  return make


def run(config, stop=None, make=make_envs, **agent):
  events = []
  agent = functools.partial(StreamAgent, events=events, **agent)
  training.train(config, 'fake', agent, make, stop or Stop(), MODULE,
                 make_replay=replays.streams)
  return events


def content(config):
  """All that a checkpoint holds and refers to, wherever it lies."""
  arrays, meta = resume.checkpoints(config.logdir).load()
  state = below(arrays, 'replay/')
  replay = replays.streams(
      config.update({'replay.spare_gb': 1.0}),
      pathlib.Path(config.logdir, 'episodes'), StreamAgent, ({}, Dim()))
  replay.restore(state, unfinished(below(arrays, 'driver/')))
  streams = np.repeat(np.arange(len(state['rows'])), state['rows'])
  rows = np.concatenate([np.arange(x) for x in state['rows']])
  records, good = replay._records.read(replay._lanes.slots(streams, rows))
  found = {key: x for key, x in arrays.items() if key.split('/')[-1] not in (
      'slots', 'stale', 'names')}
  replay.close()
  return {**found, 'records': records[good], 'good': good,
          'updates': np.array(meta['updates'])}


class Dim:
  dim = 1


def assert_same(one, two):
  one, two = content(one), content(two)
  assert one.keys() == two.keys()
  differ = [k for k in one if not np.array_equal(one[k], two[k])]
  assert not differ


class TestPace:

  def test_updates_per_step(self, config):
    """One at first, when there are 16 sequences, then one per 4 steps."""
    config = config(steps=400, **{'envs.amount': 1})
    events = run(config)
    kinds = [what for what, _ in events if what in ('train', 'update')]
    # 9 rows for the first sequence, 15 more for the others.
    first = kinds.index('update')
    assert kinds[:first] == ['train'] * 24
    steps = np.cumsum([x == 'train' for x in kinds])[
        [x == 'update' for x in kinds]]
    assert steps[:4].tolist() == [24, 29, 33, 37]
    assert set(np.diff(steps[1:])) == {4} and steps[-1] == 197


class TestResume:

  @pytest.fixture
  def whole(self, config):
    other = config(logdir=config().logdir + '_whole')
    run(other)
    return other

  @pytest.mark.parametrize('first, growth', [(1, 1), (2, 7), (60, 1)])
  def test_stopping_changes_nothing(self, config, whole, first, growth):
    checks, stops = first, 0
    while checks < 1000:
      try:
        run(config(), StopAt(checks))
        break
      except Stopped:
        stops += 1
        checks += growth
    assert stops > 2
    assert_same(config(), whole)
    assert metrics(config()) == metrics(whole)
