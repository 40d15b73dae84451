"""Replay as DreamerV2 uses it: pieces, capacity, episodes without images."""

import functools
import json
import os
import pathlib

import numpy as np
import pytest

from dreamer.config.schema import Schema
from dreamer.envs import make_envs
from dreamer.errors import UserError
from dreamer.replay import sampling
from dreamer.replay.replay import Replay
from dreamer.run import checkpoint, resume, training
from dreamer.run.stop import Stop
from tests.parity import replay as parity_replay
from tests.support import GOLDEN
from tests.support.fakes import FakeAgent
from tests.support.replay_tools import (
    episode,
    equal,
    fill,
    names,
    pieces,
    proprio,
    starts,
)

MISC = GOLDEN / 'v2_misc'


@pytest.mark.parametrize('name', parity_replay.FUNCTIONS)
def test_same_as_the_release(name):
  """Seeded as the release, all numbers are those of the release."""
  data = json.loads((MISC / name).read_text())
  expected, arrays = parity_replay.FUNCTIONS[name](data)
  assert len(expected) >= 4
  for key, value in expected.items():
    np.testing.assert_array_equal(arrays[key], value, err_msg=key)


# Pieces

@pytest.mark.parametrize('memory', [1.0, 1e-9])
@pytest.mark.parametrize('start', sampling.STARTS)
def test_pieces_of_changing_length(tmp_path, memory, start):
  lengths = [12, 30, 9, 17]
  replay = fill(tmp_path, lengths, starts=start, memory_gb=memory,
                min_length=6, max_length=14)
  batch = replay.sample(200, 10)
  found = pieces(batch)
  assert len(found) > 150
  assert {tag for tag, _, _ in found} == {0, 1, 2, 3}
  assert all(first + rows <= lengths[tag] for tag, first, rows in found)
  amounts = [rows for _, _, rows in found[:-1]]
  assert set(amounts) <= set(range(6, 15)) and len(set(amounts)) > 5
  # Seams are everywhere, and rows that begin without one.
  assert all(batch['is_first'].any(0))
  assert 100 < np.sum(~batch['is_first'][:, 0]) < 190
  unused = [tag for tag, first, rows in found if first + rows < lengths[tag]]
  assert start != 'exclusive' or len(unused) == len(found)


def test_one_stream_whatever_the_batches(tmp_path):
  replay = fill(tmp_path, [12, 30, 9], min_length=4, max_length=25)
  whole = replay.sample(12, 7)
  replay = Replay(tmp_path, 0, min_length=4, max_length=25)
  parts = [replay.sample(x, 7) for x in (1, 5, 2, 4)]
  equal(whole, {
      k: np.concatenate([x[k] for x in parts]) for k in parts[0]})
  assert any(not x['is_first'][0, 0] for x in parts)


def test_lengths_of_pieces(tmp_path):
  """max(4, min(20, 10) - u), u uniform in 0..3: 7, 8, 9 or 10."""
  replay = fill(tmp_path, [20], min_length=4, max_length=10)
  found = pieces(replay.sample(4000, 10))[:-1]
  share = np.bincount([x[2] for x in found]) / len(found)
  np.testing.assert_allclose(share[7:], 0.25, atol=0.03)
  assert len(share) == 11 and not share[:7].any()


def test_pieces_longer_than_their_episode_would_be(tmp_path):
  """max(4, min(6, 10) - u), u in 0..3: 6 and 5 once, 4 twice."""
  replay = fill(tmp_path, [6], min_length=4, max_length=10)
  found = pieces(replay.sample(4000, 10))[:-1]
  share = np.bincount([x[2] for x in found]) / len(found)
  np.testing.assert_allclose(share, [0, 0, 0, 0, .5, .25, .25], atol=0.03)


def test_by_default_a_sequence_is_one_piece(tmp_path):
  replay = fill(tmp_path, [20, 30], starts='prioritize_ends')
  batch = replay.sample(300, 8)
  np.testing.assert_array_equal(
      batch['is_first'], np.broadcast_to(np.arange(8) == 0, (300, 8)))
  assert {x[2] for x in pieces(batch)} == {8}
  assert 'rest' in replay.state() and not len(replay.state()['rest'])


def test_prioritized_ends(tmp_path):
  """20 rows, 16 of a piece: the last start counts 16 times more."""
  replay = fill(tmp_path, [20], starts='prioritize_ends')
  _, rows = starts(replay.sample(8000, 16))
  share = np.bincount(rows, minlength=6) / 8000
  np.testing.assert_allclose(
      share, np.array([1, 1, 1, 1, 17, 0]) / 21, atol=0.02)


