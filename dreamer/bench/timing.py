"""Wall and CPU seconds of repeated calls."""

from __future__ import annotations

import resource
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

Times = list[tuple[float, float]]  # wall and CPU seconds of calls


def repeat(function: Callable[[], Any], amount: int) -> Times:
  """Calls the function; a list of (wall seconds, CPU seconds) of each."""
  times = []
  for _ in range(amount):
    wall, cpu = time.perf_counter(), cpu_seconds()
    function()
    times.append((time.perf_counter() - wall, cpu_seconds() - cpu))
  return times


def cpu_seconds() -> float:
  usage = resource.getrusage(resource.RUSAGE_SELF)
  return usage.ru_utime + usage.ru_stime


def summary(times: Sequence[tuple[float, float]],
            name: str) -> dict[str, float]:
  """Lowest and median of wall and CPU seconds."""
  result = {}
  for index, kind in enumerate(('wall', 'cpu')):
    values = [x[index] for x in times]
    result[f'{name}_{kind}_s_min'] = round(min(values), 4)
    result[f'{name}_{kind}_s_median'] = round(statistics.median(values), 4)
  return result
