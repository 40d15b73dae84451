"""Sweeps: what they refuse, and real ones on Ray with nodes that die."""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import types

import pytest

from dreamer import cpus
from dreamer.errors import UserError
from dreamer.files import ROOT
from dreamer.run import resume
from dreamer.sweep import jobs, live, own_runs, ray_cluster
from scores import __main__, matrix
from tests.support.scores_tools import write_lines, write_run

RUN = 'dreamerv1 --configs debug --task dummy_continuous --threads 1'
ENDLESS = f'{RUN} --steps 30000 --save_every 200 --eval_every 0 --video_every 0'


def write(folder, **runs):
  path = folder / 'own.yaml'
  path.write_text(''.join(f'{key}: {value}\n' for key, value in runs.items()))
  return str(path)


def begin(job, folder):
  """The folder of a run of a Job that has done nothing yet."""
  config = jobs.config_of(job).flat
  del config['logdir']
  write_run(folder, [], agent=job.agent, **config)


def sweep(*argv):
  __main__.main(['sweep', *map(str, argv)])


class TestRefusals:

  @pytest.mark.parametrize('line, wanted', [
      ('a: dreamerv7 --task x', "a: unknown agent 'dreamerv7'"),
      ('a: dreamerv1 --configs dmx', 'a: .*dmx'),
      ('a: dreamerv1 --horizn 3', 'a: .*horizn'),
      ('a: dreamerv1 --steps 10', 'a: steps: 10 is less than prefill'),
      ('a: dreamerv1 --seed 3', 'a: --seed is given by the sweep'),
      ('a: dreamerv1 --logdir=x', 'a: --logdir is given by the sweep'),
      ('a: "dreamerv1 \'"', 'a: No closing quotation'),
      ('a: [dreamerv1]', 'a: no command'),
      ('a: ""', 'a: no command'),
      ('a/b: dreamerv1', 'a/b: no name of a folder'),
      ('..: dreamerv1', '..: no name of a folder'),
      ('logs: dreamerv1', 'logs: is the folder of what runs print'),
      ('1: dreamerv1', "1: is no text to YAML; .* quotes: '1'"),
      ('0.5: dreamerv1', "0.5: is no text to YAML; .* quotes: '0.5'"),
      ('true: dreamerv1', "true: is no text to YAML; .* quotes: 'true'"),
      ('null: dreamerv1', "null: is no text to YAML; .* quotes: 'null'"),
      ('2024-01-02: dreamerv1', "2024-01-02: is no text .* '2024-01-02'"),
      ("'': dreamerv1", ': no name of a folder'),
      ('- dreamerv1', 'no mapping'), ('a: {', 'no valid YAML'),
      ('{}', 'names no run')])
  def test_a_mistake_in_a_file_is_one_line(self, line, wanted, tmp_path):
    path = tmp_path / 'own.yaml'
    path.write_text(line + '\n')
    with pytest.raises(UserError, match=wanted) as info:
      sweep(path)
    assert str(path) in str(info.value) and '\n' not in str(info.value)

  @pytest.mark.parametrize('name', ["'1'", '"0.5"', "'true'", 'yes', '1a'])
  def test_a_name_in_quotes(self, name, tmp_path):
    path = tmp_path / 'own.yaml'
    path.write_text(f'{name}: {RUN}\n')
    job, = own_runs.jobs(str(path))
    assert job.folder.split('/')[0] == name.strip('\'"')

  @pytest.mark.parametrize('argv, wanted', [
      (['table_x'], "'table_x'; allowed: table_g"),
      (['no.yaml'], 'no.yaml: cannot read'),
      (['table_g', '--methods', 'x'], "--methods: 'x'"),
      (['table_g', '--seeds', '0'], '--seeds: 0'),
      (['table_g', '--cpus-per-run', '0'], '--cpus-per-run: 0'),
      (['table_g', '--gpus-per-run', '-1'], '--gpus-per-run: -1'),
      (['table_g', '--gpus-per-run', '1.5'], '--gpus-per-run: 1.5'),
      (['table_g', '--gpus-per-run', 'nan'], '--gpus-per-run: nan'),
      (['table_g', '--retries', '-1'], '--retries: -1'),
      (['table_g', '--to', 'dreamerv1/tabel_g'], '--to: dreamerv1/tabel_g')])
  def test_options(self, argv, wanted, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=wanted):
      sweep(*argv)

  @pytest.mark.parametrize('root', ['file', '/proc/sys'])
  def test_a_folder_for_logs_that_can_not_be_written(self, tmp_path, root):
    if root == 'file':
      (tmp_path / 'logs').touch()
      root = tmp_path
    with pytest.raises(UserError, match='can not write into .*logs: .*--logdi'):
      sweep('table_g', '--logdir', root)

  def test_nobody_answers(self, tmp_path):
    argv = ['table_g', '--logdir', tmp_path / 'x', '--address', '127.0.0.1:1']
    with pytest.raises(UserError, match='--address: .*127.0.0.1:1.*refused'):
      sweep(*argv)

  def test_a_second_sweep_in_a_folder(self, tmp_path):
    with resume.locked(tmp_path / 'x', 'another sweep runs'):
      with pytest.raises(UserError, match='another sweep runs in .*x; wait'):
        sweep('table_g', '--logdir', tmp_path / 'x')

  def test_more_than_there_is(self, tmp_path):
    """By a real Ray, which would wait for such a machine for ever."""
    done = run('table_g', '--logdir', tmp_path / 'x', '--gpus-per-run', 64)
    assert done.returncode == 2
    assert re.search('error: --gpus-per-run: 64 are more than any machine of '
                     r'the cluster has; allowed: up to \d', done.stderr)


