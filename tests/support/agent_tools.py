"""Tiny DreamerV1 agents, batches and observations for tests."""

import numpy as np

import dreamerv1
from dreamer.envs.spaces import ActionSpace, Space

ROWS, LENGTH, ACTIONS = 2, 4, 3

SIZES = {'batch_size': ROWS, 'batch_length': LENGTH, 'horizon': 3,
         'encoder.depth': 2, 'decoder.depth': 2, 'rssm.deter': 8,
         'rssm.hidden': 6, 'rssm.stoch': 4}


def make_config(presets=(), **overrides):
  return dreamerv1.configure([*presets, 'debug'], **{**SIZES, **overrides})


def make_agent(kind='continuous', presets=(), noise=None, **overrides):
  """An Agent of the presets in debug size, with dotted overrides."""
  from dreamerv1.agent import Agent
  config = make_config(presets, **overrides)
  return Agent(config, {'image': Space((64, 64, 3), np.uint8)},
               ActionSpace(kind, ACTIONS), noise)


def make_batch(kind='continuous', seed=0, rows=ROWS, length=LENGTH):
  """A replay batch of random content, with one terminal."""
  rng = np.random.default_rng(seed)
  action = rng.uniform(-1, 1, (rows, length, ACTIONS)).astype(np.float32)
  if kind == 'discrete':
    action = np.eye(ACTIONS, dtype=np.float32)[action.argmax(-1)]
  discount = np.ones((rows, length), np.float32)
  discount[0, -1] = 0
  return {'image': rng.integers(0, 256, (rows, length, 64, 64, 3), np.uint8),
          'action': action, 'discount': discount,
          'reward': 2 * rng.normal(size=(rows, length)).astype(np.float32)}


def make_obs(rows=3, seed=0, first=False):
  rng = np.random.default_rng(seed)
  return {'image': rng.integers(0, 256, (rows, 64, 64, 3), np.uint8),
          'is_first': np.full(rows, first)}


def act(agent):
  """Actions of a fresh agent, after 1000 environment steps, 50000 updates."""
  agent.counters['updates'].assign(50000)
  return {f'act/{mode}': agent.policy(make_obs(), None, mode, 1000)[0]
          for mode in ('train', 'eval')}


def learn(agent, batch, noise=None):
  """What one update on the batch computes, by name, as arrays.

  init/ and step/: parameters before and after; loss/, grad/, tensor/ and
  scale/ (loss scales) of the update.
  """
  import tensorflow as tf

  from dreamer.nn.noise import Noise
  batch = {key: tf.convert_to_tensor(x) for key, x in batch.items()}
  noise = noise or Noise('test', 0)
  out = {f'init/{k}': v.numpy() for k, v in agent.parameters.items()}
  losses, grads, tensors = agent.losses(
      agent.model.preprocess(batch, noise), noise)
  out.update({f'loss/{k}': v.numpy() for k, v in losses.items()})
  out.update(_tensors(tensors))
  for group, grad in grads.items():
    out.update({f'grad/{k}': v.numpy() for k, v in grad.items()})
    agent.optimizers[group].apply(grad)
    out[f'scale/{group}'] = agent.optimizers[group].loss_scale.numpy()
  out.update({f'step/{k}': v.numpy() for k, v in agent.parameters.items()})
  return out


def _tensors(tensors):
  out = {}
  for key, value in tensors.items():
    parts = value if isinstance(value, dict) else {'': value}
    out.update({f'tensor/{key}/{k}'.rstrip('/'): v.numpy()
                for k, v in parts.items()})
  return out
