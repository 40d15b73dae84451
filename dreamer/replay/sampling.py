"""Which rows of which episodes a batch is made of."""

import zlib

import numpy as np

from dreamer.errors import UserError
from dreamer.rng import pack_rng, unpack_rng

EPISODES = ('uniform', 'permutation')
STARTS = ('inclusive', 'exclusive', 'balanced', 'prioritize_ends')
REREAD = 1000  # draws after which `permutation` sees new episodes


class Sampler:
  """Draws pieces: consecutive rows of one episode.

  It knows the lengths of the episodes only; they have the numbers 0, 1, ...
  in the order in which they were stored.

  episodes: how an episode is drawn. uniform: with replacement; permutation:
    without, in permutations of a list that is re-read every 1000 draws, as
    google-research/dreamer does, and when episodes leave.
  starts: how the first row is drawn. inclusive: any; exclusive: not the last
    possible one, as danijar/dreamer does; balanced: a uniform row of the
    episode, clipped to the last possible start, so that ends come more often;
    prioritize_ends: as many rows as a piece has at least count in addition as
    the last possible start, as danijar/dreamerv2 does on Atari.
  min_length, max_length: rows of a piece. Its length is
    max(low, min(rows of the episode, high) - u) with u uniform below low, as
    danijar/dreamerv2 has it, so that pieces do not all end together. 0 stands
    for the length of the sequences; where both are equal all pieces are.
  """

  def __init__(self, seed, episodes='uniform', starts='inclusive',
               min_length=0, max_length=0):
    _check_choice('replay.episodes', episodes, EPISODES)
    _check_choice('replay.starts', starts, STARTS)
    self.starts, self.min_length = starts, min_length
    self._max_length = max_length
    self._draw = episodes
    self._rng = np.random.default_rng([seed, zlib.crc32(b'replay')])
    self._drawn = 0  # from the current list of `permutation`
    self.set_lengths([])

  def set_lengths(self, lengths):
    """Other episodes, by their rows: numbers change."""
    self._lengths = np.array(lengths, np.int64)
    self._eligible = None  # for one length: (length, numbers)
    self._list = None  # of `permutation`: (numbers, rest of a permutation)
    self._list_length = 0

  def append(self, rows):
    """One more episode, with the next number."""
    self._lengths = np.append(self._lengths, rows)
    self._eligible = None

  def find(self, length):
    """Numbers of the episodes that serve sequences of `length` rows."""
    if self._eligible is None or self._eligible[0] != length:
      least = least_rows(length, self.starts, self.min_length)
      self._eligible = (length, np.flatnonzero(self._lengths >= least))
    return self._eligible[1]

  @property
  def short(self):
    """Episodes that are too short for the last sequences asked for."""
    if not self._eligible:
      return 0
    return len(self._lengths) - len(self._eligible[1])

  def draw(self, length):
    """A piece for sequences of `length`: (episode, first row, rows)."""
    low, high = bounds(length, self.min_length, self._max_length)
    number = self._draw_episode(length)
    total = int(self._lengths[number]) - (self.starts == 'exclusive')
    rows = low
    if low < high:
      rows = max(low, min(total, high) - int(self._rng.integers(low)))
    return number, self._draw_start(total, rows, low), rows

  def _draw_episode(self, length):
    eligible = self.find(length)
    if self._draw == 'uniform':
      return eligible[self._rng.integers(len(eligible))]
    if (self._list is None or self._list_length != length or
        self._drawn >= REREAD):
      self._list = (eligible, eligible[:0])
      self._list_length = length
      self._drawn = 0
    list_, order = self._list
    if not len(order):
      order = self._rng.permutation(list_)
    self._list = (list_, order[1:])
    self._drawn += 1
    return order[0]

  def _draw_start(self, total, rows, low):
    last = total - rows  # the last start
    options = last + 1
    if self.starts == 'balanced':
      options = total
    elif self.starts == 'prioritize_ends':
      options = last + 1 + low
    return min(int(self._rng.integers(options)), last)

  def state(self):
    empty = np.zeros(0, np.int64)
    list_, order = (empty, empty) if self._list is None else self._list
    return {
        'rng': pack_rng(self._rng), 'list': list_, 'order': order,
        'drawn': np.array([self._drawn, self._list_length])}

  def restore(self, state):
    """Continues as from `state()`, if the episodes are the same."""
    unpack_rng(self._rng, state['rng'])
    if len(state['list']):
      self._list = (state['list'], state['order'])
      self._drawn, self._list_length = (int(x) for x in state['drawn'])


def least_rows(length, starts, min_length):
  """Rows that an episode needs, the reset included.

  A minimum that is given counts agent steps, as danijar/dreamerv2 does.
  """
  if min_length:
    return min_length + 1
  return length + (starts == 'exclusive')


def bounds(length, min_length, max_length):
  """Least and most rows of a piece, for sequences of `length`.

  Raises UserError where they contradict each other.
  """
  low, high = min_length or length, max_length or length
  if low > high:
    raise UserError(
        f'replay.min_length: {min_length} and replay.max_length: {max_length} '
        f'(0 stands for batch_length, {length}) leave no length for a piece; '
        'raise max_length or lower min_length')
  return low, high


def _check_choice(key, value, allowed):
  if value not in allowed:
    raise UserError(f'{key}: {value!r} is not one of {", ".join(allowed)}')
