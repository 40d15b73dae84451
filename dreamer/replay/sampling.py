"""Which rows of which episodes a batch is made of."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping

import numpy as np

from dreamer.errors import UserError
from dreamer.npz import Arrays
from dreamer.replay.numbers import Numbers
from dreamer.rng import pack_rng, unpack_rng

EPISODES = ('uniform', 'permutation')
STARTS = ('inclusive', 'exclusive', 'balanced', 'prioritize_ends')
REREAD = 1000  # draws after which `permutation` sees new episodes


class Sampler:
  """Draws pieces: consecutive rows of one episode.

  It knows the lengths of the episodes only; they have numbers in the order in
  which they were stored, from `first` on, which grows as the oldest leave.
  Storing an episode and letting one go take constant time.

  length: rows of the sequences; 0: not known before the first draw.
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

  rng: an attribute, the numpy Generator of all draws.
  """

  def __init__(self, seed: int, episodes: str = 'uniform',
               starts: str = 'inclusive', min_length: int = 0,
               max_length: int = 0, length: int = 0) -> None:
    _check_choice('replay.episodes', episodes, EPISODES)
    _check_choice('replay.starts', starts, STARTS)
    self.starts, self.min_length = starts, min_length
    self._max_length = max_length
    self.length = length
    self._draw = episodes
    self.rng = np.random.default_rng([seed, zlib.crc32(b'replay')])
    self._drawn = 0  # from the current list of `permutation`
    self.set_lengths([])

  def set_lengths(self, lengths: Iterable[int]) -> None:
    """Other episodes, by their rows, with the numbers from 0 on."""
    self.first = 0
    self._lengths = Numbers(lengths)
    self._forget_list()
    self._find()

  def append(self, rows: int) -> None:
    """One more episode, with the next number."""
    if rows >= self.least:
      self._eligible.append(self.first + len(self._lengths.array))
    self._lengths.append(rows)

  def leave(self) -> None:
    """The oldest episode is no more."""
    if len(self._eligible.array) and self._eligible.array[0] == self.first:
      self._eligible.drop()
    self._lengths.drop()
    self.first += 1
    self._forget_list()

  def find(self, length: int) -> np.ndarray:
    """Numbers of the episodes that serve sequences of `length` rows."""
    if length != self.length:
      self.length = length
      self._find()
    return self._eligible.array

  @property
  def least(self) -> int:
    """Rows that an episode needs, for the last sequences asked for."""
    return least_rows(self.length, self.starts, self.min_length)

  @property
  def short(self) -> int:
    """Episodes that are too short for the last sequences asked for."""
    return len(self._lengths.array) - len(self._eligible.array)

  def draw(self, length: int) -> tuple[int, int, int]:
    """A piece for sequences of `length`: (episode, first row, rows)."""
    low, high = bounds(length, self.min_length, self._max_length)
    number = self._draw_episode(length)
    total = int(self._lengths.array[number - self.first])
    total -= self.starts == 'exclusive'
    rows = low
    if low < high:
      rows = max(low, min(total, high) - int(self.rng.integers(low)))
    return number, self._draw_start(total, rows, low), rows

  def _find(self):
    self._eligible = Numbers(
        self.first + np.flatnonzero(self._lengths.array >= self.least))

  def _forget_list(self):
    self._list = None  # of `permutation`: (numbers, rest of a permutation)
    self._list_length = 0

  def _draw_episode(self, length):
    eligible = self.find(length)
    if self._draw == 'uniform':
      return int(eligible[self.rng.integers(len(eligible))])
    if (self._list is None or self._list_length != length or
        self._drawn >= REREAD):
      eligible = eligible.copy()
      self._list = (eligible, eligible[:0])
      self._list_length = length
      self._drawn = 0
    list_, order = self._list
    if not len(order):
      order = self.rng.permutation(list_)
    self._list = (list_, order[1:])
    self._drawn += 1
    return int(order[0])

  def _draw_start(self, total, rows, low):
    last = total - rows  # the last start
    options = last + 1
    if self.starts == 'balanced':
      options = total
    elif self.starts == 'prioritize_ends':
      options = last + 1 + low
    return min(int(self.rng.integers(options)), last)

  def mark(self) -> tuple:
    """Where drawing is, while the episodes stay the same; for `rewind`."""
    return (self.rng.bit_generator.state, self._list, self._list_length,
            self._drawn)

  def rewind(self, mark: tuple) -> None:
    """Draws again what has been drawn since the mark."""
    (self.rng.bit_generator.state, self._list, self._list_length,
     self._drawn) = mark

  def state(self) -> Arrays:
    """Numbers in it count from the oldest episode on."""
    empty = np.zeros(0, np.int64)
    list_, order = (empty, empty) if self._list is None else self._list
    return {
        'rng': pack_rng(self.rng), 'list': list_ - self.first,
        'order': order - self.first,
        'drawn': np.array([self._drawn, self._list_length])}

  def restore(self, state: Mapping[str, np.ndarray]) -> None:
    """Continues as from `state()`, if the episodes are the same."""
    unpack_rng(self.rng, state['rng'])
    if len(state['list']):
      self._list = (state['list'] + self.first, state['order'] + self.first)
      self._drawn, self._list_length = (int(x) for x in state['drawn'])


def least_rows(length: int, starts: str, min_length: int) -> int:
  """Rows that an episode needs, the reset included.

  A minimum that is given counts agent steps, as danijar/dreamerv2 does.
  """
  if min_length:
    return min_length + 1
  return length + (starts == 'exclusive')


def bounds(length: int, min_length: int, max_length: int) -> tuple[int, int]:
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
