"""Runs the DreamerV1 agent on a parity case of either of its releases."""

import contextlib
import types

import numpy as np
import tensorflow as tf

from dreamer.envs.spaces import ActionSpace, Space
from dreamer.errors import UserError
from dreamer.nn import noise as noise_lib
from dreamerv1.agent import Agent
from tests.parity import cases as parity_cases
from tests.parity import keys_v1 as parity_keys

# Names in expected.npz of what the agent's metrics hold.
METRICS = {'model/kl': 'metric/kl_raw', 'model/prior_ent': 'metric/prior_ent',
           'model/post_ent': 'metric/post_ent',
           'actor/entropy': 'metric/action_ent',
           'grad_norm/decode': 'grad_norm/image'}

# TF1's objectives before sign and scale: log probabilities and returns, which
# are maximised, or losses.
OBJECTIVES = {'action': (-1, 'actor'), 'image': (-1, 'image'),
              'reward': (-1, 'reward'), 'pcont': (-1, 'pcont'),
              'value': (1, 'value'), 'divergence': (1, 'kl'),
              'cpc': (-1, 'cpc')}


def run(path, case, reference, eager=False):
  """Trains on the case's batch; returns the Comparison.

  A ReLU whose input is 0 up to rounding may be on in one implementation and
  off in another. If a case fails and has such units, each is tried on its
  other side.
  """
  agent = make_agent(case, reference)
  absent = parity_cases.load_parameters(agent.parameters, case, path)
  batch = read_batch(path / 'batch.npz')
  expected = _expected(path, absent)
  if 'cem' in case:
    expected.update(_plans(path))
  start = agent.state()
  comparison = _compare(agent, batch, case, path, expected, eager)
  ties = [] if comparison.ok else _ties(agent, start, batch)
  for name, shift, note in ties:
    agent.restore({**start, name: start[name] + shift})
    other = _compare(agent, batch, case, path, expected, eager)
    if other.ok:
      other.notes.append(note)
      return other
  return comparison


def _compare(agent, batch, case, path, expected, eager):
  steps = case['steps']
  with eagerly(eager):
    arrays = first_step(agent, batch)
    arrays.update(plan(agent, path, arrays) if 'cem' in case else {})
    for step in range(steps):
      arrays.update(train_step(agent, batch, f'step{step}'))
      if 'loss_scales' in case:  # TF1's cases hold losses after scaling
        arrays[f'step{step}/loss/kl'] *= agent.config.kl.scale
  arrays.update({f'param/{key}': value.numpy()
                 for key, value in agent.parameters.items()})
  lrs = {name: opt.lr for opt in agent.optimizers.values()
         for name in opt.params}
  return parity_cases.Comparison(expected, arrays, steps, lrs)


def _plans(path):
  """What a planner case expects, as tensors."""
  return {f'tensor/cem/{key}': value for key, value in parity_cases.read_npz(
      path / 'cem.npz').items() if key not in ('normals', 'state/rnn_state')}


def plan(agent, path, arrays):
  """The planner's belief after each iteration, from the case's state.

  The state is that of row 0 at the last step; its arrays are ours.
  """
  normals = tf.constant(parity_cases.read_npz(path / 'cem.npz')['normals'])
  state = {key: tf.constant(arrays[f'tensor/post/{key}'][:1, -1])
           for key in ('mean', 'std', 'stoch', 'deter')}
  noise = types.SimpleNamespace(normal=lambda name, shape: (
      normals if name == 'plan_action' else tf.fill(shape, 0.5)))
  means, _ = agent.behaviour.plan(agent.model, state, noise)
  found = {f'mean_after/{i + 1}': x for i, x in enumerate(means.numpy())}
  found.update({f'state/{key}': x.numpy() for key, x in state.items()})
  found['plan'] = means[-1].numpy()
  return {f'tensor/cem/{key}': x for key, x in found.items()}