class TestFiles:

  def test_names_tasks_and_seeds(self, tmp_path):
    path = write(tmp_path, a=f'./run.sh train {RUN}',
                 b='python -m dreamerv2 train --configs minatar debug')
    found = own_runs.jobs(path, seeds=2)
    assert [x.folder for x in found] == [
        'a/dummy_continuous/seed0', 'a/dummy_continuous/seed1',
        'b/minatar_space_invaders/seed0', 'b/minatar_space_invaders/seed1']
    configs = [jobs.config_of(x) for x in found]
    assert [x.seed for x in configs] == [0, 1, 0, 1]
    assert [x.steps for x in found] == [x.steps for x in configs]
    other, = own_runs.jobs(path, None, ['dummy_discrete'], ['a'])
    assert jobs.config_of(other).task == other.task == 'dummy_discrete'
    twice = own_runs.jobs(path, None, ['dummy_discrete'] * 2, ['a'])
    assert twice == [other]

  def test_tables_name_what_they_are_compared_with(self):
    from scores import references  # Only here.
    named = {x.reference for x in matrix.EXPERIMENTS.values() if x.reference}
    assert named
    for name in named:
      assert references.load(name, None, None).scores


def test_a_run_is_as_far_as_its_checkpoint(tmp_path):
  """What was scored after it is not in it."""
  job = matrix.jobs('laptop_ablations_v2')[0]
  folder = tmp_path / job.folder
  begin(job, folder)
  write_lines(folder / 'metrics.jsonl', [{'step': 480, 'agent_steps': 480}])
  assert jobs.progress(job, str(tmp_path)) == 480  # as it was kept
  (folder / 'checkpoints').mkdir()
  for steps in (260, 390):
    (folder / 'checkpoints' / f'{steps:012d}.npz').touch()
  assert jobs.progress(job, str(tmp_path)) == 390


def test_finished_by_other_settings(tmp_path):
  job, = own_runs.jobs(write(tmp_path, a=RUN))
  begin(job, tmp_path / job.folder)
  assert jobs.progress(job, str(tmp_path)) == 0
  lines = [{'step': job.steps, 'agent_steps': job.steps}]
  write_lines(tmp_path / job.folder / 'metrics.jsonl', lines)
  assert jobs.progress(job, str(tmp_path)) == job.steps
  more, = own_runs.jobs(write(tmp_path, a=f'{RUN} --steps 3000 --threads 2'))
  assert jobs.progress(more, str(tmp_path)) == job.steps
  other, = own_runs.jobs(write(tmp_path, a=f'{RUN} --kl.free 2.5'))
  with pytest.raises(UserError, match='a run of kl.free 3.0, not 2.5; move it'):
    jobs.progress(other, str(tmp_path))


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='no /dev/full')
def test_a_full_disk_for_the_table_ends_nothing(monkeypatch):
  full = open('/dev/full', 'w')
  monkeypatch.setattr(sys, 'stdout', full)
  states = {'a': 'waiting'}
  with live.View(states) as view:
    view.update({'a': ('one', '5% | 3 steps', '')})
    view.ended('a', 'finished', 1, [], 'logs/a.log')
  monkeypatch.undo()
  with pytest.raises(OSError):
    full.close()
  assert states == {'a': 'finished'}


