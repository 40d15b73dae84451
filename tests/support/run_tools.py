"""Runs of agents, real ones and a fake, and what they leave behind."""

import functools
import json
import pathlib
import signal

import numpy as np

import dreamerv1
from dreamer.envs import make_envs
from dreamer.run import training
from dreamer.run.resume import checkpoints
from dreamer.run.stop import Stop, Stopped
from tests.support.fakes import MODULE, FakeAgent

# Mid-episode saves (100 steps an episode), 3 updates for 20 env steps.
SETTINGS = {
    'steps': 480, 'prefill': 200, 'train_every': 20, 'train_updates': 3,
    'save_every': 130, 'log_every': 50, 'eval_every': 150, 'video_every': 0}


class StopAt(Stop):
  """Somebody asks to stop at a certain check."""

  def __init__(self, checks):
    super().__init__()
    self.checks = checks

  def check(self):
    self.checks -= 1
    if self.checks == 0:
      raise Stopped(signal.SIGINT)


def run_fake(config, stop=None, make=make_envs, name='fake', **agent):
  """Trains a FakeAgent; returns its events."""
  events = []
  agent = functools.partial(FakeAgent, events=events, **agent)
  training.train(config, name, agent, make, stop or Stop(), MODULE)
  return events


def saved(config):
  """The newest checkpoint, but for the clock in the names of episodes."""
  arrays, meta = checkpoints(config.logdir).load()
  arrays['replay/names'] = np.array(
      [x.split(b'-', 1)[1] for x in arrays['replay/names']])
  return arrays, meta


# What depends on the clock, on what was read from disk, and on checkpoints.
VARYING = ('time', 'cpu', 'fps', 'replay/disk_reads', 'replay/memory_gb',
           'replay/stored_gb')


def metrics(config):
  """The lines of metrics.jsonl, but for what may vary."""
  text = (pathlib.Path(config.logdir) / 'metrics.jsonl').read_text()
  rows = [json.loads(line) for line in text.splitlines()]
  return [{k: v for k, v in row.items() if k not in VARYING} for row in rows]


def run_agent(logdir, task, agent=dreamerv1, **overrides):
  """Trains to the end; returns the last checkpoint's arrays."""
  config = agent.configure(['debug'], **{
      **SETTINGS, 'logdir': str(logdir), 'task': task, **overrides})
  with Stop() as stop:
    training.train(config, agent.entry.name, agent.make_agent, make_envs, stop)
  return checkpoints(logdir).load()


def assert_same_bits(first, second):
  """The same arrays to the bit, but for wall-clock file names."""
  (first, one), (second, two) = first, second
  assert one['updates'] == two['updates']
  assert first.keys() == second.keys()
  differ = [key for key in first if 'names' not in key
            and not np.array_equal(first[key], second[key])]
  assert not differ
