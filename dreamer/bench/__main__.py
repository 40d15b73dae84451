"""Speed and memory of updates, replay and environments on this machine.

    python -m dreamer.bench [--quick] [FILTER ...]

Prints one JSON object per line. A filter is a part of a line's name, which is
what is measured: `update/dreamerv1/full/float32`, `jit/dreamerv1/full` (the
same compiled by XLA and not), `act/dreamerv1/full` (actions for 1 and 16
environments), `kernels/dreamerv1/full` (what XLA makes of an update), `replay`,
`env/dmc_full`, `parallel`; without one, everything is. A whole name selects
that line only; `replay/atari` fills 9 GB of disk for a while and
`replay/streams` 21 GB (`--quick`: 0.1 and 0.4). Each size of update runs in a
process of its own, so that its peak memory and its start are its own.

CPU seconds are those of all threads; on a shared machine they, and the lowest
of several, are what to compare. The rate of matrix products, of the same
precision and measured right after, is what the machine has to give: `share`
is the part of it that an update gets, by wall clock and, without a GPU, by CPU
seconds.
"""

from __future__ import annotations

import json
import os
import pathlib
import platform
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dreamer import cli, envs
from dreamer.bench import agents as bench_agents
from dreamer.bench import parallel as bench_parallel
from dreamer.bench import replay as bench_replay
from dreamer.bench import streams
from dreamer.config import agents
from dreamer.errors import UserError

Benchmark = Callable[[str, bool], dict[str, Any]]  # of a name, quick
ATARI = {'action_repeat': 4, 'time_limit': 108000, 'atari': {
    'actions': 'full', 'color': 'gray', 'resize': 'area84',
    'life_loss': 'ignore'}}
ENVS: dict[str, dict[str, Any]] = {
    'dummy': {'task': 'dummy_continuous'},
    'dmc_full': {'task': 'dmc_walker_walk'},
    'dmc_reduced': {'task': 'dmc_walker_walk', 'dmc': {
        'buffer': 'small', 'shadows': 'off', 'multisampling': False}},
    'atari_pong': {'task': 'atari_pong', **ATARI},
    'atari_alien': {'task': 'atari_alien', **ATARI}}


def main(argv: Sequence[str] | None = None) -> None:
  """Runs the benchmarks whose names contain one of the filters."""
  parser = cli.Parser(
      prog='python -m dreamer.bench', description=__doc__.split('\n')[0])
  parser.add_argument('filters', nargs='*', metavar='FILTER')
  parser.add_argument('--quick', action='store_true', help='fewer repetitions')
  args = parser.parse_args(argv)
  known = benchmarks()
  chosen = set[str]()
  for text in args.filters or ['']:
    found = [x for x in known if x == text or text in x and text not in known]
    if not found:
      raise UserError(f'filter: nothing is called {text}; there are '
                      f'{", ".join(known)}')
    chosen.update(found)
  show({'name': 'machine', **machine()})
  for name, run in known.items():
    if name in chosen:
      show({'name': name, **run(name, args.quick)})


def benchmarks() -> dict[str, Benchmark]:
  """Dict of name to function (name, quick) -> dict."""
  sizes = bench_agents.sizes()
  found: dict[str, Benchmark] = {
      f'update/{size}/{precision}': bench_agents.measure_update
      for size in sizes for precision in bench_agents.PRECISIONS}
  for size in sizes:
    found[f'jit/{size}'] = bench_agents.measure_jit
    found[f'act/{size}'] = bench_agents.measure_act
    found[f'kernels/{size}'] = bench_agents.measure_kernels
  found['replay'] = bench_replay.measure_batches
  found['replay/atari'] = bench_replay.measure_atari
  found['replay/open'] = bench_replay.measure_open
  found['replay/streams'] = streams.measure_streams
  for name in bench_parallel.paces():
    found[name] = bench_parallel.measure_pace
  for name in bench_parallel.wall_clocks():
    found[name] = bench_parallel.measure_wall_clock
  for name in ENVS:
    found[f'env/{name}'] = measure_env
  return found


def show(line: dict[str, Any]) -> None:
  print(json.dumps(line), flush=True)


# Environments


def measure_env(name: str, quick: bool) -> dict[str, Any]:
  """Steps per second through a worker, of environment and agent.

  `inline` leaves out the exchange with the worker, which costs more on a
  machine at rest, where every message wakes a core, than beside a learner.
  """
  keys = ENVS[name.split('/')[1]]
  config = agents.schema(agents.known()[0]).config((), keys)
  steps = 50 if quick else 300
  try:
    seconds = _env_seconds(config, steps)
    result = {'task': config.task, 'action_repeat': config.action_repeat,
              'steps_per_s': round(config.action_repeat / seconds, 1),
              'agent_steps_per_s': round(1 / seconds, 1)}
    if not config.task.startswith('dmc'):  # OpenGL keeps to its worker.
      seconds = _env_seconds(config.update({'envs.worker': 'inline'}), steps)
      result['inline_agent_steps_per_s'] = round(1 / seconds, 1)
  except UserError as error:
    return {'skipped': cli.one_line(error)}
  return result


def _env_seconds(config, steps):
  env, = envs.make_envs(config, 'train', 1)
  try:
    return _step_seconds(env, steps)
  finally:
    env.close()


def _step_seconds(env, steps):
  """Mean wall seconds of an agent step with random actions, resets too."""
  rng = np.random.default_rng(0)
  env.reset(seed=0)
  actions = [env.act_space.sample(rng) for _ in range(steps)]
  start = time.perf_counter()
  for index, action in enumerate(actions):
    if env.step(action)['is_last']:
      env.reset(seed=index)
  return (time.perf_counter() - start) / steps


def machine() -> dict[str, Any]:
  """Processor, cores, what of it matters for speed, and its load."""
  text = ''
  path = pathlib.Path('/proc/cpuinfo')
  if path.exists():
    text = path.read_text()
  lines = dict(line.split(':', 1) for line in text.splitlines() if ':' in line)
  lines = {key.strip(): value.strip() for key, value in lines.items()}
  flags = lines.get('flags', '').split()
  return {'cpu': lines.get('model name', platform.processor()),
          'cores': len(os.sched_getaffinity(0)),
          'avx2': 'avx2' in flags, 'avx512': 'avx512f' in flags,
          'bf16': 'avx512_bf16' in flags or 'amx_bf16' in flags,
          'load': round(os.getloadavg()[0], 2),
          'python': platform.python_version()}


if __name__ == '__main__':
  cli.guard(main)
