"""Which settings are read, and whether they make a difference."""

import ast
import contextlib
import inspect

import numpy as np

from dreamer.config.schema import Section
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


def same(one, two, name):
  """Whether both have an array of this name, of equal values."""
  if name not in one or name not in two or one[name].shape != two[name].shape:
    return False
  return np.allclose(one[name], two[name], rtol=1e-6, atol=1e-7)
