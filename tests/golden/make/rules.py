"""What the four makers share: rules of the cases, and how they are written.

Runs in the Python of each release, 3.6 and newer: NumPy alone, old syntax.
"""
import argparse
import json
import os
import sys
import zlib

import numpy as np

USED = '{} holds something already; name a new folder, or move it away'
GAMMA = ('/scale', '/gamma')  # the factors of a norm


def arguments(description):
  """The command line of every maker: CASE --release --out --stored."""
  parser = argparse.ArgumentParser(description=description)
  parser.add_argument('case')
  parser.add_argument('--release', required=True, help='its checkout')
  parser.add_argument('--out', required=True, help='folder to write into')
  parser.add_argument('--stored', help='stored case, for its batch.npz')
  parser.add_argument('--plain', action='store_true',
                      help='run the release untouched as well')
  args = parser.parse_args()
  if os.path.exists(args.out) and not is_empty(args.out):
    parser.error('--out: ' + USED.format(args.out))
  return args


def is_empty(path):
  return os.path.isdir(path) and not os.listdir(path)


def generator(name):
  """The generator whose draws are the parameter of this name."""
  return np.random.RandomState(zlib.crc32(name.encode()) & 0x7fffffff)


def rule_parameter(name, shape):
  """The parameter rule of tests/golden/README.md, float32."""
  value = generator(name).randn(*shape)
  if name.endswith(GAMMA):
    value = 1 + 0.02 * value
  elif len(shape) >= 2 and not name.endswith('/bias'):
    value = value / np.sqrt(np.prod(shape[:-1]))
  else:
    value = 0.02 * value
  return np.asarray(value, np.float32)


def shorten(arrays, is_large):
  """For each array for which is_large(name, value) its statistics and head."""
  found = {}
  for name, value in arrays.items():
    if is_large(name, value):
      found[name + '.stats'] = stats(value)
      found[name + '.head'] = value.ravel()[:16]
    else:
      found[name] = value
  return found


def stats(value):
  """Mean, standard deviation, l2 norm, minimum and maximum, float64."""
  value = np.asarray(value, np.float64)
  norm = np.sqrt((value ** 2).sum())
  return np.array([value.mean(), value.std(), norm, value.min(), value.max()])


def load(folder, name):
  """The arrays of one file of a case; no pickle is read."""
  with np.load(os.path.join(folder, name), allow_pickle=False) as stored:
    return {key: stored[key] for key in stored.files}


def write(folder, case, expected, is_large, **files):
  """Writes a case: case.json, expected.npz and an npz for each keyword.

  whole.npz beside it has the large arrays that expected.npz only outlines.
  """
  if not os.path.isdir(folder):
    os.makedirs(folder)
  expected = {k: np.asarray(v) for k, v in expected.items()}
  np.savez(os.path.join(folder, 'whole.npz'), **expected)
  files['expected'] = shorten(expected, is_large)
  for name, arrays in files.items():
    if arrays:
      np.savez_compressed(os.path.join(folder, name + '.npz'), **arrays)
  with open(os.path.join(folder, 'case.json'), 'w') as f:
    json.dump(case, f, indent=1, default=_plain)
    f.write('\n')


class Given(dict):
  """Stored arrays of a function; keeps the names of those that it reads."""

  def __init__(self, arrays):
    dict.__init__(self, arrays)
    self.read = set()

  def __getitem__(self, name):
    self.read.add(name)
    return dict.__getitem__(self, name)


def remake_functions(functions, stored, out):
  """Makes the files of single functions again.

  functions: by file name, each takes the stored content and returns its own.
  Arrays that it reads are inputs, and written as they are. stored: a file, or
  a folder of which the files without a function are left out.
  """
  for name, function in functions.items():
    source, target = os.path.join(stored, name), os.path.join(out, name)
    if os.path.isfile(stored):
      source = stored
    if not os.path.isdir(out):
      os.makedirs(out)
    if name.endswith('.json'):
      with open(source) as f:
        found = function(json.load(f))
      with open(target, 'w') as f:
        json.dump(found, f, default=_plain)
    else:
      given = Given(load(stored, name))
      found = function(given)
      found.update({key: dict.__getitem__(given, key) for key in given.read})
      np.savez(target, **{key: np.asarray(v) for key, v in found.items()})


def _plain(value):
  return value.tolist() if hasattr(value, 'tolist') else list(value)


def versions(**packages):
  """Versions of Python and of the packages given as name=module."""
  found = {'python': sys.version.split()[0]}
  found.update({k: str(v) for k, v in packages.items()})
  return found


def largest_difference(ours, theirs):
  """Largest relative difference of two dicts of arrays with equal keys."""
  worst = 0.0
  for key in ours:
    one = np.asarray(ours[key], np.float64)
    two = np.asarray(theirs[key], np.float64)
    scale = max(np.abs(one).max(initial=0), 1e-8)
    worst = max(worst, np.abs(one - two).max(initial=0) / scale)
  return float(worst)
