"""The form of a parity case: reading, rule-made parameters, comparison."""

import collections
import json
import zipfile
import zlib

import numpy as np

from dreamer.errors import UserError

# Worst relative error that a correct float32 implementation meets.
TOLERANCE = {'loss': 1e-4, 'metric': 1e-4, 'tensor': 1e-4, 'norm': 1e-4,
             'grad': 1e-3, 'slot': 1e-3, 'param': 0.02, 'function': 1e-5,
             'half': 5e-4, 'extra': 1e-6}  # half: kept as float16

KINDS = {'grad_norm': 'norm', 'objective': 'loss'}

REQUIRED = ('agent', 'reference', 'action_space', 'batch', 'image', 'steps',
            'overrides', 'param_shapes')

Row = collections.namedtuple('Row', 'kind error name allowed note')


class Comparison:
  """Collects one Row for each expected array.

  Args are expected and own arrays by name, the number of train steps N and
  the learning rate of each parameter: errors of parameters are shares of
  N * lr. Without arguments it is empty, and rows are added by the caller.
  `notes` are remarks for the reader.
  """

  def __init__(self, expected=(), arrays=(), steps=1, lrs=()):
    self.expected, self.arrays = dict(expected), dict(arrays)
    self.steps, self.lrs = steps, dict(lrs)
    self.rows, self.missing, self.notes = [], [], []
    for name in self.expected:
      self._compare(name)

  @property
  def problems(self):
    """One line for each array that is off or that nothing was compared to."""
    lines = [f'over: {row.name} {row.error:.2e} > {row.allowed:.0e}{row.note}'
             for row in self.rows if not row.error <= row.allowed]
    lines += [f'not compared: {name}' for name in self.missing]
    return lines if self.rows else lines + ['nothing to compare']

  @property
  def ok(self):
    return not self.problems

  def add(self, kind, name, error, note=''):
    self.rows.append(Row(kind, float(error), name, TOLERANCE[kind], note))

  def _compare(self, name):
    base, _, form = name.rpartition('.')
    if form not in ('stats', 'head'):
      base, form = name, ''
    kind = base.split('/')[base.startswith('step')]
    kind = KINDS.get(kind, kind)
    if base not in self.arrays or kind not in TOLERANCE:
      self.missing.append(name)
      return
    ours = np.asarray(self.arrays[base], np.float64)
    theirs = np.asarray(self.expected[name], np.float64)
    note = ''
    if form == '' and ours.shape != theirs.shape:
      error = np.inf
    elif kind == 'param':
      error = self._param_error(base, form, ours, theirs)
      note = self._head_note(base, form, ours, theirs)
    else:
      error = self._error(base, form, ours, theirs, kind)
    self.add(kind, name, error, note)

  def _head_note(self, base, form, ours, theirs):
    """How many elements stand behind the error of a parameter's head.

    All of them have to fit there, while 1 % of a whole array may not.
    """
    if form != 'head':
      return ''
    unit = self.steps * self.lrs[base.removeprefix('param/')]
    over = np.abs(ours.ravel()[:16] - theirs) / unit > TOLERANCE['param']
    return (f': {over.sum()} of the {over.size} elements given of '
            f'{ours.size}; of a whole array 1 % may be over')

  def _error(self, base, form, ours, theirs, kind):
    """Largest difference relative to the array's own scale."""
    if form == 'stats':
      scale = np.array([np.abs(theirs[3:]).max()] * 5)
      scale[2] = theirs[2]
      return (np.abs(stats(ours) - theirs) / nonzero(scale)).max()
    if form == 'head':
      given = self.expected[f'{base}.stats']
      scale = np.abs(np.asarray(given, np.float64)[3:]).max()
      return np.abs(ours.ravel()[:16] - theirs).max() / nonzero(scale)
    if kind in ('grad', 'slot'):
      norm = np.linalg.norm(theirs)
      return np.linalg.norm(ours - theirs) / nonzero(norm)
    return np.abs(ours - theirs).max() / nonzero(np.abs(theirs).max())

  def _param_error(self, base, form, ours, theirs):
    """Differences as shares of N * lr; 1 % of the elements may exceed."""
    unit = self.steps * self.lrs[base.removeprefix('param/')]
    if form == 'stats':
      scale = np.array([unit] * 5)
      scale[2] = unit * np.sqrt(ours.size)
      return (np.abs(stats(ours) - theirs) / scale)[:3].max()
    ours = ours.ravel()[:16] if form == 'head' else ours
    return np.quantile(np.abs(ours - theirs) / unit, 0.99, method='higher')


def stats(x):
  """[mean, std, l2 norm, min, max] of an array."""
  return np.array([
      x.mean(), x.std(), np.sqrt((x ** 2).sum()), x.min(), x.max()])


def nonzero(scale):
  return np.maximum(scale, 1e-12)


def is_function(case):
  """Whether the case is that of a single function."""
  return 'function' in case or 'mpc_agent' in case


def rule_parameter(name, shape):
  """The rule-made value of the variable `name`."""
  rng = np.random.RandomState(zlib.crc32(name.encode()) & 0x7fffffff)
  value = rng.randn(*shape)
  if name.endswith('/gamma'):
    return (1 + 0.02 * value).astype(np.float32)
  if len(shape) >= 2 and not name.endswith('/bias'):
    return (value / np.sqrt(np.prod(shape[:-1]))).astype(np.float32)
  return (0.02 * value).astype(np.float32)


def load_parameters(parameters, case, path):
  """Assigns the case's parameters; names and shapes must agree exactly.

  Only those that the case lists as without gradient may be absent here.
  Their names are returned.
  """
  ours = {key: tuple(value.shape) for key, value in parameters.items()}
  theirs = {key: tuple(value) for key, value in case['param_shapes'].items()}
  absent = set(case.get('no_gradient', ())) - set(ours)
  for key in sorted((set(ours) | set(theirs)) - absent):
    if ours.get(key) != theirs.get(key):
      raise UserError(f'parameter {key}: shape {ours.get(key)} here, '
                      f'{theirs.get(key)} in the case')
  stored = {}
  if case.get('params') == 'file':
    stored = read_npz(path / 'params.npz')
  for key, value in parameters.items():
    if stored and key not in stored:
      raise UserError(f'params.npz: lacks {key}')
    value.assign(stored[key] if stored else rule_parameter(key, value.shape))
  return absent


def read_json(path):
  try:
    data = json.loads(path.read_text())
  except OSError as error:
    raise UserError(f'{path}: {error.strerror}; give a case folder') from error
  except ValueError as error:
    raise UserError(f'{path}: not JSON ({error})') from error
  if not isinstance(data, dict):
    raise UserError(f'{path}: not a JSON object; give a case folder')
  return data


def read_npz(path):
  try:
    with np.load(path, allow_pickle=False) as data:
      return {key: data[key] for key in data.files}
  except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
    raise UserError(f'{path}: {error}') from error
