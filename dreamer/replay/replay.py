"""Episodes on disk, and batches of sequences drawn from them."""

from __future__ import annotations

import pathlib
import typing
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from dreamer import files
from dreamer.errors import UserError
from dreamer.npz import Arrays
from dreamer.replay import episodes as eps
from dreamer.replay.base import Base
from dreamer.replay.sampling import Sampler
from dreamer.replay.shelf import DAMAGE, Shelf

_FEW = 10  # episodes before which a share of short ones says little


class Replay(Base):
  """The episodes so far, one file each, and a sampler of sequences.

  Files are `<time>-<id>-<length>.npz` as in danijar/dreamer and
  danijar/dreamerv2, with the keys of both; the length counts rows, the first
  is the reset (action zeros, reward 0, discount 1), and action[t] led to
  image[t]. Names sort in the order of insertion. Recorded runs of either
  release are read too (see Episode): put copies of them into the folder
  before the run starts.

  A sequence is made of pieces, each from one episode. By default it is one
  piece. With a `min_length` or `max_length` another one follows where a piece
  ends, and one that is longer than what is left of its sequence goes on in
  the next, in the same batch or the one after. `is_first` in a batch tells
  where pieces begin, whatever was recorded.

  directory: created if need be. Files whose name and size fit the others' are
    opened when they are first used, so that a start costs few microseconds
    per episode.
  episodes, starts, min_length, max_length: how pieces are drawn, see Sampler.
    Episodes of less than min_length agent steps are not stored. None for
    min_length stands for 0, and says that the agent does not offer it.
  memory_gb: bound on the episodes held in memory, 10^9 bytes; see Shelf.
  capacity_agent_steps: the oldest episodes leave when there are more agent
    steps, but never the last one, and pieces of them end; 0: no limit. Their
    files are deleted when no kept checkpoint needs them any more
    (danijar/dreamerv2 keeps them).

  batch_length: rows of the sequences that will be asked for, to count the
    episodes that are too short before the first sample.
  owner: whether this process alone uses the folder, as training does. Others
    leave all files that are there where they are: see Folder.

  sampler: the Sampler, an attribute; it numbers the episodes from its `first`
    on, in the order of the names in `state`.

  Damaged files, found at the start or on first use, are moved to `damaged/`
  by an owner, warned about and counted; they never stop training. One warning
  tells when episodes are too short for a sequence, and another one when that
  becomes true of most of them. Not thread-safe.
  """

  def __init__(self, directory: files.Path, seed: int,
               episodes: str = 'uniform', starts: str = 'inclusive',
               memory_gb: float = 4.0, min_length: int | None = None,
               max_length: int = 0, capacity_agent_steps: int = 0,
               batch_length: int = 0, owner: bool = False) -> None:
    self.directory = pathlib.Path(directory)
    self._capacity = capacity_agent_steps
    self._offers_pieces = min_length is not None
    self.sampler = Sampler(
        seed, episodes, starts, min_length or 0, max_length, batch_length)
    self._shelf = Shelf(self.directory, owner, seed, memory_gb)
    self._rest: _Piece | None = None  # of the last piece drawn
    self._refused = 0  # episodes that were too short to be stored
    self._told_short = 0.0  # the share that a warning stands for
    self._numbering = 0  # how often the episodes were numbered anew
    self._set_index(self._shelf.folder.scan())
    self._counter = len(self._index)  # number of the next episode
    self._saved: int | None = None  # the counter in the newest checkpoint

  @property
  def episodes(self) -> int:
    return len(self._index)

  @property
  def example(self) -> eps.Episode | None:
    """An episode in the folder, if there is any."""
    return self._oldest if self._index else None

  @property
  def steps(self) -> int:
    """Agent steps: resets do not count."""
    return self._steps

  def add(self, episode: Mapping[str, np.ndarray],
          stream: int = 0) -> pathlib.Path | None:
    """Stores a finished episode; returns its path, None if it is too short.

    episode: dict of arrays of equal length, the reset row first; floats are
      stored as float32, missing flags or discount are derived.
    Raises UserError when it can't be written.
    """
    arrays = eps.complete(episode)
    length = len(arrays['action'])
    if length <= self.sampler.min_length:
      self._refused += 1
      self._tell_short(_FEW)
      return None
    path = self._store(arrays, length)
    self._evict()
    self._tell_short(_FEW)
    return path

  def _store(self, arrays, length):
    if self._index:
      self._oldest.check_like(arrays)
    path, episode = self._shelf.write(arrays, self._counter)
    self._counter += 1
    if episode:  # as it always should be, right after it was written
      self._index[self.sampler.first + len(self._index)] = episode
      self.sampler.append(length)
      self._steps += length - 1
    return path

  def draw(self, batch: int, length: int,
           keys: Sequence[str] | None = None) -> Arrays:
    """A batch of sequences, drawn independently but for pieces that go on.

    keys: arrays to return, by their recorded names; by default image (where
      there are any), action, reward, discount, is_first, is_last, is_terminal.
    Returns a new dict of contiguous arrays [batch, length, ...].
    Raises UserError when no episode is long enough or a key is unknown.
    """
    self._check_eligible(length)
    self._tell_short()
    first = self._oldest
    specs = {k: first.spec(k) for k in keys or first.keys}
    out = {k: np.empty((batch * length, *shape), dtype)
           for k, (dtype, shape) in specs.items()}
    row = 0
    while row < batch * length:
      is_new = not self._rest
      piece = self._rest or self._draw(length)
      self._rest = None
      amount = min(piece.rows, length - row % length)
      part = {k: v[row: row + amount] for k, v in out.items()}
      if not self._fill(part, piece, is_new):
        continue
      row += amount
      if amount < piece.rows:
        self._rest = _Piece(
            piece.number, piece.start + amount, piece.rows - amount)
    return {k: v.reshape(batch, length, *v.shape[1:]) for k, v in out.items()}

  def stats(self) -> dict[str, float]:
    """Numbers for the log.

    steps, episodes: agent steps and episodes stored; short: episodes too
    short for a sequence, or to be stored; damaged: files that could not be
    used; disk_reads: pieces that were not in memory; memory_gb: size of the
    episodes that are.
    """
    return {
        'steps': self.steps, 'episodes': self.episodes,
        'short': self._short, 'damaged': self._shelf.folder.damaged,
        'disk_reads': self._shelf.disk_reads,
        'memory_gb': self._shelf.memory.bytes / 1e9}

  def state(self) -> Arrays:
    """All that sampling and naming depend on, but for the files."""
    rest: list[int] = []
    if self._rest:
      rest = [self._rest.number - self.sampler.first, *self._rest[1:]]
    return {
        **self.sampler.state(),
        'names': np.array([x.name for x in self._index.values()], np.bytes_),
        'counter': np.array(self._counter),
        'refused': np.array(self._refused),
        'rest': np.array(rest, np.int64)}

  def restore(self, state: Mapping[str, np.ndarray],
              unfinished: Mapping[int, Arrays] | None = None) -> None:
    """Continues as from `state()`: the same batches, bit for bit.

    Episodes that were added later are left out, those that have left since
    come back. If known ones are missing, it warns and goes on, with other
    batches.
    """
    self._counter, self._refused = int(state['counter']), int(state['refused'])
    if self._saved is None:
      self._saved = self._counter
    names = [x.decode() for x in state['names']]
    self._restore_index(names)
    self.sampler.restore(state)
    self._rest = None
    if len(self._index) < len(names):
      missing = len(names) - len(self._index)
      files.warn(f'{missing} of {len(names)} episodes that the checkpoint '
                   f'knows are missing in {self.directory}')
      self.sampler.set_lengths([x.length for x in self._index.values()])
    elif len(state['rest']):
      self._rest = _Piece(*(int(x) for x in state['rest']))

  def mark(self) -> tuple:
    """Where drawing is, in O(1); for `rewind`."""
    return self.sampler.mark(), self._rest, self._numbering

  def rewind(self, mark: tuple) -> None:
    """Draws again what has been drawn since the mark, if nothing was added.

    Where a damaged episode was dropped meanwhile, it goes on instead.
    """
    drawing, rest, numbering = mark
    if numbering == self._numbering:
      self.sampler.rewind(drawing)
      self._rest = rest

  def saved(self, again: bool = False) -> None:
    """Deletes the files that only checkpoints before the last two need."""
    if self._counter != self._saved and not again:
      self._saved = self._counter
      self._shelf.folder.expire()

  # Short episodes

  @property
  def _short(self):
    return self.sampler.short + self._refused

  def _tell_short(self, enough=0):
    """Warns where episodes are too short, again where most have become so.

    enough: episodes before which it says nothing yet.
    """
    total = len(self._index) + self._refused
    if not self._short or total < enough:
      return
    share = 0.5 if 2 * self._short > total else 1e-9
    if share > self._told_short:
      self._told_short = share
      files.warn(
          f'{self._short} of {total} episodes are too short for '
          f'{self._demand(self.sampler.length)}, with fewer than '
          f'{self.sampler.least - 1} agent steps, and are not learned from; '
          f'{self._remedy}')

  def _demand(self, length):
    """The key that says how long episodes have to be."""
    least = self.sampler.min_length
    return f'replay.min_length {least}' if least else f'batch_length {length}'

  def missing(self) -> str:
    if not self._refused:
      return ''
    return (f'none of {self._refused} finished episode(s) is as long as '
            'replay.min_length; lower it')

  @property
  def _remedy(self):
    several = 'sequences are then made of several episodes'
    if self.sampler.min_length:
      return f'lower it, 1 lets all in: {several}'
    if self._offers_pieces:
      return f'lower it, or set replay.min_length to 1: {several}'
    return 'lower it'

  # Drawing

  @property
  def _oldest(self):
    return self._index[self.sampler.first]

  def _check_eligible(self, length):
    if not len(self.sampler.find(length)):
      longest = max((x.length for x in self._index.values()), default=0)
      raise UserError(
          f'{self._demand(length)}: none of '
          f'{len(self._index) + self._refused} episodes in {self.directory} '
          f'is long enough, the longest stored has {longest} rows (agent '
          f'steps + 1); {self._remedy}; or collect longer episodes')

  def _draw(self, length):
    self._check_eligible(length)
    return _Piece(*self.sampler.draw(length))

  def _fill(self, out, piece, is_new):
    """Fills rows from a piece; False if its episode had to be dropped."""
    episode = self._index[piece.number]
    recorded = {k: v for k, v in out.items() if k != 'is_first'}
    try:
      self._shelf.read(episode, recorded, piece.start)
    except DAMAGE as error:
      self._shelf.set_aside(episode, error)
      self._set_index([x for x in self._index.values() if x is not episode])
      return False
    if 'is_first' in out:
      out['is_first'][:] = False
      out['is_first'][0] = is_new
    return True

  # Coming and going

  def _evict(self):
    """Lets the oldest episodes go, down to the capacity."""
    while self._capacity and self._steps > self._capacity and (
        len(self._index) > 1):
      number = self.sampler.first
      episode = self._index.pop(number)
      self._shelf.evict(episode)
      if self._rest and self._rest.number == number:
        self._rest = None
      self._steps -= episode.length - 1
      self.sampler.leave()

  def _restore_index(self, names):
    """Brings back the episodes of these names, in this order."""
    found = self._shelf.only(
        names, {x.name: x for x in self._index.values()})
    self._set_index(found.values())

  def _set_index(self, index: Iterable[eps.Episode]) -> None:
    """Other episodes; they are numbered as the sampler does it, from 0 on."""
    self._index = dict(enumerate(index))
    self._numbering += 1
    lengths = [x.length for x in self._index.values()]
    self._steps = sum(lengths) - len(lengths)
    self.sampler.set_lengths(lengths)


class _Piece(typing.NamedTuple):
  """Consecutive rows of an episode."""

  number: int
  start: int
  rows: int
