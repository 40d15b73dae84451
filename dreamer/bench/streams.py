"""The part of dreamer/bench/__main__.py about replays of endless streams.

    python -m dreamer.bench.streams [ROWS]

fills one with synthetic pictures and states of DreamerV3's size 12M in a
temporary folder (of the disk that TMPDIR names), draws batches, writes states
back and prints one JSON object; by default with a million rows, 21 GB.
"""

from __future__ import annotations

import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from dreamer import launch
from dreamer.bench import replay as bench_replay
from dreamer.bench import timing
from dreamer.npz import Arrays
from dreamer.replay.stored import Stored
from dreamer.replay.stream import StreamReplay

ROWS, QUICK_ROWS = 1_000_000, 20_000
STREAMS, BATCH, LENGTH = 16, 16, 64
DETER, STOCH = 2048, (32, 16)  # size 12M
EPISODE = 500  # agent steps
KEYS = ('image', 'action', 'reward', 'is_first', 'is_last', 'is_terminal',
        'consec', 'stored/deter', 'stored/stoch')


def main(argv: Sequence[str]) -> None:
  rows = int(argv[0]) if argv else ROWS
  print(json.dumps(measure(rows, 5 if rows < ROWS else 20)))


def measure_streams(name: str, quick: bool) -> dict[str, Any]:
  """`measure` in a process of its own: its memory is its own."""
  rows = QUICK_ROWS if quick else ROWS
  done = subprocess.run(
      launch.command('dreamer.bench.streams', str(rows)), capture_output=True,
      text=True)
  if done.returncode:
    return {'error': (done.stderr.strip().splitlines() or ['killed'])[-1]}
  return json.loads(done.stdout)


def measure(rows: int, amount: int) -> dict[str, Any]:
  """Disk, memory, milliseconds of batches and of what surrounds them.

  float32 states, the largest kind; fewer rows where the disk has less than
  twice of what they need. warm: the operating system caches what it can;
  cold: it was asked to drop every file.
  """
  rng = np.random.default_rng(0)
  episode, states = bench_replay.noise_episode(rng, EPISODE + 1), _states(rng)
  with tempfile.TemporaryDirectory() as folder:
    free = shutil.disk_usage(folder).free
    rows = min(rows, int(free / 2 / (13_000 + 4 * DETER)))
    replay = _make(folder)
    start = time.perf_counter()
    while replay.stats()['steps'] < rows:
      _add(replay, episode, states)
    seconds = time.perf_counter() - start
    replay.state()
    replay.saved()
    result = {
        'rows': int(replay.stats()['steps']), 'batch': [BATCH, LENGTH + 1],
        **_disk(folder, replay), 'fill_rows_per_s': round(rows / seconds),
        **_times(replay, folder, states, amount)}
    result.update(bench_replay.memory(), resume_s=_resume(folder, replay))
  return result


def _make(folder):
  return StreamReplay(folder, 0, STREAMS, LENGTH, {
      'deter': Stored((DETER,)), 'stoch': Stored(STOCH, onehot=True)},
      least=1)


def _states(rng):
  """Of the rows of a batch."""
  classes = rng.integers(0, STOCH[1], (BATCH, LENGTH, STOCH[0]))
  return {'deter': rng.normal(size=(BATCH, LENGTH, DETER)).astype(np.float32),
          'stoch': np.eye(STOCH[1], dtype=np.float32)[classes]}


def _add(replay: StreamReplay, episode: Arrays, states: Arrays) -> None:
  """An episode in each stream, in lockstep."""
  for row in range(EPISODE):
    arrays = {key: x[row] for key, x in episode.items()}
    for stream in range(STREAMS):
      replay.grow(stream, arrays, episode['action'][row + 1], {
          key: x[stream, row % LENGTH] for key, x in states.items()})
  for stream in range(STREAMS):
    replay.add(episode, stream)


def _disk(folder, replay):
  size = sum(x.stat().st_size for x in pathlib.Path(folder).rglob('*')
             if x.is_file())
  return {'disk_gib': round(size / 2 ** 30, 3), 'disk_gib_per_million_rows':
          round(size / 2 ** 30 / replay.stats()['steps'] * 1e6, 2)}


def _times(replay, folder, states, amount):
  """Milliseconds, median and worst, and median of CPU."""
  paths = [x for x in pathlib.Path(folder).rglob('*') if x.is_file()]
  parts = {
      'warm': lambda: replay.sample(BATCH, LENGTH, KEYS),
      'cold': lambda: replay.sample(BATCH, LENGTH, KEYS),
      'write_back': lambda: replay.refresh(replay.drawn, states),
      'state': replay.state}
  result = {}
  for name, call in parts.items():
    times = []
    for _ in range(amount):
      if name == 'cold':
        bench_replay.drop_from_cache(paths)
      if name == 'write_back':
        replay.sample(BATCH, LENGTH, KEYS)
      times += timing.repeat(call, 1)
    wall, cpu = ([1e3 * x[i] for x in times] for i in range(2))
    result.update({f'{name}_ms': round(statistics.median(wall), 1),
                   f'{name}_ms_max': round(max(wall), 1),
                   f'{name}_cpu_ms': round(statistics.median(cpu), 1)})
  return result


def _resume(folder, replay):
  """Seconds until a run that continues has its replay."""
  state = replay.state()
  replay.close()
  start = time.perf_counter()
  again = _make(folder)
  again.restore(state)
  seconds = time.perf_counter() - start
  assert again.episodes == replay.episodes
  again.close()
  return round(seconds, 2)


if __name__ == '__main__':
  main(sys.argv[1:])
