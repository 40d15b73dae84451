"""Intervals, the table of a run, and its figure."""

import json
import math
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from dreamer import cli
from dreamer.config.schema import Schema
from dreamer.errors import UserError
from dreamer.files import ROOT
from scores import curves, results, single
from scores.single import confidence


def write(path, rows, tail=''):
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(''.join(json.dumps(x) + '\n' for x in rows) + tail)


def evaluation(policy, returns, steps=500000, task='dmc_walker_walk'):
  return {'policy': policy, 'task': task, 'step': steps,
          'episodes': len(returns), 'returns': returns,
          'mean': -1, 'low': -1, 'high': -1}


@pytest.fixture
def logdir(tmp_path):
  write(tmp_path / 'eval.jsonl', [
      evaluation('trained', [1.0, 2.0]),
      evaluation('random', [40.0, 50.0, 60.0], 0),
      evaluation('untrained', [30.0, 30.0], 0),
      evaluation('trained', [800.0, 900.0, 1000.0])])
  write(tmp_path / 'metrics.jsonl', [
      {'step': step, 'train/return': step / 10, 'eval/return': None}
      for step in range(100, 5100, 100)])
  return tmp_path


class TestConfidence:

  def test_by_hand(self):
    # t(2 degrees, 97.5%) = 4.302653; std 10, so half = 4.302653 * 10 / 3**.5
    mean, low, high = confidence([40, 50, 60])
    assert mean == 50
    assert (low, high) == pytest.approx((25.158623, 74.841377))

  def test_against_scipy(self):
    from scipy import stats
    scores = np.random.default_rng(0).normal(100, 20, 12)
    wanted = stats.t.interval(
        0.95, 11, scores.mean(), stats.sem(scores))
    assert confidence(scores)[1:] == pytest.approx(wanted)

  def test_covers_the_mean(self):
    scores = np.random.default_rng(0).normal(size=[2000, 5])
    inside = [low <= 0 <= high for _, low, high in map(confidence, scores)]
    assert 0.935 < np.mean(inside) < 0.965

  def test_edges(self):
    assert confidence([7.0, 7.0]) == (7, 7, 7)
    mean, low, high = confidence([7.0])
    assert mean == 7 and math.isnan(low) and math.isnan(high)
    for scores in ([], [math.nan, 1]):
      with pytest.raises(AssertionError):
        confidence(scores)


class TestPublished:

  @pytest.mark.parametrize('task, score', [
      ('dmc_walker_walk', 961.67), ('dmc_cup_catch', 962.48),
      ('dmc_ball_in_cup_catch', 962.48), ('dmc_acrobot_swingup', 365.26),
      ('dmc_humanoid_walk', None), ('dummy_continuous', None), (None, None)])
  def test_score(self, task, score):
    assert results.published(task) == (score and (score, 5e6))

  @pytest.mark.parametrize('task, wanted', [
      ('dmc_cheetah_run', (807.35, 198e4)),
      ('dmc_cup_catch', (776.88, 198e4)),
      ('atari_alien', (3967, 199e6)), ('crafter_reward', None)])
  def test_score_of_dreamerv2(self, task, wanted):
    assert results.published(task, 'dreamerv2') == wanted


class TestTable:

  def test_full(self, logdir):
    text = '\n'.join(single.table(results.Run(logdir)))
    assert text.startswith('dmc_walker_walk after 500,000 environment steps')
    rows = {line[:28].strip(): line[28:].split()
            for line in text.splitlines()}
    # Half widths: 100 and 10 times t / sqrt(3) = 2.4841377.
    assert rows['trained agent'] == ['3', '900.0', '[651.6,', '1148.4]']
    assert rows['random policy'] == ['3', '50.0', '[25.2,', '74.8]']
    assert rows['untrained agent'] == ['2', '30.0', '[30.0,', '30.0]']
    assert rows['the paper, 5M steps'] == ['961.7']
    assert "paper's score (5M steps): 93.6% [67.8, 119.4]" in text
    assert "above the random policy's: yes" in text

  @pytest.mark.parametrize('returns, wanted', [
      ([60.0, 80.0, 90.0], "above the random policy's: no (38.7 <= 74.8)"),
      ([900.0], 'Unknown: an interval needs at least 2 episodes')])
  def test_not_above(self, logdir, returns, wanted):
    with open(logdir / 'eval.jsonl', 'a') as file:
      file.write(json.dumps(evaluation('trained', returns)) + '\n')
    assert wanted in '\n'.join(single.table(results.Run(logdir)))

  def test_without_random(self, tmp_path):
    write(tmp_path / 'eval.jsonl', [evaluation('trained', [1.0, 2.0])])
    text = '\n'.join(single.table(results.Run(tmp_path)))
    assert 'evaluate it with --policy random' in text

  def test_without_evaluation(self, logdir):
    (logdir / 'eval.jsonl').unlink()
    text = '\n'.join(single.table(results.Run(logdir)))
    assert 'has not been evaluated' in text and 'unknown task' in text
    # Returns 410, 420 ... 500 have a half width of 2.262157 * 9.574271.
    assert 'last 10 training episode(s): 455.0 [433.3, 476.7]' in text

  def test_task_of_the_config_counts(self, logdir):
    schema = Schema.load('configs/dreamerv1.yaml')
    config = schema.config(overrides={'task': 'dmc_cheetah_run'})
    config.save(logdir / 'config.yaml')
    run = results.Run(logdir)
    assert run.task == 'dmc_cheetah_run' and run.paper == (894.56, 5e6)
    assert run.evals == {} and '4 line(s) of another task' in run.notes[0]

  def test_agent_whose_paper_counts(self, logdir):
    write(logdir / 'scores.jsonl', [{'agent': 'dreamerv2', 'step': 8000}])
    text = '\n'.join(single.table(results.Run(logdir)))
    assert 'the paper, 1.98M steps' in text

  def test_damaged_lines_are_noted(self, logdir):
    with open(logdir / 'eval.jsonl', 'a') as file:
      for row in (
          evaluation('trained', []), evaluation('trained', [None, 1.0]),
          evaluation('expert', [1.0]), {'policy': 'trained'},
          evaluation('trained', 5 * ['x']), {'returns': [1.0]}):
        file.write(json.dumps(row) + '\n')
      file.write('{"policy": "trained", "returns": [NaN]}\n{"policy": "tr')
    run = results.Run(logdir)
    assert run.evals['trained']['mean'] == 900
    assert run.notes == [
        'eval.jsonl: 1 damaged line(s) left out',
        'eval.jsonl: 7 line(s) of another task or without finite returns '
        'left out']


