"""What a run shows on stderr while it works."""

from __future__ import annotations

import collections
import contextlib
import math
import os
import sys
import time
from typing import Any

from dreamer import cli

SILENCE = 60.0  # s between two plain lines while no step is made


class Terminal:
  """A live progress bar on a terminal, a plain line now and then elsewhere.

  Plain lines: one at the start, one at each `logged`, one at the end; and one
  a minute through the first updates, beside which no step is made.
  """

  def __init__(self, total: int, initial: int):
    self._total = total
    self._rate = _Rate(initial)
    self._updates = _Rate(0)
    self._learns = False
    self._bar: Any = None  # of rich
    self._shown = -math.inf
    self._state: tuple[Any, ...] | None = None
    self._told: tuple[Any, ...] | None = None  # the state of the last line
    self._closed: BrokenPipeError | None = None
    self._interval = SILENCE
    if _is_terminal(sys.stderr):
      self._interval = 0.2
      self._bar = _bar(total, initial)

  def progress(self, step: int, agent_steps: int, updates: int,
               last_return: float | None, left: float | None) -> None:
    """Takes the state of the run; shows it where that is due.

    Raises BrokenPipeError where nobody reads any more.
    """
    if self._closed:
      raise self._closed
    now = time.monotonic()
    if updates and not self._learns:  # The prefill is many times faster.
      self._learns, self._rate = True, _Rate(step)
    if not updates:
      self._updates = _Rate(0)  # The first update counts from here.
    elif not self._state:
      self._updates = _Rate(updates)
    self._rate.add(now, step)
    self._updates.add(now, updates)
    first = self._state is None
    self._state = (step, agent_steps, updates, last_return, left)
    due = now - self._shown >= self._interval
    if first or due and (self._bar is not None or self._stands):
      self._show(now)

  def logged(self) -> None:
    """A log interval has ended."""
    if self._bar is None and self._state:
      with self._still_open():
        self._show(time.monotonic())

  def print(self, text: str) -> None:
    """Writes lines, on a terminal above the bar."""
    with self._still_open():
      self._print(text)

  def close(self) -> None:
    if self._state and (self._bar is not None or self._state != self._told):
      self._show(time.monotonic())
    if self._bar is not None:
      cli.tell('', lambda *_, **__: self._bar.stop())
    self._bar = self._state = None

  @contextlib.contextmanager
  def _still_open(self):
    """That nobody reads any more is told by the next `progress`."""
    try:
      yield
    except BrokenPipeError as error:
      self._closed = error

  def _print(self, text):
    cli.tell(text, self._write_above if self._bar is not None else print)

  @property
  def _stands(self):
    """Whether no step was made since the first update began."""
    return self._learns and not self._rate.value

  def _show(self, now):
    assert self._state
    self._shown, self._told = now, self._state
    text, step = self._describe(*self._state), self._state[0]
    if self._bar is not None:
      cli.tell(text, lambda text, **_: self._bar.update(
          0, completed=step, description=text, refresh=True))
    else:
      self._print(f'{100 * step / max(self._total, 1):3.0f}% | {text}')

  def _write_above(self, text, **_):
    self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

  def _describe(self, step, agent_steps, updates, last_return, left):
    parts = [
        f'{step:,}/{self._total:,} steps',
        f'ETA {_duration(left)}' if updates else 'no ETA before an update',
        self._speed()]
    if last_return is not None:
      parts.append(f'return {float(last_return):.1f}')
    parts += [f'agent steps {agent_steps:,}', f'updates {updates:,}']
    return ', '.join(parts)

  def _speed(self):
    if self._learns and self._rate.value < 0.05:  # 0.0 would tell nothing.
      return f'{self._updates.value:.2g} updates/s'
    return f'{self._rate.value:.1f} fps'


def _bar(total, initial):
  """A bar of rich, which draws only when it is told to."""
  from rich import console, progress, table  # Only where a terminal is.
  bar = progress.Progress(
      progress.TaskProgressColumn(show_speed=False),
      progress.BarColumn(10),
      progress.TextColumn(  # In several lines where there is little room.
          '{task.description}', markup=False, table_column=table.Column()),
      console=console.Console(
          stderr=True, force_terminal=True, force_jupyter=False,
          emoji=False),
      auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
  bar.add_task('', total=total, completed=initial)
  bar.start()
  bar.console.show_cursor(True)  # It would stay away where a run is killed.
  return bar


class _Rate:
  """Steps or updates per second over the last minutes: samples a second apart.

  A shorter window would swing between collecting and training.
  """

  def __init__(self, step):
    self._samples = collections.deque([(time.monotonic(), step)], 300)
    self._now = self._samples[0]

  def add(self, now, step):
    self._now = (now, step)
    if now - self._samples[-1][0] >= 1:
      self._samples.append(self._now)

  @property
  def value(self):
    (start, first), (now, step) = self._samples[0], self._now
    return max(0.0, step - first) / max(now - start, 1e-6)


def _is_terminal(stream):
  try:
    if os.environ.get('TERM') == 'dumb':  # No line can be written anew.
      return False
    # Some pseudo-terminals have no size; there is no room for a bar.
    return stream.isatty() and min(os.get_terminal_size(stream.fileno())) > 0
  except (OSError, ValueError, AttributeError):
    return False


def _duration(seconds):
  if seconds is None or not seconds < 1e8:
    return '?'
  hours, rest = divmod(int(seconds), 3600)
  days, hours = divmod(hours, 24)
  clock = f'{hours:d}:{rest // 60:02d}:{rest % 60:02d}'
  return f'{days}d {clock}' if days else clock
