"""Replay: what is stored is what is drawn, and how it is drawn."""

import datetime
import errno
import io
import os
import pathlib
import time
import zipfile

import numpy as np
import pytest

from dreamer.errors import UserError
from dreamer.replay import episodes as eps
from dreamer.replay import sampling
from dreamer.replay.memory import Memory
from dreamer.replay.replay import Replay
from tests.support.replay_tools import (
  check_rows,
  episode,
  equal,
  fill,
  starts,
)

# Files

def test_names_as_the_releases_read_them(tmp_path):
  replay = Replay(tmp_path, 5)
  path = replay.add(episode(7))
  stamp, ident, length = path.name.removesuffix('.npz').split('-')
  datetime.datetime.strptime(stamp, '%Y%m%dT%H%M%S')
  assert int(ident, 16) < 2 ** 128 and len(ident) == 32
  assert length == '7'
  assert int(str(path).split('-')[-1][:-4]) - 1 == replay.steps == 6


def test_files_hold_the_keys_of_both_releases(tmp_path):
  path = Replay(tmp_path, 0).add(episode(7, terminal=True))
  with np.load(path, allow_pickle=False) as data:
    stored = {k: data[k] for k in data.files}
  equal(stored, episode(7, terminal=True))


@pytest.mark.parametrize('memory', [1.0, 1e-9])
def test_observations_of_any_name_stay_numbers(tmp_path, memory):
  """Also one that begins like our flags, or is called as inside a folder."""
  replay = Replay(tmp_path, 0, memory_gb=memory)
  vectors = {name: np.linspace(0, 1, 14, dtype=np.float32).reshape(7, 2)
             for name in ('is_open', 'obs/reward', 'obs/image', 'arm/angle')}
  replay.add({**episode(7), **vectors})
  batch = replay.sample(1, 7, ('reward', 'image', *vectors))
  for name, value in vectors.items():
    assert batch[name].dtype == np.float32
    np.testing.assert_array_equal(batch[name][0], value)
  np.testing.assert_array_equal(batch['reward'][0], episode(7)['reward'])


def test_ids_depend_on_seed_and_count_only(tmp_path):
  idents = []
  for seed, folder in [(1, 'a'), (1, 'b'), (2, 'c')]:
    replay = Replay(tmp_path / folder, seed)
    paths = [replay.add(episode(5)) for _ in range(3)]
    idents.append([x.name.split('-')[1] for x in paths])
  assert idents[0] == idents[1]
  assert len({*idents[0], *idents[2]}) == 6


def test_names_sort_as_inserted_even_if_the_clock_jumps(tmp_path, monkeypatch):
  clock = iter([100, 100, 5, 5, 200, 199, 10 ** 9])
  gmtime = time.gmtime
  monkeypatch.setattr(
      time, 'gmtime', lambda *x: gmtime(*x) if x else gmtime(next(clock)))
  foreign = f'20010101T000000-{"f" * 32}-5.npz'
  np.savez(tmp_path / foreign, **episode(5))
  replay = Replay(tmp_path, 0)
  names = [replay.add(episode(5)).name for _ in range(7)]
  assert sorted([foreign, *names]) == [foreign, *names]


def test_floats_become_float32_and_missing_keys_are_added(tmp_path):
  full = episode(6, terminal=True)
  given = {k: full[k] for k in ('image', 'action', 'reward', 'discount')}
  given['reward'] = given['reward'].astype(np.float64)
  path = Replay(tmp_path, 0).add(given)
  with np.load(path) as data:
    stored = {k: data[k] for k in data.files}
  full.pop('speed')
  equal(stored, full)


def recorded(release, tag, half, compressed, folder):
  """What danijar/dreamer (1) or danijar/dreamerv2 (2) would have written."""
  full = episode(20, tag, terminal=True)
  keys = {1: ('discount',), 2: ('is_first', 'is_last', 'is_terminal')}
  arrays = {
      k: full[k]
      for k in ('image', 'action', 'reward', 'speed', *keys[release])}
  if half:
    arrays = {k: v.astype(np.float16) if v.dtype == np.float32 else v
              for k, v in arrays.items()}
  save = np.savez_compressed if compressed else np.savez
  name = f'2020010{tag + 1}T000000-{tag:032x}-20.npz'
  with (pathlib.Path(folder) / name).open('wb') as file:
    save(file, **arrays)
  return full