class TestMain:

  def test_prints_and_draws(self, logdir, capsys):
    single.main(['--logdir', str(logdir)])
    out = capsys.readouterr().out
    assert 'Share of the paper' in out and 'report.png' in out
    with Image.open(logdir / 'report.png') as image:
      assert image.size == (1200, 675)
    assert not list(logdir.glob('.*'))
    single.main([str(logdir)])
    assert capsys.readouterr().out == out

  @pytest.mark.parametrize('make, wanted', [
      (lambda x: None, 'is no folder'),
      (lambda x: x.mkdir(), 'neither metrics.jsonl nor eval.jsonl'),
      (lambda x: write(x / 'metrics.jsonl', [], '{"st'), 'neither metrics'),
      (lambda x: write(x / 'config.yaml', [], 'a: ['), 'neither metrics'),
      (lambda x: (write(x / 'metrics.jsonl', [{'step': 1}]),
                  write(x / 'config.yaml', [], 'a: [')), 'no valid YAML')])
  def test_errors(self, tmp_path, capsys, make, wanted):
    make(tmp_path / 'run')
    with pytest.raises(SystemExit) as info:
      cli.guard(single.main, ['--logdir', str(tmp_path / 'run')])
    assert info.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith('error: ') and err.count('\n') == 1 and wanted in err

  @pytest.mark.parametrize('argv', [[], ['a', '--logdir', 'b']])
  def test_usage(self, argv):
    with pytest.raises(UserError, match='name the folder of one run'):
      single.main(argv)

  def test_old_figure_stays_on_an_error(self, logdir):
    (logdir / 'report.png').write_text('old')
    (logdir / 'metrics.jsonl').unlink()
    (logdir / 'eval.jsonl').unlink()
    with pytest.raises(UserError):
      single.report_png(logdir)
    assert (logdir / 'report.png').read_text() == 'old'


class TestFigure:

  def labels(self, folder):
    figure = curves.draw(results.Run(folder))
    axes, = figure.axes
    return axes, axes.get_legend_handles_labels()[1]

  def test_everything_is_in_it(self, logdir):
    axes, labels = self.labels(logdir)
    assert labels == [
        'training episodes', 'random policy (50)', 'untrained agent (30)',
        'the paper, 5M steps (962)',
        'final evaluation (900, 3 episodes)']
    assert axes.get_title() == 'dmc_walker_walk'
    levels = {tuple(x.get_ydata()) for x in axes.lines
              if len(x.get_xdata()) == 2}
    assert {(50, 50), (30, 30), (961.67, 961.67)} <= levels

  @pytest.mark.parametrize('rows', [
      [{'step': 600, 'train/return': 20.0, 'eval/return': 33}],
      [{'step': 600, 'fps': 20.0}],
      [{'step': None, 'train/return': 1.0}, {'train/return': 2.0}],
      [{'step': 5, 'train/return': None}, {'step': 5, 'train/return': 'x'}],
      [{'step': 5, 'train/return': 1.0}] * 30])
  def test_little_data(self, tmp_path, rows):
    write(tmp_path / 'metrics.jsonl', rows)
    single.report_png(tmp_path)
    assert (tmp_path / 'report.png').stat().st_size > 1000

  def test_one_episode_each(self, tmp_path):
    write(tmp_path / 'eval.jsonl', [
        evaluation('trained', [5.0]), evaluation('random', [2.0])])
    assert 'random policy (2)' in self.labels(tmp_path)[1]
    single.report_png(tmp_path)

  def test_bins(self):
    steps, values = np.arange(100.0), np.repeat([1.0, 3.0], 50)
    points = curves.bins(steps, values, 2)
    assert np.allclose(points, [[24.5, 1, 1, 1], [74.5, 3, 3, 3]])
    assert len(curves.bins(steps, values, 40)) == 20
    assert curves.bins(steps[:0], values[:0]) == []

  def test_steps(self):
    wanted = {0: '0', 500: '500', 2000: '2k', 1500000: '1.5M'}
    assert {x: curves._steps(x, None) for x in wanted} == wanted

  def test_no_global_state(self, logdir):
    code = (f'import sys; from scores import single; '
            f'single.report_png({str(logdir)!r}); '
            f'assert not {{"matplotlib.pyplot", "tensorflow"}} & set('
            f'sys.modules)')
    subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True)
