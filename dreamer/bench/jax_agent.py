"""Exported agents on any device that JAX knows, without TensorFlow.

    python -m dreamer.bench.jax_agent time DIR [--updates 20]
    python -m dreamer.bench.jax_agent train DIR --logdir RUN [--seconds 600]

DIR is what `dreamer.bench.export` wrote. JAX is no requirement of this
project: install it beside it. `JaxAgent` has the interface of the agents, so
the same loop, replay, environments, logs and checkpoints train it.
"""

from __future__ import annotations

import json
import pathlib
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from dreamer import cli, npz
from dreamer.bench.export import MANIFEST, STATE, STEPS
from dreamer.errors import UserError


class Program:
  """One compiled function; variables go in and come out as device arrays."""

  def __init__(self, device: Any, code: bytes, spec: Mapping[str, Any]):
    import jax  # Optional; only this class needs it.
    from jax._src.lib import xla_client
    self.device, self.spec = device, spec
    self._put = lambda x: jax.device_put(x, device)
    devices = xla_client.DeviceList((device,))
    self._run = device.client.compile_and_load(
        code, devices, xla_client.CompileOptions())

  def __call__(self, inputs: Mapping[str, np.ndarray],
               state: dict[str, Any]) -> dict[str, Any]:
    """Outputs by name, on the device; the state's entries are replaced."""
    args = [self._put(np.asarray(inputs[name], dtype).reshape(shape))
            for name, shape, dtype in self.spec['inputs']]
    args += [state[name] for name in self.spec['reads']]
    results = self._run.execute_sharded(args)
    results = [x[0] for x in results.disassemble_into_single_device_arrays()]
    outputs = self.spec['outputs']
    state.update(zip(self.spec['writes'], results[len(outputs):], strict=True))
    return {name: x for (name, *_), x in zip(
        outputs, results[:len(outputs)], strict=False)}


class JaxAgent:
  """The programs in a folder behind the calls that the agents have."""

  def __init__(self, folder: str | pathlib.Path, programs: Any = STEPS):
    import jax  # As in Program.
    jax.config.update('jax_enable_x64', True)  # Counters are int64.
    folder = pathlib.Path(folder).expanduser()
    self.content = read(folder)
    self.device = jax.devices()[0]
    self.batch_keys = tuple(self.content['batch_keys'])
    self._put = lambda x: jax.device_put(x, self.device)
    self._state = {}
    self.restore(npz.read(folder / STATE))
    self.programs = {
        name: Program(self.device, (folder / f'{name}.stablehlo').read_bytes(),
                      self.content['programs'][name]) for name in programs}

  def train(self, batch: Mapping[str, np.ndarray],
            env_steps: int = 0) -> dict[str, Any]:
    """One update; metrics by name, scalars on the device."""
    return self._call('train', {'batch': batch, 'env_steps': env_steps})

  def policy(self, obs: Mapping[str, np.ndarray],
             state: dict[str, np.ndarray] | None = None, mode: str = 'train',
             env_steps: int = 0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Actions [n, A] and the next state, as those of the agents."""
    name = f'policy_{mode}'
    if state is None:
      state = self.initial_state(name)
    out = self._call(name, {
        'state': state, 'obs': obs, 'env_steps': env_steps, **obs})
    out = {key: np.asarray(x) for key, x in out.items()}
    return out['action'], out

  def initial_state(self, name: str = 'policy_train') -> dict[str, np.ndarray]:
    """Noughts in the shapes that a policy program takes."""
    return {key.removeprefix('state/'): np.zeros(shape, dtype)
            for key, shape, dtype in self.content['programs'][name]['inputs']
            if key.startswith('state/')}

  def report(self, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """No videos: their program is exported for one length only."""
    del batch
    return {}

  @property
  def updates(self) -> int:
    return int(self._state['counter/updates'])

  def state(self) -> dict[str, np.ndarray]:
    """Copies of all variables by name."""
    return {key: np.array(x) for key, x in self._state.items()}

  def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
    self._state = {key: self._put(x) for key, x in arrays.items()}

  def _call(self, name, values):
    flat = _flatten(values)
    program = self.programs[name]
    missing = [x for x, *_ in program.spec['inputs'] if x not in flat]
    if missing:
      raise UserError(f'{name}: no value for {", ".join(missing)}')
    return program(flat, self._state)


def read(folder: pathlib.Path) -> dict[str, Any]:
  """What program.json says."""
  try:
    return json.loads((folder / MANIFEST).read_text(encoding='utf-8'))
  except (OSError, ValueError) as e:
    raise UserError(f'{folder}: no exported agent: {e}; write one with '
                    'python -m dreamer.bench.export') from None


def _flatten(nested, prefix=''):
  flat = {}
  for key, value in nested.items():
    if isinstance(value, Mapping):
      flat.update(_flatten(value, f'{prefix}{key}/'))
    else:
      flat[f'{prefix}{key}'] = value
  return flat
