"""An exported policy acts with NumPy and JAX alone: begin with this file.

    python DIR/act.py DIR

DIR is what `./run.sh export` wrote, this file and `environment.py` among it;
of the project nothing is imported.
"""

from __future__ import annotations

import importlib
import json
import pathlib
import sys
import types
from typing import Any

import numpy as np

OLDEST, TRIED = '0.6.1', '0.10.2'  # of JAX: what works


def load_jax(oldest: str = OLDEST) -> types.ModuleType:
  """Returns jax. Raises ImportError that says which versions work."""
  works = f'{oldest} to {TRIED} work'
  try:
    import jax  # No requirement of this project.
  except ModuleNotFoundError:
    raise ImportError(
        f"JAX is missing ({works}): pip install 'jax>={oldest}'") from None
  except Exception as error:  # Say, with a jaxlib of another version.
    raise ImportError(f'JAX can not be imported ({works}): '
                      f'{" ".join(str(error).split())}') from error
  numbers = lambda text: [int(x) for x in text.split('.')[:3] if x.isdigit()]
  if numbers(jax.__version__) < numbers(oldest):
    raise ImportError(f'JAX {jax.__version__} is too old ({works}): pip '
                      f"install -U 'jax>={oldest}'")
  return jax


def load_compiler(jax: types.ModuleType) -> types.ModuleType:
  """Returns its compiler, which has no public name. Raises ImportError."""
  try:
    from jax._src.lib import xla_client  # As above.
    assert xla_client.DeviceList and xla_client.CompileOptions
  except (ImportError, AttributeError) as error:
    raise ImportError(
        f'JAX {jax.__version__} lacks what {TRIED} had ({error}): pip install '
        f"'jax=={TRIED}'") from None
  return xla_client


class Policy:
  """policy(obs, is_first) -> action; it remembers its own state."""

  def __init__(self, folder: str, name: str = 'policy_eval') -> None:
    jax = load_jax()
    xla_client = load_compiler(jax)
    jax.config.update('jax_enable_x64', True)  # Counters are int64.
    device, path = jax.devices()[0], pathlib.Path(folder)
    self._put = lambda x: jax.device_put(x, device)
    content = json.loads((path / 'program.json').read_text())
    self.content, self.spec = content, content['programs'][name]
    self.obs_space = content['obs_space']
    stored = np.load(path / 'state.npz', allow_pickle=False)
    self.variables = {key: self._put(stored[key] if key in stored.files else (
        np.zeros(*content['state'][key]))) for key in self.spec['reads']}
    self._run = device.client.compile_and_load(
        (path / f'{name}.stablehlo').read_text(),
        xla_client.DeviceList((device,)), xla_client.CompileOptions())
    self.values = dict(self.spec['defaults'])
    for key, shape, dtype in self.spec['inputs']:
      self.values.setdefault(key, np.zeros(shape, dtype))

  def __call__(self, obs: dict, is_first: bool) -> np.ndarray:
    """Action [A]; obs: arrays by name, see Environment.observe."""
    seen = {**obs, 'is_first': is_first}
    missing = [key for key in self.obs_space if key not in seen]
    if missing:
      raise KeyError(f'no observation {missing[0]}; given: {", ".join(obs)}')
    self.values.update({f'obs/{key}': x for key, x in seen.items()})
    # All environments that the policy acts for see this one.
    args = [self._put(np.broadcast_to(
        np.asarray(self.values[key], dtype), shape))
            for key, shape, dtype in self.spec['inputs']]
    args += [self.variables[key] for key in self.spec['reads']]
    results = [x[0] for x in self._run.execute_sharded(
        args).disassemble_into_single_device_arrays()]
    names = [key for key, *_ in self.spec['outputs']]
    self.variables.update(zip(
        self.spec['writes'], results[len(names):], strict=True))
    state = dict(zip(names, map(np.asarray, results), strict=False))
    self.values.update({f'state/{key}': x for key, x in state.items()})
    return state['action'][0]


def play(policy: Policy, env: Any, steps: int) -> float:
  """The return of one episode in an environment of gymnasium's form."""
  environment: Any = importlib.import_module('environment')  # beside this file
  mapping = environment.Environment(policy.content)
  renders = policy.content['environment']['image'] == 'render'
  obs, _ = env.reset()
  total, over, action = 0.0, False, None
  for step in range(steps):
    if step % mapping.repeat == 0:  # An action lasts so many steps.
      frame = env.render() if renders else None
      action = policy(mapping.observe(obs, frame), is_first=step == 0)
    obs, reward, terminated, truncated, _ = env.step(mapping.action(action))
    total, over = total + float(reward), terminated or truncated
    if over:
      break
  return total


if __name__ == '__main__':
  folder = (sys.argv[1:] or [str(pathlib.Path(__file__).parent)])[0]
  try:
    policy = Policy(folder)
  except ImportError as e:
    sys.exit(f'error: {e}')
  except (OSError, ValueError, KeyError) as e:
    sys.exit(f'error: {folder}: nothing that ./run.sh export wrote: {e}')
  rng = np.random.default_rng(0)
  for step in range(10):
    example = {key: rng.integers(0, 255, shape).astype(dtype)
               for key, (shape, dtype) in policy.obs_space.items()}
    action = policy(example, is_first=step == 0)
    if policy.content['environment']:
      from environment import Environment  # As in `play`.
      action = Environment(policy.content).action(action)
    print(step, action)
