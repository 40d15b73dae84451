"""Runs with a replay of endless streams: pace, resuming, kills, parallel."""

import functools
import pathlib
import sys

import numpy as np
import pytest

from dreamer.envs import make_envs
from dreamer.errors import UserError
from dreamer.run import checks, replays, resume, training
from dreamer.run.stop import Stop, Stopped
from tests.support import stream_tools
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
  return stream_tools.content(config, StreamAgent.stored)


def assert_same(one, two):
  stream_tools.assert_same(one, two, StreamAgent.stored)


newest = stream_tools.newest


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

  @pytest.mark.slow
  def test_settings_of_the_replay(self, config):
    """Each of them, in a run that is stopped now and then."""
    for number, options in enumerate([
        {'capacity': 60}, {'consec': 2}, {'context': 3}, {'online': False},
        {'count_resets': True}, {'memory_gb': 1e-6}, {'spare_gb': 1e-9}]):
      options = {f'replay.{key}': x for key, x in options.items()}
      whole, parts = (config(
          steps=200, eval_every=0, logdir=f'{config().logdir}{number}{name}',
          **options) for name in 'ab')
      run(whole)
      checks = 20
      while True:
        try:
          run(parts, StopAt(checks))
          break
        except Stopped:
          checks += 1
      assert_same(parts, whole)

  def test_after_a_crash(self, config, whole):
    """What was written back after the checkpoint is not there any more."""
    class Crash(Exception):
      pass

    class Agent(StreamAgent):

      def train(self, batch, env_steps=0):
        if self.updates == self.limit:
          raise Crash
        return super().train(batch, env_steps)

    for limit in (3, 9, 13, 22, 30, 38):
      Agent.limit = limit
      with pytest.raises(Crash):
        training.train(config(), 'fake', Agent, make_envs, Stop(),
                       make_replay=replays.streams)
    run(config())
    assert_same(config(), whole)
    assert metrics(config()) == metrics(whole)

  def test_the_checkpoint_before_serves_where_the_last_is_damaged(
      self, config, whole):
    run(config(steps=300))
    last = sorted(pathlib.Path(
        config().logdir, 'checkpoints').glob('*.npz'))[-1]
    last.write_bytes(last.read_bytes()[:5000])
    with pytest.warns(UserWarning, match='the previous one is used'):
      run(config())
    assert_same(config(), whole)

  def test_checkpoints_come_early_where_the_disk_asks_for_it(
      self, config, monkeypatch):
    saves = []
    before = resume.Checkpoints.save
    monkeypatch.setattr(resume.Checkpoints, 'save', lambda self, *args: (
        saves.append(args[1]['env_steps']), before(self, *args))[1])
    usual, early = (config(
        save_every=100, eval_every=0, logdir=f'{config().logdir}{size}',
        **{'replay.spare_gb': size}) for size in (1.0, 4e-7))
    run(usual)
    assert saves == [0, 100, 200, 300, 400, 420]
    saves.clear()
    run(early)
    assert 10 < len(saves) < 40
    # The state of the schedule alone knows nothing of them.
    assert_same(usual, early)


class TestKills:

  def test_killed_at_any_moment(self, config):
    """Nothing that a checkpoint knows is lost, nor anything twice."""
    settings = {'steps': 1000, 'save_every': 30, 'eval_every': 0,
                'video_every': 0}
    whole, parts = config(**settings), config(
        logdir=config().logdir + '_killed', **settings)
    run(whole, seconds=0.01)
    argv = [sys.executable, '-m', MODULE, 'train', '--configs', 'debug', *(
        f'--{key}={parts.flat[key]}' for key in (
            'logdir', 'task', 'envs.worker', 'time_limit', 'batch_size',
            'batch_length', 'envs.amount', *settings))]
    stream_tools.killed_on_its_way(argv, parts)
    assert_same(parts, whole)


class TestParallel:

  def test_to_its_end_and_continued(self, config, capsys):
    """Rows, and what the acting process stored with them, arrive here."""
    options = {'parallel': True, 'eval_every': 0, 'steps': 300}
    run(config(**options))
    run(config(**{**options, 'steps': 420}))
    # As many updates as the ratio asks for, but for one.
    assert 'at least 0.125 and at most 0.125' in capsys.readouterr().err
    found = content(config(**options))
    assert found['driver/steps'] == 210
    rows = found['replay/rows'][:2]
    # All but the last rows of episodes have what was stored with them.
    ends = np.array([x for x in found['replay/lengths']])
    assert len(ends) == 2 * int(rows[0] // 26)
    assert found['good'].sum() >= rows.sum() - len(ends)
    assert len(found['records']) == found['good'].sum()
    assert 40 < found['updates'] < 48
    stored = [x for x in found if x.startswith('driver/policy/')]
    assert 'driver/policy/deter' in stored


class TestTold:

  def test_at_the_start(self, config, capsys):
    run(config(steps=100))
    err = capsys.readouterr().err
    line, = (x for x in err.splitlines() if x.startswith('train_ratio 4: '))
    assert '2 x 8 steps per 4 agent steps' in line and 'usual' not in line
    line, = (x for x in err.splitlines() if x.startswith('replay: '))
    assert 'at most 50 rows (capacity 5,000,000) of 12.3 kB' in line
    run(config(steps=100, train_ratio=2, logdir=config().logdir + 'b'))
    assert 'the usual one with debug is 4: do not' in capsys.readouterr().err

  def test_no_update(self, config):
    with pytest.raises(UserError, match=(
        r'steps: 20 were not enough .* has 10 rows, in which 0 sequences of 9 '
        'begin, of 16')):
      run(config(steps=20))

  def test_none_are_wanted(self, config):
    """Which is no error."""
    assert not [x for x in run(config(steps=20, train_ratio=0))
                if x[0] == 'update']

  @pytest.mark.parametrize('task', ['dummy_discrete', 'dummy_continuous'])
  def test_recorded_episodes_of_another_task(self, config, task):
    run(config(steps=120))
    folder, new = (pathlib.Path(config().logdir + x) for x in ('', 'b'))
    new.mkdir()
    (folder / 'episodes').rename(new / 'episodes')
    (new / 'episodes' / 'stored.bin').unlink()
    other = config(logdir=str(new), task=task, steps=120)
    if task == config().task:
      run(other)
      return
    with pytest.raises(UserError, match=(
        r'npz: its action has the shape \[2\], that of this run \[5\]')):
      run(other)

  def test_a_small_capacity(self, config):
    checks.schedule(config())
    with pytest.raises(UserError, match=(
        'replay.capacity: 15 is less than batch_size . batch_length, 16')):
      checks.schedule(config(**{'replay.capacity': 15}))

  def test_a_small_disk(self, config, capsys):
    run(config(steps=100, **{'replay.spare_gb': 1e6}))
    assert 'the replay will need 1' in capsys.readouterr().err
