"""The folder of a store: who moves files, what is opened, what it costs."""

import os
import pathlib
import shutil
import time

import numpy as np
import pytest

from dreamer import npz
from dreamer.errors import UserError
from dreamer.replay import sampling
from dreamer.replay.folder import Folder
from dreamer.replay.replay import Replay
from tests.support.replay_tools import (
  check_rows,
  episode,
  equal,
  fill,
  names,
  proprio,
  starts,
)

KEYS = 'image', 'action', 'reward', 'is_first', 'speed'


def tree(folder):
  """Every file below a folder: name to content and time of change."""
  return {
      str(x.relative_to(folder)): (
          x.stat().st_mtime_ns, x.read_bytes() if x.is_file() else None)
      for x in pathlib.Path(folder).rglob('*')}


def truncate(path):
  path.write_bytes(path.read_bytes()[:1000])


def blank(path):
  """A power failure: the size is right, the content is zeros."""
  path.write_bytes(bytes(path.stat().st_size))


@pytest.fixture
def opened(monkeypatch):
  """Names of the files whose headers were read."""
  found = []
  layout = npz.layout

  def spy(path):
    found.append(os.path.basename(path))
    return layout(path)
  monkeypatch.setattr(npz, 'layout', spy)
  return found


# Readers and owners

@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('damage', [truncate, blank])
def test_readers_change_nothing(tmp_path, damage):
  fill(tmp_path, [20] * 6, capacity_agent_steps=4 * 19)
  damage(sorted(tmp_path.glob('*.npz'))[1])
  truncate(sorted(tmp_path.glob('*.npz'))[0])
  (tmp_path / 'mine.npz').write_text('not an episode')
  (tmp_path / '.20200101T000000-ab-20.npz.7.tmp').write_bytes(b'half')
  before = tree(tmp_path)
  replay = Replay(tmp_path, 0, capacity_agent_steps=20, memory_gb=1e-9)
  replay.sample(100, 10)
  replay.saved()
  replay.restore({**replay.state(), 'names': np.array(
      names(tmp_path)[:1], np.bytes_)})
  replay.saved()
  replay.saved()
  assert tree(tmp_path) == before
  assert replay.stats()['damaged'] >= 3


def test_readers_see_what_is_usable(tmp_path):
  fill(tmp_path, [20, 20, 20])
  truncate(sorted(tmp_path.iterdir())[1])
  with pytest.warns(UserWarning, match=r'is damaged \(.*\): left out'):
    replay = Replay(tmp_path, 0)
  assert replay.episodes == 2
  assert set(starts(replay.sample(50, 10))[0]) == {0, 2}


def test_readers_get_evicted_episodes_where_they_are(tmp_path):
  replay = fill(tmp_path, [20, 20], capacity_agent_steps=40)
  state = replay.state()
  expected = replay.sample(20, 8)
  replay.add(episode(20, 2))  # the first one is moved to evicted/
  reader = Replay(tmp_path, 0)
  before = tree(tmp_path)
  with pytest.warns(UserWarning, match='1 episodes .* newer .*: left out'):
    reader.restore(state)
  equal(reader.sample(20, 8), expected)
  assert tree(tmp_path) == before


def test_readers_of_nothing_create_nothing(tmp_path):
  replay = Replay(tmp_path / 'none', 0)
  assert replay.episodes == 0 and not list(tmp_path.iterdir())
  with pytest.raises(UserError, match='none of 0 episodes'):
    replay.sample(1, 2)
  assert replay.add(episode(5)).exists()  # who writes gets a folder


def test_what_leaves_while_somebody_reads(tmp_path):
  """Training moves and deletes files under a reader."""
  fill(tmp_path, [20, 20, 20])
  replay = Replay(tmp_path, 0, memory_gb=1e-9)
  replay.sample(50, 10)
  path = sorted(tmp_path.iterdir())[0]
  path.rename(tmp_path / 'elsewhere')
  with pytest.warns(UserWarning, match='is gone: left out') as warned:
    tags, _ = starts(replay.sample(50, 10))
  assert len(warned) == 1 and set(tags) == {1, 2}


# What is opened

def test_only_one_file_is_opened(tmp_path, opened):
  lengths = [20, 31, 2, 100]
  fill(tmp_path, lengths)
  opened.clear()
  replay = Replay(tmp_path, 0)
  assert opened == names(tmp_path)[:1]
  assert (replay.episodes, replay.steps) == (4, sum(lengths) - 4)
  replay.add(episode(9, 4))
  check_rows(
      replay.sample(50, 2, KEYS),
      [episode(x, tag) for tag, x in enumerate([*lengths, 9])], KEYS)


@pytest.mark.parametrize('memory', [1.0, 1e-9])
def test_headers_are_read_once_and_before_rows(tmp_path, opened, memory):
  fill(tmp_path, [20] * 5)
  replay = Replay(tmp_path, 0, memory_gb=memory)
  opened.clear()
  for _ in range(20):
    replay.sample(10, 5)
  assert sorted(set(opened)) == names(tmp_path)[1:] or memory == 1.0
  assert len(opened) == 4 or memory == 1.0


@pytest.mark.parametrize('memory', [1.0, 1e-9])
@pytest.mark.parametrize('draw', sampling.EPISODES)
def test_damage_that_the_size_hides(tmp_path, memory, draw):
  fill(tmp_path, [20, 20, 20])
  victim = sorted(tmp_path.iterdir())[1]
  blank(victim)
  replay = Replay(
      tmp_path, 0, episodes=draw, memory_gb=memory, owner=True)
  assert replay.episodes == 3
  with pytest.warns(UserWarning, match='moved to damaged/') as warned:
    tags, _ = starts(replay.sample(50, 10))
  assert len(warned) == 1 and set(tags) == {0, 2}
  assert (replay.episodes, replay.steps) == (2, 38)
  assert (tmp_path / 'damaged' / victim.name).exists()


