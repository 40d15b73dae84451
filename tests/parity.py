"""Compares the agents with what the released code computed, array by array.

  python -m tests.parity CASE [CASE ...]

A case is a folder (case.json, batch.npz, expected.npz) or the JSON file of a
function, in the form that tests/golden/README.md describes, at any place. The
agent that the case describes is built, gets the parameters of the rule, runs
the train steps with deterministic sampling, and every array of expected.npz
is compared. Exit status 0: all within tolerance and nothing left out.
"""

import json
import pathlib
import sys
import zlib

import numpy as np

from common.config import Schema
from common.config import UserError

# Worst relative error that a correct float32 implementation meets.
TOLERANCE = {'loss': 1e-4, 'metric': 1e-4, 'tensor': 1e-4, 'norm': 1e-4,
             'grad': 1e-3, 'param': 0.02, 'function': 1e-5}

KEEP, DROP = object(), object()


def main(argv=None):
  argv = sys.argv[1:] if argv is None else argv
  if not argv or argv[0] in ('-h', '--help'):
    print(__doc__.strip())
    return 0 if argv else 2
  failed = 0
  for path in argv:
    try:
      failed += not report(path, run_case(path))
    except UserError as error:
      print(f'{path}: error: {error}', file=sys.stderr)
      failed += 1
  print(f'{len(argv) - failed} of {len(argv)} cases pass')
  return 1 if failed else 0


def run_case(path):
  """Runs one case; returns a Comparison."""
  path = pathlib.Path(path)
  if path.suffix == '.json':
    case = _read_json(path)
  else:
    case = _read_json(path / 'case.json')
  if 'function' in case:
    from tests import parity_functions
    return parity_functions.run(path, case)
  reference = str(case.get('reference', '')).split('@')[0]
  if reference not in REFERENCES:
    raise UserError(
        f'reference: {reference or "missing"}; known: {", ".join(REFERENCES)}')
  return run_v1(path, case, *REFERENCES[reference])


def report(path, comparison):
  """Prints the worst error per kind of array; returns whether all is well."""
  bad = [x for x in comparison.rows if not x[1] <= x[3]]
  print(f'{path}: {"FAIL" if bad or comparison.missing else "ok"}, '
        f'{len(comparison.rows)} arrays compared')
  kinds = dict.fromkeys(row[0] for row in comparison.rows)
  for kind in kinds:
    rows = [row for row in comparison.rows if row[0] == kind]
    worst = max(rows, key=lambda x: np.nan_to_num(x[1] / x[3], nan=np.inf))
    print(f'  {kind:<8} worst {worst[1]:.1e} (allowed {worst[3]:.0e}) '
          f'{worst[2]}')
  for _, error, name, allowed in bad:
    print(f'  over: {name} {error:.2e} > {allowed:.0e}')
  for name in comparison.missing:
    print(f'  not compared: {name}')
  return not (bad or comparison.missing)


class Comparison:
  """Collects (kind, relative error, name, allowed) for each array."""

  def __init__(self, expected, arrays, steps=1, lrs=None):
    self.expected, self.arrays = expected, arrays
    self.steps, self.lrs = steps, lrs or {}
    self.rows, self.missing = [], []
    for name in expected:
      self._compare(name)

  def _compare(self, name):
    base, _, form = name.rpartition('.')
    if form not in ('stats', 'head'):
      base, form = name, ''
    if base not in self.arrays:
      self.missing.append(name)
      return
    kind = self._kind(name)
    ours = np.asarray(self.arrays[base], np.float64)
    theirs = np.asarray(self.expected[name], np.float64)
    if form == '' and ours.shape != theirs.shape:
      error = np.inf
    elif kind == 'param':
      error = self._param_error(base, form, ours, theirs)
    else:
      error = self._error(base, form, ours, theirs, kind)
    self.rows.append((kind, float(error), name, TOLERANCE[kind]))

  def _kind(self, name):
    top = name.split('/')[0]
    if top.startswith('step'):
      top = name.split('/')[1]
    return {'grad_norm': 'norm', 'objective': 'loss'}.get(top, top)

  def _error(self, base, form, ours, theirs, kind):
    """Largest difference relative to the array's own scale."""
    if form == 'stats':
      scale = np.array([np.abs(theirs[3:]).max()] * 5)
      scale[2] = theirs[2]
      return (np.abs(stats(ours) - theirs) / _nonzero(scale)).max()
    if form == 'head':
      given = self.expected[f'{base}.stats']
      scale = np.abs(np.asarray(given, np.float64)[3:]).max()
      return np.abs(ours.ravel()[:16] - theirs).max() / _nonzero(scale)
    if kind == 'grad':
      norm = np.linalg.norm(theirs)
      return np.linalg.norm(ours - theirs) / _nonzero(norm)
    return np.abs(ours - theirs).max() / _nonzero(np.abs(theirs).max())

  def _param_error(self, base, form, ours, theirs):
    """Differences as shares of N * lr; 1 % of the elements may exceed."""
    unit = self.steps * self.lrs[base.removeprefix('param/')]
    if form == 'stats':
      scale = np.array([unit] * 5)
      scale[2] = unit * np.sqrt(ours.size)
      return (np.abs(stats(ours) - theirs) / scale)[:3].max()
    ours = ours.ravel()[:16] if form == 'head' else ours
    return np.quantile(np.abs(ours - theirs) / unit, 0.99, method='lower')


