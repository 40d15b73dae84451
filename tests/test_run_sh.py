"""run.sh: what it clears, one set-up at a time, and whose modules it runs.

Most tests have a small stand-in for Python, which makes no environments of
gigabytes: it notes what it is asked for.
"""

import hashlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import pytest

from dreamer import launch
from tests.support import ROOT

LONG = 250  # s: below the limit of a test, and far above what is needed
STAND_IN = f'''#!/bin/bash
last=${{*: -1}}
case "$*" in
  "- "* | - | *replaced.py) exec {sys.executable} "$@" ;;
  *version_info* | *"import venv"*) exit 0 ;;
  --version) echo Python 3.12.0 ;;
  *"launch.py venv "*) mkdir "$last/bin" && cp "$0" "$last/bin/python" ;;
  *"launch.py pip --version"*) [[ ! -e $NO_PIP ]] ;;
  *"launch.py pip config list") cat "$SETTINGS" 2>/dev/null; exit 0 ;;
  *uv_options.py) exec {sys.executable} "$@" ;;
  *requirements-uv.txt) cp "$UV" "${{0%/*}}/uv" 2>/dev/null ;;
  *--dry-run*) cat "$REPORT" ;;
  *"launch.py pip install"*)
    echo start >>"$LOG"
    while [[ -e $HOLD ]]; do sleep 0.05; done
    echo end >>"$LOG" ;;
  *launch.py*) echo "ran $*" ;;
  *) echo "stand-in: $*" >&2; exit 9 ;;
esac
'''


UV = '''#!/bin/bash
[[ $1 == --version ]] && { echo uv 9; exit; }
printf '%s\\n' "$@" >"$TOLD"
env | grep -E '^(SSL_CERT_FILE|UV_HTTP_TIMEOUT)=' >>"$TOLD"
[[ ! -e $UV_FAILS ]]
'''


