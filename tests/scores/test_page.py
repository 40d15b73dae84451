"""The HTML page of a report."""

import base64
import html.parser
import re

import numpy as np
import pytest

from dreamer.log.video import write_gif
from scores import page, runs
from tests.support.scores_tools import (
    TASK,
    make_run,
    run,
    write_run,
    write_runs,
)


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
  run('report', *logdirs, '--to', 'dreamerv1/released', '--out', out)
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
    run('report', *sorted((written.parent / 'mine').iterdir()), '--to',
         'dreamerv1/released', '--out', again)
    assert again.read_text() == written.read_text()

  def test_nothing_of_the_machine(self, written):
    assert str(written.parent) not in written.read_text()

  def test_settings_as_in_the_paper_but_one(self, tmp_path):
    logdir = write_run(tmp_path / 'a', [(10, [1.0])], horizon=9)
    run('report', logdir, '--out', tmp_path / 'x.html')
    cells = Page((tmp_path / 'x.html').read_text()).texts['td']
    where = cells.index('horizon')
    assert cells[where + 1] == '15' and '9' in cells[where:where + 7]

  def test_runs_of_an_older_version(self, tmp_path):
    """With keys that are gone there is no audit, but the differences."""
    logdir = write_run(tmp_path / 'a', [(10, [1.0])], horizon=9)
    with open(logdir / 'config.yaml', 'a') as file:
      file.write('gone: 3\n')
    run('report', logdir, '--out', tmp_path / 'x.html')
    found = Page((tmp_path / 'x.html').read_text())
    assert any("differs from today's defaults" in x
               for x in found.texts['h3'])
    assert 'horizon' in found.texts['td']
    assert any('No audit' in x and 'gone' in x for x in found.texts['p'])

  def test_tasks_share_an_audit(self):
    found = [make_run(TASK, config='a'), make_run('dmc_cup_catch', config='b')]
    assert page.page(found).count('config.yaml is in') == 2

  def test_texts_are_escaped(self):
    made = make_run(TASK)._replace(where='<b>&', notes=['<i>'])
    text = page.page([made])
    assert '<b>&' not in text.replace('&lt;b&gt;&amp;', '') and (
        '&lt;i&gt;' in text)

  @pytest.mark.parametrize('to, wanted', [
      ('dreamerv1/table_g', 'Not compared: no budget in common'),
      (None, 'Several seeds beside published ones')])
  def test_without_comparison(self, tmp_path, to, wanted):
    logdirs = write_runs(tmp_path / 'mine', 1)
    run('report', *logdirs, *(['--to', to] if to else []), '--out',
           tmp_path / 'x.html')
    assert wanted in (tmp_path / 'x.html').read_text()

  def test_one_run_by_itself(self, tmp_path):
    """Beside the paper and other policies, with the curves of its picture."""
    logdir, = write_runs(tmp_path / 'mine', 1)
    run('report', logdir)
    found = Page((logdir / 'report.html').read_text())
    cells, notes = found.texts['td'], ' '.join(found.texts['p'])
    assert set(runs.POLICIES.values()) <= set(cells)
    assert any(x.startswith('the paper, ') for x in cells)
    assert "of the paper's score" in notes
    assert "above the random policy's" in notes
    pictures = [x for x in found.sources if x.startswith('data:image/png')]
    assert len(pictures) == 1

  def test_too_many_videos(self, tmp_path, monkeypatch):
    logdir = write_run(tmp_path / 'a', [(10, [1.0])])
    (logdir / 'videos').mkdir()
    for name in ('a', 'b', 'c'):
      (logdir / 'videos' / f'000000000010_{name}.gif').write_bytes(b'GIF')
    (logdir / 'videos' / 'other_x.gif').write_bytes(b'GIF')
    monkeypatch.setattr(page, 'MOST_VIDEOS', 2)
    text = page.page(runs.load([logdir]))
    assert text.count('data:image/gif') == 2 and '1 more in the folders' in text

  def test_two_machines_have_a_folder_of_one_name(self, tmp_path):
    """Each run is shown with its own video, under a label of its own."""
    for seed in (0, 1):
      logdir = write_run(tmp_path / f'machine{seed}' / 'runs' / 'walker', [
          (10, [1.0])], seed=seed)
      (logdir / 'videos').mkdir()
      (logdir / 'videos' / '000000000010_openloop.gif').write_bytes(
          b'GIF%d' % seed)
    run('report', *tmp_path.glob('machine*/runs/walker'), '--out',
           tmp_path / 'x.html')
    found = Page((tmp_path / 'x.html').read_text())
    videos = [base64.b64decode(x.split(',')[1]) for x in found.sources
              if x.startswith('data:image/gif')]
    assert videos == [b'GIF0', b'GIF1']
    labels = ['machine0/runs/walker', 'machine1/runs/walker']
    assert found.texts['figcaption'] == [
        f'{label}, openloop, step 10' for label in labels]
    assert [x for x in found.texts['td'] if x.endswith('walker')] == labels

  def test_meaningless_scores_are_shown_but_not_compared(self, tmp_path):
    logdir, other = write_runs(tmp_path / 'mine', 2)
    with open(logdir / 'scores.jsonl', 'a') as file:
      file.write('{"step": 210000, "returns": [null]}\n')
    run('report', logdir, other, '--to', 'dreamerv1/released', '--out',
           tmp_path / 'x.html')
    text = (tmp_path / 'x.html').read_text()
    assert 'Not compared: mine/seed0: scores.jsonl: line 21: a return' in text
    assert 'What was run' in text

  def test_collected_file(self, tmp_path):
    logdirs = write_runs(tmp_path / 'mine', 1)
    run('collect', *logdirs, '--out', tmp_path / 'x.json')
    run('report', tmp_path / 'x.json', '--out', tmp_path / 'x.html')
    assert 'config.yaml is in its folder' in (tmp_path / 'x.html').read_text()