def stats(x):
  """[mean, std, l2 norm, min, max] of an array."""
  return np.array([
      x.mean(), x.std(), np.sqrt((x ** 2).sum()), x.min(), x.max()])


def _nonzero(scale):
  return np.maximum(scale, 1e-12)


def rule_parameter(name, shape):
  """The rule-made value of the variable `name`."""
  rng = np.random.RandomState(zlib.crc32(name.encode()) & 0x7fffffff)
  value = rng.randn(*shape)
  if name.endswith('/gamma'):
    return (1 + 0.02 * value).astype(np.float32)
  if len(shape) >= 2 and not name.endswith('/bias'):
    return (value / np.sqrt(np.prod(shape[:-1]))).astype(np.float32)
  return (0.02 * value).astype(np.float32)


# Reference key -> our keys with the value as KEEP takes it, a function of the
# value to overrides, or DROP: no effect on a train step, or no effect at all
# in the reference (the reason beside it).

SAMPLING = {  # the schedule and the data, not the train step
    'seed': DROP, 'steps': DROP, 'eval_every': DROP, 'log_every': DROP,
    'log_scalars': DROP, 'log_images': DROP, 'gpu_growth': DROP,
    'task': DROP, 'envs': DROP, 'parallel': DROP, 'logdir': DROP,
    'prefill': DROP, 'time_limit': DROP, 'action_repeat': DROP,
    'train_every': DROP, 'train_steps': DROP, 'pretrain': DROP}

TF2_KEYS = {
    **SAMPLING,
    'precision': lambda x: {'precision': f'float{x}'},
    'eval_noise': 'expl.eval_amount',
    'clip_rewards': 'reward_transform',
    'deter_size': lambda x: {'rssm.deter': x, 'rssm.hidden': x},
    'stoch_size': 'rssm.stoch',
    'num_units': lambda x: _heads('units', x),
    'dense_act': lambda x: _heads('act', x),
    'cnn_act': lambda x: {'encoder.act': x, 'decoder.act': x},
    'cnn_depth': lambda x: {'encoder.depth': x, 'decoder.depth': x},
    'pcont': lambda x: {'pcont.mode': 'model' if x else 'off'},
    'free_nats': 'kl.free_nats',
    'kl_scale': 'kl.scale',
    'pcont_scale': 'pcont.scale',
    'weight_decay': DROP,  # computes the decayed value, never assigns it
    'weight_decay_pattern': DROP,
    'batch_size': 'batch_size',
    'batch_length': 'batch_length',
    'model_lr': 'model_opt.lr',
    'value_lr': 'value_opt.lr',
    'actor_lr': 'actor_opt.lr',
    'grad_clip': lambda x: {
        f'{group}_opt.clip': x for group in ('model', 'value', 'actor')},
    'dataset_balance': lambda x: {
        'replay.starts': 'balanced' if x else 'exclusive'},
    'discount': 'discount',
    'disclam': 'lambda',
    'horizon': 'horizon',
    'action_dist': lambda x: {},  # checked against the action space
    'action_init_std': 'actor.init_std',
    'expl': lambda x: {'expl.kind': {
        'additive_gaussian': 'gaussian', 'epsilon_greedy': 'epsilon',
        'completely_random': 'random'}[x]},
    'expl_amount': 'expl.amount',
    'expl_decay': lambda x: {
        'expl.decay': int(x), 'expl.schedule': 'half_life'},
    'expl_min': 'expl.min',
}