@pytest.mark.parametrize('gone', [True, False])
def test_a_terminal_that_has_gone_ends_nothing(monkeypatch, gone):
  keep, terminal = os.openpty()
  with open(terminal, 'w') as screen:
    monkeypatch.setattr(sys, 'stdout', screen)
    states = {'a': 'waiting', 'b': 'waiting'}
    with live.View(states) as view:
      view.update({'a': ('one', '5% | 3 steps', '')})
      if gone:
        os.close(keep)
      view.update({'b': ('one', '5% | 3 steps', '')})
      view.ended('a', 'finished', 1, [], 'logs/a.log')
    monkeypatch.undo()
  if not gone:
    os.close(keep)
  assert states == {'a': 'finished', 'b': 'running'}


def test_the_table_as_lines(capsys):
  states = {'a': 'waiting', 'b': 'waiting', 'c': 'finished'}
  with live.View(states) as view:
    view.update({'a': ('one', '5% | 3 steps', '')})
    view.update({'a': ('two', '5% | 3 steps', '')})
    view.ended('a', 'failed', 3, ['error: [x]'], 'logs/a.log')
    view.ended('b', 'finished', 1, [], 'logs/b.log')
  assert capsys.readouterr().out.splitlines() == [
      'a: runs on one', 'a: goes on on two', 'a: failed after 3 attempts',
      '  | error: [x]', '  all of it: logs/a.log', 'b: finished']
  assert states == {'a': 'failed', 'b': 'finished', 'c': 'finished'}


class TestRay:
  """What Ray is given, and what a sweep says where it does not start."""

  @pytest.fixture
  def ray(self, monkeypatch):
    """Ray itself, which would start; records what it was started with."""
    import ray  # Only here.
    for name in ('RAY_TMPDIR', 'TMPDIR', 'RAY_AUTH_TOKEN', 'RAY_AUTH_MODE'):
      monkeypatch.setenv(name, 'x')
      monkeypatch.delenv(name)
    ray.given = {}
    monkeypatch.setattr(
        ray, 'init', lambda *args, **more: ray.given.update(
            more, folder=os.getcwd(), token=os.environ.get('RAY_AUTH_TOKEN'),
            hangup=signal.getsignal(signal.SIGHUP)))
    monkeypatch.setattr(ray, 'shutdown', lambda: None)
    return ray

  def refused(self, folder, *args):
    with pytest.raises(UserError) as info, ray_cluster.cluster(folder, *args):
      pass
    assert '\n' not in str(info.value) and '--address' not in str(info.value)
    return str(info.value)

  @pytest.mark.parametrize('name', ['TMPDIR', 'RAY_TMPDIR'])
  def test_a_long_name(self, tmp_path, ray, monkeypatch, name):
    """It refuses what Ray refuses, and nothing shorter."""
    for length in (30, 40, 60, 99):
      folder = '/' + 'x' * (length - 1)
      monkeypatch.setenv(name, folder)
      line = self.refused(tmp_path)
      assert ('too long' in line) == (length > 38), line
      assert line.startswith(f'{name}: ') and 'RAY_TMPDIR' in line
      assert folder in line

  @pytest.mark.parametrize('kind', ['missing', 'file'])
  def test_a_folder_that_can_not_be_written(
      self, tmp_path, ray, monkeypatch, kind):
    monkeypatch.setattr(ray_cluster, 'LONGEST', 1000)
    folder = tmp_path / 'x'
    if kind == 'file':
      folder.touch()
    monkeypatch.setenv('RAY_TMPDIR', str(folder))
    line = self.refused(tmp_path)
    assert 'can not write' in line and str(folder) in line

  def test_a_full_disk(self, tmp_path, ray, monkeypatch):
    monkeypatch.setattr(ray_cluster, 'LONGEST', 1000)
    monkeypatch.setenv('RAY_TMPDIR', str(tmp_path))
    monkeypatch.setattr(
        ray_cluster.shutil, 'disk_usage', lambda path: types.SimpleNamespace(
            free=2 ** 40 if path == '/dev/shm' else 7 * 2 ** 20))
    assert 'has only 7 MB left, and Ray needs 50;' in self.refused(tmp_path)
    monkeypatch.setattr(
        ray_cluster.shutil, 'disk_usage',
        lambda path: types.SimpleNamespace(free=7 * 2 ** 20))
    assert 'and Ray needs 150;' in self.refused(tmp_path)

  @pytest.mark.parametrize('error, words', [
      (OSError(13, 'Permission denied', '/dev/shm'), ['/dev/shm', 'shm-size']),
      (PermissionError(13, 'Permission denied', os.path.expanduser('~/.ray')),
       ['HOME=', 'Permission denied']),
      (Exception('The current node timed out'), ['timed out', 'logs']),
      (SystemExit(1), ['logs'])])
  def test_it_does_not_start(self, tmp_path, ray, monkeypatch, error, words):
    def fail(*_, **__):
      raise error

    monkeypatch.setattr(ray, 'init', fail)
    line = self.refused(tmp_path)
    assert 'Ray does not start on this machine' in line
    assert all(x in line for x in words), line

  def test_what_it_is_given(self, tmp_path, ray):
    """Its processes search no folder of the caller's, and need no HOME."""
    before = os.getcwd(), signal.getsignal(signal.SIGHUP)
    with ray_cluster.cluster(tmp_path):
      assert os.getcwd() == before[0]
    assert ray.given['folder'] == str(tmp_path)
    assert ray.given['num_cpus'] == cpus.allowed()
    assert len(ray.given['token']) >= 32
    assert ray.given['hangup'] == signal.SIG_IGN
    assert signal.getsignal(signal.SIGHUP) == before[1]

  @pytest.mark.parametrize('error', [SystemExit(15), RuntimeError('x')])
  def test_its_end_changes_no_result(self, tmp_path, ray, monkeypatch, error):
    def fail():
      raise error

    monkeypatch.setattr(ray, 'shutdown', fail)
    with ray_cluster.cluster(tmp_path):
      pass


