"""Keeps processes that serve a run from starting runs themselves.

A worker imports the module of a user's environment, and the acting process
that of an agent. Where such a module trains as soon as it is imported, each
of them would train again, in processes of its own, without end.
"""

from __future__ import annotations

import os
import traceback

from dreamer.errors import UserError
from dreamer.files import ROOT
from dreamer.processes.failure import own_frame, short

SERVES = 'DREAMER_SERVES'  # what a process is for; its children see it too
DEPTH = 'DREAMER_DEPTH'  # 0: nobody's worker
DEEPEST = 1  # a worker that may make workers itself
GUARD = "put what only the script does under: if __name__ == '__main__':"


def environ(what: str) -> dict[str, str]:
  """Variables of a process that is started for something."""
  return {DEPTH: str(depth() + 1), SERVES: what}


def depth() -> int:
  """How many processes lie between this one and the user's own."""
  text = os.environ.get(DEPTH, '')
  return int(text) if text.isdecimal() else 0


def refuse(call: str, deepest: int = 0) -> None:
  """Raises UserError in a worker, and in what a worker has started.

  call: what was called. deepest: where it may still be called.
  """
  if depth() <= deepest:
    return
  served = os.environ.get(SERVES)
  raise UserError(
      f'{_place(call)}, for {served}: it would never end; {GUARD}')


def _place(call):
  """Which line of a user's it is, where one is known."""
  frame = own_frame(traceback.extract_stack())
  if frame is None or frame.filename.startswith(str(ROOT / 'dreamerv')):
    return f'{call} is called by a worker process or by what it started'
  return (f'{short(frame.filename)}:{frame.lineno} calls {call} when a worker '
          'process imports it')
