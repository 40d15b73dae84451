"""Speed of an exported agent on the device that JAX has."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np


def measure(make: Callable[[], Any], updates: int) -> dict[str, Any]:
  """Seconds per update and per action, beside the device's matmul rate.

  make: a JaxAgent with its programs `train` and `policy_train`.
  """
  import jax  # No requirement of this project.
  start = time.perf_counter()
  agent = make()
  compiled = time.perf_counter() - start
  rng = np.random.default_rng(0)
  inputs = {name: _random(name, shape, dtype, rng) for name, shape, dtype in (
      agent.content['programs']['train']['inputs'])}
  inputs = {name: agent._put(x) for name, x in inputs.items()}
  step = agent.programs['train']
  first = _seconds(lambda: step(inputs, agent._state))
  times = [_seconds(lambda: step(inputs, agent._state))
           for _ in range(updates)]
  together = _seconds(lambda: [step(inputs, agent._state)
                               for _ in range(updates)][-1]) / updates
  obs = {key: np.zeros((1, *shape), dtype) for key, (shape, dtype) in (
      agent.content['obs_space'].items())}
  obs['is_first'] = np.zeros(1, bool)
  agent.policy(obs)
  acts = [_seconds(lambda: agent.policy(obs)) for _ in range(50)]
  rates = {dtype: _matmul_rate(dtype) for dtype in ('float32', 'bfloat16')}
  stats = agent.device.memory_stats() or {}
  config = agent.content['config']
  return {
      'agent': agent.content['agent'], 'device': agent.device.device_kind,
      'jax': jax.__version__, 'precision': config['precision'],
      'batch': [config['batch_size'], config['batch_length']],
      'parameters': agent.content['parameters'],
      'compile_s': round(compiled, 1), 'first_update_s': round(first, 3),
      'update_s_min': round(min(times), 5),
      'update_s_median': round(sorted(times)[len(times) // 2], 5),
      'update_s_queued': round(together, 5),
      'policy_s_median': round(sorted(acts)[25], 5),
      'matmul_tflops': rates,
      'peak_gib': round(stats.get('peak_bytes_in_use', 0) / 2 ** 30, 2)}


def _random(name, shape, dtype, rng):
  if dtype == 'uint8':
    return rng.integers(0, 255, shape, np.uint8)
  if dtype == 'bool':
    return np.zeros(shape, bool)
  if dtype == 'int64':
    return np.zeros(shape, np.int64)
  return rng.uniform(-1, 1, shape).astype(dtype) if (
      name == 'batch/action') else np.ones(shape, dtype)


def _seconds(run):
  import jax  # As above.
  start = time.perf_counter()
  jax.block_until_ready(run())
  return time.perf_counter() - start


def _matmul_rate(dtype, size=8192):
  """TFLOP/s of the device's matrix product, best of ten."""
  import jax  # As above.
  import jax.numpy as jnp  # As above.
  size = size if jax.default_backend() != 'cpu' else 1024
  keys = jax.random.split(jax.random.key(0))
  x, y = (jax.random.normal(key, (size, size), dtype) for key in keys)
  product = jax.jit(jnp.matmul)
  product(x, y).block_until_ready()
  best = min(_seconds(lambda: product(x, y)) for _ in range(10))
  return round(2 * size ** 3 / best / 1e12, 3)