def _expected(path, absent):
  """The reference's arrays but those of parameters that don't exist here."""
  skip = {f'{kind}/{name}{form}' for kind in ('grad', 'param')
          for name in absent for form in ('', '.stats', '.head')}
  expected = parity_cases.read_npz(path / 'expected.npz')
  return {key: value for key, value in expected.items() if key not in skip}


def _ties(agent, start, batch):
  """Encoder units at 0 up to rounding: bias, shift that flips them, note."""
  agent.restore(start)
  x = agent.model.preprocess(batch, agent.fixed_noise)['image']
  x, found = tf.reshape(x, [-1, *x.shape[2:]]), []
  for layer in agent.model.encode.layers:
    linear = layer.map(tf.identity)
    linear.act = lambda x: x
    pre = linear(x).numpy()
    tiny = 2e-7 * np.abs(pre).max()
    for index in np.argwhere(np.abs(pre) < tiny)[:4]:
      value = pre[tuple(index)]
      shift = np.zeros(pre.shape[-1], np.float32)
      shift[index[-1]] = -2 * tiny if value > 0 else 2 * tiny
      found.append((f'{layer.name}/bias', shift,
                    f'{layer.name}: unit {index.tolist()} is {value:.0e}, '
                    'compared with it on the other side of 0'))
    x = layer(x)
  return found


def settings(case):
  """The case's whole configuration under the reference's keys."""
  extra = {key: case[key] for key in ('loss_scales', 'clip_rewards')
           if key in case}
  found = {**case['overrides'], **case['config'], **extra}
  # Presets first: single values overrule them.
  return dict(sorted(found.items(), key=lambda item: item[0] != 'defaults'))


def make_agent(case, reference, noise=None):
  """The Agent that a case describes, with deterministic sampling."""
  config = parity_keys.make_config(reference, settings(case))
  space = case['action_space']
  known = {'tanh_normal': 'continuous', 'onehot': 'discrete'}
  given = case['config'].get('action_dist')
  if given and known[given] != space['type']:
    raise UserError(f'action_dist: {given} for {space["type"]} actions')
  return Agent(
      config, {'image': Space(tuple(case['image']), np.uint8)},
      ActionSpace(space['type'], space['dim']),
      noise or noise_lib.FixedNoise())


def read_batch(path):
  """The replay batch under our keys, as tensors."""
  batch = parity_cases.read_npz(path)
  if 'pcont' in batch:
    batch['discount'] = batch.pop('pcont')
  if 'reward_mask' in batch:
    batch['reward_mask'] = batch['reward_mask'][..., 0]
  return {key: tf.convert_to_tensor(value) for key, value in batch.items()}


@contextlib.contextmanager
def eagerly(on=True):
  """Runs functions of TensorFlow op by op inside the context."""
  before = tf.config.functions_run_eagerly()
  tf.config.run_functions_eagerly(on)
  try:
    yield
  finally:
    tf.config.run_functions_eagerly(before)


def first_step(agent, batch):
  """Tensors and gradients before the first update."""
  data = agent.model.preprocess(batch, agent.fixed_noise)
  _, grads, tensors = agent.losses(data, agent.fixed_noise)
  arrays = {f'grad/{key}': grad.numpy() for group in grads.values()
            for key, grad in group.items()}
  for key, value in tensors.items():
    if isinstance(value, dict):
      arrays.update({f'tensor/{key}/{k}': v.numpy() for k, v in value.items()})
    else:
      arrays[f'tensor/{key}'] = value.numpy()
  return arrays


def train_step(agent, batch, prefix):
  """Metrics of one update under the names of expected.npz."""
  metrics = {METRICS.get(key, key): value.numpy()
             for key, value in agent.train(batch).items()}
  for theirs, (sign, ours) in OBJECTIVES.items():
    if f'loss/{ours}' in metrics:
      metrics[f'objective/{theirs}'] = sign * metrics[f'loss/{ours}']
  if 'objective/pcont' in metrics:
    metrics['objective/pcont'] /= agent.config.pcont.scale
  return {f'{prefix}/{key}': value for key, value in metrics.items()}
