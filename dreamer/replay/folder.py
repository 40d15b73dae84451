"""The folder of a store: which files are there, and who may move them."""

from __future__ import annotations

import calendar
import contextlib
import hashlib
import os
import pathlib
import time
from collections.abc import Callable, Iterable

from dreamer import files, npz
from dreamer.errors import UserError
from dreamer.replay.episodes import Episode, Kind

_STAMP = '%Y%m%dT%H%M%S'
_KINDS = 8  # that are tried on each file; more than one is rare


class Folder:
  """Episode files and their subfolders.

  owner: whether the caller alone uses the folder, as a run does that holds
  the lock of its logdir. Only an owner moves or removes files: damaged ones
  go to `damaged/`, those beyond the capacity to `evicted/`, those that a
  checkpoint does not know to `after_checkpoint/`, and what interrupted writes
  left behind is removed. For others files stay where they are and are only
  left out. Recorded episodes that were put there are moved, never removed.

  damaged: files that could not be used so far.
  """

  def __init__(self, path: pathlib.Path, owner: bool, seed: int) -> None:
    self.path, self.owner = path, owner
    self._seed = seed
    self.damaged = 0
    self._kinds: list[Kind] = []
    self._evicted = Evicted(path / 'evicted', owner)
    self._last = ''  # name that the next one sorts behind

  def scan(self) -> list[Episode]:
    """The usable episodes by name.

    Files whose name and size are those of a kind that is known count as
    episodes of it unopened; what they hold shows when they are first used. Of
    all others the headers are read now.
    """
    if self.owner:
      self._create()
      files.remove_leftovers(self.path, '.npz')
    found = []
    for name, size in self._sizes():
      episode = self._by_size(name, size) or self.open(self.path / name)
      if episode:
        found.append(episode)
    for episode in {id(x.kind): x for x in found}.values():
      for key in found[0].keys:
        episode.check_spec(key, *found[0].spec(key))
    self.name_behind(found)
    return found

  def _create(self) -> None:
    try:
      self.path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
      raise UserError(
          f'can not create {self.path}: {error.strerror}') from error

  def _sizes(self) -> list[tuple[str, int]]:
    """(name, size) of the `.npz` files, sorted."""
    try:
      with os.scandir(self.path) as entries:
        return sorted(
            (x.name, _size(x)) for x in entries if x.name.endswith('.npz'))
    except FileNotFoundError:
      return []
    except OSError as error:
      raise UserError(f'can not read {self.path}: {error.strerror}') from error

  def _by_size(self, name: str, size: int) -> Episode | None:
    for kind in self._kinds[:_KINDS]:
      length = kind.length(name, size)
      if length:
        return Episode(self.path, name, kind, length)
    return None

  def open(self, path: pathlib.Path) -> Episode | None:
    """An episode by its headers; None if the file is damaged."""
    try:
      episode = Episode.open(path)
    except (OSError, *npz.DAMAGE) as error:
      self.set_aside(path, error)
      return None
    for kind in self._kinds[:_KINDS]:
      if kind == episode.kind:  # One object serves all files.
        episode.kind = kind
        return episode
    self._kinds.append(episode.kind)
    return episode

  def set_aside(self, path: pathlib.Path, error: Exception) -> None:
    """Takes a file that can't be used out of the way; one warning each.

    Raises UserError where that is not the fault of the file.
    """
    files.check_readable(path, error)
    self.damaged += 1
    if isinstance(error, FileNotFoundError):
      files.warn(f'episode {path} is gone: left out')
      return
    moved = self.owner and files.move_aside(path, 'damaged')
    files.warn(f'episode {path} is damaged ({error}): '
                 f'{"moved to damaged/" if moved else "left out"}')

  # Coming and going

  def evict(self, episode: Episode) -> None:
    """An episode leaves the store; a checkpoint may still need it."""
    self._evicted.put(episode.path)

  def take_back(self, name: str) -> Episode | None:
    """An evicted episode; None if it is not there or damaged."""
    path = self._evicted.take_back(name, self.path)
    return self.open(path) if path else None

  def leave_out(self, later: Iterable[Episode]) -> None:
    """Episodes that a checkpoint does not know."""
    amount = 0
    for episode in later:
      amount += 1
      if self.owner:
        files.move_aside(episode.path, 'after_checkpoint')
    if amount:
      what = 'moved to after_checkpoint/' if self.owner else 'left out'
      files.warn(f'{amount} episodes in {self.path} are newer than the '
                   f'checkpoint: {what}')

  def expire(self) -> None:
    """Deletes evicted files that only checkpoints before the last need."""
    self._evicted.expire(self._is_own)

  # Names

  def next_name(self, counter: int, length: int) -> str:
    """Sorts behind all others, also when the clock was set back."""
    ident = self._ident(counter)
    stamp = time.strftime(_STAMP, time.gmtime())
    if f'{stamp}-{ident}' <= self._last:
      stamp = self._last.split('-')[0]
    if f'{stamp}-{ident}' <= self._last:
      seconds = calendar.timegm(time.strptime(stamp, _STAMP)) + 1
      stamp = time.strftime(_STAMP, time.gmtime(seconds))
    return f'{stamp}-{ident}-{length}.npz'

  def _ident(self, counter):
    digest = hashlib.sha256(f'{self._seed} {counter}'.encode())
    return f'{counter:08x}{digest.hexdigest()[:24]}'

  def _is_own(self, name):
    """Whether a run of this seed has written an episode, by its name."""
    ident = ''.join(name.split('-')[1:2])
    try:
      return ident == self._ident(int(ident[:8], 16))
    except ValueError:
      return False

  def name_behind(self, episodes: Iterable[Episode]) -> None:
    """Names from now on sort behind those of these episodes."""
    self._last = max((x.name for x in episodes), default=self._last)


class Evicted:
  """Episodes beyond the capacity, in a folder of their own.

  A checkpoint needs the episodes it knows, so files are not deleted when they
  leave the store: `expire` does it once the checkpoint that was written after
  them is no longer the newest. Only an owner moves and deletes.
  """

  def __init__(self, folder: pathlib.Path, owner: bool) -> None:
    self._folder, self._owner = folder, owner
    self._names: set[str] = set()  # left since the last `expire`
    self._old = {x.name for x in folder.glob('*.npz')}  # before it

  def put(self, path: pathlib.Path) -> None:
    """Moves a file here; one that can't be moved stays."""
    if not self._owner:
      return
    with contextlib.suppress(OSError):
      self._folder.mkdir(exist_ok=True)
      os.replace(path, self._folder / path.name)
      self._names.add(path.name)

  def take_back(self, name: str, folder: pathlib.Path) -> pathlib.Path | None:
    """Moves a file into a folder; returns where it is, None if not here."""
    if name not in self._names | self._old:
      return None
    if not self._owner:
      return self._folder / name
    os.replace(self._folder / name, folder / name)
    self._names.discard(name)
    self._old.discard(name)
    return folder / name

  def expire(self, is_own: Callable[[str], bool]) -> None:
    """Deletes the files that were here at the last call already.

    is_own: whether the run has written a file of that name; others stay.
    """
    if not self._owner:
      return
    for name in filter(is_own, self._old):
      with contextlib.suppress(OSError):
        (self._folder / name).unlink()
    self._old, self._names = self._names, set()


def _size(entry: os.DirEntry[str]) -> int:
  try:
    return entry.stat().st_size
  except OSError:  # gone since, or a link to nothing: opening it will tell
    return -1
