"""When: triggers, catching up, resuming."""

import json

from dreamer.run.when import Every, Once, Ratio, Until
from tests.support import ROOT


def test_every_fires_first_and_then_without_drift():
  every = Every(100)
  fired = [x for x in range(0, 1000, 7) if every(x)]
  assert fired == [0, 105, 203, 301, 406, 504, 602, 700, 805, 903]


def test_every_starts_at_its_first_count():
  every = Every(100)
  assert [every(x) for x in (30, 100, 129, 130)] == [True, False, False, True]


def test_every_catches_up_one_trigger_per_call():
  every = Every(100)
  counts = (0, 50, 130, 350, 360, 370, 400)
  expected = [True, False, True, True, True, False, True]
  assert [every(x) for x in counts] == expected


def test_every_zero_never_fires():
  assert not any(Every(0)(x) for x in range(5))


def test_every_resumes():
  for stop in range(20):
    straight, first, second = Every(3), Every(3), Every(3)
    expected = [straight(x) for x in range(5, 30)]
    result = [first(x) for x in range(5, 5 + stop)]
    second.restore(first.state())
    result += [second(x) for x in range(5 + stop, 30)]
    assert result == expected


def test_once():
  once, other = Once(), Once()
  other.restore(once.state())
  assert [once(), once(), once()] == [True, False, False]
  assert other()
  other.restore(once.state())
  assert not other()


def test_until():
  assert [Until(3)(x) for x in (0, 2, 3, 4)] == [True, True, False, False]
  assert Until(0)(10 ** 9)


def test_ratio_as_released():
  path = ROOT / 'tests/golden/v3_misc/ratio.json'
  for case in json.loads(path.read_text()):
    ratio, found = Ratio(case['ratio']), []
    for step in case['steps']:
      ratio, before = Ratio(case['ratio']), ratio
      ratio.restore(before.state())
      found.append(ratio(step))
    assert found == case['repeats'], case['ratio']
