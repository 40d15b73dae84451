"""Train and policy steps as StableHLO, for machines without TensorFlow.

    python -m dreamer.export dreamerv1 --out DIR [--configs ...] [--key V]
    python -m dreamer.export dreamerv1 --out DIR --logdir runs/walker

The first form writes an agent as it is before training, the second one the
trained agent of a run. DIR then holds

    program.json      config, spaces, and of each program the names, shapes and
                      dtypes of what goes in and comes out; of an environment
                      of a user's what becomes of its observations and actions
    *.stablehlo       train, policy_train, policy_eval, report: the compiled
                      functions, as text
    state.npz         weights, moments, counters by name, but those all nought
    act.py            an example; environment.py, resize.py: what it needs to
                      act in an environment of a user's

A program takes its inputs and then the variables that it reads; it returns its
outputs and then the new values of the variables that it writes. So state can
stay on the device. `dreamer.export.jax_agent` runs such a folder with JAX, and
`act.py` needs nothing else.
"""

from __future__ import annotations

import argparse
import hashlib
import inspect
import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from dreamer import cli, locks, npz
from dreamer.config import agents
from dreamer.envs import resize
from dreamer.envs.spaces import ActionSpace, Space
from dreamer.errors import UserError
from dreamer.export import manifest, trained
from dreamer.files import atomic_write
from dreamer.run import arguments, env_identity

STATE = 'state.npz'
HERE = pathlib.Path(__file__).parent
COPIES = (
    HERE / 'act.py', HERE / 'environment.py', pathlib.Path(resize.__file__))
STEPS = ('train', 'policy_train', 'policy_eval', 'report')


def main(argv: list[str] | None = None) -> None:
  """Writes the programs of an agent; prints one line for each."""
  args, rest = _parser().parse_known_args(argv)
  if args.envs is not None and args.envs < 1:
    raise UserError(f'--envs: {args.envs} is not allowed; allowed: 1..')
  entry = agents.find(args.agent)
  out = pathlib.Path(arguments.folder(args.out, '--out'))
  arrays = recorded = None
  if args.logdir is not None:
    if rest:
      raise UserError(
          f'{rest[0]}: the run in {args.logdir} has its settings already')
    config, arrays, recorded = trained.load(args.logdir, entry)
  else:
    config = entry.schema().parse(rest, f'{_PROG} {args.agent}')
    entry.validate(config)
  check_out(out)
  try:
    out.mkdir(parents=True, exist_ok=True)
  except OSError as e:
    raise UserError(f'--out: can not create {out}: {e.strerror}') from None
  with locks.alone(out):
    sizes = export(entry, config, out, arrays, args.envs, recorded)
  print(f'acts for {args.envs or config.envs.amount} environment(s) at once')
  for name, size in sizes.items():
    print(f'{out / name}: {size / 2 ** 20:.1f} MiB')


def check_out(out: pathlib.Path) -> None:
  """Raises UserError where files would be replaced that are no export's.

  Of the example and what it needs also where they were changed since.
  """
  before = _exported(out)
  names = [manifest.FILE, STATE, *(f'{x}.stablehlo' for x in STEPS)] * (
      before is None)
  names += [x.name for x in COPIES if _digest(out / x.name) not in (
      None, _digest(x), (before or {}).get('copies', {}).get(x.name))]
  for name in names:
    if (out / name).exists():
      what = 'of no export' if before is None else 'changed since its export'
      raise UserError(f'--out: {out / name} is there already, and {what}; '
                      'name another folder, or move it away')


def _exported(out):
  """What program.json of an earlier export says; None: it is none."""
  try:
    content = json.loads((out / manifest.FILE).read_text(encoding='utf-8'))
    return content if {'agent', 'programs', 'state'} <= set(content) else None
  except (OSError, ValueError, TypeError):
    return None


def _digest(path):
  try:
    return hashlib.sha256(path.read_bytes()).hexdigest()
  except OSError:
    return None


