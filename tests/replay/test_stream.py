"""Endless streams: what is drawn, written back, kept and restored."""

import copy
import json
import warnings

import numpy as np
import pytest

from dreamer import npz
from dreamer.errors import UserError
from dreamer.replay.replay import Replay
from tests.support import ROOT
from tests.support.replay_tools import equal
from tests.support.stream_tools import (
  STORED,
  Feeder,
  make,
  state_of,
  stored_rows,
)

GOLDEN = json.loads(
    (ROOT / 'tests/golden/v3_misc/replay.json').read_text())
KEYS = 'id', 'is_first', 'is_last', 'is_terminal', 'action'


class TestAsReleased:
  """danijar/dreamerv3: the same items, queue, annotations and write-back."""

  @pytest.fixture
  def replay(self, tmp_path):
    settings = GOLDEN['settings']
    return make(tmp_path, capacity=settings['capacity'],
                length=settings['length'] - 1, streams=settings['workers'])

  def grow(self, feeders, rows):
    while feeders[0].amount < rows:
      for feeder in feeders:
        t = feeder.amount
        feeder(t % 7 == 0 or t == 10, t % 7 == 6, t % 14 == 6)

  def ids(self, items):
    return [1000 * int(stream) + int(row) for stream, row in items]

  def test_replay(self, replay):
    feeders = [Feeder(replay, x) for x in range(2)]
    for block in GOLDEN['log']:
      self.grow(feeders, block['rows'][0])
      assert self.ids(replay.items.queue) == block['online_before']
      starts = [1000 * stream + row for stream in range(2) for row in range(
          replay.items.first[stream], block['rows'][0] - 4)]
      assert sorted(block['items'].values()) == starts
      expected = block['train']
      queued = min(3, len(block['online_before']))
      batch = replay.sample(3, 4, KEYS)
      assert batch['id'][:queued, :, 0].tolist() == expected['id'][:queued]
      assert set(self.ids(replay.drawn.items)) <= set(starts)
      for key in 'is_first', 'is_last', 'is_terminal':
        assert batch[key][:queued].tolist() == expected[key][:queued], key
    batch = replay.sample(2, 4)
    assert batch['id'][..., 0].tolist() == GOLDEN['update']['ids']
    replay.refresh(replay.drawn, {
        'deter': -batch['id'][:, 1:].repeat(2, 2).astype(np.float32),
        'stoch': np.zeros((2, 4, 3), np.uint8)})
    for start, values in GOLDEN['update']['after'].items():
      stream, first = divmod(int(start), 1000)
      rows = np.arange(first, first + 5)
      found = stored_rows(replay, stream, rows)[:, 0]
      # The release has the last row's too; what is forgotten is zeros here.
      is_last = (rows % 7 == 6) & (np.array(values) > 0)
      expected = np.where(is_last, 0, values)
      assert found.tolist() == expected.tolist(), start


class World:
  """Two streams of random episodes, some broken off, and what they hold."""

  def __init__(self, folder, seed=0, **options):
    self.rng = np.random.default_rng(seed)
    self.folder, self.options = folder, options
    self.replay = make(folder, **options)
    self.feeders = [Feeder(self.replay, x) for x in range(2)]
    self.rows = [[], []]  # (first, last, terminal)
    self.stored = [[], []]

  def step(self):
    for feeder, rows, stored in zip(
        self.feeders, self.rows, self.stored, strict=True):
      first = not rows or rows[-1][1] or self.rng.random() < 0.05
      last = not first and self.rng.random() < 0.2
      row = first, last, last and self.rng.random() < 0.5
      feeder(*row)
      rows.append(row)
      number = 1000 * feeder.stream + len(rows) - 1
      stored.append({key: np.zeros_like(x) if last else x
                     for key, x in state_of(number).items()})

  def steps(self, amount):
    for _ in range(amount):
      self.step()

  def refresh(self):
    """Checks a batch and learns from it; returns it."""
    batch = self.replay.sample(3, 4)
    if self.options.get('consec', 1) == 1:
      self.check(batch)
    new = {
        'deter': self.rng.random((3, 4, 2), np.float32),
        'stoch': np.eye(4, dtype=np.float32)[
            self.rng.integers(0, 4, (3, 4, 3))]}
    for b, number in enumerate(batch['id'][:, 0, 0]):
      stream, first = divmod(int(number), 1000)
      for t in range(4):
        self.stored[stream][first + 1 + t] = {
            key: x[b, t] for key, x in new.items()}
    self.replay.refresh(self.replay.drawn, new)
    return batch

  def expected(self, stream, first, context=1, length=4):
    """Arrays of a sequence, by what the rows were made of."""
    rows = self.rows[stream][first: first + context + length]
    ids = 1000 * stream + first + np.arange(len(rows))
    nexts = [x[0] for x in rows[1:]] + [False]
    ends = [x[1] for x in rows]
    # Where an episode was broken off and is stored, nothing follows.
    cut = [row + 1 < len(self.rows[stream]) and self.rows[stream][row + 1][0]
           for row in range(first, first + len(rows))]
    action = np.where(np.array(ends) | cut, 0, ids + 0.5)
    return {
        'id': ids[:, None], 'action': np.stack([action, action], 1),
        'reward': ids, 'image': np.broadcast_to(
            (ids % 256)[:, None, None, None], (len(rows), 2, 2, 3)),
        'is_first': [True] + [x[0] for x in rows[1:]],
        'is_last': np.array(ends) | nexts,
        'is_terminal': [x[2] for x in rows],
        **{f'stored/{key}': np.array([
            x[key] for x in self.stored[stream][first: first + context]]
            ).reshape(context, *spec.shape) for key, spec in STORED.items()}}

  def check(self, batch, **sizes):
    for b, number in enumerate(batch['id'][:, 0, 0]):
      expected = self.expected(*divmod(int(number), 1000), **sizes)
      for key, value in expected.items():
        np.testing.assert_array_equal(batch[key][b], value, key)


