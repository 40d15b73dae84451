"""Exported agents on any device that JAX knows, without TensorFlow.

    python -m dreamer.export.jax_agent time DIR [--updates 20]
    python -m dreamer.export.jax_agent train DIR --logdir RUN [--key value ...]

DIR is what `dreamer.export` wrote. JAX is no requirement of this
project: install it beside it. `JaxAgent` has the interface of the agents, so
the same loop, replay, environments, logs and checkpoints train it.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shlex
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dreamer import cli, npz
from dreamer.config import agents
from dreamer.config.schema import Config, Schema
from dreamer.envs.spaces import ActionSpace
from dreamer.errors import UserError
from dreamer.export import act, fits, jax_timing, manifest
from dreamer.export.stablehlo import STATE, STEPS
from dreamer.replay.stored import Stored
from dreamer.run.protocols import ObsSpace
from dreamer.scalars import Scalars

OLDEST = '0.7.1'  # JAX whose public interfaces suffice
STABLEHLO = '1.9.0'  # the version that programs are handed over in
PARALLEL = ('parallel: true needs TensorFlow in the process that acts, and '
            'exported programs run without; use false')


class Program:
  """One compiled function; variables go in and come out as device arrays.

  code: StableHLO, as text. spec: its entry in program.json. shapes: of all
  variables, name to shape and dtype.
  """

  def __init__(self, device: Any, code: str, spec: Mapping[str, Any],
               shapes: Mapping[str, Any]) -> None:
    import jax  # Optional; only this class needs it.
    self.device, self.spec = device, spec
    self._put = lambda x: jax.device_put(x, device)
    values = lambda items, names: [
        *(rest for _, *rest in items), *(shapes[name] for name in names)]
    kept = len(spec['inputs'])  # Variables that are written give way.
    self._run = jax.jit(
        _function(code, values(spec['inputs'], spec['reads']),
                  values(spec['outputs'], spec['writes'])),
        donate_argnums=[kept + spec['reads'].index(name)
                        for name in spec['writes']])

  def __call__(self, inputs: Mapping[str, np.ndarray],
               state: dict[str, Any]) -> dict[str, Any]:
    """Outputs by name, on the device; the state's entries are replaced."""
    args = [self._input(inputs[name], shape, dtype)
            for name, shape, dtype in self.spec['inputs']]
    args += [state[name] for name in self.spec['reads']]
    results, outputs = self._run(*args), self.spec['outputs']
    state.update(zip(self.spec['writes'], results[len(outputs):], strict=True))
    return {name: x for (name, *_), x in zip(
        outputs, results[:len(outputs)], strict=True)}

  def _input(self, value, shape, dtype):
    if not hasattr(value, 'devices'):  # Of NumPy; others are on the device.
      value = np.asarray(value, dtype).reshape(shape)
    return self._put(value)


def _function(code, inputs, outputs):
  """StableHLO as a function of JAX, by what it takes and gives.

  inputs, outputs: [(shape, dtype)]. An exported function of the same
  interface, whose program is exchanged, is the public way in.
  """
  import jax.numpy as jnp  # As above.
  from jax import export, jit
  from jax.extend import mlir
  zeros = lambda *args: [jnp.zeros(*x) for x in outputs]
  like = export.export(jit(zeros, keep_unused=True))(
      *(jnp.zeros(*x) for x in inputs))
  return dataclasses.replace(
      like, mlir_module_serialized=mlir.serialize_portable_artifact(
          code, STABLEHLO)).call


