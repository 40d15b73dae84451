"""Episodes that are too short for a sequence: counted, told, let in."""

import warnings

import numpy as np
import pytest

from dreamer import npz
from dreamer.errors import UserError
from dreamer.replay.replay import Replay
from tests.support.replay_tools import episode, fill, pieces


def short(replay):
  return replay.stats()['short']


def told(function, *args):
  """The warnings of a call, as text."""
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter('always')
    function(*args)
  return [str(x.message) for x in caught]


@pytest.mark.filterwarnings('ignore:.*too short')
def test_counted_at_any_time(tmp_path):
  replay = fill(tmp_path, [60, 6, 6, 6, 6, 6])
  replay.sample(4, 50)
  assert short(replay) == 5
  replay.add(episode(6))
  assert short(replay) == 6  # right after one more, without a sample
  replay.add(episode(60))
  assert short(replay) == 6
  replay.sample(4, 6)
  assert short(replay) == 0


def test_counted_before_the_first_sample(tmp_path):
  replay = fill(tmp_path, [60, 6, 6], batch_length=50)
  assert short(replay) == 2
  assert short(Replay(tmp_path, 0, batch_length=50)) == 2
  assert short(Replay(tmp_path, 0, batch_length=60)) == 2
  assert short(Replay(tmp_path, 0, batch_length=60, starts='exclusive')) == 3


@pytest.mark.filterwarnings('ignore:.*too short')
def test_counted_when_episodes_leave(tmp_path):
  replay = fill(tmp_path, [6, 60, 6], batch_length=50,
                capacity_agent_steps=69)
  assert (short(replay), replay.episodes) == (2, 3)
  replay.add(episode(5))  # the first one leaves
  assert (short(replay), replay.episodes) == (2, 3)
  replay.add(episode(60))  # the long one, too
  assert (short(replay), replay.episodes) == (2, 3)


@pytest.mark.filterwarnings('ignore:.*too short')
@pytest.mark.parametrize('draw', ['uniform', 'permutation'])
def test_drawn_and_counted_as_by_a_full_search(tmp_path, draw):
  """While episodes of all lengths come and go."""
  rng = np.random.default_rng(0)
  replay = Replay(
      tmp_path, 0, episodes=draw, capacity_agent_steps=200, owner=True)
  replay.add(episode(40))
  for tag in range(1, 60):
    replay.add(episode(int(rng.integers(2, 40)), tag % 10))
    stored = [npz.read(tmp_path / x.decode())['reward']
              for x in replay.state()['names']]
    lengths = [len(x) for x in stored]
    if max(lengths) >= 20:
      tags = {x[0] for x in pieces(replay.sample(5, 20))}
      assert tags <= {int(x[0]) // 100 for x in stored if len(x) >= 20}
      assert short(replay) == sum(x < 20 for x in lengths)
  assert tag == 59 and len(lengths) < 30


def test_told_with_the_first_sample(tmp_path):
  replay = Replay(tmp_path, 0, batch_length=50)
  assert not told(lambda: [replay.add(episode(x)) for x in (60, 6, 60, 60)])
  message, = told(replay.sample, 4, 50)
  assert message.startswith(
      '1 of 4 episodes are too short for batch_length 50, with fewer than 49 '
      'agent steps, and are not learned from; ')
  assert message.endswith('lower it')  # the only remedy without pieces
  assert not told(lambda: [replay.sample(4, 50) for _ in range(3)])


def test_told_again_only_when_most_are(tmp_path):
  replay = fill(tmp_path, [60, 60, 60, 6], batch_length=50)
  assert len(told(replay.sample, 4, 50)) == 1
  add = lambda amount: [replay.add(episode(6)) for _ in range(amount)]
  assert not told(add, 2)
  assert not told(replay.sample, 4, 50)
  add(3)  # 6 of 9
  assert '6 of 9 ' in told(replay.sample, 4, 50)[0]
  assert not told(add, 30)
  assert not told(replay.sample, 4, 50)


def test_told_while_prefilling(tmp_path):
  """A long prefill doesn't hide it: the tenth episode is soon enough."""
  replay = Replay(tmp_path, 0, batch_length=50)
  found = told(lambda: [replay.add(episode(6)) for _ in range(30)])
  assert len(found) == 1 and '10 of 10 episodes' in found[0]


@pytest.mark.parametrize('least, remedy', [
    (0, 'lower it, or set replay.min_length to 1'),
    (20, 'lower it, 1 lets all in')])
def test_remedy_where_sequences_have_pieces(tmp_path, least, remedy):
  replay = Replay(tmp_path, 0, min_length=least)
  for rows in (60, 6):
    replay.add(episode(rows))
  message, = told(replay.sample, 4, 30)
  key = f'replay.min_length {least}' if least else 'batch_length 30'
  assert f'1 of 2 episodes are too short for {key}, ' in message
  assert remedy in message
  with pytest.raises(UserError, match=remedy):
    other = Replay(tmp_path / 'other', 0, min_length=least)
    other.add(episode(6))
    other.sample(4, 30)


def test_min_length_1_lets_all_in(tmp_path):
  """19 of 20 fail after 4 steps; with pieces, failures are learned from."""
  replay = Replay(tmp_path, 0, min_length=1, batch_length=10)
  for number in range(40):
    fails = number % 20 > 0
    replay.add(episode(5 if fails else 31, number % 9, terminal=fails))
  assert not told(replay.sample, 4, 10)
  assert (replay.episodes, short(replay)) == (40, 0)
  batch = replay.sample(400, 10)
  found = pieces(batch, going_on=True)
  lengths = [rows for _, first, rows in found[1:-1]]
  assert set(lengths) == {5, 10}  # whole short ones, whole sequences
  share = np.mean(np.array(lengths) == 5)
  assert 0.9 < share < 0.99  # by episode: 38 of 40
  ends = batch['is_terminal'].reshape(-1)
  first = batch['is_first'].reshape(-1)
  assert 600 < ends.sum() and first[1:][ends[:-1]].all()
  # No sequence goes on over an end without a reset.
  seams = np.flatnonzero(np.diff(batch['reward'].reshape(-1)) != 1) + 1
  assert first[seams].all()


@pytest.mark.filterwarnings('ignore:.*too short')
def test_refused_episodes_are_part_of_the_count(tmp_path):
  replay = Replay(tmp_path, 0, min_length=20, batch_length=20)
  for rows in (30, 20, 5):
    replay.add(episode(rows))
  assert (replay.episodes, short(replay)) == (1, 2)
  message, = told(replay.sample, 2, 20)
  assert message.startswith(
      '2 of 3 episodes are too short for replay.min_length 20, with fewer '
      'than 20 agent steps')
  other = Replay(tmp_path, 0, min_length=20, batch_length=20)
  other.restore(replay.state())
  assert short(other) == 2
