"""The replay's part of dreamer/bench/__main__.py: speed, memory and disk.

    python -m dreamer.bench.replay [STEPS]

fills a store with synthetic Atari episodes in a temporary folder (of the disk
that TMPDIR names), samples from it and prints one JSON object; STEPS are
agent steps, 2 million by default.
"""

from __future__ import annotations

import json
import os
import pathlib
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from dreamer import launch
from dreamer.bench import timing
from dreamer.npz import Arrays
from dreamer.replay.replay import Replay

STEPS, QUICK_STEPS = 2_000_000, 20_000
LENGTHS = 500, 10_000  # agent steps of an episode
ACTIONS = 18
MEMORY_GB = 0.5  # configs/dreamerv2.yaml: replay.memory_gb
KEYS = 'image', 'action', 'reward', 'is_first', 'is_terminal'
BATCHES = (16, 50), (50, 50)
OPENED, QUICK_OPENED = 100_000, 5_000  # episodes
ADDED = 20  # of them by the store itself


def main(argv: Sequence[str]) -> None:
  steps = int(argv[0]) if argv else STEPS
  print(json.dumps(measure_store(steps, 5 if steps < STEPS else 20)))


def measure_batches(name: str, quick: bool) -> dict[str, Any]:
  """Seconds per 50x50 batch, episodes in memory (warm) or not (cold)."""
  batch, length, rows = 50, 50, 501
  rng = np.random.default_rng(0)
  result = {}
  with tempfile.TemporaryDirectory() as folder:
    writer = Replay(folder, 0)
    for _ in range(3 if quick else 10):
      writer.add(noise_episode(rng, rows))
    for kind, memory in (('warm', 4.0), ('cold', 1e-9)):
      replay = Replay(folder, 0, memory_gb=memory)
      sample = lambda replay=replay: replay.sample(batch, length)
      sample()
      times = timing.repeat(sample, 3 if quick else 10)
      result.update(timing.summary(times, kind))
  return {'batch': [batch, length], **result}


def measure_atari(name: str, quick: bool) -> dict[str, Any]:
  """`measure_store` in a process of its own: its memory is its own."""
  steps = QUICK_STEPS if quick else STEPS
  done = subprocess.run(
      launch.command('dreamer.bench.replay', str(steps)),
      capture_output=True, text=True)
  if done.returncode:
    return {'error': (done.stderr.strip().splitlines() or ['killed'])[-1]}
  return json.loads(done.stdout)


def measure_store(steps: int, amount: int) -> dict[str, Any]:
  """Disk, memory and seconds per batch of a store of Atari steps.

  Fewer steps where the disk has less than twice of what they need. warm: the
  operating system caches what it can; cold: it was asked to drop every file.
  """
  rng = np.random.default_rng(0)
  with tempfile.TemporaryDirectory() as folder:
    free = shutil.disk_usage(folder).free
    steps = min(steps, int(free / 2 / step_bytes(rng)))
    replay = Replay(
        folder, 0, starts='prioritize_ends', memory_gb=MEMORY_GB)
    start = time.perf_counter()
    while replay.steps < steps:
      rows = min(log_uniform(rng, *LENGTHS), steps - replay.steps) + 1
      replay.add(atari_episode(rng, rows))
    seconds = time.perf_counter() - start
    paths = list(pathlib.Path(folder).glob('*.npz'))
    size = sum(x.stat().st_size for x in paths)
    result = {
        'steps': replay.steps, 'episodes': replay.episodes,
        'disk_gb': round(size / 1e9, 3),
        'disk_gb_per_million_steps': round(size / replay.steps / 1e3, 3),
        'fill_steps_per_s': round(replay.steps / seconds),
        **_batch_times(replay, paths, amount), **memory(), **_index(folder)}
  return result


def measure_open(name: str, quick: bool) -> dict[str, Any]:
  """Seconds to open a store of many small files, and what one more costs.

  Milliseconds per stored episode in an empty store and in the full one; most
  of them wait for the disk.
  """
  amount = QUICK_OPENED if quick else OPENED
  with tempfile.TemporaryDirectory() as folder:
    empty = _add_ms(folder)
    many_files(pathlib.Path(folder), amount - ADDED)
    times = timing.repeat(lambda: Replay(folder, 0), 3)
    full = _add_ms(folder)
    replay = Replay(folder, 0)
    return {'episodes': replay.episodes - ADDED,
            **timing.summary(times, 'open'), 'add_ms_empty': empty,
            'add_ms_full': full, **memory()}


def _add_ms(folder):
  """Median milliseconds of storing an episode."""
  rng = np.random.default_rng(0)
  replay = Replay(folder, 0)
  times = []
  for _ in range(ADDED):
    start = time.perf_counter()
    replay.add(small_episode(rng, 10))
    times.append(time.perf_counter() - start)
  return round(1e3 * statistics.median(times), 2)


