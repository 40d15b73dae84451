"""Batches drawn ahead are those that would have been drawn later."""

import threading

import numpy as np
import pytest

from dreamer.errors import UserError
from dreamer.replay.prefetch import Prefetch
from dreamer.replay.replay import Replay
from tests.support.stream_tools import Feeder
from tests.support.stream_tools import make as make_streams


def episode(value, steps=12):
  rows = np.arange(steps + 1, dtype=np.float32)
  return {'action': np.stack([rows, np.full_like(rows, value)], 1),
          'reward': rows + 100 * value, 'discount': np.ones_like(rows)}


KINDS = [{}, {'episodes': 'permutation'},
         {'min_length': 3, 'max_length': 6},
         {'episodes': 'permutation', 'capacity_agent_steps': 50}]


def history(replay, seed):
  """Samples, additions, pictures, states in any order; what they gave."""
  rng, found = np.random.default_rng(seed), []
  peek = getattr(replay, 'peek', None) or replay.sample
  for number in range(3):
    replay.add(episode(number))
  for number in range(3, 60):
    what = rng.integers(6)
    if what == 0:
      replay.add(episode(number, int(rng.integers(5, 15))))
    elif what == 1:
      state = replay.state()
      found.append(peek(1, 4))
      if not isinstance(replay, Prefetch):
        replay.restore(state)
    elif what == 2:
      state = replay.state()
      found.append({key: state[key] for key in ('rng', 'rest', 'order')})
    elif what == 3:
      replay.restore(replay.state())
    else:
      found.append(replay.sample(*((3, 4) if rng.integers(4) else (2, 5))))
  return found


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('seed', range(5))
def test_the_same_batches(kind, seed, tmp_path):
  plain = history(Replay(tmp_path / 'a', 7, owner=True, **kind), seed)
  ahead = Prefetch(Replay(tmp_path / 'b', 7, owner=True, **kind))
  found = history(ahead, seed)
  ahead.close()
  assert len(plain) == len(found) > 20
  for one, two in zip(plain, found, strict=True):
    assert one.keys() == two.keys()
    for key, value in one.items():
      np.testing.assert_array_equal(value, two[key], err_msg=key)


def test_it_is_drawn_and_put_beside_the_use_of_the_last(tmp_path):
  threads, done = [], threading.Event()

  def put(batch):
    threads.append(threading.current_thread())
    if len(threads) == 2:
      done.set()
    return {'put': batch['reward']}

  replay = Prefetch(Replay(tmp_path, 0, owner=True), put)
  replay.add(episode(0))
  assert set(replay.sample(2, 4)) == {'put'}
  assert done.wait(10)  # without another call
  assert threads[0] is threading.main_thread() is not threads[1]
  replay.sample(2, 4)
  replay.close()
  assert not threads[1].is_alive()


def test_an_error_comes_when_its_batch_is_due(tmp_path):
  """And not at all where an episode comes in between."""
  calls = []

  def put(batch):
    calls.append(batch)
    if len(calls) in (2, 4):
      raise UserError('disk on fire')
    return batch

  replay = Prefetch(Replay(tmp_path, 0, owner=True), put)
  replay.add(episode(0))
  replay.sample(2, 4)
  with pytest.raises(UserError, match='disk on fire'):
    replay.sample(2, 4)
  replay.sample(2, 4)
  replay.add(episode(1))
  assert len(calls) == 4
  replay.sample(2, 4)
  replay.close()


class Plain:
  """A replay of streams as Prefetch offers it, without a batch ahead."""

  def __init__(self, replay):
    self.replay = replay

  def __getattr__(self, name):
    return getattr(self.replay, name)

  def sample(self, batch, length, ahead):
    return self.replay.sample(batch, length)

  def refresh(self, new):
    self.replay.refresh(self.replay.drawn, new)


def streams(replay, seed):
  """As `history`, of a replay that sees rows and takes states back."""
  rng, found = np.random.default_rng(seed), []
  feeders = [Feeder(replay, x) for x in range(2)]
  for _ in range(12):
    for feeder in feeders:
      feeder(not feeder.rows)
  for _ in range(80):
    what, ahead = rng.integers(7), bool(rng.integers(2))
    if what == 0:
      feeder = feeders[rng.integers(2)]
      first = not feeder.rows
      feeder(first, not first and rng.random() < 0.2)
    elif what == 1:
      found.append(replay.peek(2, 4))
    elif what == 2:
      state = replay.state()
      replay.saved()
      found.append({key: state[key] for key in ('rng', 'queue', 'slots')})
    else:
      found.append(replay.sample(3, 4, ahead=ahead))
      if what > 3:
        replay.refresh({'deter': rng.random((3, 4, 2), np.float32),
                        'stoch': rng.integers(0, 4, (3, 4, 3))})
  return found


@pytest.mark.parametrize('kind', [{}, {'consec': 2}, {'capacity': 20}])
@pytest.mark.parametrize('seed', range(3))
def test_the_same_of_streams(kind, seed, tmp_path):
  """What was stored is as the last update left it."""
  plain = streams(Plain(make_streams(tmp_path / 'a', **kind)), seed)
  ahead = Prefetch(make_streams(tmp_path / 'b', **kind))
  found = streams(ahead, seed)
  ahead.close()
  assert len(plain) == len(found) > 40
  for one, two in zip(plain, found, strict=True):
    assert one.keys() == two.keys()
    for key, value in one.items():
      np.testing.assert_array_equal(value, two[key], err_msg=key)
