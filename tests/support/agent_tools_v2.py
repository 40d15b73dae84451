"""Tiny DreamerV2 agents, batches and observations for tests."""

import contextlib
import functools
from unittest import mock

import numpy as np

import dreamerv2
from dreamer.envs.spaces import ActionSpace, Space

ROWS, LENGTH, ACTIONS, HORIZON = 2, 4, 3, 3
DETER, STOCH, CLASSES = 8, 3, 5

SIZES = {'batch_size': ROWS, 'batch_length': LENGTH, 'horizon': HORIZON,
         'encoder.depth': 2, 'decoder.depth': 2, 'rssm.deter': DETER,
         'rssm.hidden': 6, 'rssm.stoch': STOCH, 'rssm.classes': CLASSES}

SPACES = {'image': Space((64, 64, 1), 'uint8'), 'speed': Space((2,), 'float32'),
          'angle': Space((3,), 'float32')}


schema = functools.cache(dreamerv2.schema)  # reading YAML takes its time


def make_config(presets=(), **overrides):
  return schema().config([*presets, 'debug'], {**SIZES, **overrides})


def make_agent(kind='discrete', presets=(), noise=None, spaces=None,
               **overrides):
  """An Agent of the presets in debug size, with dotted overrides."""
  from dreamerv2.agent import Agent
  config = make_config(presets, **overrides)
  return Agent(config, spaces or SPACES, ActionSpace(kind, ACTIONS), noise)


def make_batch(kind='discrete', seed=0, rows=ROWS, length=LENGTH, spaces=None):
  """A replay batch of random content, with one terminal."""
  rng = np.random.default_rng(seed)
  lead = rows, length
  batch = {'action': make_actions(rng, kind, lead),
           'reward': 2 * rng.normal(size=lead).astype(np.float32),
           'is_first': np.zeros(lead, bool),
           'is_terminal': np.zeros(lead, bool)}
  batch['is_first'][:, 0] = True
  batch['is_terminal'][0, -1] = True
  return {**batch, **make_inputs(rng, lead, spaces)}


def make_actions(rng, kind, lead):
  action = rng.uniform(-1, 1, (*lead, ACTIONS)).astype(np.float32)
  if kind == 'discrete':
    action = np.eye(ACTIONS, dtype=np.float32)[action.argmax(-1)]
  return action


def make_inputs(rng, lead, spaces=None):
  return {key: (
      rng.integers(0, 256, (*lead, *space.shape), np.uint8)
      if space.dtype == 'uint8' else rng.normal(
          size=(*lead, *space.shape)).astype(np.float32))
          for key, space in (spaces or SPACES).items()}


def make_obs(rows=3, seed=0, first=False, spaces=None):
  rng = np.random.default_rng(seed)
  return {**make_inputs(rng, [rows], spaces),
          'is_first': np.full(rows, first)}


def tensors(batch):
  import tensorflow as tf
  return {key: tf.convert_to_tensor(value) for key, value in batch.items()}


def act(agent, env_steps=1000):
  """Actions of a fresh agent."""
  return {f'act/{mode}': agent.policy(make_obs(), None, mode, env_steps)[0]
          for mode in ('train', 'eval')}


def initial(agent):
  return {f'init/{k}': v.numpy() for k, v in agent.parameters.items()}


def learn(agent, batch, env_steps=0):
  """What one update on the batch computes, by name, as arrays.

  init/ and step/: parameters before and after; loss/, grad/, tensor/; scale/
  (loss scales) and norm/ (magnitudes of rewards) after the update.
  """
  import tensorflow as tf
  out = initial(agent)
  metrics, grads, found = agent.learn(
      tensors({key: batch[key] for key in agent.batch_keys}),
      tf.constant(env_steps, tf.int64))
  out.update({k: v.numpy() for k, v in metrics.items()
              if k.startswith('loss/')})
  out.update({f'grad/{k}': v.numpy() for k, v in grads.items()})
  out.update(_flat(found))
  out.update({f'scale/{k}': v.loss_scale.numpy()
              for k, v in agent.optimizers.items()})
  out.update({k: v.numpy() for k, v in agent.variables.items()
              if k.startswith('norm/')})
  out.update({f'step/{k}': v.numpy() for k, v in agent.parameters.items()})
  return out


def look(agent, batch, env_steps=0):
  """As `learn`, but nothing is differentiated and no optimiser moves.

  Cheaper by half; and behaviours learn in the first model, not in the updated
  one, so that what changes the model's update only shows there.
  """
  with no_updates():
    return learn(agent, batch, env_steps)


def optimise(agent):
  """opt/: parameters after one step on gradients of ones."""
  import tensorflow as tf
  for optimizer in agent.optimizers.values():
    optimizer.apply({key: tf.ones(x.shape)
                     for key, x in optimizer.params.items()})
  return {f'opt/{k}': v.numpy() for k, v in agent.parameters.items()}


@contextlib.contextmanager
def no_updates():
  from dreamer.nn import optim
  with mock.patch.object(optim.Adam, 'gradients', lambda *args: {}), \
       mock.patch.object(optim.Adam, 'apply', lambda *args: {}), \
       mock.patch.object(optim, 'gradient_tape', contextlib.nullcontext):
    yield


def _flat(found):
  out = {}
  for key, value in found.items():
    parts = value if isinstance(value, dict) else {'': value}
    out.update({f'tensor/{key}/{k}'.rstrip('/'): v.numpy()
                for k, v in parts.items()})
  return out
