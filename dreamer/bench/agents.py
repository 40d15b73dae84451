"""Speed and memory of updates and actions, each size in its own process."""

from __future__ import annotations

import functools
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from dreamer import cli, launch
from dreamer.bench import kernels
from dreamer.bench.timing import Times, cpu_seconds, repeat, summary
from dreamer.config import agents
from dreamer.config.schema import Config
from dreamer.envs.base import image_size
from dreamer.envs.spaces import ActionSpace, Space, image_space
from dreamer.npz import Arrays
from dreamer.replay.stored import Stored

PRECISIONS = ('float32', 'bfloat16')
TIMEOUT = 600  # seconds; bfloat16 without hardware for it takes longer
ROWS = 1, 16  # environments that are acted for


def sizes() -> dict[str, tuple[agents.Entry, agents.Size]]:
  """What all known agents want measured: {'AGENT/SIZE': (entry, Size)}."""
  return {f'{name}/{size}': (entry, value) for name in agents.known()
          for entry in [agents.find(name)]
          for size, value in entry.sizes.items()}


def measure_update(name: str, quick: bool) -> dict[str, Any]:
  """Updates of `update/SIZE/PRECISION`."""
  size, _, precision = name.partition('/')[2].rpartition('/')
  return _process('update', size, quick, {'precision': precision})


def measure_jit(name: str, quick: bool) -> dict[str, Any]:
  """Updates of `jit/SIZE` with and without XLA, and with what start."""
  found = {}
  for jit in ('on', 'off'):
    result = _process('update', name.partition('/')[2], quick, {'jit': jit})
    keys = ('update_wall_s_min', 'update_cpu_s_min', 'first_update_s',
            'device_peak_gib', 'error')
    found.update({f'{key}_{jit}': result[key] for key in keys if key in result})
    if wall := result.get('update_wall_s_min'):
      found[f'updates_per_s_{jit}'] = round(1 / wall, 3)
    found['device'] = result.get('device')
  return found


def measure_kernels(name: str, quick: bool) -> dict[str, Any]:
  """What XLA makes of an update of `kernels/SIZE`, its scans as loops."""
  return _process('kernels', name.partition('/')[2], quick,
                  {'jit': 'on', 'unroll': False})


def measure_act(name: str, quick: bool) -> dict[str, Any]:
  """Milliseconds of an action of `act/SIZE`, for all environments at once."""
  return _process('act', name.partition('/')[2], quick, {})


def _process(what, size, quick, settings):
  """Measures in a fresh process; its peak and its start are its own."""
  command = launch.command('dreamer.bench.agents', json.dumps(
      [what, size, quick, settings, time.time()]))
  try:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=TIMEOUT)
  except subprocess.TimeoutExpired:
    return {'error': f'took over {TIMEOUT} s'}
  if done.returncode:
    return {'error': (done.stderr.strip().splitlines() or ['killed'])[-1]}
  return json.loads(done.stdout.splitlines()[-1])


# In that process


def main(text: str) -> None:
  """Measures what `_process` asks for."""
  what, size, quick, settings, started = json.loads(text)
  run = {'update': _updates, 'act': _actions, 'kernels': _kernels}[what]
  print(json.dumps(run(size, quick, settings, started)))


def _make(size, settings):
  """The Config, spaces and agent of a size."""
  entry, wanted = sizes()[size]
  config = entry.schema().config(
      wanted.presets, {**wanted.settings, **settings})
  image = image_space(image_size(config), wanted.channels)
  act_space = ActionSpace(wanted.kind, wanted.actions)
  return config, image, act_space, entry.make_agent(
      config, {'image': image}, act_space)


def _updates(size, quick, settings, started):
  """Times updates of an agent; `started` is when it was asked for."""
  config, image, act_space, learner = _make(size, settings)
  batch = random_batch(config, image, act_space, learner.stored)
  update = lambda: float(learner.train(batch)['loss/model'])
  update()
  first, first_cpu = time.time() - started, cpu_seconds()
  flops = agents.find(config.agent).flops
  gflop = flops(config, image.shape[-1], act_space) if flops else 0
  large = not flops or gflop > 100
  times = repeat(update, (2 if quick else 5) if large else 20)
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2 ** 20
  return {'batch': [config.batch_size, config.batch_length],
          'compiled': learner.compiled, **device(),
          **summary(times, 'update'), 'first_update_s': round(first, 2),
          'first_update_cpu_s': round(first_cpu, 2),
          'peak_gib': round(peak, 2),
          **(rates(gflop, times, config.precision) if flops else {
              'gflop': f'unknown: write flops of {config.agent}'})}


