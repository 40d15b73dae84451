"""How much the release explores: schedules, presets, and acting itself."""
import contextlib
import types

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd
from tf1 import release

from dreamer import control, tools
from dreamer.tools import schedule as schedules


def exploration(data):
  """The tables of tf1_exploration.json from the settings in them."""
  presets = {name: _preset(name, row) for name, row in data['presets'].items()}
  return dict(
      data, presets=presets,
      schedules=[_schedule(row) for row in data['schedules']],
      mpc_agent=[_acting(row) for row in data['mpc_agent']])


def _schedule(row):
  settings = {k: v for k, v in row.items() if k not in ('fn', 'value')}
  return dict(row, value=_value(
      lambda: getattr(schedules, row['fn'])(**settings)))


def _value(build):
  """What a graph of its own computes, as a plain number."""
  with tf.Graph().as_default(), tf.Session() as session:
    return session.run(build()).item()


def _preset(name, row):
  """What a list of presets makes of collecting and of the losses."""
  config = release.configuration(
      dict(overrides=dict(defaults=name.split())))
  found = {}
  for mode in ('train', 'test'):
    (collect,) = config[mode + '_collects'].values()
    found[mode] = _collection(collect, row[mode]['values'])
  return dict(
      found, imagination_horizon=config.imagination_horizon,
      divergence_scale=config.loss_scales.divergence,
      optimizers=sorted(config.optimizers))


def _collection(collect, steps):
  noise, schedule = collect.exploration, collect.exploration.schedule._kwargs
  amount = lambda step: tf.cast(noise.scale, tf.float32) * noise.schedule(step)
  planner = collect.planner
  settings = {k: v for k, v in planner._kwargs.items() if k != 'config'}
  return dict(
      type=noise.type, scale=noise.scale, ramp=schedule['ramp'],
      min=schedule['min'], factors=noise.factors,
      planner=f'{planner._fn.__name__} {settings}',
      num_episodes=collect.num_episodes, num_steps=collect.num_steps,
      steps_after=collect.steps_after, steps_every=collect.steps_every,
      values={step: _value(lambda: amount(int(step)))  # noqa: B023
              for step in steps})


def _acting(row):
  """The action of one step of the release's agent, with given draws."""
  policy = np.float32(row['policy_action'])
  size = policy.shape[1]
  with tf.Graph().as_default(), tf.Session() as session, _given(row):
    envs = [None] * row['num_envs']
    agent = control.MPCAgent(
        _Envs(envs, size), tf.constant(row['trainer_step']), False, False,
        _settings(row, policy))
    session.run(tf.local_variables_initializer())
    action = agent.step(
        tf.range(len(envs)), {'image': tf.zeros([len(envs), 1])})
    action = session.run(action)
    kept = session.run(agent._prev_action)
  return dict(row, action=action.tolist(),
              remembered_prev_action_equals_action=bool((kept == action).all()))


class _Envs(list):

  def __init__(self, envs, size):
    list.__init__(self, envs)
    self.action_space = types.SimpleNamespace(shape=(size,))


class _Cell:
  """A model whose state says nothing: the planner knows its action."""

  def zero_state(self, size, dtype):
    return {'state': tf.zeros([size, 1], dtype, name='state')}

  def __call__(self, inputs, state):
    return None, state


def _settings(row, policy):
  ramp = tools.bind(schedules.linear, ramp=row['ramp'], min=row['min'])
  return types.SimpleNamespace(
      cell=_Cell(), preprocess_fn=lambda observ: observ,
      encoder=lambda observ: observ['image'], objective=None,
      planner=lambda *args: tf.constant(policy)[:, None],
      exploration=tools.AttrDict(dict(
          scale=row['scale'], type=row['type'], schedule=ramp, factors=[])))


@contextlib.contextmanager
def _given(row):
  """Draws of the release are those of the row."""
  normal = lambda self, n, seed=None: (
      self.loc + self.scale * tf.constant(np.float32(row['normal_eps'])))[None]
  index = lambda self, n, seed=None: tf.constant(row['random_index'])[None]
  uniform = lambda *args, **kwargs: tf.constant(np.float32(row['uniform']))
  replacements = {
      (tfd.Normal, '_sample_n'): normal,
      (tfd.Categorical, '_sample_n'): index,
      (tf.random, 'uniform'): uniform}
  before = {place: getattr(*place) for place in replacements}
  for (owner, name), sample in replacements.items():
    setattr(owner, name, sample)
  try:
    yield
  finally:
    for (owner, name), sample in before.items():
      setattr(owner, name, sample)


FUNCTIONS = {'tf1_exploration.json': {'tf1_exploration.json': exploration}}
