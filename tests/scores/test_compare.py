"""Runs beside references: budgets, protocol, verdicts, bad input."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest

from dreamer import cli
from dreamer.errors import UserError
from dreamer.files import ROOT
from scores import (
    __main__,
    aggregates,
    atari,
    catalog,
    collect,
    compare,
    csv_rows,
    intervals,
    references,
    runs,
    verdicts,
)
from tests.support.scores_tools import (
    TABLE_1,
    TABLE_G,
    TASK,
    make_run,
    write_lines,
    write_run,
)


def released(task=TASK, budget=1_000_000):
  return references.load('dreamerv1/released').scores[task][budget]


def runs_like(values, task=TASK, until=1_000_000, **keys):
  """One run per value, which it has at every evaluation."""
  return [make_run(task, seed, value, until, **keys)
          for seed, value in enumerate(values)]


def row_at(result, budget, task=TASK):
  part, = (x for x in result['budgets'] if x['budget'] == budget)
  row, = (x for x in part['tasks'] if x['task'] == task)
  return row


def against(name, found, **keys):
  return compare.compare(found, references.load(name), **keys)


class TestReferences:

  @pytest.mark.parametrize('name', catalog.SOURCES)
  def test_every_name(self, name):
    reference = references.load(name)
    assert reference.scores and reference.rule
    for task, budgets in reference.scores.items():
      assert task.startswith((
          'dmc_', 'atari_', 'dmlab_', 'dummy_', 'procgen_', 'minecraft_'))
      assert budgets and all(isinstance(x, int) for x in budgets)

  def test_table_g(self):
    reference = references.load('dreamerv1/table_g')
    assert len(reference.scores) == 20 and 'dmc_mean' not in reference.scores
    assert reference.scores[TASK] == {
        5_000_000: references.Sample(TABLE_G[TASK], None, 5)}
    d4pg = references.load('dreamerv1/table_g', 'd4pg')
    assert list(d4pg.scores[TASK]) == [100_000_000]
    assert d4pg.protocol == {'returns': 'evaluation'}

  def test_released_seeds(self):
    sample = released()
    assert sample.n == len(sample.values) == 5 and sample.carried == 0
    assert released(budget=5_000_000).carried == 1
    assert list(references.load('dreamerv1/released').scores[TASK]) == [
        100_000, 200_000, 500_000, 1_000_000, 2_000_000, 5_000_000]

  def test_table_k1_has_its_seeds(self):
    sample, = references.load('dreamerv2/table_k1').scores[
        'atari_pong'].values()
    assert sample.n == 8 and round(sample.mean) == 20
    dqn = references.load('dreamerv2/table_k1', 'dqn').scores['atari_pong']
    assert dqn == {200_000_000: references.Sample(16.61)}

  def test_unbiased_spread_of_curves(self):
    """The curves' std divides by n."""
    row, = (x for x in csv_rows.published('dreamerv2_dmc_vision_curves')
            if (x.task, x.env_steps) == (TASK, 30_000))
    sample = references.load('dreamerv2/dmc_vision').scores[TASK][30_000]
    assert sample.std == pytest.approx(row.std * math.sqrt(5 / 4))

  def test_figures(self):
    fig10 = references.load('dreamerv1/fig10', 'no_value')
    assert fig10.rule.width == 200_000 and len(fig10.scores) == 20
    fig12 = references.load('dreamerv1/fig12', 'repeat_4')
    assert fig12.protocol['action_repeat'] == 4
    clipped = references.load('dreamerv1/fig12', 'repeat_1').scores[TASK]
    assert list(clipped) == [500_000]

  def test_a_file_of_training_returns(self, tmp_path, capsys):
    for seed in range(3):
      logdir = write_run(tmp_path / str(seed), [], seed=seed)
      write_lines(logdir / 'metrics.jsonl', [
          {'step': step, 'agent_steps': step // 2, 'train/return': 5.0 + seed}
          for step in range(10_000, 100_001, 10_000)])
    found = [str(tmp_path / str(seed)) for seed in range(3)]
    path = str(tmp_path / 't.json')
    __main__.main(['collect', *found, '--returns', 'training', '--out', path])
    __main__.main(['compare', *found, '--to', path, '--margin', '5'])
    assert 'reproduces' in capsys.readouterr().out
    with pytest.raises(UserError, match='not evaluation; write --returns tra'):
      references.load(path)

  @pytest.mark.parametrize('lines, wanted', [
      ('', '--to: .*x.csv has no row'),
      ('dmc_walker_walk,a,mean,100000,1,1,0,,', 'line 2: n 0 is not allowed'),
      ('dmc_walker_walk,a,mean,100000,1,-1,2,,', 'std -1.0 is not allowed')])
  def test_a_csv_that_says_nothing(self, lines, wanted, tmp_path):
    path = tmp_path / 'x.csv'
    path.write_text(','.join(csv_rows.Row._fields) + f'\n{lines}\n' * bool(
        lines))
    with pytest.raises(UserError, match=wanted):
      references.load(str(path))

  @pytest.mark.parametrize('options, wanted', [
      ({'seed': -1}, '--seed: -1 is not allowed'),
      ({'learned': math.nan}, '--learned: nan is not allowed')])
  def test_numbers_that_are_none(self, options, wanted):
    with pytest.raises(UserError, match=wanted):
      against('dreamerv1/released', runs_like([1, 2, 3]), **options)

  def test_a_budget_without_end(self):
    with pytest.raises(UserError, match='--budgets: 1e999 is not finite'):
      __main__.parse(['compare', 'x', '--to', 'y', '--budgets', '1e999'])

  @pytest.mark.parametrize('argv, wanted', [
      (('dreamerv3/x',), 'no file and no known reference; known: dreamerv1/'),
      (('dreamerv1/table_g', 'sac'), "has no 'sac'; allowed: a3c, d4pg"),
      (('dreamerv1/table_g', None, '5e4'), '--bin: .* has its own bins')])
  def test_bad(self, argv, wanted):
    with pytest.raises(UserError, match=wanted):
      references.load(*argv)

  def test_csv(self, tmp_path):
    path = tmp_path / 'x.csv'
    csv_rows.write(path, [
        csv_rows.Row(TASK, 'mine', str(seed), 100_000, seed + 1.0)
        for seed in range(3)])
    reference = references.load(str(path))
    assert reference.scores[TASK][100_000].values == (1, 2, 3)
    csv_rows.write(path, [csv_rows.Row(TASK, 'a', '0', 1, 1.0),
                      csv_rows.Row(TASK, 'b', '0', 1, 1.0)])
    with pytest.raises(UserError, match='choose one of .*: a, b'):
      references.load(str(path))
    csv_rows.write(path, [csv_rows.Row(TASK, 'a', '0', 1, 1.0)] * 2)
    with pytest.raises(UserError, match='has a seed twice at 1 steps'):
      references.load(str(path))

  def test_collected_file(self, tmp_path):
    found = runs_like([1, 2, 3])
    (tmp_path / 'x.json').write_text(collect.dumps(collect.collect(found)))
    reference = references.load(str(tmp_path / 'x.json'))
    assert reference.scores[TASK][100_000].values == (1, 2, 3)
    assert len(reference.scores[TASK]) == 10
    same = compare.compare(found, reference, margin='5', budgets=[500_000])
    row = row_at(same, 500_000)
    assert row['difference']['mean'] == 0 and row['verdict'] == 'reproduces'


class TestBudgets:

  def test_those_that_both_have(self):
    result = against('dreamerv1/released', runs_like([900, 910, 920],
                                                     until=550_000))
    assert [x['budget'] for x in result['budgets']] == [
        100_000, 200_000, 500_000]
    result = against('dreamerv1/released', runs_like(
        [900, 910, 920], until=550_000), budgets=[200_000])
    assert [x['budget'] for x in result['budgets']] == [200_000]

  def test_bins_are_the_references(self):
    """At 1e5 the release's bin is (5000, 105000]: 15 000 ... 105 000."""
    found = [make_run(seed=seed, value=lambda step: step)
             for seed in range(3)]
    row = row_at(against('dreamerv1/released', found), 100_000)
    assert row['ours']['values'] == [60_000] * 3
    table = references.load('dreamerv1/table_g')
    found = [make_run(seed=0, value=lambda step: step, until=5_000_000)]
    result = compare.compare(found, table)
    assert row_at(result, 5_000_000)['ours']['mean'] == 4_950_000

  def test_stopped_runs_are_carried_forward(self):
    found = runs_like([900, 910]) + [make_run(seed=2, value=920,
                                              until=600_000)]
    result = against('dreamerv1/released', found)
    assert row_at(result, 500_000)['ours']['carried'] == 0
    row = row_at(result, 1_000_000)
    assert row['ours']['carried'] == 1 and row['ours']['n'] == 3
    assert '3 (+1)' in verdicts.text(result)
    assert 'carried forward' in verdicts.text(result)

  def test_missing_evaluations_are_said(self):
    found = runs_like([1, 2, 3], every=200_000)  # at 5000, 205 000, ...
    result = against('dreamerv1/released', found)
    assert [x['budget'] for x in result['budgets']] == [200_000]
    assert result['skipped'] == [
        f'{TASK} at {budget}: no evaluation in the 100,000 steps before '
        f'{edge} (eval_every is too long) (seeds 0, 1, 2)'
        for budget, edge in (('100,000', '105,000'), ('500,000', '505,000'),
                             ('1,000,000', '1,005,000'))]
    assert 'Left out: ' in verdicts.text(result)

  def test_nothing_in_common(self):
    with pytest.raises(UserError, match='no budget in common with dreamerv1/'
                       'released: dmc_walker_walk: the runs reached 21,796, '
                       'its scores are at 100,000, 200,000'):
      against('dreamerv1/released', runs_like([1, 2, 3], until=21_796))

  def test_unknown_budget(self):
    with pytest.raises(UserError, match='no score of .* at 123; it has 100,'):
      against('dreamerv1/released', runs_like([1, 2, 3]), budgets=[123])

  def test_task_that_the_reference_lacks(self):
    found = runs_like([1, 2], 'dmc_humanoid_walk')
    with pytest.raises(UserError, match='no score of dreamer for '
                       'dmc_humanoid_walk; it has dmc_acrobot_swingup'):
      against('dreamerv1/released', found)


class TestVerdicts:

  def test_the_seeds_themselves_reproduce(self):
    result = against(
        'dreamerv1/released', runs_like(released().values),
        budgets=[1_000_000])
    row = row_at(result, 1_000_000)
    assert row['difference']['mean'] == pytest.approx(0, abs=1e-9)
    assert row['verdict'] == 'reproduces' and row['margin'] == 50
    assert row['improvement'] == pytest.approx(0.5, abs=0.1)

  def test_other_scores_differ(self):
    result = against(
        'dreamerv1/released', runs_like([500, 510, 520, 530]),
        budgets=[1_000_000])
    row = row_at(result, 1_000_000)
    assert row['verdict'] == 'differs' and row['improvement'] == 0
    assert 'differs: lower' in verdicts.text(result)

  def test_few_seeds_can_not_tell(self):
    for values, wanted in (([940, 960], 3), ([700, 1000, 900], 10)):
      result = against(
          'dreamerv1/released', runs_like(values), budgets=[1_000_000])
      row = row_at(result, 1_000_000)
      assert row['verdict'] == 'too few seeds'
      assert row['seeds_needed'] >= wanted
      assert 'would tell' in verdicts.text(result)

  def test_shares_that_have_learned(self):
    result = against('dreamerv1/released', runs_like([100, 900, 950]),
                     budgets=[1_000_000], learned=500)
    learned = row_at(result, 1_000_000)['learned']
    assert (learned['ours'], learned['reference']) == (2, 5)
    assert learned['chance'] == pytest.approx(3 / 8)
    assert '2/3, 5/5 (0.38)' in verdicts.text(result)
    table = against('dreamerv1/table_g', runs_like([950], until=5_000_000),
                    learned=500)
    assert row_at(table, 5_000_000)['learned'] is None

  def test_one_seed(self):
    result = against('dreamerv1/released', runs_like([940]))
    row = row_at(result, 1_000_000)
    assert row['ours']['low'] is None and row['difference']['low'] is None
    assert row['verdict'] == 'too few seeds'
    assert 'intervals need 3 seeds' in verdicts.text(result)

  def test_a_table_without_seeds(self):
    found = runs_like([950, 955, 960, 965], until=5_000_000)
    result = against('dreamerv1/table_g', found)
    row = row_at(result, 5_000_000)
    assert row['verdict'] == 'reproduces' and row['improvement'] is None
    assert row['reference']['low'] is None
    assert "spread is not known: ours is taken" in verdicts.text(result)

  @pytest.mark.parametrize('margin, task, wanted', [
      (None, 'dmc_walker_walk', 50), ('7', 'dmc_walker_walk', 7),
      ('10%', 'dmc_walker_walk', 30), (None, 'atari_pong', 0.2 * 320.7)])
  def test_margins(self, margin, task, wanted):
    assert compare.margin_of(margin, task, 300.0) == pytest.approx(wanted)

  @pytest.mark.parametrize('text', ['x', '0', '-3', '0%', 'nan', 'inf', '%'])
  def test_bad_margins(self, text):
    with pytest.raises(UserError, match='--margin: .* is not allowed'):
      against('dreamerv1/released', runs_like([1, 2, 3]), margin=text)

  def test_level(self):
    with pytest.raises(UserError, match='--level: 95'):
      against('dreamerv1/released', runs_like([1, 2, 3]), level=95)

  def test_same_input_same_output(self):
    found = runs_like([700, 900, 950])
    first = against('dreamerv1/released', found)
    assert against('dreamerv1/released', found) == first
    other = against('dreamerv1/released', found, seed=1)
    assert other != first
    # The other tasks of a comparison don't change a task's numbers.
    more = against('dreamerv1/released', found + runs_like(
        [1, 2, 3], 'dmc_cup_catch'))
    assert row_at(more, 500_000) == row_at(first, 500_000)


class TestProtocol:

  def test_the_same_is_silent(self):
    found = runs_like([900, 910, 920])
    found = [run._replace(presets=['released']) for run in found]
    result = against('dreamerv1/released', found)
    assert result['flags'] == []

  @pytest.mark.parametrize('name, more, wanted', [
      ('dreamerv1/released', {'returns': 'training'},
       'returns is training here, evaluation there'),
      ('dreamerv1/released', {'time_limit': 500},
       'time_limit is 500 here, 1000 there'),
      ('dreamerv2/released', {'actions': 'minimal'},
       'actions is minimal here, full there'),
      ('dreamerv2/released', {'sticky': 0.0},
       'sticky is 0.0 here, 0.25 there'),
      ('dreamerv2/released', {'sticky': None},
       'sticky is not known here, 0.25 there')])
  def test_refused(self, name, more, wanted):
    task = TASK if 'v1' in name else 'atari_pong'
    found = runs_like([1, 2, 3], task, 6_000_000, **more)
    with pytest.raises(UserError, match=wanted) as info:
      against(name, found)
    key = next(iter(more))
    assert f'--allow {key}' in str(info.value)
    allowed = against(name, found, allow=[key])
    assert any(wanted in line for line in allowed['flags'])
    assert wanted in verdicts.text(allowed)

  @pytest.mark.parametrize('more, wanted', [
      ({'action_repeat': 4}, 'action_repeat is 4 here, 2 there'),
      ({'episodes': 5}, 'episodes is 5 here, 1 there'),
      ({'suite': {'buffer': 'small', 'shadows': 'full',
                  'multisampling': True}},
       'suite.buffer is small here, full there')])
  def test_flagged(self, more, wanted):
    result = against('dreamerv1/released', runs_like([1, 2, 3], **more))
    assert [x for x in result['flags'] if 'presets' not in x] == [
        f'{TASK}: {wanted}']

  def test_many_tasks_share_a_line(self):
    tasks = (TASK, 'dmc_cup_catch', 'dmc_finger_spin')
    found = [run for task in tasks for run in runs_like([1, 2, 3], task)]
    for run in found[:6]:
      run.protocol['action_repeat'] = 4
    for run in found:
      run.protocol['episodes'] = 3
    flags = against('dreamerv1/released', found)['flags']
    assert flags[1:] == [
        'dmc_cup_catch, dmc_walker_walk: action_repeat is 4 here, 2 there',
        'all tasks: episodes is 3 here, 1 there']

  def test_emulator_settings_are_atari_alone(self):
    found = runs_like([1, 2, 3], 'dmlab_collect', 16_000_000,
                      every=1_000_000, action_repeat=4, time_limit=108_000)
    flags = against('dreamerv1/fig9', found)['flags']
    assert not [x for x in flags if 'sticky' in x or 'life' in x]

  def test_origin_is_flagged(self):
    found = [run._replace(presets=['laptop']) for run in runs_like(
        [1, 2, 3], method='dreamerv2')]
    flags = against('dreamerv1/released', found)['flags']
    assert 'the runs are of dreamerv2, the reference is of dreamerv1' in flags
    assert ('the runs have the presets laptop, the reference released'
            in flags)

  def test_what_a_release_does_not_say(self):
    found = runs_like([1, 2, 3], 'atari_pong', 6_000_000, every=1_000_000)
    result = against('dreamerv2/released', found)
    assert 'the release does not say it' in verdicts.text(result)
    assert any('episodes is 1 here, 10 there' in x for x in result['flags'])


class TestAggregates:

  def test_control(self):
    found = []
    for task, base in ((TASK, 900), ('dmc_cup_catch', 700),
                       ('dmc_finger_spin', 400)):
      found += runs_like([base, base + 10, base + 20], task)
    part = against('dreamerv1/released', found)['budgets'][-1]
    rows = {row['metric']: row for row in part['aggregates']}
    assert list(rows) == [
        *aggregates.CONTROL, 'Probability of improvement']
    ours = np.array([[b, b + 10, b + 20] for b in (900, 700, 400)]).T
    assert rows['Mean return']['ours']['mean'] == pytest.approx(ours.mean())
    assert rows['IQM return']['ours']['mean'] == pytest.approx(
        intervals.iqm(ours))
    assert rows['Optimality gap to 1000']['ours']['mean'] == pytest.approx(
        1000 - ours.mean())
    theirs = [released(task).mean
              for task in (TASK, 'dmc_cup_catch', 'dmc_finger_spin')]
    assert rows['Mean return']['reference']['mean'] == pytest.approx(
        np.mean(theirs))
    for row in part['aggregates']:
      assert row['difference']['low'] < row['difference']['high']

  def test_atari_as_table_1_has_them(self):
    """The released seeds, as if they were ours: Table 1's numbers."""
    scores = atari.released()
    found = [
        make_run(game, seed, scores[seed, i], 199_000_000, 1_000_000,
                 'dreamerv2')
        for i, game in enumerate(atari.games()) for seed in range(8)]
    reference = references.load('dreamerv2/table_k1')
    result = compare.compare(found, reference)
    rows = {row['metric']: row
            for row in result['budgets'][0]['aggregates']}
    wanted = dict(zip(atari.METRICS.values(), TABLE_1))
    for name, value in wanted.items():
      for side in ('ours', 'reference'):
        assert round(rows[name][side]['mean'], 2) == value
      assert rows[name]['difference']['mean'] == 0
    assert rows['Probability of improvement']['difference'][
        'mean'] == pytest.approx(0.5)
    assert 'Over 55 of 55 tasks' in verdicts.text(result)

  def test_without_seeds_of_the_reference(self):
    found = []
    for task in (TASK, 'dmc_cup_catch'):
      found += runs_like([900, 910, 920], task, 5_000_000)
    part = against('dreamerv1/table_g', found)['budgets'][0]
    assert [x['metric'] for x in part['aggregates']] == [
        'Mean return', 'Median return']
    row = part['aggregates'][0]
    assert row['reference']['mean'] == pytest.approx(
        np.mean(list(TABLE_G.values())))
    assert row['reference']['low'] is None
    assert row['difference']['low'] < row['difference']['high']

  def test_unequal_seeds_are_said(self):
    found = runs_like([1, 2, 3]) + runs_like([1, 2], 'dmc_cup_catch')
    result = against('dreamerv1/released', found)
    part = result['budgets'][0]
    assert part['aggregates'] == []
    assert 'dmc_cup_catch 2, dmc_walker_walk 3' in verdicts.text(result)

  def test_one_seed_each(self):
    found = runs_like([1]) + runs_like([2], 'dmc_cup_catch')
    part = against('dreamerv1/released', found)['budgets'][0]
    assert part['aggregates'][0]['ours']['low'] is None


class TestMain:

  def test_prints(self, tmp_path, capsys):
    for seed in range(3):
      write_run(tmp_path / str(seed), [
          (step, [900.0 + seed]) for step in range(5000, 200_001, 10_000)],
          seed=seed, presets=['released'], reached=200_000)
    logdirs = [str(tmp_path / str(seed)) for seed in range(3)]
    argv = ['compare', *logdirs, '--to', 'dreamerv1/released']
    __main__.main(argv)
    out = capsys.readouterr().out
    assert 'At 100,000 environment steps' in out
    assert 'At 200,000 environment steps' in out and 'verdict' in out
    __main__.main([*argv, '--json', '--budgets', '1e5'])
    result = json.loads(capsys.readouterr().out)
    assert [x['budget'] for x in result['budgets']] == [100_000]
    row, = result['budgets'][0]['tasks']
    assert row['ours']['mean'] == 901 and row['verdict'] == 'differs'

  def test_run_too_short_for_any_budget(self, tmp_path, capsys):
    logdir = write_run(tmp_path / 'a', [(5000, [1.0])])
    with pytest.raises(SystemExit):
      cli.guard(__main__.main, [
          'compare', str(logdir), '--to', 'dreamerv1/released'])
    err = capsys.readouterr().err
    assert err.startswith('error: no budget in common') and (
        err.count('\n') == 1)

  def test_no_reference(self, tmp_path):
    with pytest.raises(UserError, match='--to'):
      __main__.main(['compare', str(tmp_path)])

  def test_not_a_number(self, tmp_path):
    with pytest.raises(UserError, match="'x'"):
      __main__.main(['compare', str(tmp_path), '--to', 'a', '--budgets', 'x'])


def test_no_tensorflow():
  """Not transitively either; help in less than a second of CPU time."""
  code = (
      'import sys, resource, scores.__main__ as m\n'
      'try: m.main(["--help"])\nexcept SystemExit: pass\n'
      'seconds = resource.getrusage(resource.RUSAGE_SELF).ru_utime\n'
      'import pkgutil, importlib, scores\n'
      'for x in pkgutil.iter_modules(scores.__path__): '
      'importlib.import_module("scores." + x.name)\n'
      'print(seconds < 1, "tensorflow" in sys.modules)')
  done = subprocess.run(
      [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
  assert done.stdout.endswith('True False\n'), done.stdout + done.stderr


def test_runs_are_sorted():
  assert runs.by_task(runs_like([1, 2])).keys() == {TASK}