def test_short_episodes_are_not_stored(tmp_path):
  """An episode of 50 steps, 51 rows, is the shortest, as in the release."""
  replay = Replay(tmp_path, 0, min_length=50, max_length=50)
  assert replay.add(episode(50)) is None
  assert replay.add(episode(30)) is None
  assert replay.add(episode(51)) is not None
  assert (replay.episodes, replay.steps) == (1, 50)
  assert replay.stats()['short'] == 2
  assert len(os.listdir(tmp_path)) == 1
  other = Replay(tmp_path, 0, min_length=50, max_length=50)
  other.restore(replay.state())
  assert other.stats()['short'] == 2
  with pytest.warns(UserWarning, match='2 of 3 episodes .*min_length 50'):
    assert replay.sample(3, 50)['reward'].shape == (3, 50)


def test_short_episodes_that_are_there_are_not_used(tmp_path):
  fill(tmp_path, [12, 11])
  replay = Replay(tmp_path, 0, min_length=11, max_length=11)
  with pytest.warns(UserWarning, match='1 of 2 episodes .* 11 agent steps'):
    replay.sample(1, 11)
  assert {x[0] for x in pieces(replay.sample(50, 11))} == {0}
  assert replay.stats()['short'] == 1
  replay = Replay(tmp_path, 0, min_length=12)
  with pytest.raises(UserError, match='min_length 12: none of 2 .* 12 rows'):
    replay.sample(1, 12)


def test_lengths_that_contradict_each_other(tmp_path):
  replay = fill(tmp_path, [30], min_length=20, max_length=10)
  with pytest.raises(UserError, match='min_length: 20 and .*max_length: 10'):
    replay.sample(2, 5)
  replay = Replay(tmp_path, 0, max_length=4)
  with pytest.raises(UserError, match='0 stands for batch_length, 5'):
    replay.sample(2, 5)


def test_damage_between_pieces(tmp_path):
  replay = fill(tmp_path, [40, 40, 40], memory_gb=1e-9, min_length=5,
                max_length=30)
  replay.sample(3, 10)
  path = sorted(tmp_path.iterdir())[1]
  path.write_bytes(path.read_bytes()[:1000])
  with pytest.warns(UserWarning, match='is damaged'):
    batch = replay.sample(60, 10)
  assert {x[0] for x in pieces(batch, going_on=True)} == {0, 2}


# Capacity

def test_the_oldest_leave(tmp_path):
  replay = Replay(tmp_path, 0, capacity_agent_steps=45, owner=True)
  kept = []
  for tag, rows in enumerate([21, 21, 11, 2, 60, 5]):
    replay.add(episode(rows, tag))
    kept.append((replay.episodes, replay.steps))
  # Steps 20; 40; 50 without 20; 31; 59 alone; 4 without 59.
  assert kept == [(1, 20), (2, 40), (2, 30), (3, 31), (1, 59), (1, 4)]
  assert {x[0] for x in pieces(replay.sample(20, 5))} == {5}
  assert len(names(tmp_path)) == 1
  assert replay.stats()['memory_gb'] == sum(
      x.nbytes for x in episode(5).values()) / 1e9


def test_capacity_is_inclusive(tmp_path):
  replay = fill(tmp_path, [21, 21], capacity_agent_steps=40)
  assert replay.episodes == 2
  replay.add(episode(2, 2))
  assert replay.episodes == 2


def test_files_are_deleted_when_no_checkpoint_needs_them(tmp_path):
  replay = Replay(tmp_path, 0, capacity_agent_steps=40, owner=True)
  there = lambda: len(names(tmp_path)) + len(names(tmp_path / 'evicted'))
  for tag in range(3):
    replay.add(episode(21, tag))
  replay.saved()  # A: knows 1 and 2; 0 has left before
  assert there() == 3
  replay.add(episode(21, 3))
  replay.saved()  # B: knows 2 and 3; A needs 1
  assert there() == 3
  replay.saved()  # B again, say at the end of a run
  assert there() == 3
  replay.add(episode(21, 4))
  assert there() == 4
  replay.saved()  # C: knows 3 and 4; B needs 2
  assert there() == 3
  assert names(tmp_path) == [x.decode() for x in replay.state()['names']]