@pytest.mark.parametrize('release', [1, 2])
@pytest.mark.parametrize('half', [False, True])
@pytest.mark.parametrize('compressed', [False, True])
@pytest.mark.parametrize('memory', [1.0, 1e-9])
def test_recorded_runs(tmp_path, release, half, compressed, memory):
  full = [recorded(release, x, half, compressed, tmp_path) for x in (0, 1)]
  replay = Replay(tmp_path, 0, memory_gb=memory)
  assert (replay.episodes, replay.steps) == (2, 38)
  keys = (*eps.KEYS, 'speed')
  batch = replay.sample(20, 5, keys)
  check_rows(batch, full, keys)


def test_reopened_from_disk(tmp_path, monkeypatch):
  names = fill(tmp_path, [10, 20, 30]).state()['names']
  glob = pathlib.Path.glob
  monkeypatch.setattr(
      pathlib.Path, 'glob', lambda *x: sorted(glob(*x), reverse=True))
  replay = Replay(tmp_path, 0)
  assert (replay.episodes, replay.steps) == (3, 57)
  np.testing.assert_array_equal(replay.state()['names'], names)


def test_disk_full_adds_nothing(tmp_path, monkeypatch):
  replay = fill(tmp_path, [10])

  def full(handle):
    raise OSError(errno.ENOSPC, 'No space left on device')
  monkeypatch.setattr(os, 'fsync', full)
  with pytest.raises(UserError, match='disk full'):
    replay.add(episode(10, 1))
  monkeypatch.undo()
  assert (replay.episodes, replay.steps) == (1, 9)
  assert len(os.listdir(tmp_path)) == 1
  replay.add(episode(10, 1))
  assert Replay(tmp_path, 0).episodes == 2


def test_one_task_per_folder(tmp_path):
  replay = fill(tmp_path, [10])
  other = episode(10)
  other['action'] = np.zeros((10, 5), np.float32)
  with pytest.raises(UserError, match='action of .* is float32 .2.'):
    replay.add(other)
  assert len(os.listdir(tmp_path)) == 1
  Replay(tmp_path / 'other', 1).add(other)
  for path in (tmp_path / 'other').iterdir():
    path.rename(tmp_path / path.name)
  with pytest.raises(UserError, match='one task'):
    Replay(tmp_path, 0)


# Sampling

@pytest.mark.parametrize('memory', [1.0, 1e-9])
@pytest.mark.parametrize('draw', sampling.EPISODES)
@pytest.mark.parametrize('start', sampling.STARTS)
def test_sequences_are_pieces_of_episodes(tmp_path, memory, draw, start):
  lengths = [12, 30, 9, 17]
  replay = fill(
      tmp_path, lengths, episodes=draw, starts=start, memory_gb=memory)
  full = [episode(x, tag) for tag, x in enumerate(lengths)]
  keys = (*eps.KEYS, 'speed')
  batch = replay.sample(50, 8, keys)
  check_rows(batch, full, keys)
  assert batch['image'].shape == (50, 8, 4, 4, 3)
  assert all(x.flags.c_contiguous for x in batch.values())
  assert set(replay.sample(2, 8)) == set(eps.KEYS)


def test_memory_and_disk_give_the_same_batches(tmp_path):
  fill(tmp_path, [12, 30, 9])
  batches = [
      Replay(tmp_path, 3, memory_gb=x).sample(30, 8) for x in (1.0, 1e-9)]
  equal(*batches)


def test_batches_are_not_overwritten(tmp_path):
  replay = fill(tmp_path, [30, 30])
  first = replay.sample(4, 5)
  copy = {k: v.copy() for k, v in first.items()}
  replay.sample(4, 5)
  equal(first, copy)


