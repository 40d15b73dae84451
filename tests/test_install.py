"""The project installed: the wheel, its requirements, the variants."""

import email
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile

import pytest

from dreamer.config import agents
from tests.support import ROOT

if sys.version_info >= (3, 11):
  import tomllib
else:
  tomllib = pytest.importorskip('tomli')

PROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text())
OWN = '''
import gymnasium, numpy as np
import dreamerv1

class Env(gymnasium.Env):
  observation_space = gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)
  action_space = gymnasium.spaces.Box(-1, 1, (2,))

  def reset(self, seed=None, options=None):
    self.time = 0
    return self.observation_space.sample(), {}

  def step(self, action):
    self.time += 1
    return self.observation_space.sample(), 1, False, self.time >= 100, {}

if __name__ == '__main__':
  config = dreamerv1.configure(['debug'], logdir='runs/mine', steps=400)
  dreamerv1.train(Env, config)
  print(dreamerv1.evaluate(Env, 'runs/mine', episodes=2)[0]['mean'])
'''


def pins(name):
  """{distribution with its extras: version} of a file of requirements."""
  lines = (ROOT / name).read_text().splitlines()
  lines = filter(None, (line.split('#')[0].strip() for line in lines))
  return dict(line.split('==') for line in lines)


def test_all_packages_are_installed():
  """A new folder of the code has to be named in pyproject.toml."""
  folders = {
      '.'.join(path.parent.relative_to(ROOT).parts) for name in (
          'dreamer', *agents.known())
      for path in (ROOT / name).rglob('*.py')}
  mapped = PROJECT['tool']['setuptools']['package-dir']
  assert set(PROJECT['tool']['setuptools']['packages']) == folders | set(mapped)
  assert all((ROOT / path).is_dir() for path in mapped.values())


def test_extras_have_the_versions_of_requirements():
  gpu = pins('.ci/requirements-gpu.txt')
  assert gpu == {'tensorflow[and-cuda]': pins('requirements.txt')['tensorflow']}
  named = [name for kind in ('', '-cluster', '-test') for name in pins(
      f'.ci/requirements{kind}.txt' if kind else 'requirements.txt')]
  assert len(named) == len(set(named))


def test_docker_runs_what_run_sh_does():
  """Each argument that the file can have is an option of setup."""
  text = (ROOT / 'Dockerfile').read_text()
  assert 'RUN ./run.sh setup --$KIND' in text and 'ARG KIND=cpu' in text
  done = subprocess.run(
      [ROOT / 'run.sh', 'setup', '--tpu'], capture_output=True, text=True)
  assert done.returncode == 2 and done.stderr == (
      "error: setup: unknown option '--tpu'; allowed: --cpu, --gpu (none: as "
      'the machine is)\n')


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
  """Built from a copy of the files that git knows."""
  folder = tmp_path_factory.mktemp('source')
  names = subprocess.run(
      ['git', 'ls-files', '-co', '--exclude-standard'], cwd=ROOT,
      capture_output=True, text=True, check=True).stdout.splitlines()
  for name in names:
    if not name.startswith('tests/') and (ROOT / name).exists():
      (folder / name).parent.mkdir(parents=True, exist_ok=True)
      shutil.copyfile(ROOT / name, folder / name)
  out = tmp_path_factory.mktemp('wheel')
  subprocess.run(
      [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '-w', out,
       folder], check=True)
  path, = out.glob('*.whl')
  return path


@pytest.mark.slow
def test_the_wheel_asks_for_the_requirements(wheel):
  with zipfile.ZipFile(wheel) as file:
    name, = (x for x in file.namelist() if x.endswith('/METADATA'))
    found = email.message_from_bytes(file.read(name))
    tops = {x.split('/')[0] for x in file.namelist()}
  assert {x for x in tops if not x.endswith('.dist-info')} == {
      'dreamer', 'dreamerv1', 'dreamerv2'}
  asked = found.get_all('Requires-Dist')
  plain = {x for x in asked if 'extra ==' not in x}
  assert plain == {'=='.join(x) for x in pins('requirements.txt').items()}
  assert set(found.get_all('Provides-Extra')) == {
      'cluster', 'gpu', 'test'}
  assert any(re.match(r'tensorflow\[and-cuda\]==.*extra == "gpu"', x)
             for x in asked)


@pytest.fixture(scope='module', params=['wheel', 'editable'])
def python(request, tmp_path_factory, wheel):
  """Python of an environment with the project; the rest is that of here."""
  folder = tmp_path_factory.mktemp('venv')
  venv.create(folder, with_pip=True, symlinks=True)
  paths = {'base': str(folder), 'platbase': str(folder)}
  site = sysconfig.get_path('purelib', 'venv', paths)
  with open(os.path.join(site, 'here.pth'), 'w') as file:
    file.write(sysconfig.get_path('purelib') + '\n')
  path = folder / 'bin' / 'python'
  what = [wheel]
  if request.param == 'editable':
    source = tmp_path_factory.mktemp('checkout') / 'project'
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(
        '.git', '.venv', 'tests', 'runs', '.*_cache', 'ours'))
    what = ['-e', source]
  subprocess.run(
      [path, '-m', 'pip', 'install', '-q', '--no-deps', *what], check=True)
  return path


def call(python, folder, *command):
  environ = {key: x for key, x in os.environ.items() if key != 'PYTHONPATH'}
  return subprocess.run(
      [python, *command], cwd=folder, env=environ, text=True,
      capture_output=True)


@pytest.mark.slow
def test_training_where_it_is_installed(python, tmp_path):
  """From an empty folder; runs lie there."""
  done = call(
      python, tmp_path, '-m', 'dreamerv1', 'train', '--configs', 'debug',
      '--task', 'dummy_continuous', '--steps', '400', '--logdir', 'runs/a')
  assert done.returncode == 0, done.stderr
  assert (tmp_path / 'runs' / 'a' / 'checkpoints').exists()
  done = call(python, tmp_path, '-m', 'dreamerv2', 'train', '--help')
  assert done.returncode == 0 and 'kl.balance' in done.stdout


@pytest.mark.slow
def test_an_environment_of_ones_own(python, tmp_path):
  (tmp_path / 'mine.py').write_text(OWN)
  done = call(python, tmp_path, 'mine.py')
  assert done.stdout == '100.0\n', done.stderr


@pytest.mark.slow
def test_published_scores(python, tmp_path):
  done = call(python, tmp_path, '-m', 'dreamer.scores', 'tables', 'table_g')
  assert done.returncode == 0, done.stderr
  assert 'walker_stand' in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize('kind', ['cpu', 'gpu'])
def test_the_pins_go_together(kind, tmp_path):
  """Resolved in an empty environment; nothing is downloaded but metadata."""
  venv.create(tmp_path / 'venv', with_pip=True, symlinks=True)
  files = ['requirements.txt', '.ci/requirements-cluster.txt',
           '.ci/requirements-test.txt']
  files += ['.ci/requirements-gpu.txt'] * (kind == 'gpu')
  done = subprocess.run(
      [tmp_path / 'venv/bin/python', '-m', 'pip', 'install', '-q', '--dry-run',
       *(f'-r{ROOT / name}' for name in files)], capture_output=True, text=True)
  assert done.returncode == 0, done.stderr
