"""README's results, and the files of scores beside them."""

import json
import shutil

import pytest

from dreamer import cli
from dreamer.errors import UserError
from dreamer.files import ROOT
from scores import __main__, readme, runs
from tests.support.scores_tools import TASK, make_run, run, write_runs


class TestReadme:

  @pytest.fixture
  def ours(self, tmp_path):
    write_runs(tmp_path / 'ours' / 'mine', 2)
    (tmp_path / 'README.md').write_text(
        '# Start\n<!-- scores -->\nold\n<!-- /scores -->\nend\n')
    return tmp_path

  def texts(self, folder):
    return readme.texts(folder / 'ours', folder / 'README.md')

  def test_table(self, ours):
    text = self.texts(ours)[ours / 'README.md']
    assert text.startswith('# Start\n') and text.endswith('\nend\n')
    assert 'old' not in text
    row, = (x for x in text.splitlines() if x.startswith('| [mine]'))
    assert row == (
        '| [mine](scores/ours/mine) | dmc_walker_walk | 200,000 | '
        '105.0, 105.0 | 25.0 | 15.0 | 0 of 2 | 961.7 at 5M |')

  def test_every_run(self, ours):
    text = self.texts(ours)[ours / 'ours' / 'README.md']
    lines = [x for x in text.splitlines() if x.startswith('| [mine]')]
    assert len(lines) == 2 and lines[0] == (
        '| [mine](mine) | dmc_walker_walk | 0 | 200,000 | '
        '105.0 [41.5, 168.5] | 25.0 [-38.5, 88.5] | 15.0 [-48.5, 78.5] | no | '
        '961.7 at 5M |')

  def cells(self, made=None, **changes):
    """A run's row in the table of all runs."""
    made = (made or make_run())._replace(**changes)
    *_, row = (x for x in readme.every_run({'mine': [made]}).splitlines()
               if x.startswith('| [mine]'))
    return [x.strip() for x in row.strip('|').split('|')]

  def test_above(self):
    final = {'trained': {'returns': [100.0, 101.0]},
             'untrained': {'returns': [1.0, 2.0]},
             'random': {'returns': [3.0, 4.0]}}
    assert self.cells(final=final)[-2] == 'yes'
    final['random'] = {'returns': [95.0, 99.0]}
    assert self.cells(final=final)[-2] == 'no'
    final['random'] = {'returns': [95.0]}
    assert self.cells(final=final)[-2] == '-'
    del final['random']
    assert self.cells(final=final)[-3:-1] == ['-', '-']

  @pytest.mark.parametrize('task, method, presets, text', [
      (TASK, 'dreamerv1', [], '961.7 at 5M'),
      (TASK, 'dreamerv1', ['planet', 'laptop'], '944.7 at 5M'),
      ('atari_pong', 'dreamerv2', [], '19.6 at 199M'),
      ('minatar_breakout', 'dreamerv2', [], '-')])
  def test_paper(self, task, method, presets, text):
    final = {'trained': {'returns': [1.0, 2.0]}}
    made = make_run(task, method=method)
    assert self.cells(made, final=final, presets=presets)[-1] == text

  def test_scores_file(self, ours):
    text = self.texts(ours)[ours / 'ours' / 'mine' / 'scores.json']
    content = json.loads(text)
    assert content['format'] == runs.FORMAT and len(content['runs']) == 2
    assert str(ours) not in text

  def test_main(self, ours, monkeypatch, capsys):
    monkeypatch.setattr(readme, 'OURS', ours / 'ours')
    monkeypatch.setattr(readme, 'README', ours / 'README.md')
    with pytest.raises(UserError, match='scores.json, README.md, README.md'):
      run('readme', '--check')
    assert 'old' in (ours / 'README.md').read_text()
    run('readme')
    assert capsys.readouterr().out.count('\n') == 3
    run('readme', '--check')
    run('readme')
    assert capsys.readouterr().out == ''
    with open(ours / 'ours' / 'mine' / 'seed0' / 'eval.jsonl', 'a') as file:
      file.write('{"policy": "trained", "returns": [7, 8], "step": 9}\n')
    with pytest.raises(UserError, match='run.sh scores readme'):
      run('readme', '--check')

  def test_without_marks(self, ours):
    (ours / 'README.md').write_text('nothing')
    with pytest.raises(UserError, match='needs the lines <!-- scores -->'):
      self.texts(ours)

  def test_ours_is_up_to_date(self):
    """What CI checks: README and scores.json are what the runs give."""
    run('readme', '--check')

  def test_our_file_is_a_reference(self, tmp_path, capsys):
    file = ROOT / 'scores' / 'ours' / 'dreamerv1_laptop' / 'scores.json'
    if not file.exists():
      pytest.skip('no runs of that name are kept')
    shutil.copy(file, tmp_path / 'x.json')
    cli.guard(__main__.main, [
        'compare', str(file), '--to', str(tmp_path / 'x.json'), '--bin',
        '1e4', '--margin', '1000'])
    out = capsys.readouterr().out
    assert 'At 10,000 environment steps' in out and 'reproduces' in out
