"""An agent of a few numbers, to test what is around agents.

`python -m tests.support.fakes train --key value ...` trains it.
"""

import math
import sys
import time

import numpy as np

import dreamerv1
from dreamer import cli
from dreamer.config import agents
from dreamer.run.interface import Interface

MODULE = 'tests.support.fakes'  # what `python -m` runs


class FakeAgent:
  """Its weights depend on every batch, its actions on weights and calls.

  events: list that takes what happens, as (what, updates so far).
  nan_from: the update from which on the loss is NaN; seconds: of an update.
  """

  batch_keys = 'image', 'action', 'reward', 'discount'
  obs_keys = 'image',
  acted = 'acts',
  learns_ends = True
  stored: dict = {}
  compiled = False
  computes = 'computes nothing'

  def __init__(self, config, obs_space, act_space, events=None,
               nan_from=math.inf, seconds=0):
    self.act_space = act_space
    self.events = [] if events is None else events
    self.nan_from = nan_from
    self.seconds = seconds
    self.weights = np.zeros(act_space.dim)
    self.calls = {'train': 0, 'eval': 0, 'report': 0}
    self.updates = 0

  def put(self, batch):
    return batch

  def train(self, batch, env_steps=0):
    self.events.append(('update', self.updates))
    time.sleep(self.seconds)
    signal = batch['image'].mean() / 255 + batch['action'].mean()
    self.weights = 0.9 * self.weights + np.cos(
        100 * signal + np.arange(len(self.weights)))
    self.updates += 1
    bad = self.updates >= self.nan_from
    return {'loss/model': math.nan if bad else signal, 'grad_norm/model': 1.0}

  def policy(self, obs, state=None, mode='train', env_steps=0):
    self.events.append((mode, self.updates))
    rows = len(obs['is_first'])
    state = state or {'memory': np.zeros((rows, 1), np.float32)}
    memory = state['memory'] * ~obs['is_first'][:, None] + 1
    self.calls[mode] += 1
    phase = self.weights + self.calls[mode] + memory
    return np.sin(phase).astype(np.float32), {'memory': memory}

  def report(self, batch):
    self.calls['report'] += 1
    return {'openloop': batch['image'][0]}

  def state(self):
    return {
        'weights': self.weights.copy(), 'updates': np.array(self.updates),
        'calls': np.array(list(self.calls.values()))}

  def restore(self, state):
    self.weights = state['weights'].copy()
    self.updates = int(state['updates'])
    self.calls = dict(zip(self.calls, state['calls'].tolist()))

  def only_act(self):
    self.train = None

  def acting_state(self):
    return {
        'weights': self.weights.copy(), 'updates': np.array(self.updates),
        'acts': np.array(self.calls['train'])}

  def take(self, arrays):
    self.weights = np.array(arrays.get('weights', self.weights))
    self.updates = int(arrays.get('updates', self.updates))
    self.calls['train'] = int(arrays.get('acts', self.calls['train']))


class FakeInterface(Interface):
  """As that of dreamerv1, with FakeAgents made by options of theirs."""

  def __init__(self, name='dreamerv1', **options):
    super().__init__(name, lambda: FakeAgent, dreamerv1.validate)
    self.options = options
    self.module = MODULE

  def schema(self):
    return agents.schema('dreamerv1')

  def make_agent(self, config, obs_space, act_space):
    return FakeAgent(config, obs_space, act_space, **self.options)


if __name__ == '__main__':
  # Updates of 50 ms, so that a signal comes in their middle.
  cli.guard(FakeInterface('fake', seconds=0.05).main, sys.argv[1:])
