"""Compares the files of a case made again with those of the stored one."""
import collections
import json
import pathlib

import numpy as np

from dreamer import conform
from dreamer.conform.compare import TOLERANCE, kind_of, split, stats
from dreamer.conform.verdict import judge

Row = collections.namedtuple('Row', 'kind error name')

# Relative to the largest element. Inputs must be the same bits.
ALLOWED = {'batch': 0, 'noise': 0, 'params': TOLERANCE['function'],
           'policy': TOLERANCE['tensor']}


def arrays(stored, made):
  """A Row for each array of the stored case, and a line for each problem.

  Rows say how far each array is, relative to its largest element. Whether
  expected.npz agrees, `dreamer.conform` judges. The made case may hold more
  than the stored one; its large arrays are whole, in whole.npz.
  """
  rows, problems = [], _verdict(stored, made)
  for path in sorted(pathlib.Path(stored).glob('*.npz')):
    theirs, ours = load(path), _made(path, made)
    for name, value in theirs.items():
      base, form = split(name)
      kind = kind_of(base) if path.stem == 'expected' else path.stem
      if base not in ours:
        problems.append(f'{path.name}: {name} was not made')
        continue
      error = difference(outline(ours[base], form), value)
      rows.append(Row(kind, error, name))
      if not error <= ALLOWED.get(path.stem, np.inf):
        problems.append(f'{path.name}: {name} is off by {error:.1e}')
  return rows, problems


def _verdict(stored, made):
  """What the checker says against the made arrays of expected.npz."""
  case = conform.case(stored)
  case.data.update({  # where rounding decides, as the maker's table knows it
      k: v for k, v in json.loads((made / 'case.json').read_text()).items()
      if k == 'near_ties'})
  found = load(made / 'whole.npz')
  verdict = judge(case, {k: v for k, v in found.items() if k in case.names})
  return [] if verdict.conforms else [verdict.summary]


def functions(stored, made):
  """The same of single functions: all numbers of the files that were made."""
  rows, problems = [], []
  for path in [stored] if stored.is_file() else sorted(stored.iterdir()):
    if not (made / path.name).exists():
      continue
    theirs, ours = numbers(path), numbers(made / path.name)
    for name, value in theirs.items():
      if name not in ours:
        problems.append(f'{path.name}: {name} was not made')
        continue
      rows.append(Row(path.name, difference(ours[name], value), name))
      allowed = 'half' if value.dtype == np.float16 else 'function'
      if not rows[-1].error <= TOLERANCE[allowed]:
        problems.append(f'{path.name}: {name} is off by {rows[-1].error:.1e}')
  return rows, problems


def numbers(path):
  """The arrays of a file; of a JSON file its leaves, plain lists as arrays."""
  if path.suffix == '.npz':
    return load(path)
  return dict(_leaves('', json.loads(path.read_text())))


def _leaves(name, value):
  if isinstance(value, dict):
    for key, inner in value.items():
      yield from _leaves(f'{name}/{key}', inner)
  elif isinstance(value, list) and any(
      isinstance(x, dict | list) for x in value):
    for index, inner in enumerate(value):
      yield from _leaves(f'{name}/{index}', inner)
  else:
    yield name, np.asarray(value)


def _made(path, made):
  path = made / ('whole.npz' if path.stem == 'expected' else path.name)
  return load(path) if path.exists() else {}


def outline(value, form):
  """The part of a large array that a case stores: form as in its name."""
  if form == 'stats':
    return stats(value.astype(np.float64))
  return value.ravel()[:16] if form == 'head' else value


def difference(ours, theirs):
  """Largest difference, relative to the largest stored element."""
  if ours.shape != theirs.shape:
    return np.inf
  if theirs.dtype.kind not in 'fiub' or ours.dtype.kind not in 'fiub':
    return 0.0 if np.array_equal(ours, theirs) else np.inf
  ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
  scale = np.abs(theirs).max(initial=0)
  return np.abs(ours - theirs).max(initial=0) / max(scale, 1e-12)


def load(path):
  with np.load(path, allow_pickle=False) as found:
    return {name: found[name] for name in found.files}