# Real ones. They wait for what happens; the limit is for a test that hangs.


def real(function):
  return pytest.mark.slow(pytest.mark.timeout(3600)(function))


def command(*argv):
  return [sys.executable, '-m', 'scores', 'sweep', *map(str, argv)]


def run(*argv):
  return subprocess.run(
      command(*argv), cwd=ROOT, capture_output=True, text=True)


@contextlib.contextmanager
def started(*argv):
  process = subprocess.Popen(
      command(*argv), cwd=ROOT, stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT, text=True, start_new_session=True)
  try:
    yield process
  finally:
    process.kill()
    process.wait()


def checkpoints(root, amount):
  """Waits until so many runs have one; returns their folders."""
  while True:
    found = {x.parent.parent for x in root.glob('*/*/*/checkpoints/*')
             if not x.name.startswith('.')}
    if len(found) >= amount:
      return found
    time.sleep(0.5)


def steps(folder):
  return [json.loads(x)['step'] for x in (
      folder / 'metrics.jsonl').read_text().splitlines()]


def free(folder):
  """Whether no process trains there any more."""
  with contextlib.suppress(UserError), resume.locked(folder):
    return True
  return False


@pytest.fixture
def cluster():
  """A head and a second machine, of one core each."""
  from ray.cluster_utils import Cluster  # Starts slowly.
  os.environ['RAY_USAGE_STATS_ENABLED'] = '0'
  found = Cluster(initialize_head=True, head_node_args={
      'num_cpus': 1, 'include_dashboard': False,
      'object_store_memory': 100 * 2 ** 20})
  found.other = found.add_node(
      num_cpus=1, object_store_memory=100 * 2 ** 20)
  found.wait_for_nodes()
  yield found
  found.shutdown()


def family(pid):
  """A process and all that it has started, and these in turn."""
  parents = {}
  for path in pathlib.Path('/proc').glob('[0-9]*/stat'):
    with contextlib.suppress(OSError):
      rest = path.read_text().rpartition(')')[2].split()
      parents[int(path.parent.name)] = int(rest[1])
  found = [pid]
  for one in found:  # which grows meanwhile
    found += [x for x, parent in parents.items() if parent == one]
  return found


