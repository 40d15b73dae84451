"""How arrays are compared with a release's, and what may be off by how much.

The one home of these rules: the runners of our own agents use them (`./run.sh
parity`) and the checker of other programs (`./run.sh conform`).
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Mapping

import numpy as np

# Worst relative error that a correct float32 implementation meets.
TOLERANCE = {'loss': 1e-4, 'metric': 1e-4, 'tensor': 1e-4, 'norm': 1e-4,
             'grad': 1e-3, 'slot': 1e-3, 'param': 0.02, 'function': 1e-5,
             'half': 5e-4, 'extra': 1e-6}  # half: kept as float16

HEAD = 16  # elements that are given of a large array
LEAST = 0.01  # of a metric: the mean of what is centred is rounding alone

KINDS = {'grad_norm': 'norm', 'objective': 'loss', 'param1': 'param',
         'policy': 'tensor'}
# The same by two parts of a name, of what else an update leaves behind.
EXTRA: dict[tuple[str, ...], str] = {
    ('extra', 'agc_scale'): 'tensor', ('extra', 'replay'): 'tensor',
    **{('extra', key): 'metric' for key in ('retnorm', 'valnorm', 'advnorm')}}


class Row(typing.NamedTuple):
  """One expected array and how far ours is from it."""

  kind: str
  error: float
  name: str
  allowed: float
  note: str


class Comparison:
  """Collects one Row for each expected array.

  Args are expected and own arrays by name, the number of train steps N and
  the learning rate of each parameter: errors of parameters are shares of
  N * lr, or of what `units` gives for a name. Without arguments it is empty,
  and rows are added by the caller. `shapes` are those of arrays of which only
  statistics and the first elements are expected, where they are known. `notes`
  are remarks for the reader.
  """

  def __init__(self, expected: Mapping[str, typing.Any] | Iterable = (),
               arrays: Mapping[str, typing.Any] | Iterable = (),
               steps: int = 1, lrs: Mapping[str, float] | Iterable = (),
               units: Mapping[str, float] | Iterable = (),
               shapes: Mapping[str, tuple] | Iterable = ()) -> None:
    self.expected, self.arrays = dict(expected), dict(arrays)
    self.steps, self.lrs, self.units = steps, dict(lrs), dict(units)
    self.shapes = dict(shapes)
    self.rows: list[Row] = []
    self.missing: list[str] = []
    self.notes: list[str] = []
    for name in self.expected:
      self._compare(name)

  @property
  def problems(self) -> list[str]:
    """One line for each array that is off or that nothing was compared to."""
    lines = [f'over: {row.name} {row.error:.2e} > {row.allowed:.0e}{row.note}'
             for row in self.rows if not row.error <= row.allowed]
    lines += [f'not compared: {name}' for name in self.missing]
    return lines if self.rows else lines + ['nothing to compare']

  @property
  def ok(self) -> bool:
    return not self.problems

  def add(self, kind: str, name: str, error: float, note: str = '') -> None:
    self.rows.append(Row(kind, float(error), name, TOLERANCE[kind], note))

  def _compare(self, name):
    base, form = split(name)
    kind = kind_of(base)
    if base not in self.arrays or kind not in TOLERANCE:
      self.missing.append(name)
      return
    ours = np.asarray(self.arrays[base], np.float64)
    theirs = np.asarray(self.expected[name], np.float64)
    note = ''
    if form == '' and ours.shape != theirs.shape:
      error = np.inf
    elif form and (wrong := self._wrong_size(base, ours.size)):
      error, note = np.inf, wrong
    elif form and ours.shape != self.shapes.get(base, ours.shape):
      error, note = np.inf, f': not of shape {self.shapes[base]}'
    elif kind == 'param':
      error = self._param_error(base, form, ours, theirs)
      note = self._head_note(base, form, ours, theirs)
    else:
      error = self._error(base, form, ours, theirs, kind)
    self.add(kind, name, error, note)

  def _wrong_size(self, base, size):
    """What is wrong with it, by the elements that are given of the array."""
    least = len(self.expected[f'{base}.head'])
    if least < HEAD and size != least:  # All of them are given.
      return f': {size} elements, not {least}'
    return f': {size} elements are too few' * (size < least)

  def _head_note(self, base, form, ours, theirs):
    """How many elements stand behind the error of a parameter's head.

    All of them have to fit there, while 1 % of a whole array may not.
    """
    if form != 'head':
      return ''
    unit = self._unit(base)
    over = np.abs(ours.ravel()[:HEAD] - theirs) / unit > TOLERANCE['param']
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
      return np.abs(ours.ravel()[:HEAD] - theirs).max() / nonzero(scale)
    if kind in ('grad', 'slot'):
      norm = np.linalg.norm(theirs)
      return np.linalg.norm(ours - theirs) / nonzero(norm)
    least = LEAST if kind == 'metric' else 0.0
    scale = nonzero(max(float(np.abs(theirs).max()), least))
    return np.abs(ours - theirs).max() / scale

  def _param_error(self, base, form, ours, theirs):
    """Differences as shares of N * lr; 1 % of the elements may exceed.

    What rounding to float32 makes is none: two programs that move a number
    in N updates, each by a product and a sum, round it twice as often.
    """
    unit = self._unit(base)
    if form == 'stats':
      scale = np.array([unit] * 5)
      scale[2] = unit * np.sqrt(ours.size)
      return (np.abs(stats(ours) - theirs) / scale)[:3].max()
    ours = ours.ravel()[:HEAD] if form == 'head' else ours
    spacing = np.spacing(np.abs(theirs).astype(np.float32))
    rounding = 2 * self.steps * spacing
    error = np.maximum(np.abs(ours - theirs) - rounding, 0) / unit
    return np.quantile(error, 0.99, method='higher')

  def _unit(self, base):
    if base in self.units:
      return nonzero(self.units[base])
    return self.steps * self.lrs[base.removeprefix('param/')]


def split(name: str) -> tuple[str, str]:
  """An expected name -> that of the array, and 'stats', 'head' or ''."""
  base, _, form = name.rpartition('.')
  return (base, form) if form in ('stats', 'head') else (name, '')


def kind_of(base: str) -> str:
  """The kind of an array by its name: a key of TOLERANCE where it has one."""
  parts = base.split('/')
  kind, *rest = parts[min(base.startswith('step'), len(parts) - 1):]
  return EXTRA.get((kind, *rest[:1])) or KINDS.get(kind, kind)


def stats(x: np.ndarray) -> np.ndarray:
  """[mean, std, l2 norm, min, max] of an array."""
  return np.array([
      x.mean(), x.std(), np.sqrt((x ** 2).sum()), x.min(), x.max()])


def nonzero(scale: typing.Any) -> typing.Any:
  """Scales to divide by."""
  return np.maximum(scale, 1e-12)