def export(entry: agents.Entry, config: Any, out: pathlib.Path,
           arrays: Mapping[str, np.ndarray] | None = None,
           rows: int | None = None,
           recorded: dict | None = None) -> dict[str, int]:
  """Writes an agent's programs and state into the folder `out`.

  Args:
    entry: of the agent.
    config: its Config; `task` is made once for its spaces, unless they are
      recorded.
    out: A folder; files of these names in it are replaced.
    arrays: State of a checkpoint, by name; None: as initialised.
    rows: Environments that the policy programs act for; None: envs.amount.
    recorded: What a run knows of its environment; see env_identity.read.

  Returns:
    Bytes by file name.
  """
  rows = rows or config.envs.amount
  obs_space, act_space, mapping = _recorded(recorded) if recorded else (
      _made(config))
  agent = entry.make_agent(config, obs_space, act_space)
  if arrays is not None:
    agent.restore(arrays)
  programs, sizes = {}, {}
  for name, (function, args) in _calls(agent, obs_space, rows).items():
    code, programs[name] = _compile(function, args, agent.variables)
    sizes[f'{name}.stablehlo'] = len(code)
    with atomic_write(out / f'{name}.stablehlo', 'w') as file:
      file.write(code)
  state = agent.state()
  some = {key: x for key, x in state.items() if np.any(x)}
  npz.write(out / STATE, some)
  sizes[STATE] = sum(x.nbytes for x in some.values())
  content = {
      'agent': entry.name, 'presets': list(config.presets or ()),
      'config': config.flat,
      'obs_space': {key: [list(x.shape), str(np.dtype(x.dtype))]
                    for key, x in obs_space.items()},
      'act_space': [act_space.kind, act_space.dim], 'rows': rows,
      'environment': mapping,
      'parameters': sum(int(np.prod(x.shape)) for x in (
          agent.parameters.values())),
      'batch_keys': list(agent.batch_keys),
      'metrics': list(agent.metrics),
      'obs_keys': list(agent.obs_keys), 'learns_ends': agent.learns_ends,
      'stored': {key: [list(x.shape), x.dtype, x.onehot]
                 for key, x in agent.stored.items()},
      'state': {key: [list(x.shape), x.dtype.name] for key, x in (
          state.items())},
      'programs': programs, 'copies': {x.name: _digest(x) for x in COPIES}}
  with atomic_write(out / manifest.FILE, 'w') as file:
    json.dump(content, file, indent=1)
  for source in COPIES:
    with atomic_write(out / source.name, 'w') as file:
      file.write(source.read_text(encoding='utf-8'))
  return sizes


def _recorded(recorded):
  """Spaces and mapping of a run's environment."""
  obs = {name: Space.read(x) for name, x in recorded['obs'].items()}
  return obs, ActionSpace(*recorded['act']), recorded[env_identity.MAPPING]


def _made(config):
  """Spaces and mapping of the task's environment, which is closed again."""
  from dreamer.envs import make_envs  # Not before the arguments are right.
  env, = make_envs(config, 'train', 1)
  try:
    return env.obs_space, env.act_space, env.about()['mapping']
  finally:
    env.close()


def _calls(agent, obs_space, rows):
  """Dict of program name to (tf.function, its arguments), by calling each."""
  config, calls, kept = agent.config, {}, agent.state()
  batch = zero_batch(config, obs_space, agent)
  obs = {key: np.zeros((rows, *x.shape), x.dtype)
         for key, x in obs_space.items()}
  obs['is_first'] = np.ones(rows, bool)
  runs = {
      'train': ('_train', lambda: agent.train(batch, 0)),
      'policy_train': ('_policy', lambda: agent.policy(obs, None, 'train')),
      'policy_eval': ('_policy', lambda: agent.policy(obs, None, 'eval')),
      'report': ('_report', lambda: agent.report(batch))}
  for name, (attribute, run) in runs.items():
    function = getattr(agent, attribute)

    def record(*args, name=name, function=function):
      calls[name] = function, args
      return function(*args)

    setattr(agent, attribute, record)
    run()
    setattr(agent, attribute, function)
  agent.restore(kept)  # The calls have learned from noughts.
  return calls


def zero_batch(config: Any, obs_space: Mapping[str, Space],
               agent: Any) -> npz.Arrays:
  """Sequences [B, K + T, ...] of noughts that `train` and `report` take.

  Where the replay gives K rows of context, it gives what is stored of them.
  """
  context = int(config.flat.get('replay.context', 0))
  lead = config.batch_size, context + config.batch_length
  spaces = {
      **{key: (x.shape, x.dtype) for key, x in obs_space.items()},
      'action': ((agent.act_space.dim,), np.float32),
      'reward': ((), np.float32), 'discount': ((), np.float32),
      'is_first': ((), bool), 'is_last': ((), bool),
      'is_terminal': ((), bool)}
  found = {key: np.zeros((*lead, *shape), dtype)
           for key, (shape, dtype) in spaces.items()}
  found['consec'] = np.zeros(config.batch_size, np.int32)
  for key, about in agent.stored.items():
    found[f'stored/{key}'] = np.zeros(
        (config.batch_size, context, *about.shape), np.float32)
  return {key: found[key] for key in agent.batch_keys}


