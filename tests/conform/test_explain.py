"""--explain names the change by which our agent made some arrays."""

import numpy as np
import pytest

from dreamer import conform
from dreamer.conform.verdict import judge
from dreamer.errors import UserError
from tests.parity import changes, explain

CASE = 'v2_dmc_proprio_small'  # without images: the fastest


@pytest.fixture(scope='module')
def runs():
  return explain.Runs(conform.case(CASE))


def change(runs, words):
  found = [x for x in runs.changes if x.words.startswith(words)]
  assert len(found) == 1, [x.words for x in runs.changes]
  return found[0]


def told(runs, monkeypatch, *words):
  """What is said of our own arrays under changes, among some others."""
  used = [change(runs, x) for x in words]
  others = [change(runs, x) for x in (
      "layer norm's epsilon", 'no weight decay', 'weights shifted by one: d0',
      'the slow critic copied', 'no bootstrap')]
  some = [*used, *(x for x in others if x not in used)]
  limited = explain.Runs(runs.case)
  limited.found = runs.found
  monkeypatch.setattr(explain.Runs, 'changes', some)
  names = set(runs.case.names)
  arrays = {key: x for key, x in runs.arrays(used).items() if key in names}
  return explain.explain(
      runs.case, arrays, judge(runs.case, arrays), limited)


@pytest.mark.parametrize('words', [
    'no bootstrap', 'returns in the opposite order of time',
    pytest.param("actions that learn from", marks=pytest.mark.slow),
    pytest.param("PyTorch's Adam: eps", marks=pytest.mark.slow),
    pytest.param("layer norm's epsilon", marks=pytest.mark.slow)])
def test_a_single_change_is_named(runs, monkeypatch, words):
  lines = told(runs, monkeypatch, words)
  assert len(lines) == 1
  assert lines[0].startswith(f'equals ours with {words}')
  assert 'in all arrays' in lines[0]


def test_changes_upon_each_other(runs, monkeypatch):
  lines = told(runs, monkeypatch, "layer norm's epsilon",
               'the slow critic copied')
  assert [line.split(' with ')[1][:10] for line in lines] == [
      'layer norm', 'the slow c']
  assert 'in all arrays' in lines[-1]


def test_certain_changes_in_place_of_a_search(runs):
  words = ["layer norm's epsilon", 'the slow critic copied', 'no bootstrap']
  names = set(runs.case.names)
  arrays = runs.arrays([change(runs, x) for x in words[:2]])
  arrays = {key: x for key, x in arrays.items() if key in names}
  verdict = judge(runs.case, arrays)
  tell = lambda *words: explain.explain(
      runs.case, arrays, verdict, runs, words)
  first, second, unseen = tell(*words)
  assert first.startswith(f'equals ours with {words[0]} 1e-5, up to ')
  assert second.startswith(f'and with {words[1]}')
  assert second.endswith('in all arrays')
  assert unseen == 'no array shows whether also: no bootstrap'
  # One that does not help by itself counts with the next.
  joined, _ = tell('no weight decay', *words[:2])
  assert f'no weight decay and {words[0]}' in joined
  assert tell(words[2])[0].endswith('none of the 1 changes that were tried')


@pytest.mark.parametrize('words, message', [
    ('no botstrap', '0 changes, .*: no bootstrap'),
    ('epsilon', 'in the words of 4 changes')])
def test_changes_that_are_not_one(runs, words, message):
  with pytest.raises(UserError, match=f'--with {words}: .*{message}'):
    changes.named(runs.changes, words)


def test_what_nobody_did(runs):
  arrays = {'tensor/embed': runs.case.expected['tensor/embed'] + 1}
  few = explain.Runs(runs.case)
  few.found = runs.found
  few.changes = [change(runs, 'no bootstrap')]
  lines = explain.explain(
      runs.case, arrays, judge(runs.case, arrays), few)
  assert lines == ['tensor/embed: by none of the 1 changes that were tried']


def test_other_parameters_come_first(runs):
  name = 'actor/out/out/kernel'
  arrays = {f'init/{name}': np.zeros(runs.case.shapes[name], np.float32)}
  lines = explain.explain(runs.case, arrays, judge(runs.case, arrays), runs)
  assert 'make them those of the rule first' in lines[0]


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize('name', [
    'v1_dmc_small', 'v2_atari_small', 'v3_dmc_proprio_small'])
def test_every_change_explains_itself(name):
  found = explain.table(conform.case(name), lambda text: None)
  assert [words for words, said in found.items() if said == 'missed'] == []
  assert list(found.values()).count('named') > len(found) / 3