class TestRows:

  @pytest.mark.parametrize('options', [
      {}, {'online': False}, {'capacity': 30}, {'memory_gb': 1e-9}])
  def test_contents(self, tmp_path, options):
    world = World(tmp_path, **options)
    world.steps(7)
    for _ in range(60):
      world.refresh()
      world.step()
    batch = world.replay.sample(2, 4)
    assert set(batch) == {
        'image', 'id', 'action', 'reward', 'discount', 'is_first', 'is_last',
        'is_terminal', 'consec', 'stored/deter', 'stored/stoch'}
    assert batch['id'].shape == (2, 5, 1)
    assert batch['stored/stoch'].shape == (2, 1, 3, 4)

  @pytest.mark.parametrize('context', [0, 1, 3])
  def test_context(self, tmp_path, context):
    world = World(tmp_path, context=context)
    world.steps(40)
    for _ in range(20):
      batch = world.replay.sample(3, 4)
      assert batch['id'].shape == (3, context + 4, 1)
      world.check(batch, context=context)

  def test_consecutive_batches_go_on_in_the_same_sequences(self, tmp_path):
    world = World(tmp_path, consec=3)
    world.steps(60)
    for _ in range(9):
      parts = [world.replay.sample(2, 4) for _ in range(3)]
      first = parts[0]['id'][:, 0, 0]
      for index, part in enumerate(parts):
        assert part['consec'].tolist() == [index] * 2
        assert (part['id'][:, 0, 0] - first).tolist() == [4 * index] * 2
        rows = part['id'][:, :, 0]
        firsts = [[world.rows[x // 1000][x % 1000][0] for x in row]
                  for row in rows.tolist()]
        found = part['is_first'].tolist()
        if not index:
          assert all(row[0] for row in found)
          firsts = [[True, *row[1:]] for row in firsts]
        assert found == firsts
        # Within the item, the row behind the batch counts.
        nexts = [x + (0 if index == 2 else 1) for x in rows[:, -1]]
        begins = [world.rows[x // 1000][x % 1000][0] and index < 2
                  for x in nexts]
        ends = [world.rows[x // 1000][x % 1000][1] for x in rows[:, -1]]
        assert part['is_last'][:, -1].tolist() == (
            np.array(ends) | begins).tolist()

  def test_pictures_take_nothing(self, tmp_path):
    world = World(tmp_path)
    world.steps(30)
    before = world.replay.state()
    world.check(world.replay.peek(3, 4))
    equal(world.replay.state(), before)

  def test_nothing_there(self, tmp_path):
    replay = make(tmp_path, least=3)
    assert not replay.ready
    with pytest.raises(UserError, match='batch_length 4: .* has 0 rows'):
      replay.sample(2, 4)
    feeder = Feeder(replay)
    for index in range(7):
      assert not replay.ready
      feeder(index == 0)
    assert replay.ready
    with pytest.raises(UserError, match='has no speed; its rows hold action'):
      replay.sample(2, 4, ['speed'])


class TestFiles:

  def test_episodes_are_as_those_of_others(self, tmp_path):
    """A replay of episodes reads them; their actions led to their rows."""
    world = World(tmp_path)
    world.steps(60)
    other = Replay(tmp_path, 0)
    assert other.episodes == world.replay.episodes > 5
    batch = other.sample(20, 2, ['id', 'action', 'is_first', 'reward'])
    ids = batch['id'][:, 1, 0]
    np.testing.assert_array_equal(batch['action'][:, 1, 0], ids - 0.5)
    for path in tmp_path.glob('*.npz'):
      arrays = npz.read(path)
      assert not arrays['action'][0].any() and arrays['is_first'][0]
      assert not arrays['is_first'][1:].any()

  def test_recorded_episodes_are_a_stream_of_their_own(self, tmp_path):
    world = World(tmp_path)
    world.steps(60)
    replay = make(tmp_path)
    assert replay.stats()['steps'] == sum(
        len(npz.read(x)['reward']) for x in tmp_path.glob('*.npz'))
    assert not replay.items.queue and replay.ready
    ids = replay.sample(16, 4, ['id', 'stored/deter'])
    assert not ids['stored/deter'].any()
    feeder = Feeder(replay, 1, 5000)
    for index in range(6):
      feeder(index == 0)
    assert replay.sample(1, 4, ['id'])['id'][0, :, 0].tolist() == list(
        range(5001, 5006))

  def test_another_task(self, tmp_path):
    World(tmp_path).steps(60)
    replay = make(tmp_path)
    feeder = Feeder(replay)
    feeder(True)
    feeder.rows[-1]['speed'] = np.zeros(2, np.float32)
    for row in feeder.rows:
      row['image'] = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(UserError, match='for one task only'):
      replay.cut(0)

  def test_damaged_episodes_are_passed_over(self, tmp_path):
    world = World(tmp_path, memory_gb=1e-9)
    world.steps(100)
    state = world.replay.state()
    paths = sorted(tmp_path.glob('*.npz'))
    for path in paths[::3]:
      path.write_bytes(path.read_bytes()[:300])
    unfinished = {x.stream: x.unfinished() for x in world.feeders if x.rows}
    world.replay = make(tmp_path, memory_gb=1e-9)
    with pytest.warns(UserWarning, match='episodes that the checkpoint knows'):
      world.replay.restore(state, unfinished)
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      for _ in range(50):
        world.check(world.replay.sample(3, 4))
    assert world.replay.stats()['damaged'] == len(paths[::3])

  def test_damage_while_it_runs(self, tmp_path):
    world = World(tmp_path, memory_gb=1e-9, online=False)
    world.steps(100)
    paths = sorted(tmp_path.glob('*.npz'))
    for path in paths[::3]:
      path.unlink()
    with pytest.warns(UserWarning, match='is gone: left out'):
      for _ in range(50):
        world.check(world.replay.sample(3, 4))
    for feeder in world.feeders:
      feeder(not feeder.rows, True)
    for path in tmp_path.glob('*.npz'):
      path.unlink()
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')
      with pytest.raises(UserError, match='no sequence is left'):
        for _ in range(50):
          world.replay.sample(3, 4)

  def test_what_leaves_frees_the_disk(self, tmp_path):
    world = World(tmp_path, capacity=40)
    sizes = []
    for _ in range(12):
      world.steps(50)
      for _ in range(5):
        world.refresh()
      world.replay.state()
      world.replay.saved()
      files_ = list(tmp_path.rglob('*.npz'))
      sizes.append((len(files_), (tmp_path / 'stored.bin').stat().st_size))
    assert len(list(tmp_path.glob('*.npz'))) < 20
    for index in range(2):
      early, late = ([x[index] for x in part] for part in (
          sizes[3:7], sizes[8:]))
      assert max(late) <= 1.5 * max(early)


class TestState:

  @pytest.mark.parametrize('seed', range(4))
  def test_as_if_nothing_had_been(self, tmp_path, seed):
    """After any of the last two checkpoints, whatever came later."""
    rng = np.random.default_rng(seed)
    options = {'capacity': 60, 'consec': 1 + seed % 2, 'length': 4}
    world = World(tmp_path, seed, **options)
    kept = []
    for _ in range(3):
      world.steps(int(rng.integers(12, 40)))
      for _ in range(int(rng.integers(1, 6))):
        world.refresh()
      state = copy.deepcopy({
          'replay': world.replay.state(), 'world': (
              world.rows, world.stored, world.rng),
          'feeders': [(x.amount, x.rows) for x in world.feeders],
          'unfinished': {
              x.stream: x.unfinished() for x in world.feeders if x.rows}})
      world.replay.saved()
      kept = [*kept, state][-2:]
    for state in reversed(kept):
      for _ in range(2):  # The second time as the first one.
        with warnings.catch_warnings():
          warnings.simplefilter('ignore')  # of episodes that are newer
          world.replay.close()
          world.replay = make(tmp_path, **options)
          world.replay.restore(state['replay'], state['unfinished'])
        world.rows, world.stored, world.rng = copy.deepcopy(state['world'])
        for feeder, (amount, rows) in zip(
            world.feeders, copy.deepcopy(state['feeders']), strict=True):
          feeder.replay, feeder.amount, feeder.rows = (
              world.replay, amount, rows)
        equal(world.replay.state(), state['replay'])
        batches = [world.refresh() if x % 3 else world.step()
                   for x in range(12)]
        first = state.setdefault('batches', batches)
        for one, two in zip(first, batches, strict=True):
          if one:
            equal(one, two)