class Project:
  """A checkout with no more than run.sh needs, and the stand-in as Python."""

  def __init__(self, folder):
    self.root, self.log = folder / 'a checkout', folder / 'log'
    self.hold, self.report = folder / 'hold', folder / 'report'
    for name in ('run.sh', 'dreamer/launch.py', '.ci/replaced.py',
                 '.ci/uv_options.py'):
      (self.root / name).parent.mkdir(parents=True, exist_ok=True)
      shutil.copy(ROOT / name, self.root / name)
    for name in ('requirements.txt', '.ci/requirements-cluster.txt',
                 '.ci/requirements-test.txt', '.ci/requirements-gpu.txt'):
      (self.root / name).touch()
    self.bin = folder / 'bin'
    self.bin.mkdir()
    self.python(self.bin / 'python3.12')
    self.venv = self.root / '.venv'
    self.mark = self.venv / 'made-by-run.sh'
    self.env = {
        **os.environ, 'PATH': f'{self.bin}:{os.environ["PATH"]}',
        'LOG': str(self.log), 'HOLD': str(self.hold),
        'REPORT': str(self.report), 'NO_PIP': str(folder / 'no_pip'),
        'SETTINGS': str(folder / 'settings'), 'UV': str(folder / 'uv'),
        'UV_FAILS': str(folder / 'uv_fails'), 'TOLD': str(folder / 'told')}
    self.folder = folder
    self.env.pop('VENV', None)
    self.no_pip = folder / 'no_pip'

  def python(self, path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(STAND_IN)
    path.chmod(0o755)

  def start(self, **more):
    return subprocess.Popen(
        [self.root / 'run.sh', 'audit'], env={**self.env, **more},
        cwd=self.root, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, start_new_session=True)

  def run(self, **more):
    """(status, stdout, stderr) of a command that needs the environment."""
    process = self.start(**more)
    out, err = process.communicate(timeout=LONG)
    return process.returncode, out, err

  @property
  def installs(self):
    return self.log.read_text().split() if self.log.exists() else []

  def refused(self, *words, **more):
    """Asserts one line, and that nothing in the environment has changed."""
    venv = more.get('VENV', self.venv)
    before = snapshot(venv)
    status, out, err = self.run(**more)
    assert (status, out) == (2, '') and err.count('\n') == 1, err
    assert err.startswith('error: ') and str(venv) in err
    assert all(word in err for word in words), err
    assert snapshot(venv) == before and not self.installs


def snapshot(folder):
  """{path: content} of all files below."""
  return {str(x): x.read_bytes() for x in folder.rglob('*') if x.is_file()}


def is_set_up(venv):
  """Whether run.sh would install nothing in an environment."""
  try:
    stamp = (venv / 'requirements.sha256').read_text().split()[0]
    kind = (venv / 'variant').read_text().strip()
  except OSError:
    return False
  names = ['requirements.txt', '.ci/requirements-cluster.txt',
           '.ci/requirements-test.txt']
  names += ['.ci/requirements-gpu.txt'] * (kind == 'gpu')
  content = b''.join((ROOT / name).read_bytes() for name in names)
  return hashlib.sha256(content).hexdigest() == stamp


def wait_for(condition):
  end = time.monotonic() + LONG
  while not condition():
    assert time.monotonic() < end
    time.sleep(0.05)


@pytest.fixture
def project(tmp_path):
  return Project(tmp_path)


class TestWhoInstalls:

  @pytest.fixture
  def told(self, project):
    """Where uv can be had: runs a set-up; returns what uv was told."""
    (project.folder / 'uv').write_text(UV)
    (project.folder / 'uv').chmod(0o755)

    def told(settings=''):
      (project.folder / 'settings').write_text(settings)
      status, _, err = project.run()
      assert status == 0, err
      path = project.folder / 'told'
      return path.read_text().splitlines() if path.exists() else [], err
    return told

  def test_pip_where_uv_can_not_be_had(self, project):
    status, _, err = project.run()
    assert status == 0 and 'By pip: uv can not be had here.' in err
    assert project.installs == ['start', 'end']

  def test_uv(self, project, told):
    args, err = told()
    assert 'By uv 9.' in err and not project.installs
    assert args[:2] == ['pip', 'install']
    assert f'-r{project.root}/requirements.txt' in args
    assert args[args.index('--python') + 1] == str(project.venv / 'bin/python')
    assert not list(project.venv.glob('.cache*'))
    assert project.run()[0] == 0 and not project.installs

  def test_pip_where_uv_fails(self, project, told):
    (project.folder / 'uv_fails').touch()
    _, err = told()
    assert 'By pip: uv could not' in err
    assert project.installs == ['start', 'end']

  def test_settings_of_pip_hold(self, project, told):
    args, _ = told("""global.index-url='https://a/simple'
global.extra-index-url='https://b/simple file:///c/simple'
:env:.index-url='https://mine/simple'
install.no-index='true'
:env:.find-links='/wheels https://w'
global.constraint='/etc/limits.txt'
global.cert='/etc/cert.pem'
global.timeout='99'
freeze.timeout='1'
""")
    pairs = set(zip(args, args[1:]))
    assert {('--default-index', 'https://mine/simple'),
            ('--index', 'https://b/simple'), ('--index', 'file:///c/simple'),
            ('--find-links', '/wheels'), ('--find-links', 'https://w'),
            ('--constraint', '/etc/limits.txt')} <= pairs
    assert '--no-index' in args and 'https://a/simple' not in args
    assert {'SSL_CERT_FILE=/etc/cert.pem', 'UV_HTTP_TIMEOUT=99'} <= set(args)

  def test_a_setting_that_uv_does_not_know(self, project, told):
    args, err = told("install.target='/elsewhere'\n")
    assert not args and 'uv does not know its setting target' in err
    assert project.installs == ['start', 'end']

  def test_nothing_is_added_to_a_folder_of_others(self, project, told):
    project.python(project.venv / 'bin' / 'python')
    project.report.write_text('{"install": []}')
    args, _ = told()
    assert not args and project.installs == ['start', 'end']


class TestWhatIsCleared:

  def test_a_new_environment(self, project):
    status, out, err = project.run()
    assert status == 0 and 'dreamer.audit' in out, err
    assert project.mark.exists() and project.installs == ['start', 'end']
    assert project.run()[0] == 0 and project.installs == ['start', 'end']
    (project.root / 'requirements.txt').write_text('# another')
    assert project.run()[0] == 0 and len(project.installs) == 4

  @pytest.mark.parametrize('broken', ['python', 'gone', 'pip'])
  def test_its_own_one_is_made_anew(self, project, broken):
    project.run()
    (project.venv / 'old').touch()
    if broken == 'pip':  # As after a set-up that was killed.
      (project.venv / 'requirements.sha256').unlink()
      project.no_pip.touch()
    else:
      (project.venv / 'bin/python').unlink()
    if broken == 'python':
      (project.venv / 'bin/python').write_text('#!/bin/sh\nexit 1\n')
    status, _, err = project.run()
    assert status == 0, err
    assert not (project.venv / 'old').exists() and project.mark.exists()

  @pytest.mark.parametrize('python', [None, '#!/bin/sh\nexit 1\n'])
  def test_somebody_elses_stays(self, project, python, tmp_path):
    """Another Python, one that can't be read, none: it can't be known."""
    mine = tmp_path / 'mine'
    (mine / 'lib').mkdir(parents=True)
    (mine / 'lib' / 'work.py').write_text('precious')
    if python:
      (mine / 'bin').mkdir()
      (mine / 'bin/python').write_text(python)
      (mine / 'bin/python').chmod(0o755)
    project.refused('not made by ./run.sh', 'VENV', VENV=mine)
    # Also where run.sh has once installed into it.
    (mine / 'requirements.sha256').touch()
    project.refused('not made by ./run.sh', 'VENV', VENV=mine)

  def test_a_link_to_a_disk_that_is_not_mounted(self, project, tmp_path):
    project.venv.symlink_to(tmp_path / 'nowhere')
    project.refused('not mounted')

  def test_a_file(self, project, tmp_path):
    (tmp_path / 'notes.txt').write_text('precious')
    project.refused('not made by', VENV=tmp_path / 'notes.txt')
    assert (tmp_path / 'notes.txt').read_text() == 'precious'

  def test_an_empty_folder_may_be_used(self, project, tmp_path):
    (tmp_path / 'empty').mkdir()
    assert project.run(VENV=tmp_path / 'empty/')[0] == 0
    assert (tmp_path / 'empty' / project.mark.name).exists()
    assert not (tmp_path / 'empty' / '.lock').exists()

  @pytest.mark.parametrize('name', [
      'mine.lock', 'mine/variant', 'mine/requirements.sha256'])
  def test_files_with_the_names_of_ours(self, project, tmp_path, name):
    """A lock file may be of another tool: mine.lock beside mine/."""
    project.python(tmp_path / 'mine/bin/python')
    (tmp_path / name).write_text('precious\n')
    project.refused('not written by ./run.sh', VENV=tmp_path / 'mine')
    assert (tmp_path / name).read_text() == 'precious\n'

  @pytest.mark.parametrize('name, replaced', [
      ('pytest', True), ('not-installed-here', False)])
  def test_versions_of_somebody_else(self, project, tmp_path, name, replaced):
    """What is missing is installed; nothing is replaced."""
    project.python(tmp_path / 'mine/bin/python')
    project.report.write_text(json.dumps({'install': [
        {'metadata': {'name': name, 'version': '0.0'}}]}))
    if replaced:
      project.refused('pytest ', 'needed: 0.0', VENV=tmp_path / 'mine')
    else:
      status, _, err = project.run(VENV=tmp_path / 'mine')
      assert status == 0 and project.installs == ['start', 'end'], err


@pytest.fixture(params=['flock', 'python'])
def locking(request, project):
  """With the command flock, and where a machine has none."""
  if request.param == 'flock' and not shutil.which('flock'):
    pytest.skip('no flock')
  if request.param == 'python':
    names = ('bash', 'cat', 'cp', 'dirname', 'env', 'find', 'id', 'ls',
             'mkdir', 'mv', 'readlink', 'rm', 'sha256sum', 'sleep', 'uname')
    for name in names:
      (project.bin / name).symlink_to(shutil.which(name))
    project.env['PATH'] = str(project.bin)
  return project


class TestSetUpsAtOnce:

  def test_the_others_wait(self, locking):
    """And say for whom; what the first one has done serves all."""
    locking.hold.touch()
    first = locking.start()
    wait_for(lambda: locking.installs)
    others = [locking.start() for _ in range(3)]
    for process in others:
      line = process.stderr.readline()
      assert f'Waiting for process {first.pid} on ' in line, line
      assert str(locking.venv) in line
    locking.hold.unlink()
    for process in (first, *others):
      out, err = process.communicate(timeout=LONG)
      assert process.returncode == 0 and 'dreamer.audit' in out, err
    assert locking.installs == ['start', 'end']

  def test_the_first_one_is_killed(self, locking):
    locking.hold.touch()
    first = locking.start()
    wait_for(lambda: locking.installs)
    second = locking.start()
    assert 'Waiting for ' in second.stderr.readline()
    os.killpg(first.pid, signal.SIGKILL)
    locking.hold.unlink()
    out, err = second.communicate(timeout=LONG)
    assert second.returncode == 0 and 'dreamer.audit' in out, err
    assert locking.installs == ['start', 'start', 'end']
    first.communicate()

  def test_a_finished_environment_needs_no_lock(self, locking):
    assert locking.run()[0] == 0
    lock = locking.root / '.venv.lock'
    lock.unlink()
    assert locking.run()[0] == 0 and not lock.exists()

  @pytest.mark.slow
  def test_real_environments(self, tmp_path):
    """As tasks of a job array start them."""
    root = tmp_path / 'checkout'
    shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(
        '.git', '.venv*', 'ours', 'golden', 'runs', '.*_cache'))
    for name in ('requirements.txt', '.ci/requirements-cluster.txt',
                 '.ci/requirements-test.txt', '.ci/requirements-gpu.txt'):
      (root / name).write_text('')
    env = {key: x for key, x in os.environ.items()
           if key not in ('VENV', 'PYTHONPATH')}
    tasks = [subprocess.Popen(
        [root / 'run.sh', 'audit', '--help'], cwd=tmp_path, env=env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(3)]
    found = [task.communicate(timeout=LONG)[1] for task in tasks]
    assert sum('Creating ' in x for x in found) == 1, found
    assert (root / '.venv/requirements.sha256').exists()
    assert not any('pip' in x for x in found), found


SHADOWS = ('scores', 'types', 'random', 'logging', 'select', 'venv', 'pip',
           'runpy', 'fcntl', 'yaml', 'numpy', 'dreamer')


class TestWhoseModules:

  @pytest.fixture
  def folder(self, tmp_path):
    """A project of somebody else, with modules of common names."""
    path = tmp_path / 'mine'
    path.mkdir()
    for name in SHADOWS:
      (path / f'{name}.py').write_text(f'raise SystemExit("MY {name}.py RAN")')
    for name in ('dreamerv1', 'tests'):
      (path / name).mkdir()
      (path / name / '__init__.py').write_text('raise SystemExit("MINE RAN")')
    return path

  @pytest.mark.parametrize('path', ['', ':', ':/nowhere', '.'])
  @pytest.mark.parametrize('command', [
      ['scores', '--help'], ['train', '--help'], ['parity', '--help'],
      ['conform', '--help']])
  def test_ours(self, folder, command, path):
    done = self.call(folder, *command, PYTHONPATH=path)
    assert done.returncode == 0, done.stderr
    assert ' --' in done.stdout and not done.stderr

  def test_without_a_home(self, folder):
    done = subprocess.run(
        ['env', '-u', 'HOME', ROOT / 'run.sh', 'help'], cwd=folder, text=True,
        capture_output=True)
    assert done.returncode == 0 and not done.stderr

  def test_the_callers_modules_come_last(self, folder):
    """Names such as `module:Task` are found where the caller stands."""
    (folder / 'my_own_module.py').write_text('import random; print("found")')
    done = self.launch(folder, 'my_own_module')
    assert done.stdout == 'found\n', done.stderr

  def test_what_installs(self, folder):
    assert self.launch(folder, 'pip', '--version').stdout.startswith('pip ')
    assert self.launch(folder, 'venv', '--help').stdout.startswith('usage: ')

  def test_processes_that_ours_start(self, folder):
    done = subprocess.run(
        launch.command('dreamer.audit', '--help'), cwd=folder, text=True,
        capture_output=True)
    assert done.stdout.startswith('usage: '), done.stderr

  def test_a_folder_that_was_deleted(self, tmp_path):
    (tmp_path / 'gone').mkdir()
    code = f'rmdir "$PWD"; exec {ROOT}/run.sh "$@"'
    for again in ('', 'mkdir "$PWD";'):
      (tmp_path / 'gone').mkdir(exist_ok=True)
      done = subprocess.run(
          ['bash', '-c', code.replace(';', f';{again}', 1), 'x', 'train'],
          cwd=tmp_path / 'gone', text=True, capture_output=True)
      assert done.returncode == 2
      assert done.stderr.splitlines()[-1].startswith(
          'error: the folder you are in was deleted')

  def test_a_path_counts_from_the_callers_folder(self, tmp_path):
    """VENV and files of tests; names of the project's own work as well."""
    (tmp_path / 'linked').symlink_to(sys.prefix)
    (tmp_path / 'test_mine.py').write_text('def test_one(): pass\n')
    for name, wanted in (
        ('test_mine.py', 'test_mine.py::test_one'),
        ('tests/test_stats.py', 'tests/test_stats.py::')):
      done = self.call(
          tmp_path, 'test', '-n', '0', '--co', '-q', name, VENV='linked')
      assert done.returncode == 0 and wanted in done.stdout, done.stdout

  def test_what_tests_write_lies_where_one_stands(self, tmp_path):
    (tmp_path / 'test_mine.py').write_text('def test_one(): pass\n')
    for option in (['--junitxml', 'a b.xml'], ['--junit-xml=c.xml']):
      done = self.call(
          tmp_path, 'test', '-n', '0', '-q', 'test_mine.py', *option)
      assert done.returncode == 0, done.stdout
    assert (tmp_path / 'a b.xml').exists() and (tmp_path / 'c.xml').exists()

  def test_the_search_path_counts_from_the_callers_folder(self, tmp_path):
    """Also of tests, which run in the checkout."""
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'my_own_module.py').touch()
    (tmp_path / 'test_mine.py').write_text('import my_own_module\n')
    done = self.call(tmp_path, 'test', '-n', '0', '--co', '-q', 'test_mine.py',
                     PYTHONPATH='mine')
    assert 'ModuleNotFoundError' not in done.stdout, done.stdout

  def call(self, cwd, *argv, **env):
    """Of this checkout, in the environment that runs the tests."""
    if not is_set_up(pathlib.Path(sys.prefix)):
      pytest.skip('not in an environment that run.sh has set up')
    return subprocess.run(
        [ROOT / 'run.sh', *argv], cwd=cwd, text=True, capture_output=True,
        env={**os.environ, 'VENV': sys.prefix, **env}, timeout=LONG)

  def launch(self, cwd, *argv):
    return subprocess.run(
        [sys.executable, ROOT / 'dreamer/launch.py', *argv], cwd=cwd,
        text=True, capture_output=True,
        env={**os.environ, 'PYTHONPATH': str(ROOT)})
