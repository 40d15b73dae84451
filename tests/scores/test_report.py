"""The HTML page, and README's results."""

import html.parser
import json
import re
import shutil

import numpy as np
import pytest

from dreamer import cli
from dreamer.errors import UserError
from dreamer.files import ROOT
from dreamer.log.video import write_gif
from scores import __main__, readme, report, runs
from tests.support.scores_tools import TASK, make_run, write_lines, write_run


class Page(html.parser.HTMLParser):
  """Collects texts of headings and cells, sources, and unclosed tags."""

  VOID = ('meta', 'img', 'br')

  def __init__(self, text):
    super().__init__()
    self.open, self.texts, self.sources, self.links = [], {}, [], []
    self.feed(text)

  def handle_starttag(self, tag, attrs):
    attrs = dict(attrs)
    self.sources += [attrs['src']] if 'src' in attrs else []
    self.links += [attrs['href']] if 'href' in attrs else []
    if tag not in self.VOID:
      self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    if self.open and data.strip():
      self.texts.setdefault(self.open[-1], []).append(data)


def write_runs(folder, seeds=3, until=200_000):
  for seed in range(seeds):
    logdir = write_run(folder / f'seed{seed}', [
        (step, [100.0 + seed]) for step in range(5000, until + 1, 10_000)],
        seed=seed, reached=until)
    write_lines(logdir / 'eval.jsonl', [
        {'policy': policy, 'step': until, 'returns': [base, base + 10]}
        for policy, base in (('trained', 100), ('untrained', 20),
                             ('random', 10))])
  return [folder / f'seed{seed}' for seed in range(seeds)]


def page(*argv):
  __main__.main(['report', *map(str, argv)])


