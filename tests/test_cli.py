"""Mistakes on the command line: one line, status 2, and no TensorFlow."""

import inspect
import json
import os
import shutil
import subprocess
import sys
import typing

import pytest

import dreamerv1
import dreamerv2
from dreamer.run import training
from dreamer.run.stop import Stop
from tests.support import ROOT
from tests.support.fakes import FakeAgent, FakeInterface
from tests.support.strange_envs import NewStyle

DEBUG = ('--configs', 'debug', '--task', 'dummy_continuous')


def call(*command):
  """Runs a Python command in the project; TensorFlow can't be imported."""
  code = (
      'import runpy, sys; sys.modules["tensorflow"] = None; '
      f'sys.argv = {list(command)!r}; '
      f'runpy.run_module({command[0]!r}, run_name="__main__")')
  return subprocess.run(
      [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True,
      timeout=250)


def error(*command):
  """Returns the one line that a wrong command prints."""
  done = call(*command)
  assert done.returncode == 2, done.stderr
  assert done.stdout == ''
  assert done.stderr.count('\n') == 1, done.stderr
  assert done.stderr.startswith('error: ')
  return done.stderr


@pytest.fixture(scope='module')
def logdir(tmp_path_factory):
  """A finished run of an agent that calls itself dreamerv1."""
  path = tmp_path_factory.mktemp('cli') / 'run'
  config = dreamerv1.configure(['debug'], **{
      'task': 'dummy_continuous', 'logdir': str(path), 'steps': 200,
      'envs.worker': 'inline', 'eval_every': 0})
  from dreamer.envs import make_envs  # For this test only.
  training.train(config, 'dreamerv1', FakeAgent, make_envs, Stop())
  return path


def test_libraries_say_nothing_about_a_home_that_can_not_be_written(tmp_path):
  code = (
      'from dreamer import cli\nimport logging\n'
      'def main():\n  import matplotlib.font_manager\n  print("done")\n'
      'cli.guard(main)\n'
      'assert not logging.getLogger("matplotlib").level')
  environ = {**os.environ, 'HOME': '/proc/none', 'PYTHONPATH': str(ROOT)}
  for key in ('MPLCONFIGDIR', 'XDG_CONFIG_HOME', 'XDG_CACHE_HOME'):
    environ.pop(key, None)
  done = subprocess.run(
      [sys.executable, '-c', code], cwd=tmp_path, env=environ,
      capture_output=True, text=True, timeout=250)
  assert (done.stdout, done.stderr) == ('done\n', '')


class TestCommand:
  """`python -m AGENT COMMAND`: train and eval, nothing else."""

  @pytest.mark.parametrize('agent', ['dreamerv1', 'dreamerv2'])
  @pytest.mark.parametrize('argv, words', [
      ((), ['command is missing', 'train, eval']),
      (('--configs', 'debug'), ['command is missing', 'train, eval']),
      (('trian',), ["'trian'", 'did you mean train', 'train, eval']),
      (('evaluate', '--logdir', 'x'), ["'evaluate'", 'train, eval'])])
  def test_mistakes(self, agent, argv, words):
    line = error(agent, *argv)
    assert all(x in line for x in (*words, f'python -m {agent} ')), line

  def test_help(self):
    done = call('dreamerv2', '--help')
    assert (done.returncode, done.stderr) == (0, '')
    for text in ('python -m dreamerv2', '\n  train ', '\n  eval '):
      assert text in done.stdout

  def test_help_of_eval(self):
    done = call('dreamerv2', 'eval', '--help')
    assert (done.returncode, done.stderr) == (0, '')
    assert done.stdout.startswith('usage: python -m dreamerv2 eval ')
    assert '--episodes' in done.stdout


@pytest.mark.parametrize('agent', [dreamerv1, dreamerv2])
def test_the_python_interface_is_typed_and_explained(agent):
  for name in ('configure', 'evaluate', 'make_agent', 'schema', 'train'):
    function = getattr(agent, name)
    assert function.__doc__ and inspect.isroutine(function)
    hints = typing.get_type_hints(function)
    assert set(hints) == {*inspect.signature(function).parameters, 'return'}


@pytest.mark.parametrize('command', [
    ('train', '--help'), ('--help',), ('eval', '--help'), ('trian',)])
def test_a_pipe_that_closes_early(command):
  """Neither a traceback nor a word; the status that shells give it."""
  for name in ('stdout', 'stderr'):
    reader, writer = os.pipe()
    os.close(reader)
    other = {'stdout': 'stderr', 'stderr': 'stdout'}[name]
    with open(writer, 'wb') as closed:
      done = subprocess.run(
          [sys.executable, '-m', 'dreamerv1', *command], cwd=ROOT, timeout=250,
          text=True, **{name: closed, other: subprocess.PIPE})
    if (name == 'stderr') == (command == ('trian',)):
      # The library that prints the help of eval catches it itself.
      assert done.returncode == (0 if command[0] == 'eval' else 141)
      assert getattr(done, other) == ''
    else:
      assert getattr(done, other)


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='no /dev/full')
@pytest.mark.parametrize('unbuffered', ['', '1'])
@pytest.mark.parametrize('size', [1, 100_000])
def test_a_full_disk_for_what_is_printed(size, unbuffered):
  code = ('from dreamer import cli\n'
          f'cli.guard(lambda: print("x" * {size}))')
  with open('/dev/full', 'w') as full:
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, text=True, stdout=full,
        stderr=subprocess.PIPE,
        env={**os.environ, 'PYTHONUNBUFFERED': unbuffered})
  assert done.returncode == 2
  assert done.stderr == (
      'error: can not write what is printed, or a file: '
      'No space left on device\n')


