"""Runs -> files of scores: binning, carrying forward, bad input."""

import json

import pytest

from dreamer import cli
from dreamer.errors import UserError
from dreamer.files import ROOT
from dreamer.run import run_folder
from dreamer.run.run_folder import RunFolder
from scores import binning, catalog, collect, csv_rows, runs
from tests.support.scores_tools import (
  TASK,
  evaluation,
  run,
  write_lines,
  write_run,
)


class TestBinning:

  def test_by_hand(self):
    evaluations = [(5, [1.0]), (10, [2.0, 4.0]), (11, [10.0]), (40, [7.0])]
    points = binning.points(evaluations, binning.Rule('x', 10))
    assert points == {
        10: (10, 7 / 3, 3, None), 20: (20, 10.0, 1, None),
        40: (40, 7.0, 1, None)}

  def test_edges_of_the_release(self):
    """105 000, 205 000, ...; 4 905 000 is the last; see published/."""
    rule = binning.RULES['dreamerv1_released']
    wanted = {
        5000: 5000, 5001: 105000, 100000: 105000, 105000: 105000,
        200000: 205000, 1000000: 1005000, 5000000: 4905000}
    assert {step: rule.edge(step) for step in wanted} == wanted
    curves = {x.env_steps
              for x in csv_rows.published('dreamerv1_released_curves')}
    assert all(rule.edge(x) == x for x in curves)
    assert len(curves) == 50

  def test_table_g_is_ten_episodes(self):
    """One episode each 1e4 steps from 5000 on; the bin ends at 5e6."""
    evaluations = [(step, [float(step)])
                   for step in range(5000, 5_000_001, 10_000)]
    points = binning.points(evaluations, binning.RULES['table_g'])
    point = binning.at(points, binning.RULES['table_g'], 5_000_000, 5_000_000)
    assert point == (5_000_000, 4_950_000, 10, None)

  def test_stopped_runs_are_carried_forward(self):
    rule = binning.Rule('x', 10)
    points = binning.points(
        [(s, [float(s)]) for s in range(5, 30, 5)], rule)
    assert binning.at(points, rule, 20, 25) == (20, 17.5, 2, None)
    # The bin (20, 30] isn't complete: it does not count.
    assert binning.at(points, rule, 30, 25) == (30, 17.5, 2, 20)
    assert binning.at(points, rule, 90, 25) == (90, 17.5, 2, 20)
    assert binning.at(points, rule, 10, 5) == (
        'it stopped at 5, before the first bin was complete')

  def test_no_evaluation_in_a_bin(self):
    rule = binning.Rule('x', 10)
    points = binning.points([(5, [1.0]), (35, [2.0])], rule)
    assert 'no evaluation in the 10 steps before 20' in binning.at(
        points, rule, 20, 40)

  @pytest.mark.parametrize('task, method, name', [
      ('dmc_cup_catch', 'dreamerv1', 'table_g'),
      ('dmc_cup_catch', 'dreamerv2', 'dmc_vision'),
      ('atari_pong', 'dreamerv2', 'atari')])
  def test_rules_of_the_papers(self, task, method, name):
    assert catalog.default_rule(task, method) == binning.RULES[name]

  def test_rule_by_width(self):
    assert binning.rule('5e3').width == 5000
    assert binning.rule('atari').width == 1_000_000
    for text in ('x', '0', '-5', 'nan', 'inf'):
      with pytest.raises(UserError, match='--bin: .* is not allowed'):
        binning.rule(text)