def test_seed(tmp_path):
  fill(tmp_path, [30, 30])
  rows = [starts(Replay(tmp_path, x).sample(20, 5)) for x in (1, 1, 2)]
  np.testing.assert_array_equal(rows[0], rows[1])
  assert not np.array_equal(rows[0], rows[2])


def frequencies(replay, amount, length, total):
  _, rows = starts(replay.sample(amount, length))
  return np.bincount(rows, minlength=total) / amount


def test_inclusive_starts(tmp_path):
  freq = frequencies(fill(tmp_path, [20]), 8000, 16, 6)
  assert len(freq) == 6  # rows 0..4, none beyond
  np.testing.assert_allclose(freq, [.2, .2, .2, .2, .2, 0], atol=0.02)


def test_exclusive_starts_never_draw_the_last(tmp_path):
  freq = frequencies(fill(tmp_path, [20], starts='exclusive'), 8000, 16, 6)
  np.testing.assert_allclose(freq, [.25, .25, .25, .25, 0, 0], atol=0.02)
  assert freq[4] == 0


def test_balanced_starts_favour_the_end(tmp_path):
  freq = frequencies(fill(tmp_path, [20], starts='balanced'), 8000, 16, 6)
  np.testing.assert_allclose(freq, [.05, .05, .05, .05, .8, 0], atol=0.02)


def test_uniform_is_by_episode_not_by_step(tmp_path):
  tags, _ = starts(fill(tmp_path, [10, 90, 10]).sample(6000, 10))
  np.testing.assert_allclose(np.bincount(tags) / 6000, 1 / 3, atol=0.03)


def test_permutation_uses_all_equally(tmp_path):
  replay = fill(tmp_path, [20] * 7, episodes='permutation')
  tags, _ = starts(replay.sample(70, 10))
  orders = tags.reshape(10, 7)
  assert all(sorted(x) == list(range(7)) for x in orders)
  assert len({tuple(x) for x in orders}) > 5


def test_permutation_rereads_after_1000_draws(tmp_path):
  replay = fill(tmp_path, [20, 20, 20], episodes='permutation')
  replay.sample(10, 10)
  replay.add(episode(20, 3))
  tags, _ = starts(replay.sample(990, 10))
  assert set(tags) == {0, 1, 2}
  tags, _ = starts(replay.sample(4, 10))
  assert sorted(tags) == [0, 1, 2, 3]


def test_permutation_ends_are_cut_at_the_reread(tmp_path):
  replay = fill(tmp_path, [20] * 7, episodes='permutation')
  replay.sample(1000, 10)  # 142 permutations and 6 of 7
  tags, _ = starts(replay.sample(7, 10))
  assert sorted(tags) == list(range(7))


@pytest.mark.parametrize('draw', sampling.EPISODES)
def test_short_episodes_are_left_out_and_counted(tmp_path, draw):
  lengths = [9, 10, 11, 12]
  replay = fill(tmp_path, lengths, episodes=draw)
  with pytest.warns(UserWarning, match='2 of 4 .* fewer than 10 agent steps'):
    tags, _ = starts(replay.sample(300, 11))
  assert set(tags) == {2, 3}
  assert replay.stats()['short'] == 2
  replay = Replay(tmp_path, 0, episodes=draw, starts='exclusive')
  with pytest.warns(UserWarning, match='3 of 4 .* fewer than 11 agent steps'):
    tags, _ = starts(replay.sample(300, 11))
  assert set(tags) == {3}
  assert replay.stats()['short'] == 3
  replay.sample(3, 5)
  assert replay.stats()['short'] == 0


@pytest.mark.parametrize('start, longest', [
    ('inclusive', 10), ('balanced', 10), ('exclusive', 9)])
def test_too_long_sequences(tmp_path, start, longest):
  replay = fill(tmp_path, [10, 8], starts=start)
  with pytest.warns(UserWarning, match='1 of 2 episodes are too short'):
    replay.sample(2, longest)
  with pytest.raises(UserError, match='batch_length 11: .* has 10 rows'):
    replay.sample(2, 11)
  with pytest.raises(UserError, match='batch_length'):
    replay.sample(2, longest + 1)


