"""Which settings are read, and whether they make a difference."""

import ast
import contextlib
import inspect

import numpy as np
import pytest

from dreamer.config.schema import Section
from dreamer.errors import UserError
from dreamer.replay.replay import Replay
from dreamer.replay.stream import StreamReplay
from tests.support import ROOT


@contextlib.contextmanager
def recorded_reads(monkeypatch):
  """Collects the dotted keys that are read from any config."""
  keys = set()

  def record(self, name):
    value = self._values[name]
    if not isinstance(value, Section):
      keys.add(f'{self._path}{name}')
    return value

  attribute = Section.__getattr__
  with monkeypatch.context() as patch:
    patch.setattr(Section, '__getitem__', record)
    patch.setattr(Section, '__getattr__', lambda self, name: (
        attribute(self, name) if name not in self._values
        else record(self, name)))
    yield keys


def names_in_sources(agent):
  """By which the core or the agent's package could read a setting.

  Attributes, arguments of replays and texts; those that are the last part of a
  dotted key.
  """
  names = {name for kind in (Replay, StreamReplay)
           for name in inspect.signature(kind).parameters}
  for folder in ('dreamer', agent):
    for path in (ROOT / folder).rglob('*.py'):
      for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
          names.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
          names.add(node.value)
  return names


def refusal(call):
  """What a call is refused with: a UserError, of one line."""
  with pytest.raises(UserError) as info:
    call()
  assert '\n' not in str(info.value)
  return str(info.value)


def parts(names, graded=('grad',)):
  """What has to run for names: of act, optimise, learn, look, initial.

  graded: kinds of names that a whole update gives.
  """
  kinds = {name.split('/')[0] for name in names}
  found = {what for kind, what in (('act', 'act'), ('opt', 'optimise'))
           if kind in kinds}
  if kinds & set(graded):
    found.add('learn')
  elif kinds - {'act', 'init', 'opt'}:
    found.add('look')
  elif 'init' in kinds:
    found.add('initial')
  return found


def check_effect(one, two, differs, equal):
  """Whether names of what two agents computed differ, and others don't."""
  for name in differs:
    assert name in one or name in two, f'{name} does not exist'
    assert not same(one, two, name), f'{name} is the same'
  for name in equal:
    assert name in one, f'{name} does not exist'
    assert same(one, two, name), f'{name} differs'


def same(one, two, name):
  """Whether both have an array of this name, of equal values."""
  if name not in one or name not in two or one[name].shape != two[name].shape:
    return False
  return np.allclose(one[name], two[name], rtol=1e-6, atol=1e-7)