@pytest.fixture(scope='module')
def written(tmp_path_factory):
  tmp_path = tmp_path_factory.mktemp('page')
  logdirs = write_runs(tmp_path / 'mine')
  videos = logdirs[0] / 'videos'
  videos.mkdir()
  for step in (1000, 2000):
    write_gif(videos / f'{step:012d}_policy.gif',
              np.full([3, 8, 8, 3], step // 20, np.uint8), 20)
  out = tmp_path / 'page.html'
  page(*logdirs, '--to', 'dreamerv1/released', '--out', out)
  return out


class TestPage:

  def test_everything_is_inside(self, written):
    text = written.read_text()
    found = Page(text)
    assert found.open == [] and found.links == []
    assert all(x.startswith('data:image/') for x in found.sources)
    assert not re.search(r'https?://|<script|@import|url\(', text)
    kinds = [x[11:14] for x in found.sources]
    assert kinds == ['png', 'gif']

  def test_content(self, written):
    found = Page(written.read_text())
    assert found.texts['h1'] == ['dreamerv1: 1 task, 3 runs']
    assert found.texts['h2'] == [
        'Runs', 'Evaluations after training', 'Compared with the paper',
        'Curves', 'Videos', 'Settings', 'Protocol']
    cells = found.texts['td']
    assert 'At 100,000 environment steps' in found.texts['h3']
    assert 'differs: lower' in cells
    # Two episodes, 100 and 110: 12.706 * 7.07 / sqrt(2) = 63.5.
    assert '105.0 [41.5, 168.5] (2)' in cells
    assert found.texts['figcaption'] == ['mine/seed0, policy, step 2,000']
    assert 'action_repeat' in cells
    assert any('what is not as in the paper' in x for x in found.texts['h3'])

  def test_same_input_same_page(self, written, tmp_path):
    again = tmp_path / 'again.html'
    page(*sorted((written.parent / 'mine').iterdir()), '--to',
         'dreamerv1/released', '--out', again)
    assert again.read_text() == written.read_text()

  def test_nothing_of_the_machine(self, written):
    assert str(written.parent) not in written.read_text()

  def test_settings_as_in_the_paper_but_one(self, tmp_path):
    logdir = write_run(tmp_path / 'a', [(10, [1.0])], horizon=9)
    page(logdir, '--out', tmp_path / 'x.html')
    cells = Page((tmp_path / 'x.html').read_text()).texts['td']
    where = cells.index('horizon')
    assert cells[where + 1] == '15' and '9' in cells[where:where + 7]

  def test_runs_of_an_older_version(self, tmp_path):
    """Without keys that came later there is no audit, but the differences."""
    logdir = write_run(tmp_path / 'a', [(10, [1.0])], horizon=9)
    text = (logdir / 'config.yaml').read_text()
    (logdir / 'config.yaml').write_text(text.replace('batch_size: 50\n', ''))
    page(logdir, '--out', tmp_path / 'x.html')
    found = Page((tmp_path / 'x.html').read_text())
    assert any("differs from today's defaults" in x
               for x in found.texts['h3'])
    assert 'horizon' in found.texts['td']
    assert any('missing key batch_size' in x for x in found.texts['p'])

  def test_tasks_share_an_audit(self):
    found = [make_run(TASK, config='a'), make_run('dmc_cup_catch', config='b')]
    assert report._settings(found, {}).count('config.yaml is in') == 2

  def test_texts_are_escaped(self):
    run = make_run(TASK)._replace(where='<b>&', notes=['<i>'])
    text = report.page([run], {})
    assert '<b>&' not in text.replace('&lt;b&gt;&amp;', '') and (
        '&lt;i&gt;' in text)

  @pytest.mark.parametrize('to, wanted', [
      ('dreamerv1/table_g', 'Not compared: no budget in common'),
      (None, 'Name a reference by --to.')])
  def test_without_comparison(self, tmp_path, to, wanted):
    logdirs = write_runs(tmp_path / 'mine', 1)
    page(*logdirs, *(['--to', to] if to else []), '--out', tmp_path / 'x')
    assert wanted in (tmp_path / 'x').read_text()

  def test_too_many_videos(self, tmp_path, monkeypatch):
    videos = tmp_path / 'videos'
    videos.mkdir()
    for name in ('a', 'b', 'c'):
      (videos / f'000000000010_{name}.gif').write_bytes(b'GIF')
    (videos / 'other_x.gif').write_bytes(b'GIF')
    monkeypatch.setattr(report, 'MOST_VIDEOS', 2)
    run = make_run(TASK)
    text = report._videos([run], {run.where: tmp_path})
    assert text.count('<img') == 2 and '1 more in the folders' in text

  def test_collected_file(self, tmp_path):
    logdirs = write_runs(tmp_path / 'mine', 1)
    __main__.main(['collect', *map(str, logdirs), '--out',
                   str(tmp_path / 'x.json')])
    page(tmp_path / 'x.json', '--out', tmp_path / 'x.html')
    assert 'config.yaml is in its folder' in (tmp_path / 'x.html').read_text()


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
    lines = [x for x in text.splitlines() if x.startswith('| [mine]')]
    assert lines[0] == (
        '| [mine](scores/ours/mine) | dmc_walker_walk | 0 | 200,000 | '
        '105.0 [41.5, 168.5] | 25.0 [-38.5, 88.5] | 15.0 [-48.5, 78.5] | no | '
        '961.7 at 5M |')
    assert 'Mean returns of 2 evaluation episodes' in text

  def test_above(self):
    final = {'trained': {'returns': [100.0, 101.0]},
             'untrained': {'returns': [1.0, 2.0]},
             'random': {'returns': [3.0, 4.0]}}
    assert readme._finals(make_run()._replace(final=final))[-1] == 'yes'
    final['random'] = {'returns': [95.0, 99.0]}
    assert readme._finals(make_run()._replace(final=final))[-1] == 'no'
    del final['random']
    assert readme._finals(make_run()._replace(final=final))[2:] == ['-', '-']

  @pytest.mark.parametrize('task, method, presets, text', [
      (TASK, 'dreamerv1', [], '961.7 at 5M'),
      (TASK, 'dreamerv1', ['planet', 'laptop'], '944.7 at 5M'),
      ('atari_pong', 'dreamerv2', [], '19.6 at 199M'),
      ('minatar_breakout', 'dreamerv2', [], '-')])
  def test_published(self, task, method, presets, text):
    run = make_run(task, method=method)._replace(presets=presets)
    assert readme._published(run) == text

  def test_scores_file(self, ours):
    text = self.texts(ours)[ours / 'ours' / 'mine' / 'scores.json']
    content = json.loads(text)
    assert content['format'] == runs.FORMAT and len(content['runs']) == 2
    assert str(ours) not in text

  def test_main(self, ours, monkeypatch, capsys):
    monkeypatch.setattr(readme, 'OURS', ours / 'ours')
    monkeypatch.setattr(readme, 'README', ours / 'README.md')
    with pytest.raises(UserError, match='scores.json, README.md: not what'):
      __main__.main(['readme', '--check'])
    assert 'old' in (ours / 'README.md').read_text()
    __main__.main(['readme'])
    assert capsys.readouterr().out.count('\n') == 2
    __main__.main(['readme', '--check'])
    __main__.main(['readme'])
    assert capsys.readouterr().out == ''
    with open(ours / 'ours' / 'mine' / 'seed0' / 'eval.jsonl', 'a') as file:
      file.write('{"policy": "trained", "returns": [7, 8], "step": 9}\n')
    with pytest.raises(UserError, match='run.sh scores readme'):
      __main__.main(['readme', '--check'])

  def test_without_marks(self, ours):
    (ours / 'README.md').write_text('nothing')
    with pytest.raises(UserError, match='needs the lines <!-- scores -->'):
      self.texts(ours)

  def test_ours_is_up_to_date(self):
    """What CI checks: README and scores.json are what the runs give."""
    __main__.main(['readme', '--check'])

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