@pytest.mark.parametrize('closed', [(0, 1, 2), (1,), (2,)])
def test_streams_that_are_closed(tmp_path, closed):
  """What is written there is lost; nothing else gets their numbers."""
  code = (
      'import sys\n'
      'from dreamer import cli\n'
      'def main():\n'
      f'  file = open({str(tmp_path / "x")!r}, "w")\n'
      '  print("out")\n'
      '  cli.tell("err")\n'
      '  file.write("mine")\n'
      'cli.guard(main)')
  done = subprocess.run(
      [sys.executable, '-c', code], cwd=ROOT, close_fds=False,
      preexec_fn=lambda: [os.close(x) for x in closed])
  assert done.returncode == 0
  assert (tmp_path / 'x').read_text() == 'mine'


class TestTrain:

  @pytest.mark.parametrize('argv, words', [
      ((), ['logdir', '--logdir FOLDER']),
      (('--configs', 'debgu'), ['debgu', 'did you mean debug']),
      (('--rssm.detr', '3'), ['rssm.detr', 'did you mean rssm.deter']),
      (('--rssm.deter', 'big'), ['rssm.deter', 'big', 'whole number']),
      (('--horizon', '1'), ['horizon', '1', '2..']),
      (('--precision', 'float8'), ['precision', 'float8', 'float16']),
      (('--steps',), ['steps', 'value is missing']),
      (('stray',), ['stray', '--key value']),
      (('--rssm', '3'), ['rssm', 'group', 'rssm.deter']),
      (('--configs', 'debug', '--batch_length', '60', '--logdir', 'x'),
       ['batch_length', '60', '51', 'time_limit 100'])])
  def test_wrong_settings(self, argv, words):
    line = error('dreamerv1', 'train', *argv)
    assert all(word in line for word in words), line

  @pytest.mark.parametrize('task, words', [
      ('walker_walk', ['walker_walk', 'dmc_walker_walk']),
      ('dummy_continuos', ['dummy_continuos', 'dummy_continuous']),
      ('dmc_walker_wlak', ['dmc_walker_wlak', 'dmc_walker_walk'])])
  def test_wrong_task(self, tmp_path, task, words):
    line = error(
        'dreamerv1', 'train', *DEBUG, '--logdir', str(tmp_path), '--task', task)
    assert all(word in line for word in words), line

  def test_logdir_is_a_file(self, tmp_path):
    path = tmp_path / 'file'
    path.write_text('')
    line = error('dreamerv1', 'train', *DEBUG, '--logdir', str(path))
    assert 'is a file' in line

  def test_logdir_can_not_be_created(self):
    line = error('dreamerv1', 'train', *DEBUG, '--logdir', '/proc/mine')
    assert '/proc/mine' in line

  def test_other_settings_than_the_run(self, logdir):
    line = error(
        'dreamerv1', 'train', *DEBUG, '--logdir', str(logdir), '--steps', '300',
        '--eval_every', '0', '--envs.worker', 'inline', '--horizon', '7')
    assert 'horizon: ' in line and '--horizon 5' in line

  def test_no_more_steps_than_the_prefill(self, tmp_path):
    line = error(
        'dreamerv1', 'train', *DEBUG, '--logdir', str(tmp_path), '--steps',
        '150')
    assert 'steps: 150' in line and 'prefill 200' in line
    assert not list(tmp_path.iterdir())

  def test_help(self):
    done = call('dreamerv1', 'train', '--help')
    assert done.returncode == 0
    assert done.stderr == ''
    assert '--rssm.deter 200' in done.stdout
    assert 'paper_code' in done.stdout