def other_vectors(rows, tag=0):
  """As many bytes as `episode`, but other arrays."""
  arrays = episode(rows, tag)
  arrays['power'] = arrays.pop('speed')
  return arrays


def test_another_task_that_the_size_hides(tmp_path):
  fill(tmp_path, [20])
  Replay(tmp_path / 'other', 1).add(other_vectors(20, 1))
  path, = (tmp_path / 'other').iterdir()
  path.rename(tmp_path / path.name.replace('2', '3', 1))
  replay = Replay(tmp_path, 0)
  sizes = {x.stat().st_size for x in tmp_path.glob('*.npz')}
  assert replay.episodes == 2 and len(sizes) == 1
  with pytest.raises(UserError, match='no speed; it holds .*power'):
    replay.sample(20, 5, ('speed',))


@pytest.mark.parametrize('compressed', [False, True])
@pytest.mark.parametrize('named', [0, 1])
def test_recordings_among_ours(tmp_path, compressed, named, opened):
  """named: how many rows the name counts less, 1 as danijar/dreamerv2."""
  save = np.savez_compressed if compressed else np.savez
  for tag in range(3):
    arrays = episode(20 + tag, tag, terminal=True)
    del arrays['discount']
    save(tmp_path / f'2020010{tag + 1}T000000-{tag:032x}-'
                    f'{20 + tag - named}.npz', **arrays)
  fill(tmp_path, [])
  replay = Replay(tmp_path, 0)
  for tag in range(3, 6):
    replay.add(episode(20, tag))
  opened.clear()
  replay = Replay(tmp_path, 0)
  assert len(opened) == (4 if compressed else 2)  # one of each kind, or all
  assert (replay.episodes, replay.steps) == (6, 123 - 6)
  full = [episode(20 + x, x, terminal=True) for x in range(3)]
  full += [episode(20, x) for x in range(3, 6)]
  keys = (*KEYS, 'discount', 'is_last', 'is_terminal')
  check_rows(replay.sample(100, 5, keys), full, keys)


def test_sizes_that_fit_no_name_are_opened(tmp_path, opened):
  """A file of the right kind whose name says another length is damaged."""
  fill(tmp_path, [20, 20])
  path = sorted(tmp_path.iterdir())[1]
  path.rename(str(path).replace('-20.npz', '-22.npz'))
  opened.clear()
  with pytest.warns(UserWarning, match='the name says 22 rows'):
    assert Replay(tmp_path, 0).episodes == 1
  assert len(opened) == 2


def test_copied_folders(tmp_path, opened):
  """Names and sizes are all it goes by: no times, no list that could lie."""
  fill(tmp_path / 'a', [20, 21, 22])
  (tmp_path / 'b').mkdir()
  for path in sorted((tmp_path / 'a').iterdir(), reverse=True):
    shutil.copyfile(path, tmp_path / 'b' / path.name)
  opened.clear()
  equal(*[Replay(tmp_path / x, 0).sample(30, 8, KEYS) for x in 'ab'])
  sorted((tmp_path / 'b').iterdir())[1].unlink()
  assert Replay(tmp_path / 'b', 0).episodes == 2


def test_kinds_are_checked_against_each_other(tmp_path):
  fill(tmp_path, [20, 20])
  Replay(tmp_path / 'other', 1).add(proprio(20, 1))
  path, = (tmp_path / 'other').iterdir()
  path.rename(tmp_path / path.name.replace('2', '3', 1))
  with pytest.raises(UserError, match='has no image; it holds'):
    Replay(tmp_path, 0)


def test_a_folder_that_may_not_be_listed(tmp_path, monkeypatch):
  def denied(path):
    raise PermissionError(13, 'Permission denied')
  monkeypatch.setattr(os, 'scandir', denied)
  with pytest.raises(UserError, match='can not read .*Permission denied'):
    Replay(tmp_path, 0)


# What it costs

def seconds(function, amount=200):
  """Of this process for one call, the fastest of five tries."""
  found = []
  for _ in range(5):
    start = time.process_time()
    for _ in range(amount):
      function()
    found.append((time.process_time() - start) / amount)
  return min(found)


def test_an_episode_costs_the_sampler_the_same_in_any_store():
  def cost(episodes):
    sampler = sampling.Sampler(0, 'uniform', length=20)
    sampler.set_lengths(range(episodes))

    def step():
      sampler.append(500)
      sampler.draw(20)
      sampler.leave()
    return seconds(step)
  assert cost(300_000) < 5 * cost(300)


def test_an_episode_costs_the_store_the_same_in_any_store(
    tmp_path, monkeypatch):
  """Without the disk: naming, indexing, letting the oldest go."""
  monkeypatch.setattr(npz, 'write', lambda path, arrays: None)
  path = tmp_path / f'20200101T000000-{0:032x}-20.npz'
  np.savez(path, **episode(20))
  example, = Folder(tmp_path, False, 0).scan()
  monkeypatch.setattr(Folder, 'open', lambda self, path: example)

  def cost(episodes):
    monkeypatch.setattr(Folder, 'scan', lambda self: [example] * episodes)
    replay = Replay(tmp_path / 'none', 0, capacity_agent_steps=19 * episodes)
    arrays = episode(20)
    found = seconds(lambda: replay.add(arrays))
    assert replay.episodes == episodes
    return found
  assert cost(100_000) < 3 * cost(100)
