"""Endless streams: what is drawn, written back, kept and restored."""

import json

import numpy as np
import pytest

from tests.support import ROOT
from tests.support.stream_tools import Feeder, make, stored_rows

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
      assert self.ids(replay._items.queue) == block['online_before']
      starts = [1000 * stream + row for stream in range(2) for row in range(
          replay._items.first[stream], block['rows'][0] - 4)]
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
