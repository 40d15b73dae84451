"""The structure: who imports whom, and what no file may do."""

import ast
import functools
import importlib.metadata
import json
import re
import subprocess
import sys
import typing

import pytest

from dreamer.config import agents
from tests.support import ROOT

AGENTS = tuple(agents.known())
CODE = ('dreamer', *AGENTS, 'scores')  # all but the tests
# They run in the Pythons of the releases, with the packages of these.
MAKERS = ROOT / 'tests' / 'golden' / 'make'
SOURCES = sorted(
    path for folder in (*CODE, 'tests')
    for path in (ROOT / folder).rglob('*.py')
    if MAKERS not in path.parents or path.name in ('run.py', 'compare.py'))

# Rooms of the core by floors: a room imports only from floors below its own.
FLOORS = [
    {'cpus', 'errors', 'launch', 'rng', 'scalars', 'stats', 'tables'},
    {'files'},
    {'cli', 'locks', 'npz'},
    {'config', 'conform', 'log', 'processes', 'replay'},
    {'audit', 'envs', 'nn'}, {'run'},
    {'sweep'}, {'__main__', 'bench', 'export'}]
# Where modules are imported by a name: agents, what runs them on a case,
# suites, a user's environment, what lies beside a copied file.
BY_NAME = ('dreamer.config.agents', 'dreamer.conform', 'dreamer.envs',
           'dreamer.export.act', 'dreamer.export.environment')
# Folders whose lazy imports all say why.
EXPLAINED = (
    *AGENTS, 'scores', 'dreamer', 'tests')


class Import(typing.NamedTuple):
  """One import: the module, the line, whether it waits for a call."""

  name: str
  line: int
  lazy: bool


def module(path):
  parts = path.relative_to(ROOT).with_suffix('').parts
  return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


MODULES = {module(path): path for path in SOURCES}


@functools.cache
def found_imports(path):
  """All imports of a file, those of our own modules by their full names."""
  tree = ast.parse(path.read_text())
  lazy = {
      id(node) for function in ast.walk(tree)
      if isinstance(function, ast.FunctionDef) for node in ast.walk(function)}
  found = []
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      source = _source(path, node)
      full = [f'{source}.{alias.name}' for alias in node.names]
      names = [x if x in MODULES else source for x in full]
    else:
      continue
    found += [Import(x, node.lineno, id(node) in lazy) for x in names]
  return found


def _source(path, node):
  """The module of a `from` import; scores, which moves, has relative ones."""
  if not node.level:
    return node.module
  assert path.parent == ROOT / 'scores', f'{path}: relative import'
  return '.'.join(filter(None, ('scores', node.module)))


def imports(path):
  """Names of all modules that a file imports, also within functions."""
  return {x.name for x in found_imports(path)}


def under(name, package):
  return name == package or name.startswith(f'{package}.')


def inside(*packages):
  """The files of packages."""
  return [path for name, path in MODULES.items()
          if any(under(name, x) for x in packages)]


def wrong(sources, packages):
  """Lists 'file imports module' for modules that may not be."""
  return [
      f'{path.relative_to(ROOT)} imports {name}' for path in sources
      for name in sorted(imports(path)) if any(
          under(name, package) for package in packages)]


def test_sources_are_found():
  assert {'dreamer.run.loop', 'dreamer.processes.client', 'dreamer.envs',
          'dreamerv1.agent'} <= set(MODULES)
  assert 'dreamer.errors' in imports(MODULES['dreamer.run.loop'])


# Who imports whom


def room(name):
  """The part of the core that a module belongs to; None: another package."""
  top, _, rest = name.partition('.')
  return rest.split('.')[0] if top == 'dreamer' and rest else None


def test_each_room_of_the_core_has_a_floor():
  rooms = [x for floor in FLOORS for x in floor]
  assert len(rooms) == len(set(rooms))
  assert {room(x) for x in MODULES} - {None} == set(rooms)


@pytest.mark.parametrize('floor', range(len(FLOORS)))
def test_imports_run_downwards(floor):
  below = set().union(*FLOORS[:floor])
  for own in FLOORS[floor]:
    for path in inside(f'dreamer.{own}'):
      for name in imports(path):
        assert not under(name, 'dreamer') or room(name) in below | {own}, (
            f'{path.relative_to(ROOT)} imports {name}')


def cycle(graph):
  """Names that import each other in a circle, in order; [] if none do."""
  done, path = set(), []

  def visit(name):
    if name in path:
      return path[path.index(name):]
    if name in done:
      return []
    path.append(name)
    for target in graph[name]:
      circle = visit(target)
      if circle:
        return circle
    done.add(path.pop())
    return []
  return next(filter(None, map(visit, graph)), [])


