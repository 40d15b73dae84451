"""How long a run still takes: the rates that it is told by."""

import pytest

from dreamer.run import eta
from dreamer.run.eta import Eta


@pytest.fixture
def clock(monkeypatch):
  now = [1000.0]
  monkeypatch.setattr(eta.time, 'monotonic', lambda: now[0])
  return now


def go_on(clock, found, step, updates, seconds, steps=0, made=0):
  """Some seconds with so many steps and updates in each; where it ends."""
  for _ in range(seconds):
    clock[0] += 1
    step, updates = step + steps, updates + made
    found.add(step, updates)
  return step, updates


def test_the_prefill_tells_nothing(clock):
  found = Eta()
  go_on(clock, found, 0, 0, 30, steps=200)
  assert found.left(26000, 6500, 4) is None


def test_first_block_counts_by_updates(clock):
  """500 updates of 10 a second after a fast prefill: 6400 are left."""
  found = Eta()
  step, updates = go_on(clock, found, 0, 0, 30, steps=200)
  go_on(clock, found, step, updates, 11, made=10)
  assert found.left(24000, 6400, 0) == pytest.approx(640)


def test_steps_where_no_update_is_left(clock):
  found = Eta()
  found.add(0, 1)
  go_on(clock, found, 0, 1, 10, steps=20)
  assert found.left(100, 0, 0) == pytest.approx(5)


def test_one_update_alone_tells_nothing_about_many(clock):
  """Steps go on after it, as where an update comes every few of them."""
  found = Eta()
  found.add(0, 1)
  step, updates = go_on(clock, found, 0, 1, 10, steps=20)
  assert found.left(99_800, 6000, 0) is None
  go_on(clock, found, step, updates, 10, steps=20, made=1)
  assert found.left(99_800, 6000, 0) == pytest.approx(12000)


def test_only_evaluations_are_left(clock):
  found = Eta()
  found.add(0, 1)
  go_on(clock, found, 0, 1, 10, steps=20, made=1)
  with found.evaluation():
    clock[0] += 20
  assert found.left(0, 0, 2) == pytest.approx(40)


def test_evaluations_count_apart(clock):
  found = Eta()
  found.add(0, 1)
  step, updates = go_on(clock, found, 0, 1, 10, steps=40, made=10)
  for seconds in (20, 40):
    with found.evaluation():
      clock[0] += seconds
  found.add(step, updates)
  assert found.left(4000, 1000, 3) == pytest.approx(100 + 3 * 30)


def test_an_evaluation_that_was_stopped_tells_nothing(clock):
  found = Eta()
  found.add(0, 1)
  go_on(clock, found, 0, 1, 10, made=10)
  with pytest.raises(KeyboardInterrupt), found.evaluation():
    raise KeyboardInterrupt
  assert found.left(400, 100, 5) == pytest.approx(10)


def test_rates_are_those_of_the_last_minutes(clock):
  found = Eta()
  found.add(0, 1)
  step, updates = go_on(clock, found, 0, 1, 1000, made=10)
  go_on(clock, found, step, updates, int(eta.WINDOW), made=2)
  assert found.left(400, 100, 0) == pytest.approx(50)


def test_a_resumed_run_counts_from_where_it_began(clock):
  found = Eta()
  go_on(clock, found, 20000, 4000, 11, steps=40, made=10)
  assert found.left(4000, 1000, 0) == pytest.approx(100)


def test_nothing_is_left(clock):
  """Also where nothing tells the rates: a run that took a second."""
  assert Eta().left(0, 0, 0) == 0
