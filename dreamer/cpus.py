"""How many processors this process may use, not how many there are."""

from __future__ import annotations

import contextlib
import math
import os
import pathlib


def allowed() -> int:
  """Of the machine's those in its affinity mask, and no more than its quota.

  taskset, Slurm and containers set the mask; the quotas of control groups
  are those of containers (`docker run --cpus`) and of systemd. A part of one
  counts as one.
  """
  try:
    amount = len(os.sched_getaffinity(0))
  except AttributeError:  # not on macOS and Windows
    amount = os.cpu_count() or 1
  return max(1, math.ceil(min(amount, quota())))


def quota(system: str | os.PathLike[str] = '/') -> float:
  """Returns processors by the quotas of the control groups; infinity: none.

  That of a group holds for all below it. system: the root folder of the
  files that the kernel offers, of both its versions of control groups.
  """
  system = pathlib.Path(system)
  own = _own_groups(system)
  found = [math.inf]
  for line in _lines(system / 'proc/self/mountinfo'):
    where, _, what = line.partition(' - ')
    kind, _, options = what.split(' ', 2)
    if kind == 'cgroup2' or kind == 'cgroup' and 'cpu' in options.split(','):
      root, mount = where.split(' ')[3:5]
      path = own.get('cpu' if kind == 'cgroup' else '', '/')
      top = system / _unescaped(mount).lstrip('/')
      below = _below(path, _unescaped(root))
      found += [_quota(x) for x in (top / below, *(top / below).parents)
                if x.is_relative_to(top)]
  return min(found)


def _own_groups(system):
  """{controller: path of this process's group}; '' is version 2."""
  found = {}
  for line in _lines(system / 'proc/self/cgroup'):
    _, controllers, path = line.split(':', 2)
    found.update(dict.fromkeys(controllers.split(','), path))
  return found


def _below(path, root):
  """A group's path below what is mounted, which may be a group itself."""
  inside = pathlib.PurePosixPath(path)
  if '..' in inside.parts or not inside.is_relative_to(root):
    return ''  # Counted from elsewhere: what is mounted is the group.
  return str(inside.relative_to(root))


def _quota(folder):
  """Of one group: version 2 has one file, version 1 has two."""
  with contextlib.suppress(OSError, ValueError, IndexError):
    most, period = (folder / 'cpu.max').read_text().split()
    return math.inf if most == 'max' else int(most) / int(period)
  with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
    most, period = (int((folder / f'cpu.cfs_{x}_us').read_text())
                    for x in ('quota', 'period'))
    return most / period if most > 0 else math.inf
  return math.inf


def _unescaped(path):
  """As in mountinfo: a space is a backslash and 040."""
  for code in (' ', '\t', '\n', '\\'):
    path = path.replace(f'\\{ord(code):03o}', code)
  return path


def _lines(path):
  try:
    return path.read_text().splitlines()
  except OSError:
    return []