class TestLogdir:

  @pytest.fixture
  def old(self, tmp_path):
    """As runs were before scores.jsonl and what eval.jsonl has now."""
    logdir = write_run(tmp_path / 'old', [], seed=3, task='dmc_cup_catch',
                       presets=['laptop'])
    (logdir / 'scores.jsonl').unlink()
    write_lines(logdir / 'metrics.jsonl', [
        {'step': 8000, 'agent_steps': 2000, 'eval/return': 8.5},
        {'step': 9000, 'agent_steps': 2250, 'train/return': 4.5},
        {'step': 13000, 'agent_steps': 3250, 'eval/return': 95.5}])
    write_lines(logdir / 'eval.jsonl', [
        {'policy': 'trained', 'task': 'dmc_cup_catch', 'seed': 100,
         'env_steps': 21796, 'episodes': 2, 'returns': [1, 2]}])
    return logdir

  def test_of_today(self, tmp_path):
    write_run(tmp_path / 'a', [(200, [1.0, 3.0]), (100, [5.0])], seed=7)
    found, = runs.load([tmp_path / 'a'])
    assert (found.task, found.method, found.seed) == (TASK, 'dreamerv1', 7)
    assert found.evaluations == [(100, [5.0]), (200, [1.0, 3.0])]
    assert found.reached == 200 and found.notes == []
    assert found.protocol['action_repeat'] == 2
    assert found.where.endswith('/a') and found.where.count('/') == 1

  def test_from_before_scores_jsonl(self, old):
    found = runs.of_folder(RunFolder(old))
    assert (found.task, found.method, found.seed) == (
        'dmc_cup_catch', 'dreamerv1', 3)
    assert found.evaluations == [(8000, [8.5]), (13000, [95.5])]
    assert found.reached == 21796 and found.presets == ['laptop']
    assert found.protocol['action_repeat'] == 4 and found.commits == []
    assert found.final['trained'] == {
        'step': 21796, 'eval_seed': 100, 'returns': [1.0, 2.0]}

  def test_training_returns(self, old):
    found = runs.of_folder(RunFolder(old), 'training')
    assert found.protocol['returns'] == 'training'
    assert found.evaluations == [(9000, [4.5])]

  def test_an_old_run_of_the_other_agent(self, old):
    import dreamerv2  # For this test only.
    config = dreamerv2.configure(['released'], task='atari_pong')
    config.save(old / 'config.yaml')
    write_lines(old / 'eval.jsonl', [])
    found = runs.of_folder(RunFolder(old))
    assert found.method == 'dreamerv2' and found.presets == ['released']
    assert found.protocol['actions'] == 'minimal'

  def test_ours(self):
    """Every run that is kept can be read."""
    logdirs = sorted((ROOT / 'scores' / 'ours').glob('*/seed*'))
    assert logdirs
    for logdir in logdirs:
      found = runs.of_folder(RunFolder(logdir))
      assert found.reached > 0 and (found.final or found.evaluations)

  def test_round_trip(self, tmp_path):
    write_run(tmp_path / 'a', [(100, [5.0])])
    write_run(tmp_path / 'b', [(100, [6.0])], seed=1)
    run('collect', tmp_path / 'a', tmp_path / 'b', '--out', tmp_path / 'x')
    once = runs.load([tmp_path / 'x'])
    assert [runs.to_json(x) for x in once] == [
        runs.to_json(x) for x in runs.load([tmp_path / 'b', tmp_path / 'a'])]
    run('collect', tmp_path / 'x', '--out', tmp_path / 'y')
    assert (tmp_path / 'x').read_text() == (tmp_path / 'y').read_text()
    assert str(tmp_path) not in (tmp_path / 'x').read_text()

  def test_a_real_run(self, debug_config, capsys):
    from dreamer.envs import make_envs  # For this test only.
    from dreamer.run import training  # For this test only.
    from dreamer.run.stop import Stop  # For this test only.
    from tests.support.fakes import FakeAgent  # For this test only.
    config = debug_config(steps=700, eval_every=200, eval_episodes=2)
    training.train(config, 'dreamerv1', FakeAgent, make_envs, Stop())
    run('collect', config.logdir, '--bin', 300)
    out = capsys.readouterr()
    content, = json.loads(out.out)['runs']
    assert [x[0] for x in content['evaluations']] == [200, 400, 600, 700]
    assert [(x[0], x[2]) for x in content['points']] == [(300, 2), (600, 4)]
    assert content['protocol']['episodes'] == 2


