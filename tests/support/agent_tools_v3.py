"""Tiny DreamerV3 agents, batches and observations for tests."""

import functools

import numpy as np

import dreamerv3
from dreamer.envs.spaces import ActionSpace, ActionSpaces, Space
from tests.support import agent_tools

ROWS, LENGTH, ACTIONS = agent_tools.ROWS, agent_tools.LENGTH, 3
DETER, STOCH, CLASSES = 8, 3, 4

SIZES = {
    'batch_size': ROWS, 'batch_length': LENGTH, 'horizon': 3,
    **{f'{name}.{key}': value for name in ('encoder', 'decoder')
       for key, value in (('depth', 2), ('multiples', '1,2,2'), ('units', 6),
                          ('layers', 1))},
    'decoder.blocks': 2, 'rssm.deter': DETER, 'rssm.hidden': 6,
    'rssm.stoch': STOCH, 'rssm.classes': CLASSES, 'rssm.blocks': 2,
    'opt.warmup': 0}

SPACES = {'image': Space((32, 32, 1), 'uint8', 0, 255),
          'speed': Space((2,), 'float32'), 'level': Space((), 'int32', 0, 4)}
BOTH = ActionSpaces((('turn', ActionSpace('continuous', 2)),
                     ('fire', ActionSpace('discrete', ACTIONS))))

schema = functools.cache(dreamerv3.schema)  # reading YAML takes its time


def make_config(presets=(), **overrides):
  return schema().config([*presets, 'debug'], {**SIZES, **overrides})


def act_space(kind):
  return BOTH if kind == 'mixed' else ActionSpace(kind, ACTIONS)


def make_agent(kind='discrete', presets=(), noise=None, spaces=None,
               **overrides):
  """An Agent of the presets in debug size, with dotted overrides."""
  from dreamerv3 import variants  # TensorFlow with it.
  config = make_config(presets, **overrides)
  return variants.make_agent(
      config, spaces or SPACES, act_space(kind), noise)


def make_inputs(rng, lead, spaces=None):
  """Random observations [*lead, ...]."""
  found = {}
  for key, space in (spaces or SPACES).items():
    shape = *lead, *space.shape
    if space.dtype == 'float32':
      found[key] = rng.normal(size=shape).astype(np.float32)
    else:
      found[key] = rng.integers(
          0, int(space.high) + 1, shape).astype(space.dtype)
  return found


def make_actions(rng, kind, lead):
  """Random actions [*lead, A]."""
  if kind != 'mixed':
    return agent_tools.make_actions(rng, kind, lead)
  return np.concatenate([
      agent_tools.make_actions(rng, 'discrete', lead),
      rng.uniform(-1, 1, (*lead, 2)).astype(np.float32)], -1)


def make_batch(kind='discrete', seed=0, rows=ROWS, length=LENGTH, spaces=None,
               context=1):
  """Rows of a replay of random content, with one terminal and one limit."""
  rng = np.random.default_rng(seed)
  lead = rows, context + length
  flags = {key: np.zeros(lead, bool)
           for key in ('is_first', 'is_last', 'is_terminal')}
  flags['is_first'][:, 0] = True
  flags['is_last'][0, -2] = flags['is_terminal'][0, -2] = True
  flags['is_first'][0, -1] = True
  flags['is_last'][1, -1] = True
  stoch = rng.integers(0, CLASSES, (rows, context, STOCH))
  return {
      **make_inputs(rng, lead, spaces), **flags,
      'action': make_actions(rng, kind, lead),
      'reward': 2 * rng.normal(size=lead).astype(np.float32),
      'consec': np.zeros(rows, np.int32),
      'stored/deter': np.tanh(rng.normal(
          size=(rows, context, DETER))).astype(np.float32),
      'stored/stoch': np.eye(CLASSES, dtype=np.float32)[stoch]}


def make_obs(rows=3, seed=0, first=False, spaces=None):
  rng = np.random.default_rng(seed)
  return {**make_inputs(rng, [rows], spaces), 'is_first': np.full(rows, first)}


def act(agent, env_steps=1000):
  """Actions of a fresh agent."""
  return {f'act/{mode}': agent.policy(make_obs(), None, mode, env_steps)[0]
          for mode in ('train', 'eval')}
