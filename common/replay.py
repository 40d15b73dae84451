"""Episodes on disk, and batches of sequences drawn from them."""

import calendar
import hashlib
import pathlib
import time
import zlib

import numpy as np

from common import episodes as eps
from common import files
from common.checkpoint import pack_rng, unpack_rng
from common.config import UserError

EPISODES = ('uniform', 'permutation')
STARTS = ('inclusive', 'exclusive', 'balanced')
REREAD = 1000  # draws after which `permutation` sees new episodes

_STAMP = '%Y%m%dT%H%M%S'


class Replay:
  """Every episode so far, one file each, and a sampler of sequences.

  Files are `<time>-<id>-<length>.npz` as in danijar/dreamer and
  danijar/dreamerv2, with the keys of both; the length counts rows, the first
  is the reset (action zeros, reward 0, discount 1), and action[t] led to
  image[t]. Names sort in the order of insertion. Recorded runs of either
  release are read too (see Episode): put them into the folder before the run
  starts.

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
  episodes: how an episode is drawn. uniform: with replacement; permutation:
    without, in permutations of a list that is re-read every 1000 draws, as
    google-research/dreamer does.
  starts: how the first row is drawn. inclusive: any; exclusive: not the last
    possible one, as danijar/dreamer does; balanced: a uniform row of the
    episode, clipped to the last possible start, so that ends come more often.
  memory_gb: bound on the episodes held in memory, 10^9 bytes.

  Damaged files are moved to `damaged/`, warned about and counted; they never
  stop training. Not thread-safe.
  """

  def __init__(self, directory, seed, episodes='uniform', starts='inclusive',
               memory_gb=4.0):
    _check_choice('replay.episodes', episodes, EPISODES)
    _check_choice('replay.starts', starts, STARTS)
    self.directory = pathlib.Path(directory)
    self._seed = seed
    self._draw = episodes
    self._starts = starts
    self._rng = np.random.default_rng([seed, zlib.crc32(b'replay')])
    self._memory = eps.Memory(memory_gb * 1e9)
    self._damaged = 0
    self._disk_reads = 0
    self._drawn = 0  # from the current list of `permutation`
    self._set_index(self._scan())
    self._counter = len(self._index)  # number of the next episode

  @property
  def episodes(self):
    return len(self._index)

  @property
  def steps(self):
    """Agent steps: resets do not count."""
    return self._steps

  def add(self, episode):
    """Stores a finished episode; returns its path.

    episode: dict of arrays of equal length, the reset row first; floats are
      stored as float32, missing flags or discount are derived.
    Raises UserError when it can't be written.
    """
    arrays = eps.complete(episode)
    length = len(arrays['action'])
    path = self.directory / self._next_name(length)
    for key in eps.KEYS if self._index else ():
      self._index[0].check_spec(key, arrays[key].dtype, arrays[key].shape[1:])
    files.write_npz(path, arrays)
    self._counter += 1
    self._index.append(eps.Episode(path))
    self._steps += length - 1
    self._eligible = None
    self._memory.put(path.name, arrays)
    return path

  def sample(self, batch, length, keys=None):
    """A batch of sequences, each within one episode, drawn independently.

    keys: arrays to return: by default image, action, reward, discount,
      is_first, is_last, is_terminal; vectors go by their recorded names.
    Returns a new dict of contiguous arrays [batch, length, ...].
    Raises UserError when no episode is long enough or a key is unknown.
    """
    self._find_eligible(length)
    specs = {k: self._index[0].spec(k) for k in keys or eps.KEYS}
    out = {
        k: np.empty((batch, length, *shape), dtype)
        for k, (dtype, shape) in specs.items()}
    row = 0
    while row < batch:
      episode = self._index[self._draw_episode(length)]
      start = self._draw_start(episode.length, length)
      row += self._fill(out, row, episode, start)
    return out

  def stats(self):
    """Numbers for the log.

    steps, episodes: agent steps and episodes stored; short: episodes too
    short for the last sample; damaged: files set aside so far; disk_reads:
    sequences that were not in memory; memory_gb: size of those that are.
    """
    short = 0
    if self._eligible:
      short = len(self._index) - len(self._eligible[1])
    return {
        'steps': self.steps, 'episodes': self.episodes, 'short': short,
        'damaged': self._damaged, 'disk_reads': self._disk_reads,
        'memory_gb': self._memory.bytes / 1e9}

  def state(self):
    """All that sampling and naming depend on, but for the files."""
    empty = np.zeros(0, np.int64)
    list_, order = (empty, empty) if self._list is None else self._list
    return {
        'rng': pack_rng(self._rng),
        'names': np.array([x.path.name for x in self._index], np.bytes_),
        'counter': np.array(self._counter),
        'list': list_, 'order': order,
        'drawn': np.array([self._drawn, self._list_length])}

  def restore(self, state):
    """Continues as from `state()`: the same batches, bit for bit.

    Episodes that were added later are moved to `after_checkpoint/`. If known
    ones are missing, it warns and goes on, with other batches.
    """
    unpack_rng(self._rng, state['rng'])
    self._counter = int(state['counter'])
    names = [x.decode() for x in state['names']]
    found = {x.path.name: x for x in self._index}
    later = [found[x] for x in found.keys() - set(names)]
    for episode in later:
      files.move_aside(episode.path, 'after_checkpoint')
      self._memory.remove(episode.path.name)
    if later:
      files.report(f'{len(later)} episodes in {self.directory} are newer than '
                   'the checkpoint: moved to after_checkpoint/')
    self._set_index([found[x] for x in names if x in found])
    if len(self._index) < len(names):
      missing = len(names) - len(self._index)
      files.report(f'{missing} of {len(names)} episodes that the checkpoint '
                   f'knows are missing in {self.directory}')
    elif len(state['list']):
      self._list = (state['list'], state['order'])
      self._drawn, self._list_length = (int(x) for x in state['drawn'])

  # Drawing

  def _draw_episode(self, length):
    eligible = self._find_eligible(length)
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

  def _draw_start(self, total, length):
    last = total - length  # the last start
    if self._starts == 'balanced':
      return min(int(self._rng.integers(total)), last)
    return int(self._rng.integers(last + (self._starts != 'exclusive')))

  def _find_eligible(self, length):
    """Numbers of the episodes that sequences of `length` can come from."""
    if self._eligible is None or self._eligible[0] != length:
      least = length + (self._starts == 'exclusive')
      lengths = np.array([x.length for x in self._index], np.int64)
      self._eligible = (length, np.flatnonzero(lengths >= least))
    if not len(self._eligible[1]):
      longest = max((x.length for x in self._index), default=0)
      raise UserError(
          f'batch_length {length}: none of {len(self._index)} episodes in '
          f'{self.directory} is long enough, the longest has {longest} rows '
          '(agent steps + 1); lower batch_length or collect longer episodes')
    return self._eligible[1]

  def _fill(self, out, row, episode, start):
    """Fills one row of a batch; False if the episode had to be dropped."""
    for key, array in out.items():
      episode.check_spec(key, array.dtype, array.shape[2:])
    try:
      data = self._lookup(episode)
      if data is None:
        episode.read(out, row, start)
    except (OSError, *files.DAMAGE) as error:
      self._set_aside(episode.path, error)
      self._memory.remove(episode.path.name)
      self._set_index([x for x in self._index if x is not episode])
      return False
    if data is not None:
      for key, array in out.items():
        array[row] = data[key][start: start + array.shape[1]]
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

  # Files

  def _scan(self):
    try:
      self.directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
      raise UserError(
          f'can not create {self.directory}: {error.strerror}') from error
    files.remove_leftovers(self.directory)
    index = []
    for path in sorted(self.directory.glob('*.npz')):
      try:
        index.append(eps.Episode(path))
      except (OSError, *files.DAMAGE) as error:
        self._set_aside(path, error)
    for episode in index:
      for key in eps.KEYS:
        episode.check_spec(key, *index[0].spec(key))
    return index

  def _set_index(self, index):
    self._index = index
    self._steps = sum(x.length - 1 for x in index)
    self._eligible = None  # for one length: (length, numbers)
    self._list = None  # of `permutation`: (numbers, rest of a permutation)
    self._list_length = 0

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


def _check_choice(key, value, allowed):
  if value not in allowed:
    raise UserError(f'{key}: {value!r} is not one of {", ".join(allowed)}')
