"""An exported policy acts with NumPy and JAX alone: copy this file.

    python act.py DIR

DIR is what `./run.sh export` wrote. Of this project nothing is imported.
"""

import json
import pathlib
import sys

import jax
import numpy as np
from jax._src.lib import xla_client


class Policy:
  """policy(obs) -> action of one environment; it remembers its own state."""

  def __init__(self, folder, name='policy_eval'):
    jax.config.update('jax_enable_x64', True)  # Counters are int64.
    folder, self.device = pathlib.Path(folder), jax.devices()[0]
    content = json.loads((folder / 'program.json').read_text())
    self.spec, self.obs_space = content['programs'][name], content['obs_space']
    stored = np.load(folder / 'state.npz', allow_pickle=False)
    self.variables = {key: self.put(stored[key] if key in stored.files else (
        np.zeros(*content['state'][key]))) for key in self.spec['reads']}
    self.run = self.device.client.compile_and_load(
        (folder / f'{name}.stablehlo').read_text(),
        xla_client.DeviceList((self.device,)), xla_client.CompileOptions())
    self.values = {'amount': 0}  # of action noise
    for key, shape, dtype in self.spec['inputs']:
      self.values.setdefault(key, np.zeros(shape, dtype))

  def put(self, x):
    return jax.device_put(x, self.device)

  def __call__(self, obs, is_first):
    """obs: dict of arrays as the environment gives them; is_first: bool."""
    for key, x in {**obs, 'is_first': is_first}.items():
      self.values.update({key: x, f'obs/{key}': x})
    args = [self.put(np.asarray(self.values[key], dtype).reshape(shape))
            for key, shape, dtype in self.spec['inputs']]
    args += [self.variables[key] for key in self.spec['reads']]
    results = [x[0] for x in self.run.execute_sharded(
        args).disassemble_into_single_device_arrays()]
    outputs = [key for key, *_ in self.spec['outputs']]
    self.variables.update(zip(self.spec['writes'], results[len(outputs):]))
    state = dict(zip(outputs, map(np.asarray, results)))
    self.values.update({f'state/{key}': x for key, x in state.items()})
    return state['action'][0]


if __name__ == '__main__':
  policy, rng = Policy(sys.argv[1]), np.random.default_rng(0)
  for step in range(10):
    seen = {key: rng.integers(0, 255, shape).astype(dtype)
            for key, (shape, dtype) in policy.obs_space.items()}
    print(step, policy(seen, is_first=step == 0))