class TestEval:

  @pytest.mark.parametrize('argv, words', [
      ((), ['--logdir']),
      (('--logdir', '/nowhere'), ['/nowhere', 'no folder']),
      (('--logdir', str(ROOT / 'tests')), ['no checkpoint', 'train']),
      (('--logdir', 'x', '--episodes', '0'), ['episodes', '0', '1..']),
      (('--logdir', 'x', '--episodes', 'ten'), ['episodes', 'ten']),
      (('--logdir', 'x', '--seed', '-1'), ['seed', '-1', '0..']),
      (('--logdir', 'x', '--policy', 'best'), ['best', 'random', 'trained']),
      (('--logdir', 'x', '--video', 'a.mp4'), ['a.mp4', '.gif']),
      (('--logdir', 'x', '--polcy', 'random'), ['--polcy'])])
  def test_wrong_options(self, argv, words):
    line = error('dreamerv1', 'eval', *argv)
    assert all(word in line for word in words), line

  def test_another_agent(self, tmp_path):
    config = dreamerv1.configure(['debug'], **{
        'task': 'dummy_continuous', 'logdir': str(tmp_path), 'steps': 200,
        'envs.worker': 'inline', 'eval_every': 0})
    from dreamer.envs import make_envs  # For this test only.
    training.train(config, 'dreamerv2', FakeAgent, make_envs, Stop())
    line = error('dreamerv1', 'eval', '--logdir', str(tmp_path))
    assert 'holds a run of dreamerv2, not dreamerv1' in line

  def test_random_policy(self, logdir, tmp_path):
    """A readable line, all about it in eval.jsonl, by seed."""
    stored = logdir / 'eval.jsonl'
    lines = []
    for seed in (3, 3, 4):
      done = call(
          'dreamerv1', 'eval', '--logdir', str(logdir), '--policy', 'random',
          '--episodes', '3', '--envs.amount', '2', '--seed', str(seed),
          '--video', str(tmp_path / 'video.gif'))
      assert done.returncode == 0, done.stderr
      lines.append(json.loads(stored.read_text().splitlines()[-1]))
      mean, low, high = (lines[-1][key] for key in ('mean', 'low', 'high'))
      assert done.stdout == (
          f'dummy_continuous, random: score {mean:,.1f} [{low:,.1f}, '
          f'{high:,.1f}] of 3 episodes\n')
    assert lines[0] == lines[1] != lines[2]
    assert len(stored.read_text().splitlines()) == 3
    assert lines[0]['episodes'] == len(lines[0]['returns']) == 3
    assert lines[0]['low'] < lines[0]['mean'] < lines[0]['high']
    assert lines[0]['step'] == lines[0]['agent_steps'] == 0
    assert lines[0]['lengths'] == [100, 100, 100]
    assert (lines[0]['seed'], lines[0]['eval_seed']) == (0, 3)
    assert (tmp_path / 'video.gif').read_bytes()[:3] == b'GIF'

  def test_a_run_that_can_not_be_written_to(self, logdir, tmp_path):
    """One warning, and status 0: the score is there, and so is the video."""
    copy = tmp_path / 'run'
    shutil.copytree(logdir, copy, ignore=lambda *_: ['eval.jsonl'])
    (copy / 'eval.jsonl').mkdir()
    done = call(
        'dreamerv1', 'eval', '--logdir', str(copy), '--policy', 'random',
        '--episodes', '1', '--video', str(tmp_path / 'video.gif'))
    assert done.returncode == 0
    assert json.loads(done.stdout.splitlines()[-1])['episodes'] == 1
    assert done.stderr.startswith('warning: can not write ')
    assert done.stderr.count('\n') == 1 and 'eval.jsonl' in done.stderr
    assert (tmp_path / 'video.gif').read_bytes()[:3] == b'GIF'

  def test_a_video_that_can_not_be_written_costs_no_score(self, logdir):
    done = call(
        'dreamerv1', 'eval', '--logdir', str(logdir), '--policy', 'random',
        '--episodes', '1', '--video', '/dev/null/x.gif')
    assert done.returncode == 2 and done.stderr.count('\n') == 1
    assert 'random: score' in done.stdout
    last = (logdir / 'eval.jsonl').read_text().splitlines()[-1]
    assert json.loads(last)['episodes'] == 1


class TestRun:

  @pytest.mark.parametrize('argv, words', [
      (('trian',), ["unknown command 'trian'", 'train', 'eval', 'test']),
      (('train', 'dreamerv9'), ["unknown agent 'dreamerv9'", 'dreamerv1'])])
  def test_mistakes(self, tmp_path, argv, words):
    done = self.run(tmp_path, *argv)
    assert done.returncode == 2
    assert done.stderr.count('\n') == 1
    assert all(word in done.stderr for word in words), done.stderr

  def test_help_names_each_command(self, tmp_path):
    done = self.run(tmp_path, 'help')
    assert done.returncode == 0
    for command in ('setup', 'train', 'eval', 'report', 'test'):
      assert f'\n  {command}' in done.stdout

  def run(self, cwd, *argv):
    return subprocess.run(
        [ROOT / 'run.sh', *argv], cwd=cwd, capture_output=True, text=True,
        timeout=250)


@pytest.mark.parametrize('worker', ['inline', 'process'])
def test_an_environment_of_ones_own(tmp_path, worker):
  """A factory that can be imported runs in a worker; evaluation follows."""
  agent = FakeInterface()
  config = dreamerv1.configure(
      ['debug'], logdir=str(tmp_path), batch_length=3, time_limit=10,
      **{'envs.worker': worker})
  assert agent.train(NewStyle, config) is None
  line, result = agent.evaluate(
      NewStyle, tmp_path, episodes=3, video=True)
  assert line['task'] == 'own_NewStyle'
  assert line['step'] == 600
  assert len(line['returns']) == 3
  assert result.video.shape[1:] == (64, 64, 3)
  assert 'own_NewStyle is an environment of your own' in error(
      'dreamerv1', 'eval', '--logdir', str(tmp_path), '--policy', 'random')
