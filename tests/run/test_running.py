"""What a driver tells of running episodes, and resets that take a step."""

import json

import numpy as np
import pytest

from dreamer.envs.spaces import ActionSpace
from dreamer.processes.failure import WorkerError
from dreamer.replay.stored import Stored
from dreamer.replay.stream import StreamReplay
from dreamer.run.driver import Driver, unfinished
from tests.support import ROOT

GOLDEN = json.loads(
    (ROOT / 'tests/golden/v3_misc/driver.json').read_text())
SPACE = ActionSpace('continuous', 1)


class Env:
  """Counts its steps; ends after so many. got: (action, whether a reset).

  crash: numbers of calls (from 1 on) whose answer is a WorkerError.
  """

  def __init__(self, length, got=None, crash=()):
    self.length, self.got = length, [] if got is None else got
    self.crash, self.calls = crash, 0

  def send_reset(self, seed=None):
    self.got.append([0.0, True])
    self._time = 0

  def send_step(self, action):
    self.got.append([float(action[0]), False])
    self._time += 1

  def send_replay(self, seed, actions):
    self._time = len(actions)

  def receive(self):
    self.calls += 1
    if self.calls in self.crash:
      raise WorkerError('it crashed')
    last = self._time == self.length
    return {'t': np.float32(self._time), 'reward': np.float32(self._time),
            'discount': np.float32(1), 'is_first': not self._time,
            'is_last': last, 'is_terminal': last and self.length == 2}

  def restart(self):
    pass


class Policy:
  """Gives the number of its call as the action; shares of memory `extra`."""

  def __init__(self):
    self.calls = 0

  def __call__(self, obs, state):
    self.calls += 1
    rows = len(obs['t'])
    return np.full((rows, 1), self.calls, np.float32), {
        'extra': np.full(rows, self.calls, np.float32), 'seen': obs['t']}


def make(folder, envs, count_resets=False, context=0):
  replay = StreamReplay(
      folder, 0, len(envs), 1, {'extra': Stored(())}, context=context,
      count_resets=count_resets)
  driver = Driver(envs, SPACE, 0, 'train', replay.add,
                  count_resets=replay.count_resets)
  driver.on_step = lambda index, row, action, state: replay.grow(
      index, row, action, {'extra': state['extra'][index]})
  driver.on_lost = replay.cut
  return driver, replay


def run(driver, policy, steps):
  for _ in range(steps):
    driver.send(policy)
    driver.receive()


def rows(replay, stream):
  """All rows of a stream, as a list of dicts."""
  lane, found = replay.lanes.lanes[stream], []
  for row in range(lane.end):
    out = {key: np.empty((1, *shape), dtype) for key, (dtype, shape) in (
        (key, replay.lanes.spec(key)) for key in (
            't', 'reward', 'is_first', 'is_last', 'is_terminal', 'action'))}
    assert replay.lanes.read(out, (stream, row), 0)
    found.append({key: x[0].tolist() for key, x in out.items()})
  return found


def test_as_released(tmp_path):
  """Resets take a step; the action of a last row is zero."""
  got = []
  driver, replay = make(tmp_path, [Env(2, got), Env(3, got)], True)
  run(driver, Policy(), 8)
  assert driver.steps == len(GOLDEN['rows']) == 16
  assert got[:len(GOLDEN['got'])] == GOLDEN['got']
  for stream in range(2):
    expected = [{k: x for k, x in row.items() if k not in ('worker', 'extra')}
                for row in GOLDEN['rows'] if row['worker'] == stream]
    assert rows(replay, stream)[:8] == expected
    extra = [0 if row['is_last'] else row['extra'] for row in GOLDEN['rows']
             if row['worker'] == stream]  # What is forgotten is not stored.
    slots = replay.lanes.slots(
        np.full(8, stream), np.arange(8))
    records, good = replay.records.read(slots)
    assert replay.packed.decode(records, good)['extra'].tolist() == extra


def test_resets_that_take_none(tmp_path):
  driver, replay = make(tmp_path, [Env(2), Env(3)])
  run(driver, Policy(), 6)
  assert driver.steps == 12
  assert [x['t'] for x in rows(replay, 0)] == [0, 1, 2] * 3
  assert [x['t'] for x in rows(replay, 1)] == [0, 1, 2, 3] * 2
  assert [x['action'] for x in rows(replay, 1)] == [
      [1], [2], [3], [0], [4], [5], [6], [0]]


def test_a_row_is_there_as_soon_as_it_was_acted_on(tmp_path):
  driver, replay = make(tmp_path, [Env(5)])
  policy = Policy()
  for step in range(5):
    driver.send(policy)
    assert len(rows(replay, 0)) == step + 1
    driver.receive()
    assert len(rows(replay, 0)) == step + 1 + (step == 4)
  assert replay.episodes == 1


def test_lost_episodes_are_broken_off(tmp_path):
  """Their rows stay; a reset that fails loses none."""
  driver, replay = make(tmp_path, [Env(4, crash=(4, 5))])
  with pytest.warns(UserWarning, match='is restarted'):
    run(driver, Policy(), 8)
  found = rows(replay, 0)
  assert [x['t'] for x in found] == [0, 1, 2, 0, 1, 2, 3, 4, 0]
  assert [x['action'][0] for x in found] == [1, 2, 0, 4, 5, 6, 7, 0, 8]
  assert not any(x['is_last'] for x in found[:3])
  assert (driver.dropped, replay.episodes) == (1, 2)
  batch = replay.peek(40, 1, ['t', 'is_first', 'is_last'])
  assert batch['is_last'].any()


@pytest.mark.parametrize('count_resets', [False, True])
@pytest.mark.parametrize('steps', range(1, 9))
def test_resuming(tmp_path, steps, count_resets):
  """In the middle of episodes, at their ends, before a reset."""
  make_envs = lambda: [Env(2), Env(3), Env(4)]
  driver, whole = make(tmp_path / 'whole', make_envs(), count_resets)
  run(driver, Policy(), steps + 7)
  steps_in_all = driver.steps
  driver, replay = make(tmp_path / 'run', make_envs(), count_resets)
  policy = Policy()
  run(driver, policy, steps)
  state, kept = driver.state(), replay.state()
  replay.saved()
  run(driver, policy, 3)  # what a kill loses
  replay.close()
  driver, replay = make(tmp_path / 'run', make_envs(), count_resets)
  replay.restore(kept, unfinished(state))
  driver.restore(state)
  policy.calls = steps
  run(driver, policy, 7)
  assert driver.steps == steps_in_all
  for stream in range(3):
    assert rows(replay, stream) == rows(whole, stream)


@pytest.mark.parametrize('key', ['reward', 't'])
def test_an_environment_that_does_not_return(tmp_path, key):
  """Its episode ends where the checkpoint was."""
  driver, replay = make(tmp_path, [Env(9)])
  run(driver, Policy(), 4)
  state, kept = driver.state(), replay.state()

  class Other(Env):

    def receive(self):
      obs = super().receive()
      return {**obs, key: obs[key] + np.float32(self._time == 4)}

  replay.close()
  driver, replay = make(tmp_path, [Other(9)])
  replay.restore(kept, unfinished(state))
  with pytest.warns(UserWarning, match='did not return'):
    driver.restore(state)
  run(driver, Policy(), 2)
  assert [x['t'] for x in rows(replay, 0)] == [0, 1, 2, 3, 0, 1]
  assert replay.episodes == 1