def _kernels(size, quick, settings, started):
  """Compiles an update, and does not run it."""
  del quick, started
  config, image, act_space, learner = _make(size, settings)
  return kernels.count(learner.compiled_text(
      random_batch(config, image, act_space, learner.stored)))


def _actions(size, quick, settings, started):
  """Median milliseconds of calls of `policy`."""
  del started
  config, image, act_space, agent = _make(size, settings)
  rng = np.random.default_rng(0)
  found = {'compiled': agent.compiled, **device()}
  for rows in ROWS:
    obs = {'image': rng.integers(0, 256, (rows, *image.shape), np.uint8),
           'is_first': np.zeros(rows, bool)}
    _, state = agent.policy(obs)  # traced
    times = repeat(functools.partial(agent.policy, obs, state),
                   20 if quick else 100)
    found[f'act_{rows}_ms'] = round(
        1000 * statistics.median(x for x, _ in times), 2)
  return found


def device() -> dict[str, Any]:
  """What TensorFlow computes on; of a GPU also the most memory in use."""
  import tensorflow as tf  # In this process only.
  gpus = tf.config.list_physical_devices('GPU')
  if not gpus:
    return {'device': 'CPU'}
  details = tf.config.experimental.get_device_details(gpus[0])
  peak = tf.config.experimental.get_memory_info('GPU:0')['peak']
  return {'device': details.get('device_name', gpus[0].name),
          'device_peak_gib': round(peak / 2 ** 30, 2)}


def random_batch(config: Config, image: Space, act_space: ActionSpace,
                 stored: Mapping[str, Stored] | None = None) -> Arrays:
  """A batch of noise, [B, T, ...].

  stored: what the agent keeps of acting states; those of `replay.context`
  rows, which come before the others.
  """
  rng = np.random.default_rng(0)
  context = config.replay.context if stored else 0
  shape = config.batch_size, config.batch_length + context
  before = {
      f'stored/{key}': np.zeros((shape[0], context, *x.shape), np.float32)
      for key, x in (stored or {}).items()}
  actions = [act_space.sample(rng) for _ in range(shape[0] * shape[1])]
  return {
      'image': rng.integers(0, 256, (*shape, *image.shape), np.uint8),
      'action': np.reshape(actions, (*shape, act_space.dim)),
      'reward': rng.random(shape, np.float32),
      'discount': np.ones(shape, np.float32), **before,
      **{key: np.zeros(shape, bool)
         for key in ('is_first', 'is_last', 'is_terminal')}}


def rates(gflop: float, times: Times, precision: str) -> dict[str, float]:
  """GFLOP/s of the best update beside that of matrix products.

  By wall clock and, where the CPU computes, by CPU seconds.
  """
  import tensorflow as tf  # As in `device`.
  on_gpu = bool(tf.config.list_physical_devices('GPU'))
  size = 8192 if on_gpu else 2048
  x = tf.cast(tf.random.stateless_normal([size, size], [0, 0]), precision)
  product = tf.function(lambda: tf.cast(tf.matmul(x, x)[0, 0], tf.float32))
  product().numpy()
  products = repeat(lambda: product().numpy(), 10)
  result = {'gflop': round(gflop, 2)}
  for index, kind in enumerate(('wall',) if on_gpu else ('wall', 'cpu')):
    ours = gflop / min(x[index] for x in times)
    peak = 2 * size ** 3 / 1e9 / min(x[index] for x in products)
    result.update({f'gflop_per_{kind}_s': round(ours, 1),
                   f'matmul_gflop_per_{kind}_s': round(peak, 1),
                   f'share_{kind}': round(ours / peak, 2)})
  return result


if __name__ == '__main__':
  cli.guard(main, sys.argv[1])