class TestCollect:

  def test_points_and_csv(self, tmp_path):
    for seed, until in enumerate((400_000, 250_000)):
      write_run(tmp_path / f'{seed}', [
          (step, [float(step + seed)]) for step in range(5000, until, 10_000)
      ], seed=seed, reached=until)
    run('collect', tmp_path / '0', tmp_path / '1', '--out', tmp_path / 'x',
        '--csv', tmp_path / 'x.csv')
    first, second = json.loads((tmp_path / 'x').read_text())['runs']
    assert first['rule'] == 'table_g: bins of 100,000 environment steps'
    assert first['points'] == [
        [100_000, 50_000, 10, None], [200_000, 150_000, 10, None],
        [300_000, 250_000, 10, None], [400_000, 350_000, 10, None]]
    # Seed 1 stopped within its third bin: the second is carried forward.
    assert second['points'][1:] == [
        [200_000, 150_001, 10, None], [300_000, 150_001, 10, 200_000],
        [400_000, 150_001, 10, 200_000]]
    rows = csv_rows.read(tmp_path / 'x.csv')
    assert len(rows) == 8 and rows[-1].carried == 200_000
    assert rows[-1][:5] == (TASK, 'dreamerv1', '1', 400_000, 150_001)

  def test_short_run(self, tmp_path, capsys):
    write_run(tmp_path / 'a', [(5000, [5.0])])
    run('collect', tmp_path / 'a')
    out = capsys.readouterr()
    assert json.loads(out.out)['runs'][0]['points'] == []
    assert 'no bin is complete at step 5,000' in out.err

  def test_only_evaluated_after_training(self, tmp_path):
    logdir = write_run(tmp_path / 'a', [])
    write_lines(logdir / 'eval.jsonl', [
        {'policy': 'trained', 'step': 70, 'returns': [1.0, 2.0]}])
    found, = runs.load([logdir])
    assert found.evaluations == [] and found.reached == 70


def failing(function):
  def fails(tmp_path):
    logdir = write_run(tmp_path / 'run', [(100, [1.0]), (200, [2.0])])
    return function(tmp_path, logdir) or [logdir]
  return fails


@failing
def no_folder(tmp_path, logdir):
  return [tmp_path / 'none']


@failing
def no_config(tmp_path, logdir):
  (logdir / 'config.yaml').unlink()
  write_lines(logdir / 'scores.jsonl', [{'step': 1, 'returns': [1.0]}])


@failing
def no_evaluations(tmp_path, logdir):
  (logdir / 'scores.jsonl').unlink()


@failing
def mixed_tasks(tmp_path, logdir):
  text = (logdir / 'scores.jsonl').read_text()
  (logdir / 'scores.jsonl').write_text(text.replace(
      TASK, 'dmc_cup_catch', 1))


@failing
def nan(tmp_path, logdir):
  text = (logdir / 'scores.jsonl').read_text()
  (logdir / 'scores.jsonl').write_text(text.replace('[2.0]', '[null]'))


@failing
def bare_nan(tmp_path, logdir):
  text = (logdir / 'scores.jsonl').read_text()
  (logdir / 'scores.jsonl').write_text(text.replace('[2.0]', '[NaN]'))


@failing
def no_returns(tmp_path, logdir):
  text = (logdir / 'scores.jsonl').read_text()
  (logdir / 'scores.jsonl').write_text(text.replace('[2.0]', '[]'))


@failing
def damaged_in_the_middle(tmp_path, logdir):
  text = (logdir / 'scores.jsonl').read_text()
  (logdir / 'scores.jsonl').write_text(text[:30] + '\n' + text)


@failing
def same_seed(tmp_path, logdir):
  return [logdir, write_run(tmp_path / 'other', [(100, [2.0])])]


@failing
def agent_steps(tmp_path, logdir):
  text = (logdir / 'scores.jsonl').read_text()
  (logdir / 'scores.jsonl').write_text(text.replace(
      '"agent_steps": 100', '"agent_steps": 200'))


@failing
def a_file_of_something(tmp_path, logdir):
  (tmp_path / 'x').write_text('{"a": 1}')
  return [tmp_path / 'x']


@failing
def no_json(tmp_path, logdir):
  (tmp_path / 'x').write_text('hello')
  return [tmp_path / 'x']


@failing
def strange_policy(tmp_path, logdir):
  write_lines(logdir / 'eval.jsonl', [{'policy': 'expert', 'returns': [1]}])


@failing
def nan_in_the_last_evaluation(tmp_path, logdir):
  write_lines(logdir / 'eval.jsonl', [
      {'policy': 'trained', 'step': 9, 'returns': [1, None]}])


