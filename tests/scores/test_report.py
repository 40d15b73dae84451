"""The report of a run: its table and picture, files, damage."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import dreamerv1
import dreamerv2
from dreamer import cli
from dreamer.errors import UserError
from dreamer.files import ROOT
from dreamer.tables import to_text
from scores import __main__, curves, reached, runs
from tests.support.scores_tools import TABLE_G, write_lines


def evaluation(policy, returns, steps=500000, **more):
  return {'agent': 'dreamerv1', 'policy': policy, 'task': 'dmc_walker_walk',
          'step': steps, 'episodes': len(returns), 'returns': returns,
          'mean': -1, 'low': -1, 'high': -1, **more}


def add(logdir, *rows, tail=''):
  with open(logdir / 'eval.jsonl', 'a') as file:
    file.write(''.join(json.dumps(x) + '\n' for x in rows) + tail)


@pytest.fixture
def logdir(tmp_path):
  """A run that was evaluated, without its config.yaml."""
  logdir = tmp_path / 'mine' / 'run'
  logdir.mkdir(parents=True)
  write_lines(logdir / 'eval.jsonl', [
      evaluation('trained', [1.0, 2.0]),
      evaluation('random', [40.0, 50.0, 60.0], 0),
      evaluation('untrained', [30.0, 30.0], 0),
      evaluation('trained', [800.0, 900.0, 1000.0])])
  write_lines(logdir / 'metrics.jsonl', [
      {'step': step, 'train/return': step / 10}
      for step in range(100, 5100, 100)])
  return logdir


def read(logdir):
  run, = runs.load([logdir], strict=False)
  return run


def text(logdir):
  return to_text(reached.table(read(logdir)))


class TestTable:

  def test_full(self, logdir):
    lines = text(logdir).splitlines()
    assert lines[0] == (
        'mine/run: dmc_walker_walk after 500,000 environment steps')
    rows = {line[:20].strip(): line[20:].split() for line in lines}
    # Half widths: 100 and 10 times t / sqrt(3) = 2.4841377.
    assert rows['trained agent'] == ['3', '900.0', '[651.6,', '1,148.4]']
    assert rows['random policy'] == ['3', '50.0', '[25.2,', '74.8]']
    assert rows['untrained agent'] == ['2', '30.0', '[30.0,', '30.0]']
    assert rows['the paper, 5M steps'] == ['961.7']
    assert lines[-2:] == [
        "Share of the paper's score (5M steps), in %: 93.6 [67.8, 119.4]",
        "The interval lies above the random policy's: yes"]

  @pytest.mark.parametrize('game, returns, wanted', [
      # Random play -17,098.1, the paper -9,299.
      ('skiing', [-13198.0, -13199.0], 'from random play, -17,098.1, in %: 50'),
      ('skiing', [-17098.0, -17099.0], '-17,098.1, in %: -0.0 ['),
      ('pitfall', [5.0, 6.0], 'random play, -229.4, in %: 102')])
  def test_shares_of_games_are_from_random_play(
      self, tmp_path, game, returns, wanted):
    add(tmp_path, evaluation(
        'trained', returns, agent='dreamerv2', task=f'atari_{game}'))
    assert wanted in text(tmp_path)

  @pytest.mark.parametrize('returns, wanted', [
      ([60.0, 80.0, 90.0], "above the random policy's: no (38.7 <= 74.8)"),
      ([900.0], 'Unknown: an interval needs at least 2 episodes')])
  def test_not_above(self, logdir, returns, wanted):
    add(logdir, evaluation('trained', returns))
    assert wanted in text(logdir)

  def test_without_random(self, tmp_path):
    add(tmp_path, evaluation('trained', [1.0, 2.0]))
    assert 'evaluate it with --policy random' in text(tmp_path)

  def test_without_evaluation(self, logdir):
    (logdir / 'eval.jsonl').unlink()
    assert 'has not been evaluated' in text(logdir)
    assert 'unknown task' in text(logdir)
    # Returns 410, 420 ... 500 have a half width of 2.262157 * 9.574271.
    assert ('last 10 training episode(s): 455.0 [433.3, 476.7]'
            in text(logdir))

  def test_the_paper_is_that_of_the_agent(self, tmp_path):
    """Also of a run with nothing but eval.jsonl."""
    add(tmp_path, evaluation('trained', [1.0, 2.0], agent='dreamerv2'))
    assert 'the paper, 1.98M steps' in text(tmp_path)
    assert read(tmp_path).method == 'dreamerv2'

  def test_no_paper_is_guessed(self, tmp_path):
    add(tmp_path, evaluation('trained', [1.0, 2.0], agent=None))
    assert 'the paper' not in text(tmp_path)
    assert 'no agent is known' in ' '.join(read(tmp_path).faults)

  @pytest.mark.parametrize('agent', [dreamerv1, dreamerv2])
  def test_an_old_run_is_of_the_agent_that_has_its_settings(
      self, tmp_path, agent):
    agent.configure(task='dmc_cup_catch').save(tmp_path / 'config.yaml')
    text = (tmp_path / 'config.yaml').read_text()
    kept = [x for x in text.splitlines(True)
            if not x.startswith(('agent:', 'presets:'))]
    (tmp_path / 'config.yaml').write_text(''.join(kept))
    assert read(tmp_path).method == agent.__name__


class TestDamage:

  def test_lines_of_another_task(self, logdir):
    config = dreamerv1.configure(task='dmc_cheetah_run')
    config.save(logdir / 'config.yaml')
    assert read(logdir).task == 'dmc_cheetah_run' and not read(logdir).final
    assert 'eval.jsonl: holds evaluations of dmc_walker_walk, but' in (
        ' '.join(read(logdir).faults))

  def test_damaged_lines_are_said_and_left_out(self, logdir, capsys):
    add(logdir, evaluation('trained', []), evaluation('trained', [None, 1.0]),
        evaluation('expert', [1.0]), {'policy': 'trained'},
        evaluation('trained', 5 * ['x']), {'returns': [1.0]},
        tail='{"a\n{"policy": "trained", "returns": [NaN]}\n{"policy": "tr')
    assert '900.0 [651.6, 1,148.4]' in text(logdir)
    __main__.main(['report', str(logdir)])
    notes = [x for x in capsys.readouterr().err.splitlines() if 'eval' in x]
    assert notes == [
        'note: mine/run: eval.jsonl: line 11 is damaged and left out',
        'note: mine/run: eval.jsonl: its last line was cut and is left out',
        'note: mine/run: eval.jsonl: an earlier evaluation of the trained '
        'policy is left out',
        'note: mine/run: eval.jsonl: line 5: no returns; leave this run out']

  @pytest.mark.parametrize('make, wanted', [
      (lambda x: x.rmdir(), 'cannot read'),
      (lambda x: None, 'holds no run'),
      (lambda x: (x / 'metrics.jsonl').write_text('{"st'), 'holds no run'),
      (lambda x: (x / 'config.yaml').write_text('a: ['), 'no valid YAML')])
  def test_errors(self, tmp_path, capsys, make, wanted):
    (tmp_path / 'run').mkdir()
    make(tmp_path / 'run')
    with pytest.raises(SystemExit) as info:
      cli.guard(__main__.main, ['report', str(tmp_path / 'run')])
    assert info.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith('error: ') and err.count('\n') == 1 and wanted in err


class TestFiles:

  def test_default_of_one_run(self, logdir, capsys):
    before = {x.name: x.read_bytes() for x in logdir.iterdir()}
    __main__.main(['report', str(logdir)])
    out = capsys.readouterr().out
    assert "Share of the paper's" in out
    assert out.endswith(f'Page: {logdir}/report.html\n'
                        f'Curves: {logdir}/report.png\n')
    with Image.open(logdir / 'report.png') as image:
      assert image.size == (1200, 675)
    assert '<h2>Runs</h2>' in (logdir / 'report.html').read_text()
    for name, data in before.items():
      assert (logdir / name).read_bytes() == data
    assert {x.name for x in logdir.iterdir()} == {
        *before, 'report.png', 'report.html'}
    __main__.main(['report', '--logdir', str(logdir)])
    assert capsys.readouterr().out == out

  def test_several_runs(self, logdir, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    other = tmp_path / 'other'
    other.mkdir()
    add(other, evaluation('trained', [7.0, 8.0]))
    __main__.main(['report', str(logdir), 'other'])
    out = capsys.readouterr().out
    assert 'mine/run: dmc' in out and '/other: dmc' in out
    assert out.endswith('Page: report.html\n')
    assert not (logdir / 'report.html').exists()

  @pytest.mark.parametrize('suffix, start', [
      ('png', b'\x89PNG'), ('svg', b'<?xml'), ('html', b'<!doctype')])
  def test_out(self, logdir, tmp_path, suffix, start):
    out = tmp_path / f'x.{suffix}'
    __main__.main(['report', str(logdir), '--out', str(out)])
    assert out.read_bytes().startswith(start)
    assert not (logdir / 'report.png').exists()

  def test_a_folder_that_takes_no_file(self, logdir, capsys):
    (logdir / 'report.html').mkdir()
    cli.guard(__main__.main, ['report', str(logdir)])
    shown = capsys.readouterr()
    assert 'name another place by --out' in shown.err
    assert shown.out.endswith(f'Curves: {logdir}/report.png\n')
    with pytest.raises(UserError, match='can not write'):
      __main__.main(
          ['report', str(logdir), '--out', str(logdir / 'report.html')])

  @pytest.mark.parametrize('argv, wanted', [
      ([], 'no run named'), (['--logdir', '{}', '{}'], 'is named twice'),
      (['{}', '--out', 'x.gif'], 'has to end with .html, .png'),
      (['{}', '{}/../other', '--out', 'x.png'], 'picture of one run')])
  def test_usage(self, logdir, argv, wanted):
    (logdir.parent / 'other').mkdir()
    add(logdir.parent / 'other', evaluation('trained', [7.0]))
    with pytest.raises(UserError, match=wanted):
      __main__.main(['report', *(x.format(logdir) for x in argv)])

  def test_old_picture_stays_on_an_error(self, logdir):
    (logdir / 'report.png').write_text('old')
    (logdir / 'config.yaml').write_text('a: [')
    with pytest.raises(UserError):
      __main__.main(['report', str(logdir)])
    assert (logdir / 'report.png').read_text() == 'old'


class TestPicture:

  def labels(self, logdir):
    figure = curves.draw(read(logdir))
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
    paper = TABLE_G['dmc_walker_walk']
    assert {(50, 50), (30, 30), (paper, paper)} <= levels

  def test_every_evaluation_episode_is_a_point(self, logdir):
    write_lines(logdir / 'scores.jsonl', [
        {'step': 10, 'returns': [1.0, 3.0]}, {'step': 20, 'returns': [5.0]}])
    axes, labels = self.labels(logdir)
    assert 'evaluation episodes' in labels
    points = {tuple(x.get_ydata()) for x in axes.lines}
    assert (1.0, 3.0, 5.0) in points

  @pytest.mark.parametrize('rows', [
      [{'step': 600, 'train/return': 20.0, 'eval/return': 33}],
      [{'step': 600, 'fps': 20.0}],
      [{'step': None, 'train/return': 1.0}, {'train/return': 2.0}],
      [{'step': 5, 'train/return': None}, {'step': 5, 'train/return': 'x'}],
      [{'step': 5, 'train/return': 1.0}] * 30])
  def test_little_data(self, tmp_path, rows):
    write_lines(tmp_path / 'metrics.jsonl', rows)
    __main__.main(['report', str(tmp_path)])
    assert (tmp_path / 'report.png').stat().st_size > 1000

  def test_one_episode_each(self, tmp_path):
    add(tmp_path, evaluation('trained', [5.0]), evaluation('random', [2.0]))
    assert 'random policy (2)' in self.labels(tmp_path)[1]

  def test_bins(self):
    steps, values = np.arange(100.0), np.repeat([1.0, 3.0], 50)
    points = curves.bins(steps, values, 2)
    assert np.allclose(points, [[24.5, 1, 1, 1], [74.5, 3, 3, 3]])
    assert len(curves.bins(steps, values, 40)) == 20
    assert curves.bins(steps[:0], values[:0]) == []

  def test_no_global_state(self, logdir):
    code = ('import sys; from scores import __main__ as m; '
            f'm.main(["report", {str(logdir)!r}]); '
            'assert not {"matplotlib.pyplot", "tensorflow"} & set('
            'sys.modules)')
    subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True)