def test_empty_folder(tmp_path):
  with pytest.raises(UserError, match='none of 0 episodes'):
    Replay(tmp_path, 0).sample(2, 3)


@pytest.mark.parametrize('memory', [1.0, 1e-9])
def test_unknown_vector(tmp_path, memory):
  replay = fill(tmp_path, [10], memory_gb=memory)
  with pytest.raises(UserError, match='no velocity; it holds .*speed'):
    replay.sample(2, 5, ('velocity',))
  replay.add(episode(10, 1, vectors=False))
  with pytest.raises(UserError, match='no speed'):
    replay.sample(20, 5, ('speed',))
  assert replay.episodes == 2


@pytest.mark.parametrize('kwargs, key', [
    ({'episodes': 'all'}, 'replay.episodes'), ({'starts': 'x'}, 'starts')])
def test_unknown_choices(tmp_path, kwargs, key):
  with pytest.raises(UserError, match=key):
    Replay(tmp_path, 0, **kwargs)


# Memory

def test_memory_is_bounded_and_new_episodes_enter(tmp_path):
  size = sum(x.nbytes for x in episode(20).values())
  replay = fill(tmp_path, [20] * 5, memory_gb=2.5 * size / 1e9)
  assert replay.stats()['memory_gb'] == 2 * size / 1e9
  for _ in range(20):
    replay.sample(5, 10)
  assert replay.stats()['memory_gb'] == 2 * size / 1e9
  share = replay.stats()['disk_reads'] / 100
  assert 0.4 < share < 0.8  # 3 of 5 are on disk, and stay there


def test_memory_fills_from_disk_while_there_is_room(tmp_path):
  fill(tmp_path, [20] * 5)
  replay = Replay(tmp_path, 0)
  assert replay.stats()['memory_gb'] == 0
  replay.sample(100, 10)
  assert replay.stats()['disk_reads'] == 5


def test_least_recently_used_goes_first():
  memory = Memory(3 * 8)
  for name in 'abc':
    memory.put(name, {'x': np.zeros(1)})
  memory.get('a')
  memory.put('d', {'x': np.zeros(1)})
  assert [x for x in 'abcd' if memory.get(x)] == ['a', 'c', 'd']
  memory.put('e', {'x': np.zeros(4)})  # alone too large
  assert [x for x in 'abcde' if memory.get(x)] == ['a', 'c', 'd']
  memory.remove('a')
  assert memory.bytes == 16


def test_from_disk_only_the_needed_bytes_are_read(tmp_path, monkeypatch):
  replay = fill(tmp_path, [200, 200], memory_gb=1e-9)
  monkeypatch.setattr(eps.Episode, 'load', None)
  asked = []
  read = eps.npz.read_rows

  def counting(file, member, start, out):
    asked.append(len(out) * member.row_bytes)
    read(file, member, start, out)
  monkeypatch.setattr(eps.npz, 'read_rows', counting)
  replay.sample(1, 5, ('image', 'reward'))
  assert asked == [5 * 48, 5 * 4]


# Damage

def lacking(path, key):
  arrays = dict(np.load(path))
  del arrays[key]
  np.savez(path, **arrays)


def short_array(path):
  arrays = dict(np.load(path))
  arrays['reward'] = arrays['reward'][:-1]
  np.savez(path, **arrays)


def float_image(path):
  arrays = dict(np.load(path))
  arrays['image'] = arrays['image'].astype(np.float32)
  np.savez(path, **arrays)


def truncate(path):
  path.write_bytes(path.read_bytes()[:1000])


def objects(path):
  arrays = dict(np.load(path))
  arrays['reward'] = np.array([None] * len(arrays['reward']), object)
  np.savez(path, **arrays)


def cut_member(path):
  """A complete zip whose image is shorter than its header says."""
  arrays = dict(np.load(path))
  buffer = io.BytesIO()
  np.save(buffer, arrays.pop('image'))
  np.savez(path, **arrays)
  with zipfile.ZipFile(path, 'a') as archive:
    archive.writestr('image.npy', buffer.getvalue()[:-10])


