"""Runs beside the released program's own, on the task dummy_pixelpoint."""

import json

import pytest

from dreamer.errors import UserError
from scores import compare, references, runs, verdicts
from tests.support.scores_tools import make_run, run, write_lines, write_run

TASK, NAME = 'dummy_pixelpoint', 'dreamerv1/pixelpoint'
MORE = {'every': 500, 'episodes': 1, 'time_limit': 100}


def point_runs(values, until=10_000):
  """Runs that have values[i] from 4000 steps on, and 5 before."""
  return [
      make_run(TASK, seed, until=until, **MORE)._replace(evaluations=[
          (step, [value if step > 4000 else 5.0])
          for step in range(500, until + 1, 500)])
      for seed, value in enumerate(values)]


class TestReference:

  def test_episodes_are_put_into_bins(self):
    """By hand: seed 14 has 49.642 and 11.2698 at 9000 and 9500."""
    scores = references.load(NAME).scores[TASK]
    assert list(scores) == list(range(500, 9501, 1000))
    at_end = dict(zip(scores[9500].seeds, scores[9500].values))
    assert at_end['14'] == pytest.approx((49.642 + 11.2698) / 2)
    assert set(at_end) == {'11', '12', '13', '14', '15', '16'}

  def test_runs_that_end_are_not_carried_forward(self):
    for name, last in ((NAME, 5500), (f'{NAME}_training', 6000)):
      scores = references.load(name).scores[TASK]
      assert {budget: x.n for budget, x in scores.items()} == {
          budget: 12 if budget <= last else 6 for budget in scores}
      assert not any(x.carried for x in scores.values())

  def test_most_had_learned_at_the_end(self):
    sample = references.load(f'{NAME}_training').scores[TASK][10_000]
    assert sorted(x > 60 for x in sample.values) == [False] + [True] * 5


class TestCompare:

  def test_rows(self):
    result = compare.compare(point_runs([70, 75, 65, 5]), references.load(NAME))
    assert [x['budget'] for x in result['budgets']] == list(
        range(500, 9501, 1000))
    row = result['budgets'][-1]['tasks'][0]
    assert row['margin'] == 10 and row['ours']['n'] == 4
    assert row['learned']['ours'] == 3 and row['learned']['reference'] == 5
    assert 0.9 < row['learned']['chance'] <= 1
    # 14 has 30.5 at the end, the only one of six below 50.
    assert result['budgets'][0]['tasks'][0]['learned']['reference'] == 0

  def test_all_budgets_together(self):
    result = compare.compare(point_runs([70, 80, 75]), references.load(NAME))
    short, whole = result['curves']
    assert (short['budgets'][-1], len(short['budgets'])) == (5500, 6)
    assert (short['reference']['n'], whole['reference']['n']) == (12, 6)
    # Four budgets have 5, that of 4500 half of it, five 70, 80, 75.
    assert whole['ours']['values'] == pytest.approx(
        [(4.5 * 5 + 5.5 * x) / 10 for x in (70, 80, 75)])
    scores = references.load(NAME).scores[TASK]
    theirs = [sum(dict(zip(x.seeds, x.values))['11'] for x in scores.values())]
    assert whole['reference']['values'][0] == pytest.approx(theirs[0] / 10)

  def test_runs_that_ended_early(self):
    result = compare.compare(
        point_runs([70, 80, 75], 6000), references.load(NAME))
    assert [x['budgets'][-1] for x in result['curves']] == [5500]

  def test_equal_runs_are_not_found_different(self):
    """The reference's own seeds, as if they were ours."""
    reference = references.load(NAME)
    found = []
    for seed in reference.scores[TASK][9500].seeds:
      values = {budget: dict(zip(x.seeds, x.values))[seed]
                for budget, x in reference.scores[TASK].items()}
      found.append(make_run(TASK, int(seed), 0.0, **MORE)._replace(
          reached=10_000, evaluations=[
              (budget, [value]) for budget, value in values.items()]))
    result = compare.compare(found, reference)
    rows = [x['tasks'][0] for x in result['budgets']] + result['curves']
    assert {row['verdict'] for row in rows} <= {'reproduces', 'too few seeds'}
    assert rows[-1]['difference']['mean'] == pytest.approx(0, abs=1e-9)
    assert all(row['learned']['chance'] > 0.5 for row in rows[6:10])

  def test_text(self):
    text = verdicts.text(compare.compare(
        point_runs([70, 75, 5]), references.load(NAME)))
    assert text.count('environment steps') == 1  # one table, a row per budget
    assert '2/3, 5/6 (1.00)' in text and 'mean of 10 to 9,500' in text
    assert "Fisher's exact test" in text and 'or more' in text

  def test_another_level(self):
    result = compare.compare(
        point_runs([70, 75, 5]), references.load(NAME), learned=72)
    assert result['budgets'][-1]['tasks'][0]['learned']['ours'] == 1


class TestMain:

  @pytest.fixture
  def logdirs(self, tmp_path):
    """Three runs with evaluations and training returns."""
    for seed in range(3):
      logdir = write_run(tmp_path / str(seed), [
          (step, [60.0 + seed]) for step in range(500, 10_001, 500)],
          seed=seed, presets=['pixelpoint'], task=TASK)
      write_lines(logdir / 'metrics.jsonl', [
          {'step': step, 'agent_steps': step // 2, 'train/return': 50.0 + seed}
          for step in range(100, 10_001, 100)])
    return [tmp_path / str(seed) for seed in range(3)]

  def test_both_kinds_of_returns(self, logdirs, capsys):
    run('compare', *logdirs, '--to', NAME)
    first, second = capsys.readouterr().out.split('\n\n\n')
    assert f'beside {NAME} (dreamer)' in first and 'Note: The ref' in first
    assert f'beside {NAME}_training (dreamer_training)' in second
    assert '51.0 [48.5, 53.5]' in second and 'presets' not in first
    run('compare', *logdirs, '--to', NAME, '--json')
    result = json.loads(capsys.readouterr().out)
    assert len(result['budgets']) == len(result['training']['budgets']) == 10

  def test_the_named_method_is_that_of_the_evaluations(self, logdirs, capsys):
    run('compare', *logdirs, '--to', NAME)
    both = capsys.readouterr().out
    run('compare', *logdirs, '--to', NAME, '--method', 'dreamer')
    assert capsys.readouterr().out == both
    with pytest.raises(UserError, match="has no 'dreamer_training'; allowed"):
      run('compare', *logdirs, '--to', NAME, '--method', 'dreamer_training')

  def test_budgets_of_the_evaluations(self, logdirs, capsys):
    run('compare', *logdirs, '--to', NAME, '--budgets', 500)
    assert capsys.readouterr().out.count('Ours (dreamerv1)') == 1

  def test_training_returns_alone(self, logdirs, capsys):
    run('compare', *logdirs, '--to', NAME, '--returns', 'training')
    assert capsys.readouterr().out.count('Ours (dreamerv1)') == 1

  def test_collected_evaluations(self, logdirs, tmp_path, capsys):
    file = tmp_path / 'x.json'
    run('collect', *logdirs, '--out', file)
    assert runs.load([file])[0].task == TASK
    assert len(json.loads(file.read_text())['runs'][0]['points']) == 10
    run('compare', file, '--to', NAME)
    assert capsys.readouterr().out.count('Ours (dreamerv1)') == 1