def most_at_once(text):
  """How many runs a sweep's lines show side by side."""
  now, most = 0, 0
  for line in text.splitlines():
    now += bool(re.match(r'\S+: runs on ', line))
    now -= bool(re.match(r'\S+: (finished|failed|stopped)', line))
    most = max(now, most)
  return most


@real
def test_to_the_end_and_again(tmp_path, cluster):
  """On two machines; one run always fails and the others go on."""
  path = write(tmp_path, good=RUN + ' --steps 600', bad=RUN + ' --steps 600')
  bad = tmp_path / 'out/bad/dummy_continuous/seed0'
  bad.mkdir(parents=True)
  (bad / 'letter.txt').write_text('not a run')
  argv = [path, '--logdir', tmp_path / 'out', '--seeds', 2, '--retries', 1,
          '--cpus-per-run', 1, '--address', cluster.address]
  first = run(*argv)
  assert first.returncode == 1, first.stderr
  assert '4 runs, 0 finished already' in first.stdout
  assert '2 at once on 2 machine(s)' in first.stdout
  assert 'bad/dummy_continuous/seed0: failed after 2 attempts' in first.stdout
  assert 'letter.txt, which is of no run' in first.stdout
  assert '3 of 4 runs are finished' in first.stdout
  assert most_at_once(first.stdout) == 2
  assert max(steps(tmp_path / 'out/good/dummy_continuous/seed1')) >= 600
  (bad / 'letter.txt').unlink()
  second = run(*argv)
  assert second.returncode == 0, second.stdout + second.stderr
  assert '4 runs, 3 finished already' in second.stdout
  assert '4 of 4 runs are finished' in second.stdout
  third = run(*argv[:-2])
  assert third.returncode == 0 and third.stdout == '4 of 4 runs are finished\n'


@real
def test_a_lost_machine(tmp_path, cluster):
  """kill -9 of all on it: its run goes on elsewhere from its checkpoint."""
  path = write(tmp_path, a=ENDLESS.replace('30000', '12000'))
  out = tmp_path / 'out'
  with started(path, '--logdir', out, '--seeds', 2, '--cpus-per-run', 1,
               '--address', cluster.address) as process:
    checkpoints(out, 2)
    raylet = cluster.other.all_processes['raylet'][0].process
    for pid in family(raylet.pid):  # A worker may outlive it for a while.
      with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    text, _ = process.communicate()
  assert process.returncode == 0, text
  assert '2 of 2 runs are finished' in text
  assert 'seed1: goes on on ' in text or 'seed0: goes on on ' in text
  assert ': failed' not in text
  logs = [x.read_text() for x in (out / 'logs').iterdir()]
  assert sum('ontinu' in x or 'esum' in x for x in logs) >= 1, logs
  for seed in range(2):
    found = steps(out / f'a/dummy_continuous/seed{seed}')
    assert found == sorted(set(found)) and found[-1] >= 12000


@real
@pytest.mark.parametrize(
    'signum', [signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_the_driver_ends(signum, tmp_path):
  """All runs stop after a checkpoint, and a second call goes on."""
  path, out = write(tmp_path, a=ENDLESS, b=ENDLESS, c=ENDLESS), tmp_path / 'out'
  argv = [path, '--logdir', out, '--cpus-per-run', 1, '--methods', 'a', 'b']
  with started(*argv) as process:
    before = checkpoints(out, 2)
    process.send_signal(signum)
    text, _ = process.communicate()
  if signum != signal.SIGKILL:
    assert process.returncode == 128 + signum, text
    assert 'a/dummy_continuous/seed0: stopped' in text
    assert 'the same command goes on' in text
  while not all(map(free, before)):
    time.sleep(0.5)
  reached = {x: max(steps(x)) for x in before}
  path = pathlib.Path(path)
  done = max(reached.values()) + 400
  path.write_text(path.read_text().replace('30000', str(done)))
  again = run(*argv)
  assert again.returncode == 0, again.stdout + again.stderr
  assert '2 of 2 runs are finished' in again.stdout
  for folder in before:
    found = steps(folder)
    assert found == sorted(set(found)) and found[-1] >= done