def test_nothing_else_is_deleted(tmp_path):
  (tmp_path / 'notes.txt').write_text('mine')
  (tmp_path / 'evicted').mkdir()
  (tmp_path / 'evicted' / 'notes.txt').write_text('mine')
  replay = Replay(tmp_path, 0, capacity_agent_steps=20, owner=True)
  for tag in range(6):
    replay.add(episode(21, tag))
    replay.saved()
  assert (tmp_path / 'notes.txt').exists()
  assert (tmp_path / 'evicted' / 'notes.txt').exists()
  assert len(names(tmp_path)) == 1


SETTINGS = [
    {}, {'episodes': 'permutation'},
    {'min_length': 4, 'max_length': 16, 'starts': 'prioritize_ends'}]


@pytest.mark.parametrize('settings', SETTINGS)
@pytest.mark.parametrize('memory', [1.0, 1e-9])
@pytest.mark.parametrize('back', [0, 1])
def test_resume_is_exact_after_a_kill(tmp_path, settings, memory, back):
  """From the newest of two checkpoints, or the one before it.

  What left the store since then must come back, what came must go.
  """
  settings = {**settings, 'capacity_agent_steps': 60}

  def play(replay, tags):
    found = []
    for tag in tags:
      found += [replay.sample(3, 8), replay.sample(1, 8)]
      found.append(replay.add(episode(16 + tag % 4, tag)).name.split('-')[1])
    return found, replay.sample(5, 8)

  replay = fill(tmp_path, [20] * 3, **settings)
  states, later = [], []
  for tags in (range(3, 6), range(6, 9), range(9, 12)):
    states.append({k: np.array(v) for k, v in replay.state().items()})
    replay.saved()
    later.append(play(replay, tags))
  # Here it is killed. Checkpoints 1 and 2 exist, 0 has been deleted.
  replay = Replay(tmp_path, 0, memory_gb=memory, owner=True, **settings)
  with pytest.warns(UserWarning, match='after_checkpoint') as warned:
    replay.restore(states[2 - back])
  assert len(warned) == 1
  assert names(tmp_path) == [
      x.decode() for x in states[2 - back]['names']]
  for tags, expected in list(zip(
      (range(3, 6), range(6, 9), range(9, 12)), later))[2 - back:]:
    found, last = play(replay, tags)
    for left, right in zip(found, expected[0]):
      assert left == right if isinstance(left, str) else not equal(left, right)
    equal(last, expected[1])
    replay.state()
    replay.saved()


def test_a_piece_ends_when_its_episode_leaves(tmp_path):
  replay = fill(tmp_path, [60], min_length=40, max_length=50,
                capacity_agent_steps=60)
  assert replay.sample(1, 8)['is_first'][0, 0]
  assert not replay.sample(1, 8)['is_first'].any()
  replay.add(episode(60, 1))
  batch = replay.sample(1, 8)
  assert batch['is_first'][0, 0] and starts(batch)[0] == 1
  assert replay.stats()['damaged'] == 0


# What episodes hold

@pytest.mark.parametrize('memory', [1.0, 1e-9])
def test_without_images(tmp_path, memory):
  replay = Replay(tmp_path, 0, memory_gb=memory)
  for tag in range(2):
    replay.add(proprio(20, tag))
  replay = Replay(tmp_path, 0, memory_gb=memory)
  assert set(replay.sample(2, 5)) == {
      'action', 'reward', 'discount', 'is_first', 'is_last', 'is_terminal'}
  keys = ('ram', 'speed', 'height', 'reward')
  batch = replay.sample(6, 5, keys)
  assert tuple(batch) == keys
  assert batch['ram'].dtype == np.uint8 and batch['ram'].shape == (6, 5, 128)
  assert batch['height'].dtype == np.float32
  np.testing.assert_array_equal(batch['height'], batch['reward'] / 2)
  np.testing.assert_array_equal(batch['speed'][..., 2], batch['reward'])
  with pytest.raises(UserError, match='no image; it holds action, .* ram'):
    replay.sample(2, 5, ('image',))


def test_images_in_all_episodes_or_in_none(tmp_path):
  replay = fill(tmp_path, [20])
  with pytest.raises(UserError, match='no image, others .* one task only'):
    replay.add(proprio(20, 1))
  assert replay.episodes == 1 and len(os.listdir(tmp_path)) == 1
  Replay(tmp_path / 'other', 1).add(proprio(20, 1))
  path, = (tmp_path / 'other').iterdir()
  path.rename(tmp_path / path.name.replace('2', '3', 1))
  with pytest.raises(UserError, match='has no image; it holds'):
    Replay(tmp_path, 0)


