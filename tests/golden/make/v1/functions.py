"""Single functions of the release, on the stored inputs."""
import types

import numpy as np
import tensorflow as tf
import tools

import dreamer


def lambda_return(data):
  """Lambda returns along either axis, and the gradients of their sum."""
  names = ('reward', 'value', 'pcont', 'bootstrap')
  inputs = [tf.constant(data[name]) for name in names]
  found = {}
  for lambda_ in (0.0, 0.95, 1.0):
    with tf.GradientTape() as tape:
      tape.watch(inputs)
      returns = tools.lambda_return(*inputs, lambda_=lambda_, axis=0)
      total = tf.reduce_sum(returns)
    found[f'returns_lambda_{lambda_}'] = returns
    if lambda_ == 0.95:
      for name, grad in zip(names, tape.gradient(total, inputs)):
        found[f'grad_sum_lambda_{lambda_}/{name}'] = grad
  turned = [tf.transpose(x) for x in inputs[:2]]
  found['returns_axis1_lambda_0.9_pcont_0.99_noboot'] = tools.lambda_return(
      *turned, pcont=0.99, bootstrap=None, lambda_=0.9, axis=1)
  return found


def exploration(data):
  """How much the release explores after how many environment steps."""
  table = [dict(row, amount=[
      _amount(row['config'], step, row['training']) for step in row['steps']])
      for row in data['table']]
  return dict(data, table=table)


def _amount(settings, step, training):
  """What the release notes as its metric, with an action of one element."""
  noted = []
  made = types.SimpleNamespace(
      _c=tools.AttrDict(settings), _step=tf.Variable(step, dtype=tf.int64),
      _float=tf.float32, _metrics={
          'expl_amount': types.SimpleNamespace(update_state=noted.append)})
  dreamer.Dreamer._exploration(made, tf.ones([1, 1]), training)
  return float(np.float32(noted[0]))


FUNCTIONS = {
    'v1_lambda_return': {'data.npz': lambda_return},
    'v1_exploration.json': {'v1_exploration.json': exploration},
}