class JaxAgent:
  """The programs in a folder behind the calls that the agents have."""

  compiled = True
  acted = ()

  @property
  def computes(self) -> str:
    return f'computes on {self.device.device_kind} by JAX'

  def __init__(self, folder: str | pathlib.Path, programs: Any = STEPS,
               random: bool = False) -> None:
    """Compiles some of the programs; random: other weights, to time only."""
    jax = load_jax()
    jax.config.update('jax_enable_x64', True)  # Counters are int64.
    folder = pathlib.Path(folder).expanduser()
    self.content = manifest.read(folder)
    self.device = jax.devices()[0]
    self.batch_keys = tuple(self.content['batch_keys'])
    self.obs_keys = tuple(self.content['obs_keys'])
    self.learns_ends = bool(self.content['learns_ends'])
    self.stored = {key: Stored(tuple(shape), dtype, onehot) for key, (
        shape, dtype, onehot) in self.content['stored'].items()}
    self._fresh: dict[str, Any] = {}
    self._put = lambda x: jax.device_put(x, self.device)
    self._state: dict[str, Any] = {}
    self.restore(self._first_state(None if random else folder / STATE))
    self.programs = {
        name: Program(
            self.device, (folder / f'{name}.stablehlo').read_text('utf-8'),
            self.content['programs'][name], self.content['state'])
        for name in programs}

  def _first_state(self, path):
    """The exported state, or random weights of the same shapes."""
    rng = np.random.default_rng(0)
    state = {key: np.zeros(shape, dtype)
             for key, (shape, dtype) in self.content['state'].items()}
    if path is not None and not path.exists():
      raise UserError(f'{path}: is missing; export again, or, to time only, '
                      'take other weights by --random')
    if path is None:
      return {key: np.asarray(rng.normal(0, 0.02, x.shape), x.dtype) if (
          key.endswith('kernel') and not key.startswith('opt/')) else x
              for key, x in state.items()}
    return {**state, **npz.read(path)}

  def put(self, batch: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """What `train` reads of a batch, on the device."""
    return {key: self._put(batch[key]) for key in self.batch_keys}

  def train(self, batch: Mapping[str, Any], env_steps: int = 0) -> Scalars:
    """One update; metrics by name, on the device."""
    import jax.numpy as jnp  # As in Program.
    out = self._call('train', {'batch': batch, 'env_steps': env_steps})
    self._updates += 1
    self._fresh = {key: out[f'refreshed/{key}'] for key in self.stored}
    return Scalars(self.content['metrics'], out['output'], jnp.stack)

  def refreshed(self) -> dict[str, Any]:
    """Of the last update: new `stored` arrays, [B, T, ...] by name."""
    return self._fresh

  def policy(self, obs: Mapping[str, np.ndarray],
             state: dict[str, np.ndarray] | None = None, mode: str = 'train',
             env_steps: int = 0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Actions [n, A] and the next state, as those of the agents.

    n: at most the rows of the export; the state has all of these.
    """
    name, amount = f'policy_{mode}', len(obs['is_first'])
    if state is None:
      state = self.initial_state(name)
    del env_steps  # No schedule of exploration is exported.
    if rest := self.content['rows'] - amount:
      obs = {key: np.concatenate([x, np.zeros((rest, *x.shape[1:]), x.dtype)])
             for key, x in obs.items()}
    out = self._call(name, {'state': state, 'obs': obs})
    out = {key: np.asarray(x) for key, x in out.items()}
    return out['action'][:amount], out

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
    return self._updates

  def state(self) -> dict[str, np.ndarray]:
    """Copies of all variables by name."""
    return {key: np.array(x) for key, x in self._state.items()}

  def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
    self._state = {key: self._put(x) for key, x in arrays.items()}
    self._updates = int(arrays['counter/updates'])

  def only_act(self) -> None:
    raise UserError(PARALLEL)

  def acting_state(self) -> dict[str, np.ndarray]:
    raise UserError(PARALLEL)

  def take(self, arrays: Mapping[str, np.ndarray]) -> None:
    raise UserError(PARALLEL)

  def _call(self, name, values):
    program = self.programs[name]
    flat = {**program.spec['defaults'], **_flatten(values)}
    missing = [x for x, *_ in program.spec['inputs'] if x not in flat]
    if missing:
      raise UserError(f'{name}: no value for {", ".join(missing)}')
    return program(flat, self._state)


def load_jax() -> Any:
  """Returns jax. Raises UserError that says which versions work."""
  try:
    return act.load_jax(OLDEST)
  except ImportError as error:
    raise UserError(str(error)) from None


def _flatten(nested, prefix=''):
  flat = {}
  for key, value in nested.items():
    if isinstance(value, Mapping):
      flat.update(_flatten(value, f'{prefix}{key}/'))
    else:
      flat[f'{prefix}{key}'] = value
  return flat


# Commands


def main(argv: list[str] | None = None) -> None:
  """Times the programs of a folder, or trains with them."""
  parser = cli.Parser(prog='python -m dreamer.export.jax_agent',
                      description=__doc__.split('\n')[0])
  parser.add_argument('command', choices=('time', 'train'))
  parser.add_argument('folder', metavar='DIR')
  parser.add_argument('--updates', type=int, default=20,
                      help='time: so many (20)')
  parser.add_argument('--random', action='store_true',
                      help='time: random weights, without state.npz')
  args, rest = parser.parse_known_args(argv)
  if args.updates < 1:
    raise UserError(f'--updates: {args.updates} is not allowed; allowed: 1..')
  if args.command == 'train':
    train(pathlib.Path(args.folder), rest)
  elif rest:
    raise UserError(f'{rest[0]}: unknown; see --help')
  else:
    folder = pathlib.Path(args.folder)
    agent = lambda: JaxAgent(folder, ('train', 'policy_train'), args.random)
    print(json.dumps(jax_timing.measure(agent, args.updates)))


def train(folder: pathlib.Path, argv: list[str]) -> None:
  """Trains, or continues, in the config's logdir as the agents are trained."""
  from dreamer.envs import make_envs  # Not needed to time or to act.
  from dreamer.run import training  # As above.
  again = ['python', '-m', 'dreamer.export.jax_agent', 'train', str(folder)]
  agent = Exported(folder)
  training.main(agent, make_envs, agent.settings(argv),
                again=shlex.join([*again, *argv]))


class Exported:
  """What a run is told of an agent, for that of a folder."""

  def __init__(self, folder: pathlib.Path) -> None:
    self.folder, self._content = folder, manifest.read(folder)
    self.name = self.module = self._content['agent']
    self._agent = agents.find(self.name)
    self.replay = self._agent.replay

  def schema(self) -> Schema:
    return self._agent.schema()

  def settings(self, argv: Sequence[str] = ()) -> list[str]:
    """Those of the exported run as a command line, and more after them.

    Raises UserError for presets, which its settings would undo.
    """
    if any(x.split('=')[0] == '--configs' for x in argv):
      raise UserError('--configs: an exported agent has the presets of its '
                      'export; export again with others')
    presets = self._content.get('presets', ())
    return [*(['--configs', *presets] if presets else []),
            *(f'--{key}={value}'
              for key, value in self._content['config'].items()
              if key != 'logdir'), *argv]

  def validate(self, config: Config) -> None:
    """Raises UserError for settings that can't be, or that don't fit."""
    load_jax()
    self._agent.validate(config)
    check(config)
    self.fits(config)

  def fits(self, config: Config) -> None:
    """Raises UserError for settings that the programs don't have."""
    compiled = self.schema().parse(self.settings(), self.name).flat
    fits.check(config, compiled, self.folder, self._content['rows'])

  def make_agent(self, config: Config, obs_space: ObsSpace,
                 act_space: ActionSpace) -> JaxAgent:
    del config  # Its settings are compiled.
    return _fitting(self.folder, obs_space, act_space)


def check(config: Config) -> None:
  """Raises UserError for what exported programs can't do."""
  if config.parallel:
    raise UserError(PARALLEL)
  expl = config.get('expl', {})  # Not every agent explores by keys.
  if expl.get('schedule', 'constant') != 'constant':
    raise UserError(f'expl.schedule: {expl.schedule} is computed outside of '
                    'the exported programs; use constant')
  if expl.get('until', 0):
    raise UserError(f'expl.until: {expl.until} would change who acts, and the '
                    'exported policy is one; use 0')


def _fitting(folder, obs_space, act_space):
  """The agent of a folder, if it fits the run."""
  agent = JaxAgent(folder, ('train', 'policy_train', 'policy_eval'))
  ours = {key: [list(x.shape), str(np.dtype(x.dtype))]
          for key, x in obs_space.items()}
  theirs = agent.content['obs_space']
  if ours != theirs or [
      act_space.kind, act_space.dim] != agent.content['act_space']:
    raise UserError(f'{folder}: was exported for observations {theirs} and '
                    f'actions {agent.content["act_space"]}, not for this task')
  return agent


if __name__ == '__main__':
  cli.guard(main, sys.argv[1:])
