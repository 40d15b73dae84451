"""Contexts in which parts of an agent are others."""

from __future__ import annotations

import contextlib
from unittest import mock


def patch(owner, name, make):
  """A context in which owner.name is make(what it is)."""
  return mock.patch.object(owner, name, make(getattr(owner, name)))


def inside(modules, kind):
  """All modules of a kind within others."""
  for module in modules:
    if isinstance(module, kind):
      yield module
    yield from inside(module.children, kind)


def both(*faults):
  """Several faults at once; the last one holds first."""
  def fault(agent):
    stack = contextlib.ExitStack()
    for each in reversed(faults):
      stack.enter_context(each(agent))
    return stack
  return fault
