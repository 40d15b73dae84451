"""Parity of single functions: lambda return and exploration (DreamerV1)."""

import numpy as np
import tensorflow as tf

from dreamer.config.schema import Schema
from dreamer.envs.spaces import ActionSpace
from dreamer.errors import UserError
from dreamer.nn import returns
from dreamerv1 import variants
from dreamerv1.explore import Exploration
from tests.parity import cases as parity_cases
from tests.parity import keys_v1 as parity_keys
from tests.parity.references import REFERENCES


def run(path, case):
  """Runs the case of one function; returns a Comparison."""
  name = case.get('function', 'mpc_agent').split(' ')[0]
  if name not in FUNCTIONS:
    raise UserError(f'function: {name}; known: {", ".join(FUNCTIONS)}')
  expected, arrays = FUNCTIONS[name](path, case)
  comparison = parity_cases.Comparison()
  for key, value in expected.items():
    if key not in arrays:
      comparison.missing.append(key)
      continue
    value = np.asarray(value, np.float64)
    scale = parity_cases.nonzero(np.abs(value).max())
    error = np.abs(np.asarray(arrays[key], np.float64) - value).max() / scale
    comparison.add('function', key, error)
  return comparison


def lambda_return(path, case):
  """Returns for three lambdas, with time last, and their gradients."""
  data = parity_cases.read_npz(path / 'data.npz')
  names = 'reward', 'value', 'pcont', 'bootstrap'
  inputs = [tf.Variable(data[key]) for key in names]
  arrays = {}
  for text in ('0.0', '0.95', '1.0'):
    with tf.GradientTape() as tape:
      result = returns.lambda_return(*inputs, float(text))
      total = tf.reduce_sum(result)
    arrays[f'returns_lambda_{text}'] = result.numpy()
    for name, grad in zip(names, tape.gradient(total, inputs), strict=True):
      arrays[f'grad_sum_lambda_{text}/{name}'] = grad.numpy()
  flat = tf.fill(inputs[0].shape, 0.99)
  arrays['returns_axis1_lambda_0.9_pcont_0.99_noboot'] = tf.transpose(
      returns.lambda_return(inputs[0], inputs[1], flat,
                            tf.zeros_like(inputs[1][-1]), 0.9)).numpy()
  expected = {key: value for key, value in data.items() if key not in names}
  return expected, arrays


def exploration(path, case):
  """TF2: amount of exploration over environment steps, for each config."""
  reference = REFERENCES['danijar/dreamer']
  expected, arrays = {}, {}
  for index, row in enumerate(case['table']):
    config = parity_keys.make_config(reference, row['config'])
    name = f'{index}/amount'
    expected[name] = row['amount']
    explore = _exploration(config)
    arrays[name] = [explore.now('train', step, 0)[1] for step in row['steps']]
  return expected, arrays


def mpc_agent(path, case):
  """TF1: amount over training, and what becomes of the policy's actions."""
  expected, arrays = {}, {}
  for preset, modes in case['presets'].items():
    row = modes['train']
    name, values = f'{preset}/amount', row['values']
    explore = _exploration(_tf1_config(row))
    expected[name] = list(values.values())
    # 50 batch elements, TF1's unit, are one update.
    arrays[name] = [explore.now('train', 0, int(step) / 50)[1]
                    for step in values]
  for index, row in enumerate(case['mpc_agent']):
    name = f'{index}/action'
    expected[name] = row['action']
    arrays[name] = _tf1_action(row)
  return expected, arrays


def _tf1_config(row, presets=()):
  overrides = {
      'expl.kind': {'additive_normal': 'gaussian',
                    'epsilon_greedy': 'epsilon'}[row['type']],
      'expl.noise': row['scale'], 'expl.min': row['min']}
  if row['ramp']:
    overrides.update({'expl.schedule': 'relative',
                      'expl.decay_updates': max(1, -row['ramp'] // 50)})
  schema = Schema.load('configs/dreamerv1.yaml')
  return schema.config(['paper_code', *presets], overrides)


class _GivenNoise:
  """The draws that the case lists."""

  def __init__(self, row):
    self.row = row

  def normal(self, name, shape):
    return np.array(self.row['normal_eps'], np.float32)

  def uniform(self, name, shape):
    return np.array(self.row['uniform'], np.float32)[:, None]

  def gumbel(self, name, shape):
    return np.eye(shape[1], dtype=np.float32)[self.row['random_index']]


def _tf1_action(row):
  config = _tf1_config(row, ['debug'])
  action = np.array(row['policy_action'], np.float32)
  kind = 'continuous' if row['type'] == 'additive_normal' else 'discrete'
  explore = _exploration(config, ActionSpace(kind, action.shape[1]))
  mode, amount = explore.now('train', 0, row['trainer_step'] / 50)
  return explore(action, amount, _GivenNoise(row), mode).numpy()


def _exploration(config, space=None):
  return variants.choose(Exploration, config)(
      config, space or ActionSpace('continuous', 1))


FUNCTIONS = {'tools.lambda_return': lambda_return,
             'Dreamer._exploration': exploration,
             'mpc_agent': mpc_agent}