def _compile(function, args, variables):
  """StableHLO of a tf.function for these arguments, and its interface."""
  import tensorflow as tf  # Set up by make_agent, with the config's threads.
  python = function.python_function
  compiled = tf.function(python, autograph=False, jit_compile=True)
  concrete = compiled.get_concrete_function(*args)
  generate = compiled.experimental_get_compiler_ir(*args)
  aliases = _aliases(generate(stage='hlo'))
  names = {id(x.handle): key for key, x in variables.items()}
  state = [names[id(x)] for x in concrete.captured_inputs]
  inputs = _named_inputs(python, args)
  outputs = _named('', concrete.structured_outputs)
  writes = {output - len(outputs): state[param - len(inputs)]
            for output, param in aliases.items()}
  assert sorted(writes) == list(range(len(writes))), aliases
  given = {name: x for name, x in inputs if '/' not in name}
  return portable(generate(stage='stablehlo')), {
      'defaults': {name: x.numpy().item() for name, x in given.items()},
      'inputs': [[name, list(x.shape), x.dtype.name] for name, x in inputs],
      'reads': state, 'writes': [writes[i] for i in range(len(writes))],
      'outputs': [[name, list(x.shape), x.dtype.name] for name, x in outputs]}


def portable(text: str) -> str:
  """A program in words of StableHLO and CHLO, without places in files.

  Raises UserError for what only TensorFlow's XLA reads.
  """
  text = re.sub(r'mhlo\.copy (%\w+) : (tensor<[^>]*>)',
                r'stablehlo.convert \1 : (\2) -> \2', text)
  text = re.sub(r'mhlo\.erf (%\w+) : (tensor<[^>]*>)',
                r'chlo.erf \1 : \2 -> \2', text)
  text = re.sub(r' loc\((?:[^"()]|"[^"]*"|\((?:[^"()]|"[^"]*")*\))*\)', '',
                text)
  text = re.sub(r'^#loc.*\n', '', text, flags=re.MULTILINE)
  foreign = set(re.findall(r'= "?(mhlo\.\w+)"?[ (][%"]', text))
  if foreign:
    raise UserError(f'{", ".join(sorted(foreign))}: no other compiler reads '
                    'this operation; export other settings')
  return text


def _aliases(text):
  """{output: parameter} of the variables that a program writes."""
  return {int(a): int(b) for a, b in re.findall(
      r'\{(\d+)\}: \((\d+), \{\}', text.split('\n', 1)[0])}


def _named_inputs(python, args):
  """(name, tensor) of all tensors among the arguments, in their order."""
  names = inspect.signature(python).parameters
  return [pair for name, arg in zip(names, args, strict=True)
          for pair in _named(name, arg)]


def _named(name, nested):
  """(path, tensor) of nested dicts; other values than tensors are left out."""
  if isinstance(nested, Mapping):
    return [pair for key in sorted(nested)
            for pair in _named(f'{name}/{key}' if name else key, nested[key])]
  if isinstance(nested, tuple):  # what `train_step` returns
    metrics, fresh = nested
    return [*_named(name, metrics), *_named('refreshed', fresh)]
  if hasattr(nested, 'dtype') and hasattr(nested, 'shape'):
    return [(name or 'output', nested)]
  return []


_PROG = 'python -m dreamer.export'


def _parser():
  parser = cli.Parser(
      prog=_PROG, description=__doc__.split('\n')[0],
      formatter_class=argparse.RawDescriptionHelpFormatter, epilog=__doc__)
  parser.add_argument(
      'agent', metavar='AGENT', help=f'{", ".join(agents.known())}, or yours')
  parser.add_argument('--out', required=True, metavar='DIR')
  parser.add_argument('--logdir', help='a run whose trained agent is exported')
  parser.add_argument('--envs', type=int, metavar='N',
                      help='it acts for so many, at most (envs.amount)')
  return parser
