"""Rows whose elements tell where they are from, and streams of them."""

import numpy as np

from dreamer.replay.stored import Stored
from dreamer.replay.stream import Drawn, StreamReplay

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
