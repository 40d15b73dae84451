"""Parity of single functions: lambda return and exploration (DreamerV1)."""

import numpy as np

from common.config import Schema
from common.config import UserError
from tests import parity


def run(path, case):
  """Runs the case of one function; returns a Comparison."""
  name = case['function'].split(' ')[0]
  if name not in FUNCTIONS:
    raise UserError(f'function: {name}; known: {", ".join(FUNCTIONS)}')
  expected, arrays = FUNCTIONS[name](path, case)
  comparison = parity.Comparison({}, {})
  for key, value in expected.items():
    if key not in arrays:
      comparison.missing.append(key)
      continue
    scale = max(np.abs(value).max(), 1e-12)
    error = np.abs(np.asarray(arrays[key], np.float64) - value).max() / scale
    comparison.rows.append(
        ('function', float(error), key, parity.TOLERANCE['function']))
  return comparison


def lambda_return(path, case):
  """Returns for three lambdas, with time last, and their gradients."""
  import tensorflow as tf
  from common import returns
  data = parity._read_npz(path / 'data.npz')
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
  """Amount of exploration over environment steps, for each config."""
  from dreamerv1.agent import exploration_amount
  schema = Schema.load('configs/dreamerv1.yaml')
  expected, arrays = {}, {}
  for index, row in enumerate(case['table']):
    overrides = {}
    for key, value in row['config'].items():
      overrides.update(_apply(parity.TF2_KEYS[key], value))
    config = schema.config(['released'], overrides)
    name = f'{index}/amount'
    expected[name] = np.asarray(row['amount'])
    arrays[name] = [exploration_amount(config.expl, step, 0)
                    for step in row['steps']]
  return expected, arrays


def _apply(rule, value):
  return rule(value) if callable(rule) else {rule: value}


FUNCTIONS = {'tools.lambda_return': lambda_return,
             'Dreamer._exploration': exploration}
