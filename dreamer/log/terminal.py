"""What a run shows on stderr while it works."""

from __future__ import annotations

import collections
import math
import os
import sys
import time
from typing import Any

from tqdm import tqdm


class Terminal:
  """A live progress bar on a terminal, a plain line now and then elsewhere."""

  def __init__(self, total: int, initial: int):
    self._total = total
    self._rate = _Rate(initial)
    self._learns = False
    self._bar: tqdm | None = None
    self._shown = -math.inf
    self._state: tuple[Any, ...] | None = None
    self._interval = 10.0  # seconds
    if _is_terminal(sys.stderr):
      self._interval = 0.2
      self._bar = tqdm(
          total=total, initial=initial, file=sys.stderr, dynamic_ncols=True,
          bar_format='{percentage:3.0f}%|{bar:10}| {desc}')

  def progress(self, step: int, agent_steps: int, updates: int,
               last_return: float | None, left: float | None) -> None:
    """Shows a state of the run, if the last one was not shown just now."""
    now = time.monotonic()
    if updates and not self._learns:  # The prefill is many times faster.
      self._learns, self._rate = True, _Rate(step)
    self._rate.add(now, step)
    self._state = (step, agent_steps, updates, last_return, left)
    if now - self._shown >= self._interval:
      self._shown = now
      self._show(*self._state)

  def print(self, text: str) -> None:
    if self._bar is not None:
      self._bar.write(text, file=sys.stderr)
    else:
      print(text, file=sys.stderr, flush=True)

  def close(self) -> None:
    if self._state:
      self._show(*self._state)
    if self._bar is not None:
      self._bar.close()
    self._bar = self._state = None

  def _show(self, step, *state):
    if self._bar is not None:
      self._bar.n = step
      self._bar.set_description_str(self._describe(step, *state))
    else:
      percent = 100 * step / max(self._total, 1)
      self.print(f'{percent:3.0f}% | {self._describe(step, *state)}')

  def _describe(self, step, agent_steps, updates, last_return, left):
    parts = [
        f'{step:,}/{self._total:,} steps',
        f'ETA {_duration(left)}' if updates else 'prefill: no ETA yet',
        f'{self._rate.value:.1f} fps']
    if last_return is not None:
      parts.append(f'return {float(last_return):.1f}')
    parts += [f'agent steps {agent_steps:,}', f'updates {updates:,}']
    return ', '.join(parts)


class _Rate:
  """Steps per second over the last minutes: samples a second apart.

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
    # Some pseudo-terminals have no size; tqdm would draw nothing there.
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
