"""A paper's files hold the paper: few choices by a key, few other lines."""

import ast
import difflib

import pytest

from dreamer.config import agents
from tests.support import ROOT

AGENTS = 'dreamerv1', 'dreamerv2'
FILES = 'rssm', 'world_model', 'actor_critic', 'agent', 'explore'
# What a key decides, under another name.
DERIVED = {'learns_ends'}
MOST_CHOICES, MOST_LINES = 15, 480


def text(agent, name):
  return (ROOT / agent / f'{name}.py').read_text()


def choosing(tree):
  """Expressions by which code chooses: tests, and keys of tables."""
  for node in ast.walk(tree):
    if isinstance(node, ast.If | ast.IfExp | ast.While | ast.Assert):
      yield node.test
    elif isinstance(node, ast.BoolOp):
      yield from node.values
    elif isinstance(node, ast.comprehension):
      yield from node.ifs
    elif isinstance(node, ast.Subscript):
      yield node.slice


def choices(source, keys):
  """Lines that choose by a setting, whatever stands before its name."""
  return sorted({
      part.lineno for expression in choosing(ast.parse(source))
      for part in ast.walk(expression) if isinstance(part, ast.Attribute)
      and part.attr in keys and ast.unparse(part.value) != 'tf'})


def settings(agent):
  """Last parts of all dotted keys, and what is named after them."""
  keys = {key.split('.')[-1] for key in agents.schema(agent).defaults.flat}
  return keys | DERIVED


def test_what_a_choice_is():
  source = '''
if config.kl.forward: a = b
c = d if self.config.kind == 'x' else e
f = TABLE[config.kind](g[0])
h = [x for x in y if head.forward]
i = config.kl.forward and j
k = config.kl.forward
l = m if self.discrete else n
'''
  assert choices(source, {'forward', 'kind'}) == [2, 3, 4, 5, 6]


def test_choices_are_few():
  found = [f'{agent}/{name}.py:{line}' for agent in AGENTS for name in FILES
           for line in choices(text(agent, name), settings(agent))]
  assert len(found) <= MOST_CHOICES, found


def changed(one, two):
  """Lines of both that differ, as diff counts them."""
  lines = difflib.unified_diff(
      one.splitlines(), two.splitlines(), n=0, lineterm='')
  return [x for x in lines if x[:1] in '+-' and x[:3] not in ('+++', '---')]


def test_lines_that_differ_are_few():
  """`diff dreamerv1/X.py dreamerv2/X.py` is what the second paper changed."""
  found = {name: len(changed(*(text(agent, name) for agent in AGENTS)))
           for name in FILES}
  assert sum(found.values()) <= MOST_LINES, found


def order(source):
  """Classes, methods and functions, with their arguments, in their order."""
  found = {}
  for node in ast.parse(source).body:
    inner = node.body if isinstance(node, ast.ClassDef) else [node]
    prefix = f'{node.name}.' if isinstance(node, ast.ClassDef) else ''
    found.update({prefix + x.name: [arg.arg for arg in x.args.args]
                  for x in inner if isinstance(x, ast.FunctionDef)})
  return found


@pytest.mark.parametrize('name', FILES)
def test_same_names_in_the_same_order(name):
  """And what shared functions take: the same names for the same things."""
  one, two = (order(text(agent, name)) for agent in AGENTS)
  both = [x for x in one if x in two]
  assert both == [x for x in two if x in one] and len(both) > 2
  for key in both:
    assert [x for x in one[key] if x in two[key]] == [
        x for x in two[key] if x in one[key]], key


@pytest.mark.parametrize('agent', AGENTS)
def test_every_value_of_the_table_exists(agent):
  """A variant that no value of a key asks for would never be chosen."""
  import importlib  # For this test only, with TensorFlow.
  table = importlib.import_module(f'{agent}.variants').TABLE
  schema = agents.schema(agent)
  for key, options in table.items():
    for value in getattr(options, 'keys', list)():
      schema.config(overrides={key: value})