@pytest.mark.parametrize('damage, reason', [
    (truncate, 'zip'),
    (lambda x: x.write_bytes(b''), 'zip'),
    (lambda x: x.write_text('hello'), 'zip'),
    (lambda x: lacking(x, 'reward'), 'no reward'),
    (lambda x: lacking(x, 'action'), 'no action'),
    (short_array, 'reward has shape'),
    (float_image, 'image is float32'),
    (objects, 'reward'),
    (cut_member, 'image'),
    (lambda x: x.rename(str(x).replace('-20.npz', '-21.npz')), '21 rows'),
    (lambda x: x.rename(x.with_name('mine.npz')), 'the name is not'),
])
@pytest.mark.filterwarnings('error::ResourceWarning')
def test_damaged_files_are_set_aside(tmp_path, damage, reason):
  fill(tmp_path, [20, 20, 20])
  victim = sorted(tmp_path.iterdir())[1]
  damage(victim)
  with pytest.warns(UserWarning, match='damaged') as warned:
    replay = Replay(tmp_path, 0, owner=True)
  assert len(warned) == 1
  assert reason in str(warned[0].message)
  assert '\n' not in str(warned[0].message)
  assert replay.episodes == 2 and replay.stats()['damaged'] == 1
  assert len(list(tmp_path.glob('*.npz'))) == 2
  assert len(list((tmp_path / 'damaged').iterdir())) == 1
  assert set(starts(replay.sample(50, 10))[0]) == {0, 2}


def test_no_discount_and_no_terminal(tmp_path):
  path = Replay(tmp_path, 0).add(episode(20))
  lacking(path, 'discount')
  assert Replay(tmp_path, 0).episodes == 1
  lacking(path, 'is_terminal')
  with pytest.warns(UserWarning, match='neither discount nor is_terminal'):
    assert Replay(tmp_path, 0).episodes == 0


def flip_image(path):
  data = bytearray(path.read_bytes())
  data[data.index(b'image.npy') + 500] ^= 1
  path.write_bytes(data)


@pytest.mark.parametrize('memory, damage', [
    (1e-9, truncate), (1e-9, lambda x: x.unlink()), (1.0, truncate),
    (1.0, flip_image)])
@pytest.mark.parametrize('draw', sampling.EPISODES)
def test_damage_while_training(tmp_path, memory, damage, draw):
  fill(tmp_path, [20, 20, 20])
  replay = Replay(tmp_path, 0, episodes=draw, memory_gb=memory)
  damage(sorted(tmp_path.iterdir())[1])
  with pytest.warns(UserWarning, match='is damaged|is gone') as warned:
    batch = replay.sample(50, 10)
  assert len(warned) == 1
  assert set(starts(batch)[0]) == {0, 2}
  check_rows(batch, [episode(20, x) for x in range(3)], eps.KEYS)
  assert (replay.episodes, replay.steps) == (2, 38)
  assert replay.stats()['damaged'] == 1


def test_all_damaged_while_training(tmp_path):
  replay = fill(tmp_path, [20, 20], memory_gb=1e-9)
  for path in tmp_path.iterdir():
    truncate(path)
  with pytest.warns(UserWarning), pytest.raises(UserError, match='none of 0'):
    replay.sample(5, 10)


@pytest.mark.parametrize('key', ['reward', 'action', 'speed'])
@pytest.mark.parametrize('memory', [1.0, 1e-9])
@pytest.mark.parametrize('compressed', [False, True])
def test_values_that_are_not_finite(tmp_path, key, memory, compressed):
  """Half precision overflows in recorded runs."""
  recorded(1, 0, False, compressed, tmp_path)
  path, = tmp_path.glob('*.npz')
  with np.load(path) as data:
    arrays = dict(data)
  arrays[key] = np.full_like(arrays[key], np.inf)
  (np.savez_compressed if compressed else np.savez)(path, **arrays)
  recorded(1, 1, False, compressed, tmp_path)
  replay = Replay(tmp_path, 0, memory_gb=memory)
  keys = 'image', 'action', 'reward', 'speed'
  with pytest.warns(UserWarning, match=f'{key} is not finite'):
    batch = replay.sample(20, 5, keys)
  assert replay.episodes == 1 and np.isfinite(batch[key]).all()


