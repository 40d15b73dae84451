"""The structure: who imports whom, and what no file may do."""

import ast
import importlib.metadata
import re
import subprocess
import sys

import pytest

from tests.support import ROOT

AGENTS = ('dreamerv1', 'dreamerv2')
SOURCES = sorted(
    path for folder in ('dreamer', *AGENTS, 'scores', 'tests')
    for path in (ROOT / folder).rglob('*.py'))
PLAIN = [
    'dreamer.config.schema', 'dreamer.replay.replay', 'dreamer.run.driver',
    'dreamer.run.when', 'dreamer.run.checkpoint', 'dreamer.log.logger',
    'dreamer.run.loop', 'dreamer.run.training', 'dreamer.run.evaluate',
    'scores.report', 'dreamer.envs.workers.worker',
    'dreamer.envs.workers.remote', 'dreamer.envs.suites.dmc',
    'dreamer.envs.suites.dummy', 'dreamer.envs.suites.gym',
    'dreamer.run.interface', *(
        f'{agent}{command}' for agent in AGENTS
        for command in ('', '.__main__'))]


def module(path):
  parts = path.relative_to(ROOT).with_suffix('').parts
  return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


def imports(path):
  """Names of all modules that a file imports, also within functions."""
  found = set()
  for node in ast.walk(ast.parse(path.read_text())):
    if isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names}
    elif isinstance(node, ast.ImportFrom):
      package = '.'.join(module(path).split('.')[:-node.level or None])
      base = f'{package}.{node.module or ""}'.strip('.') if (
          node.level) else node.module
      found |= {base} | {f'{base}.{alias.name}' for alias in node.names}
  return found


def under(name, package):
  return name == package or name.startswith(f'{package}.')


def wrong(sources, packages):
  """Lists 'file imports module' for modules that may not be."""
  return [
      f'{path.relative_to(ROOT)} imports {name}' for path in sources
      for name in sorted(imports(path)) if any(
          under(name, package) for package in packages)]


def test_sources_are_found():
  names = {module(path) for path in SOURCES}
  assert {'dreamer.run.loop', 'dreamer.envs.workers.worker',
          'dreamerv1.agent'} <= names
  loop = ROOT / 'dreamer' / 'run' / 'loop.py'
  assert 'dreamer.errors' in imports(loop)


def test_core_imports_no_agent_and_no_scores():
  sources = [x for x in SOURCES if under(module(x), 'dreamer')]
  assert not wrong(sources, (*AGENTS, 'scores'))


@pytest.mark.parametrize('agent', AGENTS)
def test_agents_do_not_import_each_other(agent):
  sources = [x for x in SOURCES if under(module(x), agent)]
  assert not wrong(sources, set(AGENTS) - {agent})


def test_nothing_imports_a_command():
  assert not wrong(SOURCES, [f'{agent}.__main__' for agent in AGENTS])


@pytest.mark.parametrize('agent', AGENTS)
def test_arrows_within_an_agent(agent):
  """__init__ -> agent -> {world_model -> rssm, actor_critic} -> dreamer."""
  allowed = {
      'rssm': [], 'actor_critic': [], 'contrastive': [], 'planner': [],
      'exploration': [], 'explore': ['actor_critic'],
      'world_model': ['rssm', 'contrastive'],
      'agent': ['world_model', 'actor_critic', 'rssm', 'planner',
                'exploration', 'explore']}
  for name, targets in allowed.items():
    path = ROOT / agent / f'{name}.py'
    if path.exists():
      inside = {
          x.split('.')[1] for x in imports(path) if x.startswith(f'{agent}.')}
      assert inside <= set(targets), name


@pytest.mark.parametrize('name', PLAIN)
def test_no_tensorflow(name):
  """Not transitively either: seen by a process of its own."""
  code = f'import sys, {name}; print("tensorflow" in sys.modules)'
  done = subprocess.run(
      [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True,
      timeout=60)
  assert done.stdout == 'False\n', done.stderr


def test_no_pickle():
  """No import of a module that runs code from files, no allow_pickle."""
  packages = (
      'pickle', 'cPickle', 'dill', 'cloudpickle', 'joblib', 'shelve',
      'marshal', 'torch', 'multiprocessing')
  assert not wrong(SOURCES, packages)
  for path in SOURCES:
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.keyword) and node.arg == 'allow_pickle':
        assert ast.unparse(node.value) == 'False', path


def test_third_party_imports_are_requirements():
  """What is imported is asked for by name, not only by a dependency."""
  lines = (ROOT / 'requirements.txt').read_text().splitlines()
  wanted = {
      plain(re.split(r'[\[=#]', line)[0]) for line in lines
      if line.strip() and not line.startswith('#')}
  owners = importlib.metadata.packages_distributions()
  own = {'dreamer', 'tests', 'scores', *AGENTS}
  for path in SOURCES:
    for name in {x.split('.')[0] for x in imports(path)}:
      if name in sys.stdlib_module_names or name in own:
        continue
      found = {plain(x) for x in owners.get(name, [])}
      assert found & (wanted | TIED), f'{path} imports {name}'


# dm_control's interface and OpenGL, TensorFlow's bfloat16: their versions are
# the choice of those two.
TIED = {'dm-env', 'pyopengl', 'ml-dtypes'}


def plain(name):
  return re.sub(r'[-_.]+', '-', name.strip()).lower()
