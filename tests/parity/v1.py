"""Runs the DreamerV1 agent on a parity case of either of its releases."""

import contextlib
import types
from unittest import mock

import numpy as np
import tensorflow as tf

from dreamer.envs.spaces import ActionSpace, Space
from dreamer.errors import UserError
from dreamer.nn import dists
from dreamerv1 import variants
from dreamerv1.checks import validate
from tests.parity import cases as parity_cases
from tests.parity import keys_v1 as parity_keys
from tests.parity.names import theirs
from tests.support import agent_running
from tests.support.agent_noise import FixedNoise
from tests.support.agent_running import eagerly

# Names in expected.npz of what the agent's metrics hold.
METRICS = {'model/kl': 'metric/kl_raw', 'model/prior_ent': 'metric/prior_ent',
           'model/post_ent': 'metric/post_ent',
           'actor/replay_entropy': 'metric/action_ent',
           'grad_norm/decoder': 'grad_norm/image',
           'grad_norm/discount': 'grad_norm/pcont',
           'grad_norm/critic': 'grad_norm/value',
           'loss/discount': 'loss/pcont', 'loss/critic': 'loss/value'}

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
  absent = parity_cases.load_parameters(parameters(agent), case, path)
  batch, mask = read_batch(path / 'batch.npz')
  expected = _expected(path, absent)
  if 'cem' in case:
    expected.update(_plans(path))
  start = agent.state()
  compare = lambda: _compare(agent, batch, mask, case, path, expected, eager)
  comparison = compare()
  ties = [] if comparison.ok else _ties(agent, start, batch)
  for name, shift, note in ties:
    agent.restore({**start, name: start[name] + shift})
    other = compare()
    if other.ok:
      other.notes.append(note)
      return other
  return comparison


def _compare(agent, batch, mask, case, path, expected, eager):
  arrays = train(agent, batch, mask, case, path, eager)
  lrs = {theirs('dreamerv1', name): opt.lr
         for opt in agent.optimizers.values() for name in opt.params}
  return parity_cases.Comparison(expected, arrays, case['steps'], lrs)


def train(agent, batch, mask, case, path, eager=False):
  """All arrays: step 0 with tensors and gradients, then the other steps."""
  start, scaled = agent.state(), 'loss_scales' in case
  with eagerly(eager), masked_rewards(mask):
    update = agent_running.update(agent, batch)
    arrays = {**first_step(update),
              **named(agent, update.scalars, 'step0', scaled)}
    moved = agent.state()
    agent.restore(start)  # the weights that the states are from
    arrays.update(predictions(agent, arrays))
    if 'cem' in case:
      arrays.update(plan(agent, path, arrays))
    agent.restore(moved)
    for step in range(1, case['steps']):
      metrics = {key: x.numpy() for key, x in agent.train(batch).items()}
      arrays.update(named(agent, metrics, f'step{step}', scaled))
  arrays.update({f'param/{key}': value.numpy()
                 for key, value in parameters(agent).items()})
  return arrays


def parameters(agent):
  """The agent's parameters by their names in the cases."""
  return {theirs('dreamerv1', key): value
          for key, value in agent.parameters.items()}


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
  for layer in agent.model.encoder.conv.layers:
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
  spaces = ({'image': Space(tuple(case['image']), 'uint8')},
            ActionSpace(space['type'], space['dim']))
  validate(config)
  validate(config, spaces)
  return variants.make_agent(config, *spaces, noise or FixedNoise())


def read_batch(path):
  """The replay batch under our keys, as tensors, and a mask or None.

  TF1 can leave out rewards, where the mask is 0.
  """
  batch = parity_cases.read_npz(path)
  discount = batch.pop('pcont' if 'pcont' in batch else 'discount')
  batch['is_terminal'] = discount == 0
  mask = batch.pop('reward_mask', None)
  return agent_running.tensors(batch), mask


@contextlib.contextmanager
def masked_rewards(mask):
  """Leaves out rewards where the mask [B, T, 1] is 0."""
  right = dists.unit_normal_log_prob

  def masked(target, mean, event_dims):
    value = right(target, mean, event_dims)
    here = event_dims == 0 and value.shape == mask.shape[:2]
    return value * mask[..., 0] if here else value

  with contextlib.ExitStack() as stack:
    if mask is not None:
      stack.enter_context(
          mock.patch.object(dists, 'unit_normal_log_prob', masked))
    yield


def first_step(update):
  """Tensors and gradients of the first update."""
  arrays = {f'grad/{theirs("dreamerv1", key)}': grad
            for group in update.gradients.values()
            for key, grad in group.items()}
  return {**arrays, **agent_running.flat(update.tensors)}


def predictions(agent, arrays):
  """What the heads predict for states, and the value that ends returns."""
  model, feat = agent.model, tf.constant(arrays['tensor/feat'])
  found = {'tensor/reward_pred': model.reward(feat).numpy()}
  if model.decoder.images:
    found['tensor/recon'] = model.decoder.image_means(feat)['image'].numpy()
  if agent.config.discount_head.enabled:
    found['tensor/pcont_pred'] = tf.sigmoid(model.discount(feat)).numpy()
  if 'tensor/imag_value' in arrays:
    last = {'last': -1, 'second_last': -2}[agent.config.bootstrap]
    found['tensor/bootstrap'] = arrays['tensor/imag_value'][last]
  return found


def named(agent, metrics, prefix, scaled):
  """Metrics of one update under the names of expected.npz.

  The discount's loss is scaled there, and TF1's (`scaled`) of the KL; its
  objectives are not.
  """
  metrics = {METRICS.get(key, key): value for key, value in metrics.items()}
  for name, (sign, ours) in OBJECTIVES.items():
    if f'loss/{ours}' in metrics:
      metrics[f'objective/{name}'] = sign * metrics[f'loss/{ours}']
  config = agent.config
  if 'loss/pcont' in metrics:
    metrics['loss/pcont'] = metrics['loss/pcont'] * config.discount_head.scale
  if scaled:
    metrics['loss/kl'] = metrics['loss/kl'] * config.kl.scale
  return {f'{prefix}/{key}': value for key, value in metrics.items()}