BAD = [
    (no_folder, 'cannot read'), (no_config, 'no seed is known: config.yaml is'),
    (no_evaluations, 'no evaluation returns; evaluate the run'),
    (mixed_tasks, 'holds evaluations of dmc_cup_catch, but config.yaml says '
     'dmc_walker_walk'),
    (nan, 'line 2: a return is not finite'),
    (bare_nan, 'line 2: a return is not finite'),
    (no_returns, 'line 2: no returns'),
    (damaged_in_the_middle, 'line 1 is damaged'),
    (same_seed, 'seed 0 of dreamerv1 on dmc_walker_walk is also in'),
    (agent_steps, 'steps have to be environment steps'),
    (a_file_of_something, 'no file of `scores collect`'),
    (no_json, 'cannot read: no JSON'),
    (strange_policy, "line 1: policy 'expert' is not allowed"),
    (nan_in_the_last_evaluation, 'eval.jsonl: line 1: a return is not')]


class TestBadInput:

  @pytest.mark.parametrize(
      'make, wanted', BAD, ids=[x[0].__name__ for x in BAD])
  def test_one_clear_line(self, tmp_path, capsys, make, wanted):
    logdirs = make(tmp_path)
    with pytest.raises(SystemExit) as info:
      cli.guard(run, 'collect', *logdirs)
    assert info.value.code == 2
    out = capsys.readouterr()
    assert out.out == '' and out.err.startswith('error: ')
    assert out.err.count('\n') == 1 and wanted in out.err

  def test_cut_last_line_is_noted(self, tmp_path, capsys):
    logdir = write_run(tmp_path / 'run', [(100, [1.0])])
    with open(logdir / 'scores.jsonl', 'a') as file:
      file.write('{"step": 200, "retur')
    run('collect', logdir, '--bin', 50)
    out = capsys.readouterr()
    assert 'scores.jsonl: its last line was cut and is left out' in out.err
    assert json.loads(out.out)['runs'][0]['notes'] == [
        f'scores.jsonl: {run_folder.CUT}']

  def test_step_twice_is_noted(self, tmp_path, capsys):
    import dreamerv1  # For this test only.
    logdir = write_run(tmp_path / 'run', [(100, [1.0])])
    write_lines(logdir / 'scores.jsonl', [
        evaluation(dreamerv1.schema().config(), 100, [x])
        for x in (1.0, 2.0)])
    found = runs.of_folder(RunFolder(logdir))
    assert found.evaluations == [(100, [2.0])]
    assert 'step 100 occurs twice' in found.notes[0]

  def test_other_settings(self, tmp_path):
    write_run(tmp_path / 'a', [(100, [1.0])])
    write_run(tmp_path / 'b', [(100, [1.0])], seed=1, horizon=9)
    found = runs.load([tmp_path / 'a', tmp_path / 'b'])
    with pytest.raises(UserError, match='b has other settings than .*a '):
      runs.by_task(found)

  def test_two_agents(self, tmp_path):
    write_run(tmp_path / 'a', [(100, [1.0])])
    write_run(tmp_path / 'b', [(100, [1.0])], agent='dreamerv2')
    found = runs.load([tmp_path / 'a', tmp_path / 'b'])
    with pytest.raises(UserError, match='dreamerv1 and dreamerv2'):
      runs.by_task(found)

  def test_training_returns_in_a_file_of_evaluations(self, tmp_path):
    logdir = write_run(tmp_path / 'a', [(100, [1.0])])
    run('collect', logdir, '--out', tmp_path / 'x')
    with pytest.raises(UserError, match='holds evaluation returns, not'):
      run('collect', tmp_path / 'x', '--returns', 'training')
    with pytest.raises(UserError, match='no training returns'):
      run('collect', logdir, '--returns', 'training')

  def test_damage_in_a_collected_file(self, tmp_path):
    logdir = write_run(tmp_path / 'a', [(100, [1.0])])
    content = collect.collect(runs.load([logdir]))
    content['runs'][0]['evaluations'][0][1] = [None]
    (tmp_path / 'x').write_text(json.dumps(content))
    with pytest.raises(UserError, match='step 100: a return is not finite'):
      runs.load([tmp_path / 'x'])
    del content['runs'][0]['seed']
    (tmp_path / 'x').write_text(json.dumps(content))
    with pytest.raises(UserError, match='a run lacks seed'):
      runs.load([tmp_path / 'x'])
