"""Builds the release's graph on one batch, and runs its train steps."""
import os
import sys
import tempfile
import types

import numpy as np
import tensorflow as tf
from rules import rule_parameter
from tf1 import names

from dreamer import tools, training
from dreamer.scripts import configs


def configuration(spec):
  """The release's configuration from its presets and the case's overrides.

  The task is its dummy; whose environment nothing here asks for.
  """
  params = tools.AttrDict(
      dict(spec['overrides'], tasks=['dummy'], logdir=''), _unlocked=True)
  return configs.make_config(params)


def graph(config, batch):
  """Builds all that the release trains on this batch."""
  trainer = types.SimpleNamespace(
      step=tf.constant(0), global_step=tf.constant(0),
      phase=tf.constant('train'), log=tf.constant(False))
  metrics = types.SimpleNamespace(
      set_tags=lambda **kwargs: tf.no_op(), flush=tf.no_op)
  with config.unlocked:
    config.train_collects = tools.AttrDict()  # no new episodes
  summaries = sys.modules['dreamer.training.define_summaries']
  before = summaries.define_summaries
  summaries.define_summaries = lambda *args: (
      tf.constant(''), tf.zeros((0,), tf.float32))
  try:
    with tf.variable_scope('graph', use_resource=True):
      data = config.preprocess_fn(_data(config, batch))
      training.define_model('', metrics, data, trainer, config)
  finally:
    summaries.define_summaries = before


def _data(config, batch):
  """Tensors [B, T, ...]: each row read from a file by the release's reader."""
  rows = []
  with tempfile.TemporaryDirectory() as folder:
    for index in range(len(batch['reward'])):
      path = os.path.join(folder, f'{index}.npz')
      np.savez(path, **{key: value[index] for key, value in batch.items()})
      rows.append(config.data_reader(path))
  return {key: tf.constant(np.stack([row[key] for row in rows]))
          for key in rows[0]}


def variables():
  """Every parameter by its name in the cases."""
  found = {names.parameter(v): v for v in tf.global_variables()}
  found.pop(None, None)
  return dict(sorted(found.items()))


def session(parameters):
  """A session in which every parameter has its value by the rule."""
  made = tf.Session()
  made.run(tf.global_variables_initializer())
  for name, variable in parameters.items():
    variable.load(rule_parameter(name, variable.shape.as_list()), made)
  return made


def plain_step(made, notes):
  """One train step as the release runs it, with its race."""
  made.run([group['update'] for group in notes.groups])


def train_step(made, notes):
  """One train step; returns what was noted, and the gradients by group.

  Two runs, since the release's own step has a race: its updates don't wait
  for the gradients of the other groups. First all gradients are computed,
  then each group's update gets the values of its own.
  """
  gradients = [[grad for grad, _ in group['gradients']]
               for group in notes.groups]
  fetched = made.run(dict(
      tensors=notes.tensors, scalars=notes.scalars, gradients=gradients))
  feed = {}
  for tensors, values in zip(gradients, fetched['gradients']):
    feed.update(zip(tensors, values))
  made.run([group['update'] for group in notes.groups], feed)
  return fetched
