"""Episodes on disk, and batches of sequences drawn from them."""

import calendar
import hashlib
import pathlib
import time
import typing

import numpy as np

from dreamer import files, npz
from dreamer.errors import UserError
from dreamer.replay import episodes as eps
from dreamer.replay.sampling import Sampler

_STAMP = '%Y%m%dT%H%M%S'


class Replay:
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

  Files are written uncompressed. Deflate makes DMC frames 5 to 8 times
  smaller (12.3 kB stored), but any 50 rows of it cost inflating the episode,
  10 to 20 ms; stored rows are read where they lie, in a fraction of one.
  Episodes are held in memory up to `memory_gb`. Once it is full, misses do
  not change what it holds: draws are uniform, so exchanging episodes would
  cost time and win nothing. Only new episodes push out the least recently
  used. A miss reads just the rows of its sequence, without checksums;
  episodes that are loaded as a whole are verified. Compressed recordings are
  always loaded as a whole.

  directory: created if need be.
  episodes, starts, min_length, max_length: how pieces are drawn, see Sampler.
    Episodes of less than min_length agent steps are not stored.
  memory_gb: bound on the episodes held in memory, 10^9 bytes.
  capacity_agent_steps: the oldest episodes leave when there are more agent
    steps, but never the last one, and pieces of them end; 0: no limit. Their
    files are deleted when no kept checkpoint needs them any more
    (danijar/dreamerv2 keeps them).

  Damaged files are moved to `damaged/`, warned about and counted; they never
  stop training. Not thread-safe.
  """

  def __init__(self, directory, seed, episodes='uniform', starts='inclusive',
               memory_gb=4.0, min_length=0, max_length=0,
               capacity_agent_steps=0):
    self.directory = pathlib.Path(directory)
    self._seed = seed
    self._capacity = capacity_agent_steps
    self._sampler = Sampler(seed, episodes, starts, min_length, max_length)
    self._memory = eps.Memory(memory_gb * 1e9)
    self._evicted = eps.Evicted(self.directory / 'evicted')
    self._rest = None  # of the last piece drawn: a _Piece
    self._refused = 0  # episodes that were too short to be stored
    self._damaged = 0
    self._disk_reads = 0
    self._set_index(self._scan())
    self._counter = len(self._index)  # number of the next episode
    self._saved = None  # the counter in the newest checkpoint

  @property
  def episodes(self):
    return len(self._index)

  @property
  def steps(self):
    """Agent steps: resets do not count."""
    return self._steps

  def add(self, episode):
    """Stores a finished episode; returns its path, None if it is too short.

    episode: dict of arrays of equal length, the reset row first; floats are
      stored as float32, missing flags or discount are derived.
    Raises UserError when it can't be written.
    """
    arrays = eps.complete(episode)
    length = len(arrays['action'])
    if length <= self._sampler.min_length:
      return self._refuse(length)
    path = self.directory / self._next_name(length)
    self._check_like_others(arrays)
    npz.write(path, arrays)
    self._counter += 1
    self._index.append(eps.Episode(path))
    self._sampler.append(length)
    self._steps += length - 1
    self._memory.put(path.name, arrays)
    self._evict()
    return path

  def sample(self, batch, length, keys=None):
    """A batch of sequences, drawn independently but for pieces that go on.

    keys: arrays to return, by their recorded names; by default image (where
      there are any), action, reward, discount, is_first, is_last, is_terminal.
    Returns a new dict of contiguous arrays [batch, length, ...].
    Raises UserError when no episode is long enough or a key is unknown.
    """
    self._check_eligible(length)
    first = self._index[0]
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
            piece.episode, piece.start + amount, piece.rows - amount)
    return {k: v.reshape(batch, length, *v.shape[1:]) for k, v in out.items()}

  def stats(self):
    """Numbers for the log.

    steps, episodes: agent steps and episodes stored; short: episodes too
    short for the last sample or to be stored; damaged: files set aside so
    far; disk_reads: pieces that were not in memory; memory_gb: size of the
    episodes that are.
    """
    return {
        'steps': self.steps, 'episodes': self.episodes,
        'short': self._sampler.short + self._refused,
        'damaged': self._damaged, 'disk_reads': self._disk_reads,
        'memory_gb': self._memory.bytes / 1e9}

  def state(self):
    """All that sampling and naming depend on, but for the files."""
    rest = []
    if self._rest:
      number = self._index.index(self._rest.episode)
      rest = [number, self._rest.start, self._rest.rows]
    return {
        **self._sampler.state(),
        'names': np.array([x.path.name for x in self._index], np.bytes_),
        'counter': np.array(self._counter),
        'refused': np.array(self._refused),
        'rest': np.array(rest, np.int64)}

  def restore(self, state):
    """Continues as from `state()`: the same batches, bit for bit.

    Episodes that were added later are moved to `after_checkpoint/`, those
    that have left since come back. If known ones are missing, it warns and
    goes on, with other batches.
    """
    self._counter, self._refused = int(state['counter']), int(state['refused'])
    if self._saved is None:
      self._saved = self._counter
    names = [x.decode() for x in state['names']]
    found = {x.path.name: x for x in self._index}
    self._move_later(found, names)
    for name in names:
      path = self._evicted.take_back(name, self.directory)
      if path:
        found.update(self._open([path]))
    self._set_index([found[x] for x in names if x in found])
    self._sampler.restore(state)
    self._rest = None
    if len(self._index) < len(names):
      missing = len(names) - len(self._index)
      files.report(f'{missing} of {len(names)} episodes that the checkpoint '
                   f'knows are missing in {self.directory}')
      self._sampler.set_lengths([x.length for x in self._index])
    elif len(state['rest']):
      number, start, rows = (int(x) for x in state['rest'])
      self._rest = _Piece(self._index[number], start, rows)

  def saved(self):
    """To be called when a checkpoint with `state()` has been written.

    Deletes the files that only checkpoints before the last two need.
    """
    if self._counter != self._saved:
      self._saved = self._counter
      self._evicted.expire()

  # Drawing

  def _check_eligible(self, length):
    if not len(self._sampler.find(length)):
      longest = max((x.length for x in self._index), default=0)
      least = self._sampler.min_length
      key = f'replay.min_length {least}' if least else f'batch_length {length}'
      raise UserError(
          f'{key}: none of {len(self._index)} episodes in {self.directory} is '
          f'long enough, the longest has {longest} rows (agent steps + 1); '
          'lower it or collect longer episodes')

  def _draw(self, length):
    self._check_eligible(length)
    number, start, rows = self._sampler.draw(length)
    return _Piece(self._index[number], start, rows)

  def _fill(self, out, piece, is_new):
    """Fills rows from a piece; False if its episode had to be dropped."""
    episode = piece.episode
    for key, array in out.items():
      episode.check_spec(key, array.dtype, array.shape[1:])
    recorded = {k: v for k, v in out.items() if k != 'is_first'}
    try:
      data = self._lookup(episode)
      if data is None:
        episode.read(recorded, piece.start)
    except (OSError, *npz.DAMAGE) as error:
      self._set_aside(episode.path, error)
      self._memory.remove(episode.path.name)
      self._set_index([x for x in self._index if x is not episode])
      return False
    if data is not None:
      for key, array in recorded.items():
        array[:] = data[key][piece.start: piece.start + len(array)]
    if 'is_first' in out:
      out['is_first'][:] = False
      out['is_first'][0] = is_new
    return True

  def _lookup(self, episode):
    """The whole episode if it is, or should be, in memory."""
    name = episode.path.name
    data = self._memory.get(name)
    if data is None:
      self._disk_reads += 1
      if not episode.stored or self._memory.has_room(episode.bytes):
        data = episode.load()
        self._memory.put(name, data)
    return data

  # Coming and going

  def _refuse(self, length):
    self._refused += 1
    if self._refused == 1:
      files.report(
          f'replay.min_length: {self._sampler.min_length} agent steps; an '
          f'episode of {length - 1} is left out, and so will others be')

  def _check_like_others(self, arrays):
    for key in self._index[0].keys if self._index else ():
      if key not in arrays:
        raise UserError(
            f'an episode has no {key}, others in {self.directory} do; a '
            'folder is for one task only')
      self._index[0].check_spec(key, arrays[key].dtype, arrays[key].shape[1:])

  def _evict(self):
    """Lets the oldest episodes go, down to the capacity."""
    gone = 0
    while self._capacity and self._steps > self._capacity and (
        len(self._index) - gone > 1):
      episode = self._index[gone]
      self._evicted.put(episode.path)
      self._memory.remove(episode.path.name)
      if self._rest and self._rest.episode is episode:
        self._rest = None
      self._steps -= episode.length - 1
      gone += 1
    if gone:
      self._set_index(self._index[gone:])

  def _move_later(self, found, names):
    """Moves those that a checkpoint does not know out of the way."""
    later = found.keys() - set(names)
    for name in later:
      files.move_aside(found.pop(name).path, 'after_checkpoint')
      self._memory.remove(name)
    if later:
      files.report(f'{len(later)} episodes in {self.directory} are newer than '
                   'the checkpoint: moved to after_checkpoint/')

  # Files

  def _scan(self):
    try:
      self.directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
      raise UserError(
          f'can not create {self.directory}: {error.strerror}') from error
    files.remove_leftovers(self.directory)
    paths = sorted(self.directory.glob('*.npz'))
    index = list(self._open(paths).values())
    for episode in index:
      for key in index[0].keys:
        episode.check_spec(key, *index[0].spec(key))
    return index

  def _open(self, paths):
    """Episodes by name, without the damaged ones."""
    found = {}
    for path in paths:
      try:
        found[path.name] = eps.Episode(path)
      except (OSError, *npz.DAMAGE) as error:
        self._set_aside(path, error)
    return found

  def _set_index(self, index):
    self._index = index
    self._steps = sum(x.length - 1 for x in index)
    self._sampler.set_lengths([x.length for x in index])

  def _set_aside(self, path, error):
    files.check_readable(path, error)
    self._damaged += 1
    files.move_aside(path, 'damaged')
    files.report(f'episode {path} is damaged ({error}): moved to damaged/')

  def _next_name(self, length):
    """Sorts behind all others, also when the clock was set back."""
    digest = hashlib.sha256(f'{self._seed} {self._counter}'.encode())
    ident = f'{self._counter:08x}{digest.hexdigest()[:24]}'
    stamp = time.strftime(_STAMP, time.gmtime())
    last = max((x.path.name for x in self._index), default='')
    if f'{stamp}-{ident}' <= last:
      stamp = last.split('-')[0]
    if f'{stamp}-{ident}' <= last:
      seconds = calendar.timegm(time.strptime(stamp, _STAMP)) + 1
      stamp = time.strftime(_STAMP, time.gmtime(seconds))
    return f'{stamp}-{ident}-{length}.npz'


class _Piece(typing.NamedTuple):
  """Consecutive rows of an episode."""

  episode: eps.Episode
  start: int
  rows: int
