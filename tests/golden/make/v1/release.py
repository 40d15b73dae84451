"""Sets the release's agent up, and runs its train steps."""
import pathlib
import tempfile
import types

import gym
import numpy as np
import tensorflow as tf
from rules import rule_parameter

import dreamer

MODULES = {
    'encode': '_encode', 'dynamics': '_dynamics', 'decode': '_decode',
    'reward': '_reward', 'pcont': '_pcont', 'value': '_value',
    'actor': '_actor'}
OPTIMIZERS = ('_model_opt', '_value_opt', '_actor_opt')
# Of the release's configuration: about the machine, not about the agent.
MACHINE = ('logdir',)


def configuration(spec):
  """The release's defaults, and the case's overrides."""
  config = dreamer.define_config()
  unknown = set(spec['overrides']) - set(config)
  assert not unknown, unknown
  config.update(spec['overrides'], log_images=False)
  config.logdir = pathlib.Path(tempfile.mkdtemp())
  return config


def agent(spec, config, batch):
  """An agent whose variables exist and have their values by the rule.

  The release runs a train step while it is set up, which is no part of a
  case: what that step left is overwritten.
  """
  dreamer.load_dataset = lambda folder, config: _dataset(config, batch)
  made = dreamer.Dreamer(
      config, config.logdir / 'episodes', _action_space(*spec['action']),
      writer=None)
  for name, variable in parameters(made).items():
    variable.assign(rule_parameter(name, variable.shape))
  for name in OPTIMIZERS:
    for variable in getattr(made, name)._opt.variables():
      variable.assign(tf.zeros_like(variable))
  return made


def _dataset(config, batch):
  data = dreamer.preprocess(tensors(batch), config)
  return tf.data.Dataset.from_tensors(data).repeat()


def tensors(batch):
  return {key: tf.convert_to_tensor(value) for key, value in batch.items()}


def _action_space(kind, size):
  if kind == 'discrete':
    return types.SimpleNamespace(n=size)
  return gym.spaces.Box(-1, 1, (size,), dtype=np.float32)


def parameters(made):
  """Every parameter by its name in the cases: the path of its layer."""
  found = {}
  for name, attribute in MODULES.items():
    module = getattr(made, attribute, None)
    layers = dict(getattr(module, '_modules', {}))
    if name == 'dynamics':
      layers['gru'] = module._cell
    for layer, value in layers.items():
      for kind in ('kernel', 'recurrent_kernel', 'bias'):
        if hasattr(value, kind):
          found[f'{name}/{layer}/{kind}'] = getattr(value, kind)
  return found


def train_steps(made, spec, config, batch):
  """Runs the train steps on one batch; yields the release's own metrics."""
  data = dreamer.preprocess(tensors(batch), config)
  for _ in range(spec['steps']):
    for metric in made._metrics.values():
      metric.reset_states()
    made.train(data, False)
    yield {k: np.float32(v.result()) for k, v in made._metrics.items()}