@pytest.mark.parametrize('channels', [1, 3, 4])
def test_any_number_of_channels(tmp_path, channels):
  arrays = episode(20)
  arrays['image'] = np.arange(20 * 64 * channels, dtype=np.uint8).reshape(
      20, 8, 8, channels)
  replay = Replay(tmp_path, 0, memory_gb=1e-9)
  replay.add(arrays)
  batch = replay.sample(4, 5)
  for row, first in enumerate(starts(batch)[1]):
    np.testing.assert_array_equal(
        batch['image'][row], arrays['image'][first: first + 5])


def test_recordings_of_the_release(tmp_path):
  """It names a file by its steps, and records no discount."""
  arrays = episode(20, terminal=True)
  del arrays['discount']
  np.savez_compressed(tmp_path / f'20210101T000000-{"a" * 32}-19.npz', **arrays)
  replay = Replay(tmp_path, 0)
  assert (replay.episodes, replay.steps) == (1, 19)
  batch = replay.sample(300, 5)
  np.testing.assert_array_equal(batch['discount'], ~batch['is_terminal'])
  assert batch['is_terminal'].any()


# Runs

def make_config(folder, **overrides):
  """A tiny run whose store is full after four episodes."""
  return Schema.load('configs/dreamerv2.yaml').config(['debug'], {
      'task': 'dummy_continuous', 'logdir': str(folder / 'run'),
      'envs.worker': 'inline', 'action_repeat': 2, 'steps': 900,
      'prefill': 130, 'prefill_end': 'glue', 'pretrain_updates': 3,
      'train_every': 20, 'train_updates': 1, 'save_every': 170,
      'log_every': 50, 'eval_every': 0, 'video_every': 0, 'batch_length': 10,
      'replay.min_length': 5, 'replay.max_length': 17,
      'replay.capacity_agent_steps': 170, **overrides})


def run(config, **agent):
  make = functools.partial(FakeAgent, **agent)
  training.train(config, 'fake', make, make_envs, Stop())
  return resume.checkpoints(config.logdir).load()[0]


def assert_same(left, right):
  assert left.keys() == right.keys()
  left, right = dict(left), dict(right)
  for arrays in (left, right):  # names hold the clock
    arrays['replay/names'] = np.array([
        x.split(b'-', 1)[1] for x in arrays['replay/names']])
  for key, value in left.items():
    np.testing.assert_array_equal(value, right[key], key)


def test_a_run_in_parts(tmp_path):
  whole = run(make_config(tmp_path / 'whole'))
  assert len(whole['replay/names']) == 3 and whole['replay/counter'] == 8
  assert len(whole['replay/rest'])
  # The prefill ends at 130, and at 230 the episode it is glued to.
  for steps in (110, 140, 200, 530, 560, 900):
    parts = run(make_config(tmp_path / 'parts', steps=steps))
    assert bool([k for k in parts if k.startswith('glue/')]) == (
        steps in (140, 200))
  assert_same(whole, parts)


def test_a_run_after_a_kill(tmp_path, monkeypatch):
  """kill -9 just before a checkpoint, long after the one before it."""
  whole = run(make_config(tmp_path / 'whole'))
  config = make_config(tmp_path / 'killed')
  save = checkpoint.Checkpoints.save
  killed = []

  class Killed(Exception):
    pass

  def kill(self, arrays, meta):
    if meta['env_steps'] in (680, 850) and meta['env_steps'] not in killed:
      killed.append(meta['env_steps'])
      raise Killed
    return save(self, arrays, meta)
  monkeypatch.setattr(checkpoint.Checkpoints, 'save', kill)
  folder = pathlib.Path(config.logdir, 'episodes')
  for _ in range(2):
    with pytest.raises(Killed):
      run(config)
    before = {x.split('-')[1] for x in saved_names(config)}
    there = [x.split('-')[1] for x in names(folder)]
    # Two came since the last checkpoint, and two left.
    assert len(set(there) - before) == 2
    assert len(before - set(there)) == 2
  assert_same(whole, run(config))
  assert len(names(folder / 'after_checkpoint')) == 4


def saved_names(config):
  arrays, _ = resume.checkpoints(config.logdir).load()
  return [x.decode() for x in arrays['replay/names']]