def test_a_folder_that_may_not_be_read_is_not_damaged(tmp_path, monkeypatch):
  fill(tmp_path, [20])

  def denied(path):
    raise PermissionError(errno.EACCES, 'Permission denied')
  monkeypatch.setattr(eps.npz, 'layout', denied)
  with pytest.raises(UserError, match='can not read .*Permission denied'):
    Replay(tmp_path, 0)
  assert len(list(tmp_path.glob('*.npz'))) == 1


def test_leftovers_are_removed(tmp_path):
  fill(tmp_path, [20])
  (tmp_path / '.20200101T000000-ab-20.npz.12.tmp').write_bytes(b'half')
  assert Replay(tmp_path, 0).episodes == 1
  assert len(os.listdir(tmp_path)) == 2  # another process may be writing it
  assert Replay(tmp_path, 0, owner=True).episodes == 1
  assert len(os.listdir(tmp_path)) == 1


# Resuming

@pytest.mark.parametrize('draw', sampling.EPISODES)
@pytest.mark.parametrize('memory', [1.0, 1e-9])
@pytest.mark.parametrize('before', [0, 3, 325])
def test_resume_is_exact(tmp_path, draw, memory, before):
  def after(replay):
    result = []
    for tag in range(6, 9):
      result.append(replay.sample(12, 8))
      result.append(replay.add(episode(15, tag)).name.split('-')[1][:8])
    return result

  replay = fill(tmp_path, [20] * 6, episodes=draw)
  for _ in range(before):
    replay.sample(3, 8)
  state = {k: np.array(v) for k, v in replay.state().items()}
  expected = after(replay)
  resumed = Replay(
      tmp_path, 99, episodes=draw, memory_gb=memory, owner=True)
  assert resumed.episodes == 9
  with pytest.warns(UserWarning, match='3 episodes .* after_checkpoint'):
    resumed.restore(state)
  assert (resumed.episodes, resumed.steps) == (6, 6 * 19)
  assert len(list((tmp_path / 'after_checkpoint').iterdir())) == 3
  for left, right in zip(expected, after(resumed)):
    if isinstance(left, str):
      assert left == right
    else:
      equal(left, right)


def test_resume_frees_memory(tmp_path):
  replay = fill(tmp_path, [20])
  state, before = replay.state(), replay.stats()
  replay.add(episode(20, 1))
  with pytest.warns(UserWarning):
    replay.restore(state)
  assert replay.stats() == before


def test_resume_without_new_episodes_is_silent(tmp_path, recwarn):
  replay = fill(tmp_path, [20, 20])
  Replay(tmp_path, 0).restore(replay.state())
  assert not recwarn.list
  assert not (tmp_path / 'after_checkpoint').exists()


@pytest.mark.parametrize('draw', sampling.EPISODES)
def test_resume_with_missing_episodes(tmp_path, draw):
  replay = fill(tmp_path, [20] * 4, episodes=draw)
  replay.sample(3, 8)
  state = replay.state()
  sorted(tmp_path.iterdir())[1].unlink()
  resumed = Replay(tmp_path, 0, episodes=draw)
  with pytest.warns(UserWarning, match='1 of 4 episodes .* missing'):
    resumed.restore(state)
  batch = resumed.sample(40, 8)
  assert set(starts(batch)[0]) == {0, 2, 3}


def test_state_can_be_stored(tmp_path):
  for replay in (Replay(tmp_path / 'a', 0), fill(tmp_path / 'b', [5])):
    buffer = io.BytesIO()
    np.savez(buffer, **replay.state())
    buffer.seek(0)
    replay.restore(dict(np.load(buffer, allow_pickle=False)))