REFERENCES = {'danijar/dreamer': ('released', TF2_KEYS)}


def _heads(key, value):
  return {f'{head}.{key}': value
          for head in ('reward', 'pcont', 'value', 'actor')}


def make_config(case, preset, keys):
  """Our config for the reference's keys in case.json."""
  overrides = {'image_noise': False}
  for key, value in {**case['config'], **case['overrides']}.items():
    if key not in keys:
      raise UserError(f'config key {key}: {value!r} has no mapping; add it '
                      'to tests/parity.py')
    rule = keys[key]
    if rule is DROP:
      continue
    overrides.update(rule(value) if callable(rule) else {rule: value})
  return Schema.load('configs/dreamerv1.yaml').config([preset], overrides)


def run_v1(path, case, preset, keys):
  """DreamerV1 against one case of the TF2 release."""
  import tensorflow as tf
  from common import noise as noise_lib
  from common.envs.spaces import ActionSpace
  from common.envs.spaces import Space
  from dreamerv1.agent import Agent
  config = make_config(case, preset, keys)
  space = case['action_space']
  agent = Agent(
      config, {'image': Space(tuple(case['image']), np.uint8)},
      ActionSpace(space['type'], space['dim']), noise_lib.FixedNoise())
  load_parameters(agent.parameters, case['param_shapes'])
  batch = _read_npz(path / 'batch.npz')
  arrays = first_step(agent, batch, tf.function(agent.losses))
  for step in range(case['steps']):
    arrays.update(train_step(agent, batch, f'step{step}'))
  arrays.update({f'param/{key}': value.numpy()
                 for key, value in agent.parameters.items()})
  lrs = {name: opt.lr for opt in agent.optimizers.values()
         for name in opt.params}
  return Comparison(
      _read_npz(path / 'expected.npz'), arrays, case['steps'], lrs)


def load_parameters(parameters, shapes):
  """Assigns the rule's values; names and shapes must agree exactly."""
  ours = {key: tuple(value.shape) for key, value in parameters.items()}
  theirs = {key: tuple(value) for key, value in shapes.items()}
  for key in sorted(set(ours) | set(theirs)):
    if ours.get(key) != theirs.get(key):
      raise UserError(f'parameter {key}: shape {ours.get(key)} here, '
                      f'{theirs.get(key)} in the case')
  for key, value in parameters.items():
    value.assign(rule_parameter(key, value.shape))


def first_step(agent, batch, losses):
  """Tensors and gradients before the first update."""
  data = agent.model.preprocess(batch, agent.fixed_noise)
  _, grads, tensors = losses(data, agent.fixed_noise)
  arrays = {f'grad/{key}': grad.numpy() for group in grads.values()
            for key, grad in group.items()}
  for key, value in tensors.items():
    if isinstance(value, dict):
      arrays.update({f'tensor/{key}/{k}': v.numpy() for k, v in value.items()})
    else:
      arrays[f'tensor/{key}'] = value.numpy()
  return arrays


METRICS = {'model/kl': 'metric/kl_raw', 'model/prior_ent': 'metric/prior_ent',
           'model/post_ent': 'metric/post_ent',
           'actor/entropy': 'metric/action_ent'}


def train_step(agent, batch, prefix):
  """Metrics of one update under the names of expected.npz."""
  metrics = agent.train(batch)
  return {f'{prefix}/{METRICS.get(key, key)}': value.numpy()
          for key, value in metrics.items()}


def _read_json(path):
  try:
    return json.loads(path.read_text())
  except OSError as error:
    raise UserError(f'{path}: {error.strerror}; give a case folder') from error
  except ValueError as error:
    raise UserError(f'{path}: not JSON ({error})') from error


def _read_npz(path):
  try:
    with np.load(path, allow_pickle=False) as data:
      return {key: data[key] for key in data.files}
  except (OSError, ValueError) as error:
    raise UserError(f'{path}: {error}') from error


if __name__ == '__main__':
  sys.exit(main())
