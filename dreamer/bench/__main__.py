"""Speed and memory of updates, replay and environments on this machine.

    python -m dreamer.bench [--quick] [FILTER ...]

Prints one JSON object per line. A filter is a part of a line's name, which is
what is measured: `update/dreamerv1/full/float32`, `replay`, `env/dmc_full`,
`parallel`; without one, everything is. A whole name selects that line only;
`replay/atari` fills 9 GB of disk for a while (`--quick`: 0.1 GB). Each size of
update runs in a process of its own, so that its peak memory and its start are
its own.

CPU seconds are those of all threads; on a shared machine they, and the lowest
of several, are what to compare. The rate of matrix products, of the same
precision and measured right after, is what the machine has to give: `share`
is the part of it that an update gets, by wall clock and by CPU seconds.
"""

from __future__ import annotations

import importlib
import json
import os
import pathlib
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dreamer import cli, envs
from dreamer.bench import parallel as bench_parallel
from dreamer.bench import replay as bench_replay
from dreamer.bench.timing import Times, cpu_seconds, repeat, summary
from dreamer.config.schema import Config
from dreamer.envs.spaces import ActionSpace, Space
from dreamer.errors import UserError
from dreamer.npz import Arrays

Benchmark = Callable[[str, bool], dict[str, Any]]  # of a name, quick
PRECISIONS = ('float32', 'bfloat16')
# Presets, other settings, channels of the image, actions: kind and number.
CONTROL, GAMES = (3, 'continuous', 6), (1, 'discrete', 18)
SIZES = {
    'dreamerv1/full': (['dmc'], {}, *CONTROL),
    'dreamerv1/laptop': (['dmc', 'laptop'], {}, *CONTROL),
    'dreamerv2/atari_16x50': (['atari'], {'batch_size': 16}, *GAMES),
    'dreamerv2/atari_50x50': (['atari'], {}, *GAMES),
    'dreamerv2/dmc_vision': (
        ['dmc_vision'], {'batch_size': 16}, *CONTROL),
    'dreamerv2/laptop_atari': (['atari', 'laptop'], {}, *GAMES),
    'dreamerv2/laptop_dmc': (['dmc_vision', 'laptop'], {}, *CONTROL)}
TIMEOUT = 600  # seconds; bfloat16 without hardware for it takes longer
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
  parser.add_argument('--started', type=float, help='(of a child process)')
  args = parser.parse_args(argv)
  if args.started:
    _, _, line = args.filters[0].partition('/')
    size, _, precision = line.rpartition('/')
    show(measure_update(size, precision, args.started, args.quick))
    return
  known = benchmarks()
  chosen = [(name, run) for name, run in known.items() if any(
      x == name or x in name and x not in known for x in args.filters or [''])]
  if not chosen:
    raise UserError(
        f'filter: nothing is called {" or ".join(args.filters)}; there are '
        f'{", ".join(benchmarks())}')
  show({'name': 'machine', **machine()})
  for name, run in chosen:
    show({'name': name, **run(name, args.quick)})


def benchmarks() -> dict[str, Benchmark]:
  """Dict of name to function (name, quick) -> dict."""
  found: dict[str, Benchmark] = {
      f'update/{size}/{precision}': update_process
      for size in SIZES for precision in PRECISIONS}
  found['replay'] = bench_replay.measure_batches
  found['replay/atari'] = bench_replay.measure_atari
  found['replay/open'] = bench_replay.measure_open
  for name in bench_parallel.PACE:
    found[name] = bench_parallel.measure_pace
  found['parallel/dreamerv1/dmc'] = bench_parallel.measure_wall_clock
  for name in ENVS:
    found[f'env/{name}'] = measure_env
  return found


def show(line: dict[str, Any]) -> None:
  print(json.dumps(line), flush=True)


# Updates


def update_process(name: str, quick: bool) -> dict[str, Any]:
  """Runs `measure_update` in a fresh process; its peak is its own."""
  command = [sys.executable, '-m', 'dreamer.bench', name,
             '--started', repr(time.time())] + ['--quick'] * quick
  try:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=TIMEOUT)
  except subprocess.TimeoutExpired:
    return {'error': f'took over {TIMEOUT} s'}
  if done.returncode:
    return {'error': (done.stderr.strip().splitlines() or ['killed'])[-1]}
  return json.loads(done.stdout.splitlines()[-1])


def measure_update(size: str, precision: str, started: float,
                   quick: bool) -> dict[str, Any]:
  """Times updates of an agent; `started` is when its process began."""
  presets, overrides, channels, kind, actions = SIZES[size]
  agent = size.split('/')[0]
  module = importlib.import_module(agent)
  config = module.schema().config(
      presets, {**overrides, 'precision': precision})
  image = Space((64, 64, channels), 'uint8')
  act_space = ActionSpace(kind, actions)
  learner = module.make_agent(config, {'image': image}, act_space)
  batch = random_batch(config, image, act_space)
  update = lambda: float(learner.train(batch)['loss/model'])
  update()
  first, first_cpu = time.time() - started, cpu_seconds()
  flops = importlib.import_module(f'{agent}.flops')
  gflop = flops.update_gflop(config, channels, act_space)
  times = repeat(update, (2 if quick else 5) if gflop > 100 else 20)
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2 ** 20
  return {'batch': [config.batch_size, config.batch_length],
          **summary(times, 'update'), 'first_update_s': round(first, 2),
          'first_update_cpu_s': round(first_cpu, 2),
          'peak_gib': round(peak, 2), **rates(gflop, times, precision)}


def random_batch(config: Config, image: Space,
                 act_space: ActionSpace) -> Arrays:
  """A batch of noise, [B, T, ...]."""
  rng = np.random.default_rng(0)
  shape = config.batch_size, config.batch_length
  actions = [act_space.sample(rng) for _ in range(shape[0] * shape[1])]
  return {
      'image': rng.integers(0, 256, (*shape, *image.shape), np.uint8),
      'action': np.reshape(actions, (*shape, act_space.dim)),
      'reward': rng.random(shape, np.float32),
      'discount': np.ones(shape, np.float32),
      **{key: np.zeros(shape, bool)
         for key in ('is_first', 'is_last', 'is_terminal')}}


def rates(gflop: float, times: Times, precision: str) -> dict[str, float]:
  """GFLOP/s of the best update beside that of matrix products."""
  import tensorflow as tf  # never beside environments that draw
  size = 2048
  x = tf.cast(tf.random.stateless_normal([size, size], [0, 0]), precision)
  product = tf.function(lambda: tf.cast(tf.matmul(x, x)[0, 0], tf.float32))
  product().numpy()
  products = repeat(lambda: product().numpy(), 10)
  result = {'gflop': round(gflop, 2)}
  for index, kind in enumerate(('wall', 'cpu')):
    ours = gflop / min(x[index] for x in times)
    peak = 2 * size ** 3 / 1e9 / min(x[index] for x in products)
    result.update({f'gflop_per_{kind}_s': round(ours, 1),
                   f'matmul_gflop_per_{kind}_s': round(peak, 1),
                   f'share_{kind}': round(ours / peak, 2)})
  return result


# Environments


def measure_env(name: str, quick: bool) -> dict[str, Any]:
  """Steps per second through a worker, of environment and agent.

  `inline` leaves out the exchange with the worker, which costs more on a
  machine at rest, where every message wakes a core, than beside a learner.
  """
  keys = ENVS[name.split('/')[1]]
  config = importlib.import_module('dreamerv1').schema().config((), keys)
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
