"""`diff dreamerv1/X.py dreamerv2/X.py` is what the second paper changed."""

import ast
import difflib
import re

import pytest

from tests.support import ROOT

# Files of both agents, and the largest share of lines of both that differ.
SHARES = {'rssm': 0.29, 'world_model': 0.41, 'actor_critic': 0.66,
          'agent': 0.59, 'explore': 0.83}
TITLE = '## What the second paper changed'


def text(agent, name):
  return (ROOT / agent / f'{name}.py').read_text()


def functions(agent, name):
  """{qualified name: code without docstring}, in the order of the file."""
  found = {}
  for node in ast.parse(text(agent, name)).body:
    inner = node.body if isinstance(node, ast.ClassDef) else [node]
    prefix = f'{node.name}.' if isinstance(node, ast.ClassDef) else ''
    for item in inner:
      if isinstance(item, ast.FunctionDef):
        found[prefix + item.name] = code(item)
  return found


def code(function):
  """The function as text, without docstring and comments."""
  if ast.get_docstring(function) is not None:
    function.body = function.body[1:] or [ast.Pass()]
  return ast.unparse(function)


def differing(name):
  """Functions that are not the same in both, or are in one only."""
  one, two = (functions(agent, name) for agent in ('dreamerv1', 'dreamerv2'))
  return {key for key in {*one, *two} if one.get(key) != two.get(key)}


def rows():
  """[what, DreamerV1, DreamerV2, where] of README's table."""
  section = (ROOT / 'README.md').read_text().split(TITLE)[1].split('\n## ')[0]
  lines = [x for x in section.splitlines() if x.startswith('| ')]
  return [[cell.strip() for cell in re.split(r'(?<!\\)\|', line)[1:-1]]
          for line in lines[1:]]


def named():
  """{file: names} of the functions and classes that the table names."""
  found = {}
  for *_, where in rows():
    for part in where.split(';'):
      file, *names = re.findall(r'`([^`]+)`', part)
      found.setdefault(file, set()).update(names)
  return found


def covers(name, function):
  """Whether a name of the table is that of the function or its class."""
  return function == name or function.endswith(f'.{name}') or (
      function.startswith(f'{name}.'))


@pytest.mark.parametrize('name', SHARES)
def test_table_names_all_that_differs(name):
  names, functions = named()[f'{name}.py'], differing(name)
  assert functions
  missing = {x for x in functions if not any(covers(y, x) for y in names)}
  assert not missing, 'differ, but README does not say so'
  stale = {y for y in names if not any(covers(y, x) for x in functions)}
  assert not stale, 'do not differ'


def test_table_is_of_these_files():
  assert set(named()) == {f'{name}.py' for name in SHARES} | {'configs/'}
  assert all(len(row) == 4 and all(row) for row in rows())


@pytest.mark.parametrize('name', SHARES)
def test_same_names_in_the_same_order(name):
  one, two = (list(functions(agent, name))
              for agent in ('dreamerv1', 'dreamerv2'))
  assert [x for x in one if x in two] == [x for x in two if x in one]
  assert len(set(one) & set(two)) > 2


@pytest.mark.parametrize('name', SHARES)
def test_shared_functions_take_the_same_names_for_the_same_things(name):
  """Arguments that both have come in the same order."""
  def arguments(agent):
    return {key: [x.arg for x in ast.parse(body).body[0].args.args]
            for key, body in functions(agent, name).items()}
  one, two = arguments('dreamerv1'), arguments('dreamerv2')
  for key in set(one) & set(two):
    assert [x for x in one[key] if x in two[key]] == [
        x for x in two[key] if x in one[key]], key


@pytest.mark.parametrize('name', SHARES)
def test_share_of_lines_that_differ(name):
  """Counted as by diff: lines that are not in both."""
  one, two = (text(agent, name).splitlines()
              for agent in ('dreamerv1', 'dreamerv2'))
  changed = [x for x in difflib.unified_diff(one, two, n=0, lineterm='')
             if x[:1] in '+-' and x[:3] not in ('+++', '---')]
  assert len(changed) / (len(one) + len(two)) <= SHARES[name]
