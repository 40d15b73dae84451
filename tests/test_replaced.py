"""Whatever replaces or deletes files asks whether the project made them.

What run.sh clears is in test_run_sh.py.
"""

import hashlib
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from dreamer import files, npz
from dreamer.config import agents, types
from dreamer.conform import __main__ as conform
from dreamer.conform import cases
from dreamer.envs.suites.dmlab import LevelCache
from dreamer.envs.workers import tempfolder
from dreamer.errors import UserError
from dreamer.export import stablehlo
from dreamer.log import video
from dreamer.replay.replay import Replay
from dreamer.run import arguments, checkpoint, resume
from dreamer.run.run_folder import RunFolder
from scores import keep_runs
from tests.golden.make import rules
from tests.support import ROOT
from tests.support.replay_tools import episode
from tests.support.scores_tools import run, write_lines, write_run, write_runs

MINE = 'precious'


class TestFiles:

  @pytest.mark.parametrize('content, refused', [
      (None, False), ('', False), (f'x {files.MARK} y', False), (MINE, True)])
  def test_check_ours(self, tmp_path, content, refused):
    path = tmp_path / 'x.txt'
    if content is not None:
      path.write_text(content)
    if refused:
      with pytest.raises(UserError, match='x.txt: is there already'):
        files.check_ours(path)
    else:
      files.check_ours(path)

  def test_a_link_stays_one(self, tmp_path):
    (tmp_path / 'link').symlink_to(tmp_path / 'real')
    with files.atomic_write(tmp_path / 'link', 'w') as file:
      file.write('new')
    assert (tmp_path / 'link').is_symlink()
    assert (tmp_path / 'real').read_text() == 'new'

  def test_what_is_no_file_is_not_replaced(self, tmp_path):
    """As root it would be gone: /dev/stdout, /dev/null."""
    os.mkfifo(tmp_path / 'pipe')
    (tmp_path / 'folder').mkdir()
    for name in ('pipe', 'folder'):
      with pytest.raises(UserError, match='no ordinary file'):
        with files.atomic_write(tmp_path / name):
          pass
    assert (tmp_path / 'pipe').is_fifo()

  def test_alone(self, tmp_path):
    """A second process waits, and says so; none of its changes is lost."""
    code = """
import pathlib, sys
from dreamer import cli, files, locks
path = pathlib.Path(sys.argv[1])
with cli.warnings_to(cli.tell), locks.alone(path.parent):
  number = int(path.read_text())
  if number == 0:
    print('has it', flush=True)
    sys.stdin.read()
  with files.atomic_write(path, 'w') as file:
    file.write(str(number + 1))
"""
    path = tmp_path / 'count'
    path.write_text('0')
    start = lambda: subprocess.Popen(
        [sys.executable, '-c', code, path], cwd=ROOT, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    first = start()
    assert first.stdout.readline() == 'has it\n'
    second = start()
    assert f'changes files in {tmp_path}' in second.stderr.readline()
    first.communicate()
    second.communicate()
    assert (first.returncode, second.returncode) == (0, 0)
    assert path.read_text() == '2'

  def test_leftovers_are_known_by_their_names(self, tmp_path):
    names = ['.a.npz.12.tmp', '.notes.tmp', '.a.npz.tmp', '.b.txt.12.tmp']
    for name in names:
      (tmp_path / name).touch()
    files.remove_leftovers(tmp_path, '.npz')
    assert {x.name for x in tmp_path.iterdir()} == set(names[1:])


@pytest.fixture(scope='module')
def logdir(tmp_path_factory):
  """A run with an evaluation."""
  return write_runs(tmp_path_factory.mktemp('runs'), 1)[0]


class TestOut:
  """Files that users name on command lines."""

  @pytest.mark.parametrize('command', [
      'plot curves {} --out x.png', 'plot curves {} --out x.svg',
      'plot curves {} --out x.pdf', 'report {} --out x.html',
      'report {} --out x.png', 'report {} --out x.pdf',
      'collect {} --out x.json', 'collect {} --csv x.csv'])
  def test_commands(self, logdir, tmp_path, monkeypatch, command):
    """A file of somebody's stays; one of theirs is written again."""
    monkeypatch.chdir(tmp_path)
    argv = command.format(logdir).split()
    path = pathlib.Path(argv[-1])
    path.write_text(MINE)
    with pytest.raises(UserError, match=f'{path}: is there already'):
      run(*argv)
    assert path.read_text() == MINE
    path.unlink()
    run(*argv)
    before = path.stat().st_ino
    run(*argv)
    assert path.stat().st_ino != before

  def test_a_report_without_out(self, tmp_path, capsys):
    """In the run's own folder: a warning, and all the rest is there."""
    path = write_run(tmp_path / 'run', [(10, [1.0])])
    (path / 'report.html').write_text(MINE)
    with pytest.warns(UserWarning, match='html: is there already.*--out'):
      run('report', path)
    assert (path / 'report.html').read_text() == MINE
    assert (path / 'report.png').exists()
    (path / 'report.html').unlink()
    run('report', path)
    run('report', path)

  def test_the_page_of_a_case(self, logdir, tmp_path, capsys):
    mine, page = tmp_path / 'mine.npz', tmp_path / 'x.html'
    case = cases.case('v2_atari_small')
    name = next(x for x in case.expected if not x.endswith(('stats', 'head')))
    np.savez(mine, **{name: case.expected[name]})
    argv = ['v2_atari_small', str(mine), '--html', str(page)]
    page.write_text(MINE)
    with pytest.raises(UserError, match='x.html: is there already'):
      conform.main(argv)
    assert page.read_text() == MINE
    page.unlink()
    for _ in range(2):
      conform.main(argv)
    assert files.MARK in page.read_text()

  def test_types_of_settings(self, tmp_path, monkeypatch):
    """A package of a user's may have a settings.py of its own."""
    path = tmp_path / 'settings.py'
    monkeypatch.setattr(types, 'file', lambda agent: path)
    path.write_text(MINE)
    with pytest.raises(UserError, match='settings.py: is there already'):
      types.main(['dreamerv1'])
    assert path.read_text() == MINE

  def test_arrays_of_a_port(self, tmp_path):
    """They bear the mark, which no reader of arrays sees."""
    path = tmp_path / 'x.npz'
    npz.write(path, {'a': np.arange(3)})
    with pytest.raises(UserError, match='x.npz: is there already'):
      files.check_ours(path)
    npz.write(path, {'a': np.arange(3)}, files.MARK)
    files.check_ours(path)
    assert npz.read(path)['a'].tolist() == [0, 1, 2]
    with np.load(path) as data:
      assert data.files == ['a']

  def test_golden_cases(self, tmp_path, monkeypatch, capsys):
    """Of a release: the folder into which a case is made is new."""
    argv = ['x', 'v1_dmc_small', '--release', 'r', '--out', str(tmp_path)]
    monkeypatch.setattr(sys, 'argv', argv)
    assert rules.arguments('').out == str(tmp_path)
    (tmp_path / 'expected.npz').write_text(MINE)
    with pytest.raises(SystemExit):
      rules.arguments('')
    assert 'holds something already' in capsys.readouterr().err

  def test_a_video(self, tmp_path):
    path = tmp_path / 'x.gif'
    wish = lambda: arguments.evaluation(tmp_path, video=path)
    path.write_bytes(b'GIF89a')
    with pytest.raises(UserError, match='x.gif: is there already'):
      wish()
    path.unlink()
    video.write_gif(path, np.zeros([2, 8, 8, 3], np.uint8), 10)
    assert wish().video == path

  def test_an_exported_example_that_was_changed(self, tmp_path):
    """It is there to begin with."""
    name, content = stablehlo.COPIES[0].name, {
        'agent': 'dreamerv1', 'programs': {}, 'state': {}}
    source = stablehlo.COPIES[0].read_bytes()
    (tmp_path / 'program.json').write_text(json.dumps(content))
    (tmp_path / name).write_bytes(source)
    stablehlo.check_out(tmp_path)
    (tmp_path / name).write_bytes(source + b'# mine')
    with pytest.raises(UserError, match=f'{name} .* changed since'):
      stablehlo.check_out(tmp_path)
    # A copy of another version, which nobody has changed.
    content['copies'] = {
        name: hashlib.sha256(source + b'# mine').hexdigest()}
    (tmp_path / 'program.json').write_text(json.dumps(content))
    stablehlo.check_out(tmp_path)

  @pytest.mark.parametrize('name', ['state.npz', 'program.json', 'act.py'])
  def test_an_export(self, tmp_path, name):
    """Before anything is computed for it."""
    (tmp_path / 'README').write_text(MINE)
    stablehlo.check_out(tmp_path)
    (tmp_path / name).write_text('{}')
    with pytest.raises(UserError, match=f'--out: .*{name} is there already'):
      stablehlo.main([
          'dreamerv1', '--out', str(tmp_path), '--configs', 'debug'])
    (tmp_path / name).unlink()
    (tmp_path / 'program.json').write_text(json.dumps(
        {'agent': 'dreamerv1', 'programs': {}, 'state': {}}))
    stablehlo.check_out(tmp_path)


class TestKeep:

  @pytest.fixture
  def keep(self, tmp_path, monkeypatch):
    monkeypatch.setattr(keep_runs, 'OURS', tmp_path / 'ours')
    return lambda *runs: run('keep', *runs, '--name', 'mine')

  def make(self, folder, start, until=10):
    """A run that is known by when its first line was written."""
    path = write_run(folder, [(until, [1.0])])
    write_lines(path / 'metrics.jsonl', [
        {'step': x, 'agent_steps': x // 2, 'time': start + x}
        for x in range(10, until + 1, 10)])
    return path

  def test_the_same_run_again(self, keep, tmp_path):
    for until in (10, 30):
      keep(self.make(tmp_path / 'a', 0.5, until))
    kept = RunFolder(tmp_path / 'ours' / 'mine' / 'seed0')
    assert kept.reached == 30

  def test_another_run(self, keep, tmp_path):
    """Of the same seed and settings, on another day."""
    keep(self.make(tmp_path / 'a', 0.5))
    before = (tmp_path / 'ours/mine/seed0/metrics.jsonl').read_text()
    with pytest.raises(UserError, match='holds another run than .*/b; choose'):
      keep(self.make(tmp_path / 'b', 0.75))
    assert (tmp_path / 'ours/mine/seed0/metrics.jsonl').read_text() == before

  def test_one_seed_twice(self, keep, tmp_path):
    with pytest.raises(UserError, match='has seed 0, too'):
      keep(self.make(tmp_path / 'a', 1), self.make(tmp_path / 'b', 2))
    assert not (tmp_path / 'ours').exists()

  def test_files_of_somebody(self, keep, tmp_path):
    target = tmp_path / 'ours/mine/seed0'
    target.mkdir(parents=True)
    (target / 'eval.jsonl').write_text(MINE)
    with pytest.raises(UserError, match='holds another run'):
      keep(self.make(tmp_path / 'a', 0.5))
    assert (target / 'eval.jsonl').read_text() == MINE


class TestLogdir:

  def open(self, folder, agent='dreamerv1'):
    config = agents.schema(agent).config(
        ['debug'], {'task': 'dummy_continuous', 'logdir': str(folder)})
    with resume.locked(folder):
      return resume.open_logdir(config, agent)

  @pytest.mark.parametrize('name', [
      'config.yaml', 'environment.json', 'metrics.jsonl', 'scores.jsonl',
      'checkpoints/000000000007.npz', 'videos/holiday.gif', 'notes.txt',
      '.notes.txt.12.tmp'])
  def test_what_no_run_has_made(self, tmp_path, name):
    """Names of a run's files, and none of them is one."""
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(f'agent: {MINE}\n')
    with pytest.raises(UserError, match='which is of no run'):
      self.open(tmp_path)
    assert (tmp_path / name).read_text() == f'agent: {MINE}\n'

  @pytest.mark.parametrize('agent', agents.known())
  def test_what_a_killed_start_has_left(self, tmp_path, agent):
    (tmp_path / '.config.yaml.123.tmp').touch()
    self.open(tmp_path, agent)
    assert [x.name for x in tmp_path.iterdir()] == ['config.yaml']
    (tmp_path / '.environment.json.7.tmp').touch()
    for name in ('environment.json', 'metrics.jsonl', 'videos'):
      (tmp_path / name).touch()
    self.open(tmp_path, agent)
    assert not (tmp_path / '.environment.json.7.tmp').exists()

  def test_recorded_episodes_may_be_put_there(self, tmp_path):
    (tmp_path / 'episodes').mkdir()
    assert self.open(tmp_path)[1] is None

  def test_checkpoints_beyond_the_last(self, tmp_path):
    """Only files with names of checkpoints count as such."""
    for name in ('best.npz', '7.npz', 'notes.txt'):
      (tmp_path / name).write_text(MINE)
    store = checkpoint.Checkpoints(tmp_path, keep=1)
    for step in (10, 20):
      store.save({'x': np.zeros(1)}, {'env_steps': step})
    assert {x.name for x in tmp_path.iterdir()} == {
        'best.npz', '7.npz', 'notes.txt', f'{20:012d}.npz'}

  @pytest.mark.parametrize('seed', [0, 1])
  def test_recorded_episodes_that_leave(self, tmp_path, seed):
    """Own ones are deleted when nothing needs them, others are moved."""
    theirs = ['20200101T000000-0123456789abcdef0123456789abcdef-20.npz']
    given = Replay(tmp_path / 'given', seed=9, owner=True)
    theirs.append(given.add(episode(20, 5)).name)
    folder = tmp_path / 'episodes'
    folder.mkdir()
    for name in theirs:
      (folder / name).write_bytes(
          (tmp_path / 'given' / theirs[1]).read_bytes())
    replay = Replay(folder, seed, owner=True, capacity_agent_steps=45)
    own = []
    for index in range(6):
      own.append(replay.add(episode(20, index)).name)
      replay.saved()
    there = {x.name for x in folder.rglob('*.npz')}
    assert {*theirs, *own[-2:]} <= there
    assert not there & set(own[:2])



class TestFoldersOfOthers:

  def test_temporary_ones(self, tmp_path, monkeypatch):
    """A name that begins like ours, and a folder that a killed one left."""
    monkeypatch.setattr(
        tempfolder.tempfile, 'gettempdir', lambda: str(tmp_path))
    for name in ('dreamer_dmlab_results', 'dreamer_dmlab_x1'):
      (tmp_path / name).mkdir()
      (tmp_path / name / 'work').write_text(MINE)
    (tmp_path / 'dreamer_dmlab_x1' / tempfolder.MARK).touch()
    tempfolder.TempFolder('dreamer_dmlab_').close()
    assert [x.name for x in tmp_path.iterdir()] == ['dreamer_dmlab_results']

  def test_a_cache_of_maps(self, tmp_path):
    (tmp_path / 'map').write_text('new')
    cache = LevelCache(tmp_path / 'cache')
    (tmp_path / 'cache' / 'key.pk3').write_text(MINE)
    cache.write('key', str(tmp_path / 'map'))
    cache.write('other', str(tmp_path / 'map'))
    assert (tmp_path / 'cache' / 'key.pk3').read_text() == MINE
    assert (tmp_path / 'cache' / 'other.pk3').read_text() == 'new'