def test_a_circle_is_found():
  graph = {'a': ['b'], 'b': ['c', 'd'], 'c': [], 'd': ['e'], 'e': ['b']}
  assert cycle(graph) == ['b', 'd', 'e']
  assert cycle({**graph, 'e': ['c']}) == []
  assert cycle({'a': ['a']}) == ['a']


def test_no_circle():
  """Not through imports within functions either."""
  assert not cycle({
      name: sorted(imports(path) & set(MODULES))
      for name, path in MODULES.items()})


def test_core_imports_no_agent_and_no_scores():
  assert not wrong(inside('dreamer'), (*AGENTS, 'scores'))


def test_modules_imported_by_name():
  """In the core only where it is said to be needed; see BY_NAME."""
  for path in inside('dreamer'):
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.Name | ast.Attribute) and ast.unparse(
          node).split('.')[-1] in ('import_module', '__import__'):
        assert any(under(module(path), x) for x in BY_NAME), path


def strings(path):
  """All strings in the code of a file, docstrings apart."""
  tree = ast.parse(path.read_text())
  apart = {id(node.value) for node in ast.walk(tree)
           if isinstance(node, ast.Expr)}
  return [node.value for node in ast.walk(tree)
          if isinstance(node, ast.Constant) and isinstance(node.value, str)
          and id(node) not in apart]


def test_core_reads_nothing_in_scores():
  for path in inside('dreamer'):
    assert not [x for x in strings(path) if x.startswith('scores/')], path


@pytest.mark.parametrize('agent', AGENTS)
def test_agents_do_not_import_each_other(agent):
  assert not wrong(inside(agent), set(AGENTS) - {agent})


def test_nothing_imports_a_command():
  assert not wrong(SOURCES, [f'{agent}.__main__' for agent in AGENTS])


@pytest.mark.parametrize('agent', AGENTS)
def test_arrows_within_an_agent(agent):
  """__init__ -> variants -> agent -> {world_model -> rssm, actor_critic}."""
  allowed = {
      'rssm': [], 'actor_critic': [], 'explore': [], 'reward_norm': [],
      'world_model': ['rssm'],
      'stored': [], 'agent': [
          'world_model', 'actor_critic', 'explore', 'stored'],
      'contrastive': ['world_model'], 'no_value': ['actor_critic'],
      'planner': ['agent'],
      'plan2explore': ['agent', 'actor_critic', 'explore', 'reward_norm']}
  for name, targets in allowed.items():
    path = ROOT / agent / f'{name}.py'
    if path.exists():
      own = {
          x.split('.')[1] for x in imports(path) if x.startswith(f'{agent}.')}
      assert own - {'settings'} <= set(targets), name  # types alone


def test_tests_import_no_test_module():
  """What several of them need is in tests/support or a fixture."""
  for path in inside('tests'):
    assert not [x for x in imports(path) if '.test_' in x], path


# TensorFlow

# Refuses TensorFlow and says who asks for it, also where that is caught.
GUARD = """
import importlib, json, sys
class Guard:
  asked = False
  def find_spec(self, name, path=None, target=None):
    if name.split('.')[0] == 'tensorflow':
      self.asked = True
      raise ImportError('no TensorFlow here')
guard = Guard()
sys.meta_path.insert(0, guard)
found = []
for name in sys.argv[1:]:
  guard.asked = False
  try:
    importlib.import_module(name)
  except ImportError as error:
    if not guard.asked:
      raise
  if guard.asked:
    found.append(name)
print(json.dumps(found))
"""


def with_tensorflow(names):
  """Those modules of some that import TensorFlow, themselves or by others."""
  done = subprocess.run(
      [sys.executable, '-c', GUARD, *names], cwd=ROOT, capture_output=True,
      text=True, timeout=250)
  assert not done.returncode, done.stderr
  return json.loads(done.stdout.splitlines()[-1])


def test_only_nn_and_the_agents_import_tensorflow():
  """Of the agents what is named on the way to a run doesn't either."""
  plain = [
      name for name in MODULES if under(name, 'scores') or
      under(name, 'dreamer') and not under(name, 'dreamer.nn')]
  plain += [f'{x}{part}' for x in AGENTS for part in ('', '.__main__')]
  assert len(plain) > 60
  assert not with_tensorflow(plain)


def test_tensorflow_would_be_noticed():
  """By itself, through another module, and where somebody catches it."""
  names = ['dreamer.nn.layers', 'dreamer.config.schema', 'dreamerv1.rssm']
  assert with_tensorflow(names) == names[::2]


# What no file may do


