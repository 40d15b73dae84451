"""Which sequences there are, and in which order they are drawn."""

import collections

import numpy as np
import pytest

from dreamer.replay.items import Items


def grow(items, rows, rng=None):
  """So many rows in all, over the streams in turn or at random."""
  streams = len(items.rows)
  for index in range(rows):
    stream = index % streams if rng is None else rng.integers(streams)
    items.append(int(stream))


def drawn(items, amount):
  return [items.next() for _ in range(amount)]


def test_the_queue_has_each_row_but_the_first_once():
  items = Items(0, 3, 5, 10 ** 6)
  grow(items, 300)
  found = drawn(items, len(items.queue))
  assert [start for _, start in found[:6]] == [1, 1, 1, 6, 6, 6]
  for stream in range(3):
    rows = [start + row for other, start in found if other == stream
            for row in range(5)]
    assert rows == list(range(1, 96))


def test_what_has_left_is_not_drawn():
  items = Items(0, 2, 3, 10)
  grow(items, 100)
  there = {(stream, start) for stream in range(2)
           for start in range(items.first[stream], items.rows[stream] - 2)}
  assert len(items) == len(there) == 10
  assert set(items.queue) < there and len(items.queue) >= 2
  assert set(drawn(items, 200)) == there


def test_the_oldest_leave_first_over_all_streams():
  rng, came = np.random.default_rng(0), collections.deque()
  items = Items(0, 3, 4, 17)
  for _ in range(500):
    stream = int(rng.integers(3))
    left = items.append(stream)
    if items.rows[stream] >= 4:
      came.append(stream)
      assert left == (came.popleft() if len(came) > 17 else None)
  assert len(items) == 17


def test_uniform_without_a_queue():
  items = Items(0, 3, 4, 60, online=False)
  grow(items, 400, np.random.default_rng(1))
  assert not items.queue
  count = collections.Counter(drawn(items, 12_000))
  assert len(count) == 60
  # Poisson of mean 200: five standard deviations.
  assert 130 < min(count.values()) and max(count.values()) < 270


@pytest.mark.parametrize('queues', [True, False])
def test_state_and_rewind(queues):
  items = Items(3, 2, 4, 50)
  for index in range(150):
    items.append(index % 2, queues)
  drawn(items, 3)
  state, mark = items.state(), items.mark()
  expected = drawn(items, 40)
  items.rewind(mark)
  assert drawn(items, 40) == expected
  other = Items(8, 2, 4, 50)
  other.restore(state)
  assert drawn(other, 40) == expected
  grow(items, 30), grow(other, 30)
  assert drawn(other, 40) == drawn(items, 40)


def test_a_queue_that_nobody_draws_from_stays_small():
  items = Items(0, 2, 3, 10)
  grow(items, 2000)
  assert 0 < len(items.queue) < 10
  assert all(len(x) < 10 for x in vars(items).values() if isinstance(x, list))
