"""The table of a sweep while it goes: alive in a terminal, else as lines."""

from __future__ import annotations

import collections
import sys
import time
import types
from collections.abc import Mapping

from dreamer import cli

PERIOD = 60.0  # s between two lines of how many are done, without a terminal
STATES = 'finished', 'running', 'waiting', 'stopped', 'failed'


class View:
  """Shows the state of each run.

  states: {name: state}, one of STATES; kept up to date.
  """

  def __init__(self, states: dict[str, str]) -> None:
    from rich.console import Console  # Only for sweeps, as Ray.
    from rich.live import Live  # As above.
    self._states = states
    self._said: Mapping[str, tuple] = {}
    self._console = Console(soft_wrap=True)
    self._live = Live(
        console=self._console, auto_refresh=False,
        transient=True) if sys.stdout.isatty() else None
    self._shown = time.monotonic()

  def __enter__(self) -> View:
    if self._live:
      with cli.may_be_lost(sys.stdout):
        self._live.start()
    return self

  def __exit__(self, *_: types.TracebackType | type | object) -> None:
    if self._live:
      with cli.may_be_lost(sys.stdout):
        self._live.stop()

  def update(self, said: Mapping[str, tuple]) -> None:
    """said: {name: (machine, progress, score)} of those that run."""
    for name, (node, *_) in said.items():
      if self._states[name] == 'waiting':
        self._states[name] = 'running'
        self._line(f'{name}: runs on {node}')
      elif self._said.get(name, (node,))[0] != node:
        self._line(f'{name}: goes on on {node}')
    self._said = said
    if self._live:
      with cli.may_be_lost(sys.stdout):
        self._live.update(self._table(), refresh=True)
    elif time.monotonic() - self._shown > PERIOD:
      self._shown = time.monotonic()
      self._line(self._counts())
      for name, (node, progress, score) in said.items():
        self._line(f'  {name} on {node}: {progress}'
                   f'{"; " + score if score else ""}')

  def ended(self, name: str, state: str, attempts: int, lines: list[str],
            log: str) -> None:
    """A run has ended; lines: the last ones of a failure."""
    self._states[name] = state
    times = f' after {attempts} attempts' if attempts > 1 else ''
    self._line(f'{name}: {state}{times}')
    if state == 'failed':
      for line in lines:
        self._line(f'  | {line}')
      self._line(f'  all of it: {log}')

  def _line(self, text):
    with cli.may_be_lost(sys.stdout):
      self._console.print(text, markup=False, highlight=False)

  def _counts(self):
    amounts = collections.Counter(self._states.values())
    return ', '.join(f'{amounts[x]} {x}' for x in STATES if amounts[x])

  def _table(self):
    from rich.table import Table  # As rich itself.
    table = Table('run', 'machine', 'progress', 'last score', box=None,
                  title=self._counts(), title_justify='left')
    room = max(3, self._console.size.height - 6)
    for name, (node, progress, score) in list(self._said.items())[:room]:
      table.add_row(name, node, progress, score)
    return table
