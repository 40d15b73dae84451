"""Tiny DreamerV2 agents, batches and observations for tests."""

import functools

import numpy as np

import dreamerv2
from dreamer.envs.spaces import ActionSpace, Space
from tests.support import agent_tools

ROWS, LENGTH, ACTIONS = agent_tools.ROWS, agent_tools.LENGTH, 3
HORIZON = 3
DETER, STOCH, CLASSES = 8, 3, 5

SIZES = {**agent_tools.SIZES, 'rssm.stoch': STOCH, 'rssm.classes': CLASSES}

SPACES = {'image': Space((64, 64, 1), 'uint8'), 'speed': Space((2,), 'float32'),
          'angle': Space((3,), 'float32')}


schema = functools.cache(dreamerv2.schema)  # reading YAML takes its time


def make_config(presets=(), **overrides):
  return schema().config([*presets, 'debug'], {**SIZES, **overrides})


def make_agent(kind='discrete', presets=(), noise=None, spaces=None,
               **overrides):
  """An Agent of the presets in debug size, with dotted overrides."""
  from dreamerv2 import variants  # TensorFlow with it.
  config = make_config(presets, **overrides)
  return variants.make_agent(
      config, spaces or SPACES, ActionSpace(kind, ACTIONS), noise)


def make_batch(kind='discrete', seed=0, rows=ROWS, length=LENGTH, spaces=None):
  """A replay batch of random content, with one terminal."""
  rng = np.random.default_rng(seed)
  lead = rows, length
  batch = {'action': agent_tools.make_actions(rng, kind, lead),
           'reward': 2 * rng.normal(size=lead).astype(np.float32),
           'is_first': np.zeros(lead, bool),
           'is_terminal': np.zeros(lead, bool)}
  batch['is_first'][:, 0] = True
  batch['is_terminal'][0, -1] = True
  return {**batch, **agent_tools.make_inputs(rng, lead, spaces or SPACES)}


def make_obs(rows=3, seed=0, first=False, spaces=None):
  rng = np.random.default_rng(seed)
  return {**agent_tools.make_inputs(rng, [rows], spaces or SPACES),
          'is_first': np.full(rows, first)}


def act(agent, env_steps=1000):
  """Actions of a fresh agent."""
  return {f'act/{mode}': agent.policy(make_obs(), None, mode, env_steps)[0]
          for mode in ('train', 'eval')}
