"""Runs a module as `python -m` does, but never one of the caller's folder.

    python dreamer/launch.py MODULE ARGUMENT ...

`python -m` searches the current folder first: a `types.py` or a `tests/`
there would run in place of the real one. Here it comes last, where gym's
names `module:Task` find it. Python's own option for that, -P, is younger than
the oldest version that is supported.
"""

from __future__ import annotations

import os
import sys


def command(module: str, *args: str) -> list[str]:
  """Returns the command of a process that runs a module of ours."""
  return [sys.executable, os.path.abspath(__file__), module, *args]


def main() -> None:
  own = os.path.dirname(os.path.realpath(__file__))
  root = os.path.dirname(own)
  try:
    here = os.getcwd()
  except FileNotFoundError:  # It was deleted: told later, in one line.
    here = root
  last = {own, os.path.realpath(here)}
  known = [x for x in sys.path if x and os.path.realpath(x) not in last]
  # Installed, the root is in the path already, behind the standard library.
  known[:0] = [] if root in map(os.path.realpath, known) else [root]
  sys.path[:] = [*known, here]
  import runpy  # Not before the path is right.
  del sys.argv[0]
  runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)


if __name__ == '__main__':
  main()
