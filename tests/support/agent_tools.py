"""Tiny DreamerV1 agents, batches and observations for tests."""

import numpy as np

import dreamerv1
from dreamer.envs.spaces import ActionSpace, Space

ROWS, LENGTH, ACTIONS = 2, 4, 3

SIZES = {'batch_size': ROWS, 'batch_length': LENGTH, 'horizon': 3,
         'encoder.depth': 2, 'decoder.depth': 2, 'rssm.deter': 8,
         'rssm.hidden': 6, 'rssm.stoch': 4}

SPACES = {'image': Space((64, 64, 3), 'uint8')}


def make_config(presets=(), **overrides):
  schema = dreamerv1.schema()
  return schema.config([*presets, 'debug'], {**SIZES, **overrides})


def make_agent(kind='continuous', presets=(), noise=None, **overrides):
  """An Agent of the presets in debug size, with dotted overrides."""
  from dreamerv1 import variants  # TensorFlow with it.
  config = make_config(presets, **overrides)
  return variants.make_agent(
      config, SPACES, ActionSpace(kind, ACTIONS), noise)


def make_actions(rng, kind, lead):
  """Random actions [*lead, A]."""
  action = rng.uniform(-1, 1, (*lead, ACTIONS)).astype(np.float32)
  if kind == 'discrete':
    action = np.eye(ACTIONS, dtype=np.float32)[action.argmax(-1)]
  return action


def make_inputs(rng, lead, spaces=None):
  """Random observations [*lead, ...]."""
  return {key: (
      rng.integers(0, 256, (*lead, *space.shape), np.uint8)
      if space.dtype == 'uint8' else rng.normal(
          size=(*lead, *space.shape)).astype(np.float32))
          for key, space in (spaces or SPACES).items()}


def make_batch(kind='continuous', seed=0, rows=ROWS, length=LENGTH):
  """A replay batch of random content, with one terminal."""
  rng = np.random.default_rng(seed)
  lead = rows, length
  batch = {'action': make_actions(rng, kind, lead), **make_inputs(rng, lead)}
  batch['reward'] = 2 * rng.normal(size=lead).astype(np.float32)
  batch['is_terminal'] = np.zeros(lead, bool)
  batch['is_terminal'][0, -1] = True
  return batch


def make_obs(rows=3, seed=0, first=False):
  rng = np.random.default_rng(seed)
  return {**make_inputs(rng, [rows]), 'is_first': np.full(rows, first)}


def act(agent):
  """Actions of a fresh agent, after 1000 environment steps, 50000 updates."""
  agent.restore({**agent.state(), 'counter/updates': np.int64(50000)})
  return {f'act/{mode}': agent.policy(make_obs(), None, mode, 1000)[0]
          for mode in ('train', 'eval')}
