"""Rows whose elements tell where they are from, streams of them, and runs."""

import pathlib
import random
import signal
import subprocess
import time
import types

import numpy as np

from dreamer.replay.stored import Stored
from dreamer.replay.stream import Drawn, StreamReplay
from dreamer.run import replays, resume
from dreamer.run.checkpoint import below
from dreamer.run.driver import unfinished
from tests.support import ROOT

STORED = {'deter': Stored((2,)), 'stoch': Stored((3, 4), onehot=True)}


def row(number, first, last=False, terminal=False, led=0):
  """id tells the row; the action that led to it is `led`."""
  return {
      'id': np.array([number], np.int32), 'reward': np.float32(number),
      'image': np.full((2, 2, 3), number % 256, np.uint8),
      'is_first': np.bool_(first), 'is_last': np.bool_(last),
      'is_terminal': np.bool_(terminal), 'discount': np.float32(not terminal),
      'action': np.full(2, led, np.float32)}


def state_of(number):
  """What the agent stores with a row."""
  classes = [number % 4, number // 4 % 4, 0]
  classes = [number % 4, number // 4 % 4, 0]
  return {'deter': np.full(2, number, np.float32),
          'stoch': np.eye(4, dtype=np.float32)[classes]}


class Feeder:
  """Grows a stream by rows of episodes; id = 1000 * stream + row.

  The action chosen at a row is its id + .5.
  """

  def __init__(self, replay, stream=0, base=None):
    self.replay, self.stream = replay, stream
    self.base = 1000 * stream if base is None else base
    self.amount = 0
    self.rows = []

  def __call__(self, first, last=False, terminal=False):
    number = self.base + self.amount
    if first and self.rows:
      self.replay.cut(self.stream)
      self.rows = []
    led = number - 0.5 if self.rows else 0
    self.rows.append(row(number, first, last, terminal, led))
    self.amount += 1
    if last:
      self.replay.add({key: np.stack([x[key] for x in self.rows])
                       for key in self.rows[0]}, self.stream)
      self.rows = []
    else:
      self.replay.grow(
          self.stream, self.rows[-1], np.full(2, number + 0.5, np.float32),
          state_of(number))

  def unfinished(self):
    """As the driver's checkpoint has it: with a row that was not acted on."""
    number = self.base + self.amount
    rows = [*self.rows, row(number, False, led=number - 0.5)]
    return {key: np.stack([x[key] for x in rows]) for key in rows[0]}


def stored_rows(replay, stream, rows, name='deter'):
  """What is stored with rows of a stream, [N, ...]."""
  items = np.array([[stream, x] for x in rows])
  return replay.late(Drawn(items, 0, 1))[f'stored/{name}'][:, 0]


def make(folder, **options):
  return StreamReplay(folder, 0, **{
      'streams': 2, 'length': 4, 'stored': STORED, **options})


# Runs


def content(config, stored):
  """All that a run's checkpoint holds and refers to, wherever it lies.

  stored: of its agent.
  """
  arrays, meta = resume.checkpoints(config.logdir).load()
  state = below(arrays, 'replay/')
  replay = replays.streams(
      config.update({'replay.spare_gb': 1.0}),
      pathlib.Path(config.logdir, 'episodes'),
      types.SimpleNamespace(stored=stored),
      ({}, types.SimpleNamespace(dim=2)))
  replay.restore(state, unfinished(below(arrays, 'driver/')))
  streams = np.repeat(np.arange(len(state['rows'])), state['rows'])
  rows = np.concatenate([np.arange(x) for x in state['rows']])
  records, good = replay.records.read(replay.lanes.slots(streams, rows))
  found = {key: x for key, x in arrays.items() if key.split('/')[-1] not in (
      'slots', 'stale', 'names')}
  replay.close()
  return {**found, 'records': records[good], 'good': good,
          'updates': np.array(meta['updates'])}


def assert_same(one, two, stored):
  """Two runs have the same bits."""
  one, two = content(one, stored), content(two, stored)
  assert one.keys() == two.keys()
  differ = [k for k in one if not np.array_equal(one[k], two[k])]
  assert not differ


def newest(config):
  """The name of a run's last checkpoint."""
  folder = pathlib.Path(config.logdir, 'checkpoints')
  return max((x.name for x in folder.glob('*.npz')), default='')


def killed_on_its_way(argv, config, kills=4, wait=0.1, seconds=300):
  """Kills a run so often after new checkpoints, then lets it end.

  Each time at a random moment within `wait` seconds: the run has to be long
  enough not to end before the last one.
  """
  rng = random.Random(0)
  for _ in range(kills):
    process = subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.DEVNULL)
    before, ends = newest(config), time.monotonic() + seconds
    while process.poll() is None and newest(config) == before:
      assert time.monotonic() < ends
      time.sleep(0.01)
    time.sleep(rng.random() * wait)
    process.kill()
    assert process.wait() == -signal.SIGKILL
  subprocess.run(
      argv, cwd=ROOT, stderr=subprocess.DEVNULL, check=True, timeout=seconds)
