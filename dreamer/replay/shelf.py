"""Episodes of a folder, as whole arrays in memory or by rows from the disk."""

from __future__ import annotations

import pathlib

from dreamer import npz
from dreamer.npz import Arrays
from dreamer.replay.episodes import Episode
from dreamer.replay.folder import Folder
from dreamer.replay.memory import Memory

# What reading rows of a file that can't be used raises.
DAMAGE = (OSError, *npz.DAMAGE)


class Shelf:
  """Writes episodes, and reads rows of them.

  Files are written uncompressed. Deflate makes DMC frames 5 to 8 times
  smaller (12.3 kB stored), but any 50 rows of it cost inflating the episode,
  10 to 20 ms; stored rows are read where they lie, in a fraction of one.
  Episodes are held in memory up to `memory_gb`. Once it is full, misses do
  not change what it holds: draws are uniform, so exchanging episodes would
  cost time and win nothing. Only new episodes push out the least recently
  used. A miss reads just the rows of its sequence, without checksums;
  episodes that are loaded as a whole are verified. Compressed recordings are
  always loaded as a whole.

  folder: which files are there. disk_reads: of rows that were not in memory.
  """

  def __init__(self, directory: pathlib.Path, owner: bool, seed: int,
               memory_gb: float) -> None:
    self.folder = Folder(directory, owner, seed)
    self.memory = Memory(memory_gb * 1e9)
    self.disk_reads = 0

  def write(self, arrays: Arrays,
            counter: int) -> tuple[pathlib.Path, Episode | None]:
    """Stores a complete episode under the next name.

    None: the file can't be used, right after it was written.
    """
    name = self.folder.next_name(counter, len(arrays['action']))
    path = self.folder.path / name
    npz.write(path, arrays)
    episode = self.folder.open(path)
    if episode:
      self.folder.name_behind([episode])
      self.memory.put(path.name, arrays)
    return path, episode

  def read(self, episode: Episode, out: Arrays, start: int) -> None:
    """Reads rows from `start` on into out[key], each [T, ...].

    Raises one of DAMAGE, and UserError where the arrays are of other types.
    """
    data = self._lookup(episode)
    for key, array in out.items():
      episode.check_spec(key, array.dtype, array.shape[1:])
    if data is None:
      episode.read(out, start)
      return
    for key, array in out.items():
      array[:] = data[key][start: start + len(array)]

  def _lookup(self, episode):
    """The whole episode if it is, or should be, in memory."""
    data = self.memory.get(episode.name)
    if data is None:
      self.disk_reads += 1
      episode.verify()
      if not episode.stored or self.memory.has_room(episode.bytes):
        data = episode.load()
        self.memory.put(episode.name, data)
    return data

  def set_aside(self, episode: Episode, error: Exception) -> None:
    """Takes a file that can't be used out of the way."""
    self.folder.set_aside(episode.path, error)
    self.memory.remove(episode.name)

  def evict(self, episode: Episode) -> None:
    """An episode leaves the store; a checkpoint may still need it."""
    self.folder.evict(episode)
    self.memory.remove(episode.name)

  def only(self, names: list[str],
           found: dict[str, Episode]) -> dict[str, Episode]:
    """The episodes of these names, of all that were found.

    Others are left out; those that were evicted come back, if they are there.
    """
    later = [found[x] for x in found.keys() - set(names)]
    for episode in later:
      self.memory.remove(episode.name)
    self.folder.leave_out(later)
    back = {name: found.get(name) or self.folder.take_back(name)
            for name in names}
    kept = {name: x for name, x in back.items() if x is not None}
    self.folder.name_behind(kept.values())
    return kept
