"""Compares the files of a case made again with those of the stored one."""
import collections
import pathlib

import numpy as np
from rules import stats

Row = collections.namedtuple('Row', 'kind error name')

# Inputs must be the same bits. The rest may differ as float32 does between
# processors: relative to the largest element, gradients to their norm.
FILES = {'batch': 0, 'noise': 0, 'params': 1e-6, 'policy': 1e-4}
ALLOWED = {'grad': 1e-3, 'slot': 1e-3, 'param': 1e-3, 'param1': 1e-3}


def arrays(stored, made):
  """A Row for each array of the stored case, and a line for each problem.

  The made case may hold more. Its large arrays are whole in whole.npz.
  """
  rows, problems = [], []
  for path in sorted(pathlib.Path(stored).glob('*.npz')):
    theirs = load(path)
    other = 'whole.npz' if path.stem == 'expected' else path.name
    ours = load(made / other) if (made / other).exists() else {}
    for name, value in theirs.items():
      base, form = split(name)
      if base not in ours:
        problems.append(f'{path.name}: {name} was not made')
        continue
      kind = kind_of(name) if path.stem == 'expected' else path.stem
      row = Row(kind, difference(kind, outline(ours[base], form), value), name)
      rows.append(row)
      if not row.error <= FILES.get(path.stem, ALLOWED.get(kind, 1e-4)):
        problems.append(f'{path.name}: {name} is off by {row.error:.1e}')
  return rows, problems


def split(name):
  """The name of a large array, and which outline of it is stored."""
  base, _, form = name.rpartition('.')
  return (base, form) if form in ('stats', 'head') else (name, '')


def outline(value, form):
  if form == 'stats':
    return stats(value)
  return value.ravel()[:16] if form == 'head' else value


def kind_of(name):
  return name.split('/')[name.startswith('step')]


def difference(kind, ours, theirs):
  """Largest difference, relative to the scale of the stored array."""
  if ours.shape != theirs.shape or ours.dtype.kind != theirs.dtype.kind:
    return np.inf
  ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
  scale = np.abs(theirs).max(initial=0)
  if kind == 'grad':
    scale = max(scale, np.linalg.norm(theirs))
  return np.abs(ours - theirs).max(initial=0) / max(scale, 1e-12)


def load(path):
  with np.load(path, allow_pickle=False) as stored:
    return {name: stored[name] for name in stored.files}
