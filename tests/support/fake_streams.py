"""A fake agent that stores its states in a replay of streams.

`python -m tests.support.fake_streams train --key value ...` trains it.
"""

import sys

import numpy as np

from dreamer import cli
from dreamer.config import yaml_files
from dreamer.config.schema import Schema
from dreamer.files import DATA
from dreamer.replay.stored import Stored
from dreamer.run import replays
from dreamer.run.interface import Interface
from tests.support.fakes import FakeAgent

MODULE = 'tests.support.fake_streams'
SCHEDULE = ('prefill', 'prefill_end', 'pretrain_updates', 'train_every',
            'train_updates')
REPLAY = {
    'capacity': '5000000 in 1..', 'online': True, 'context': '1 in 0..',
    'consec': '1 in 1..', 'count_resets': False, 'memory_gb': '0.5 > 0',
    'spare_gb': '0.0 in 0..'}


def schema():
  """That of DreamerV1, but for the replay and the schedule."""
  content, shared = yaml_files.parts(DATA / 'configs' / 'dreamerv1.yaml')
  defaults, debug = content['defaults'], content['presets']['debug']
  for key in (*SCHEDULE, 'reward_transform'):
    del defaults[key]
    debug.pop(key, None)
  defaults.update(replay=REPLAY, train_ratio='32.0 in -1..')
  debug.update(train_ratio=4)
  content['presets'] = {'debug': debug}
  return Schema(content, shared, DATA / 'configs' / 'dreamerv1.yaml')


def configure(**overrides):
  return schema().config(['debug'], {
      'task': 'dummy_continuous', 'envs.worker': 'inline', **overrides})


class StreamAgent(FakeAgent):
  """What it stores depends on its weights, and they on what was stored."""

  batch_keys = ('image', 'action', 'reward', 'is_first', 'is_last',
                'is_terminal', 'consec', 'stored/deter', 'stored/stoch')
  stored = {'deter': Stored((3,), 'bfloat16'),
            'stoch': Stored((2, 4), onehot=True)}

  def train(self, batch, env_steps=0):
    assert set(batch) == set(self.batch_keys)
    metrics = super().train(batch, env_steps)
    stored = batch['stored/deter'].sum() + batch['stored/stoch'].sum(
        (0, 1)).ravel() @ np.arange(8)
    self.weights += np.sin(stored + batch['is_last'].sum())
    rows = batch['reward'].shape[0], batch['reward'].shape[1] - 1
    phase = batch['reward'][:, 1:, None] + self.weights[0]
    self._refreshed = {
        'deter': np.cos(phase + np.arange(3)).astype(np.float32),
        'stoch': self._onehot(np.arange(rows[0] * rows[1]) * self.updates)
                 .reshape(*rows, 2, 4)}
    return metrics

  def refreshed(self):
    return self._refreshed

  def _onehot(self, numbers):
    return np.eye(4, dtype=np.float32)[
        np.stack([numbers % 4, numbers // 4 % 4], -1)]

  def policy(self, obs, state=None, mode='train', env_steps=0):
    action, state = super().policy(obs, state, mode, env_steps)
    memory = state['memory'][:, 0]
    return action, {
        **state, 'deter': np.sin(memory[:, None] + np.arange(
            3) + self.weights[0]).astype(np.float32),
        'stoch': self._onehot(memory.astype(int))}


class StreamInterface(Interface):

  def __init__(self, **options):
    super().__init__('fake', lambda: StreamAgent, lambda *args: None,
                     replays.streams)
    self.options = options
    self.module = MODULE

  def schema(self):
    return schema()

  def make_agent(self, config, obs_space, act_space):
    return StreamAgent(config, obs_space, act_space, **self.options)


if __name__ == '__main__':
  cli.guard(StreamInterface(seconds=0.01).main, sys.argv[1:])