def many_files(folder: pathlib.Path, amount: int) -> None:
  """Writes episodes of 2 to 20 rows, without waiting for the disk."""
  rng = np.random.default_rng(0)
  contents = []
  with tempfile.TemporaryDirectory() as other:
    for rows in range(2, 21):
      path = Replay(other, 0).add(small_episode(rng, rows))
      assert path, rows
      contents.append((rows, path.read_bytes()))
  for number in range(amount):
    rows, content = contents[number % len(contents)]
    name = f'20200101T000000-{number:032x}-{rows}.npz'
    (folder / name).write_bytes(content)


def _batch_times(replay, paths, amount):
  """Milliseconds, median and worst, and median of CPU, of each batch."""
  result = {}
  for kind in ('warm', 'cold'):
    for batch, length in BATCHES:
      sample = lambda b=batch, n=length: replay.sample(b, n, KEYS)
      sample()
      times = []
      for _ in range(amount):
        if kind == 'cold':
          drop_from_cache(paths)
        times += timing.repeat(sample, 1)
      wall, cpu = ([1e3 * x[i] for x in times] for i in range(2))
      name = f'{kind}_{batch}x{length}'
      result[f'{name}_ms'] = round(statistics.median(wall), 1)
      result[f'{name}_ms_max'] = round(max(wall), 1)
      result[f'{name}_cpu_ms'] = round(statistics.median(cpu), 1)
  return result


def memory() -> dict[str, Any]:
  """Resident memory of this process, MB = 10^6 bytes, now and at most."""
  result = {'resident_mb_max': round(
      resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)}
  path = pathlib.Path('/proc/self/statm')
  if path.exists():
    pages = int(path.read_text().split()[1])
    result['resident_mb'] = round(pages * os.sysconf('SC_PAGE_SIZE') / 1e6)
  return {'memory_gb': MEMORY_GB, **result}


def _index(folder):
  """What opening the store costs, as a resumed run does."""
  tracemalloc.start()
  replay = Replay(folder, 0)
  size = tracemalloc.get_traced_memory()[0]
  tracemalloc.stop()
  start = time.perf_counter()
  Replay(folder, 0)
  return {'open_s': round(time.perf_counter() - start, 2),
          'index_kb_per_episode': round(size / replay.episodes / 1e3, 2),
          'memory_mb_per_million_steps': round(size / replay.steps, 2)}


def drop_from_cache(paths: Iterable[pathlib.Path]) -> None:
  """Asks the operating system to forget the files' content, if it can."""
  if not hasattr(os, 'posix_fadvise'):
    return
  for path in paths:
    handle = os.open(path, os.O_RDONLY)
    os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(handle)


# Episodes


def noise_episode(rng: np.random.Generator, rows: int) -> Arrays:
  """An episode of noise, [rows, ...]."""
  return {
      'image': rng.integers(0, 256, (rows, 64, 64, 3), np.uint8),
      'action': rng.uniform(-1, 1, (rows, 6)).astype(np.float32),
      **_scalars(rng, rows)}


def small_episode(rng: np.random.Generator, rows: int) -> Arrays:
  """Images of 8x8 pixels: for many files."""
  return {
      'image': rng.integers(0, 256, (rows, 8, 8, 1), np.uint8),
      'action': rng.uniform(-1, 1, (rows, 2)).astype(np.float32),
      **_scalars(rng, rows)}


def atari_episode(rng: np.random.Generator, rows: int) -> Arrays:
  """Gray frames of a still background and three moving blocks."""
  background = np.kron(rng.integers(0, 256, (8, 8, 1), np.uint8),
                       np.ones((8, 8, 1), np.uint8))
  image = np.repeat(background[None], rows, 0)
  time_ = np.arange(rows)
  for _ in range(3):
    y, x = (np.abs(rng.integers(-1, 2, rows).cumsum()) % 60 for _ in range(2))
    for offset in np.ndindex(4, 4):
      image[time_, y + offset[0], x + offset[1]] = 255
  action = np.eye(ACTIONS, dtype=np.float32)[rng.integers(0, ACTIONS, rows)]
  return {'image': image, 'action': action, **_scalars(rng, rows)}


def _scalars(rng, rows):
  order = np.arange(rows)
  return {
      'reward': rng.random(rows, np.float32),
      'discount': np.ones(rows, np.float32), 'is_first': order == 0,
      'is_last': order == rows - 1, 'is_terminal': np.zeros(rows, bool)}


def step_bytes(rng: np.random.Generator) -> int:
  return sum(x[:1].nbytes for x in atari_episode(rng, 1).values())


def log_uniform(rng: np.random.Generator, low: float, high: float) -> int:
  return int(np.exp(rng.uniform(np.log(low), np.log(high))))


if __name__ == '__main__':
  main(sys.argv[1:])