def is_explained(path, line):
  """Whether a comment stands beside a line or above it.

  An import right below one that is explained is explained, too.
  """
  lines = path.read_text().splitlines()
  here, above = lines[line - 1], lines[line - 2].strip()
  if '#' in here or above.startswith('#'):
    return True
  return above.startswith(('import ', 'from ')) and is_explained(
      path, line - 1)


def test_lazy_imports_say_why():
  silent = [
      f'{path.relative_to(ROOT)}:{x.line}' for path in inside(*EXPLAINED)
      for x in found_imports(path)
      if x.lazy and not is_explained(path, x.line)]
  assert not silent, 'a comment beside an import in a function says why'


def public(body, method=False):
  """Functions and methods with public names, as (node, is it a method)."""
  for node in body:
    hidden = getattr(node, 'name', '').startswith('_') and (
        node.name not in ('__init__', '__call__'))
    if isinstance(node, ast.ClassDef) and not hidden:
      yield from public(node.body, method=True)
    elif isinstance(node, ast.FunctionDef) and not hidden:
      yield node, method


def not_annotated(node, method):
  """Names of a function's arguments, or 'return', that have no type."""
  static = 'staticmethod' in map(ast.unparse, node.decorator_list)
  own = method and not static  # self or cls
  args = [*node.args.posonlyargs, *node.args.args][own:]
  args += [*node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
  found = [x.arg for x in args if x and not x.annotation]
  returns = node.returns or node.name == '__init__'
  return found + ['return'] * (not returns)


def test_what_is_not_annotated():
  code = """
def all(a: int, *b: int, c: int = 0, **d: int) -> int: pass
def some(a, b: int, *c) -> int: pass
def none(): pass
def _hidden(a): pass
class Public:
  def __init__(self, a: int): pass
  def method(self, a) -> int: pass
  @staticmethod
  def static(a) -> int: pass
class _Hidden:
  def method(self, a): pass
"""
  found = {x.name: not_annotated(x, m) for x, m in public(
      ast.parse(code).body)}
  assert found == {
      'all': [], 'some': ['a', 'c'], 'none': ['return'],
      '__init__': [], 'method': ['a'], 'static': ['a']}


def test_the_checker_checks_all_code():
  """[tool.mypy] and ruff's isort list the same folders."""
  text = (ROOT / 'pyproject.toml').read_text()

  def listed(key):
    found = re.search(rf'^{key} = \[(.*?)\]', text, re.M | re.S)[1]
    return sorted(re.findall('"(.*?)"', found))
  assert listed('files') == sorted(CODE)
  assert listed('known-first-party') == sorted((*CODE, 'tests'))


def test_public_functions_are_annotated():
  missing = [
      f'{path.relative_to(ROOT)}:{node.lineno} {node.name}: {", ".join(names)}'
      for path in inside(*CODE)
      for node, method in public(ast.parse(path.read_text()).body)
      if (names := not_annotated(node, method))]
  assert not missing, 'public functions say the types of what they take'


def test_folders_say_what_they_are():
  """One sentence in `__init__.py`: the first line, then it may go on."""
  for path in inside(*CODE):
    if path.name == '__init__.py':
      text = ast.get_docstring(ast.parse(path.read_text()))
      assert text and text.splitlines()[0].endswith('.'), path


def test_no_file_is_long():
  long = [f'{path.relative_to(ROOT)}: {length}' for path in inside(*CODE)
          if (length := len(path.read_text().splitlines())) > 350]
  assert not long, 'more than 350 lines: two things in one file?'


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
  kinds = ('requirements.txt', '.ci/requirements-cluster.txt',
           '.ci/requirements-test.txt')
  lines = [line for name in kinds
           for line in (ROOT / name).read_text().splitlines()]
  wanted = {
      plain(re.split(r'[\[=#]', line)[0]) for line in lines
      if line.strip() and not line.startswith('#')}
  owners = importlib.metadata.packages_distributions()
  own = {'dreamer', 'tests', 'scores', *AGENTS}
  for path in SOURCES:
    for name in {x.split('.')[0] for x in imports(path)}:
      if name in sys.stdlib_module_names or name in own | OPTIONAL:
        continue
      found = {plain(x) for x in owners.get(name, [])}
      assert found & (wanted | TIED), f'{path} imports {name}'


# dm_control's interface and OpenGL, TensorFlow's bfloat16: their versions are
# the choice of those two.
# What runs exported agents, and what lies beside an exported one.
OPTIONAL = {'jax', 'environment', 'resize'}
TIED = {'dm-env', 'pyopengl', 'ml-dtypes'}


def plain(name):
  return re.sub(r'[-_.]+', '-', name.strip()).lower()
