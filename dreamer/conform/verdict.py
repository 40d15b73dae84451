"""What a comparison with a release says, for whoever wrote the other program.

`judge` compares arrays with a case; the Verdict that it returns names the
first array, in the order of `flow`, that is off.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import typing
from collections.abc import Mapping

import numpy as np

from dreamer.conform import flow, rounding
from dreamer.conform.cases import Case
from dreamer.conform.compare import (
  TOLERANCE,
  Comparison,
  kind_of,
  nonzero,
  split,
)
from dreamer.conform.rounding import MARGIN
from dreamer.errors import UserError

# What the error of each kind is relative to.
UNITS = {
    'grad': "of the gradient's norm", 'slot': "of the array's norm",
    'param': 'of N * learning rate, for 99 % of the elements'}
UNIT = "of the array's largest element"
KINDS = 'fiub'


@dataclasses.dataclass(frozen=True)
class Finding:
  """One expected array: how far the given one is from it.

  status: 'agrees', 'off' or 'absent'. error and allowed are relative, in the
  kind's unit; of an array given by statistics and head (whole: False), that of
  the worse.
  """

  name: str
  stage: str
  kind: str
  status: str
  error: float = 0.0
  allowed: float = 0.0
  note: str = ''
  whole: bool = True

  @property
  def unit(self) -> str:
    known = UNITS if self.whole else {'param': 'of N * learning rate'}
    return known.get(self.kind, UNIT)

  @property
  def share(self) -> float:
    """The error as a share of what is allowed."""
    with np.errstate(invalid='ignore'):
      return float(np.nan_to_num(
          self.error / self.allowed if self.allowed else 0.0, nan=np.inf,
          posinf=np.inf))


@dataclasses.dataclass(frozen=True)
class Verdict:
  """All findings in the order of the data flow, and what to know of them."""

  case: Case
  findings: list[Finding]
  notes: list[str]

  @functools.cached_property
  def computed(self) -> list[Finding]:
    """Without the parameters that one starts from."""
    return [x for x in self.findings if not x.name.startswith('init/')]

  @functools.cached_property
  def given(self) -> list[Finding]:
    return [x for x in self.computed if x.status != 'absent']

  @property
  def agreeing(self) -> list[Finding]:
    return [x for x in self.given if x.status == 'agrees']

  @property
  def first(self) -> Finding | None:
    """The first array that is off; None: all that is given agrees."""
    return next((x for x in self.findings if x.status == 'off'), None)

  @property
  def conforms(self) -> bool:
    return bool(self.given) and self.first is None

  @property
  def stages(self) -> dict[str, list[Finding]]:
    """The findings by stage of the train step."""
    found: dict[str, list[Finding]] = {}
    for finding in self.findings:
      found.setdefault(finding.stage, []).append(finding)
    return found

  @property
  def summary(self) -> str:
    """One line to paste."""
    counts = f'in {len(self.agreeing)} of {len(self.computed)} arrays'
    if self.first is None:
      if not self.given:
        return f'nothing to compare with {self.case.release}, {self.case.name}'
      some = '' if len(self.given) == len(self.computed) else (
          ' (the others are not given)')
      return (f'conforms to {self.case.release} {counts}{some}, '
              f'{self.case.name}')
    return (f'differs from {self.case.release} first in {self.first.name}; '
            f'agrees {counts}, {self.case.name}')


def judge(case: Case, arrays: Mapping[str, np.ndarray]) -> Verdict:
  """Compares arrays under the names of a case with the release's.

  Raises UserError for names that the case does not have, and for arrays that
  hold no numbers.
  """
  check_names(case, arrays)
  arrays = {key: np.asarray(x) for key, x in arrays.items()}
  check_numbers(arrays)
  arrays = _fit(case, arrays)
  comparison = compare(case, arrays)
  findings = _initial(case, arrays) + _findings(case, arrays, comparison)
  notes = [*_number_notes(case, arrays), *_flips(case, arrays),
           *comparison.notes, *_near_ties(case, findings)]
  findings = _forgiven(case, findings)
  return Verdict(case, findings, [*notes, *_hints(case, findings)])


def compare(case: Case, arrays: Mapping[str, np.ndarray]) -> Comparison:
  """The Comparison of arrays, without those that hold what is no number."""
  finite = {key: x for key, x in arrays.items() if np.isfinite(x).all()}
  comparison = Comparison(
      case.expected, finite, case.steps, units=case.units,
      shapes={name: _known_shape(case, name, x) for name, x in finite.items()})
  comparison.missing = []  # these are absent, which is no difference
  rounding.allow(comparison, case.data)
  return comparison


def _known_shape(case, name, array):
  """That of a parameter's; of tensors [T, B, ...] the other order."""
  kind, _, rest = name.partition('/')
  if kind in ('grad', 'param', 'param1') and rest in case.shapes:
    return tuple(case.shapes[rest])
  batch, length = next(iter(case.batch.values())).shape[:2]
  swapped = kind == 'tensor' and batch != length and (
      array.shape[:2] == (length, batch))
  return (batch, length, *array.shape[2:]) if swapped else array.shape


def check_names(case: Case, arrays: Mapping[str, typing.Any]) -> None:
  """Raises UserError for names that nobody knows, with the nearest."""
  known = [*case.names, *(f'init/{x}' for x in case.shapes)]
  unknown = [x for x in arrays if x not in known]
  if unknown:
    raise UserError('; '.join(
        f'{x}: no array of {case.name}' + _nearest(x, known)
        for x in unknown[:5]) + (
        f'; and {len(unknown) - 5} more' if len(unknown) > 5 else '') +
        '; python -m dreamer.conform CASE lists all names')


def _nearest(name, known):
  base = split(name)[0]
  if base in known:
    return f' (give the whole array as {base})'
  near = difflib.get_close_matches(name, known, 1, 0.5)
  return f' (did you mean {near[0]}?)' if near else ''


def check_numbers(arrays: Mapping[str, np.ndarray]) -> None:
  """Raises UserError for arrays of text, objects or complex numbers."""
  for name, array in arrays.items():
    if array.dtype.kind not in KINDS:
      raise UserError(f'{name}: holds {array.dtype}; write numbers, best '
                      'float32')


def _fit(case, arrays):
  """Arrays as they are; one number in an array of its own becomes a scalar."""
  return {key: x.reshape(case.expected[key].shape)
          if key in case.expected and x.size == case.expected[key].size == 1
          else x for key, x in arrays.items()}


def _number_notes(case, arrays):
  notes = []
  for size, words in (
      (2, 'float16 keeps 3 digits, so that rounding alone may be over what is '
       'allowed; write float32'),
      (8, 'compared as they are; the release computed in float32')):
    names = [key for key, x in arrays.items()
             if x.dtype.kind == 'f' and x.dtype.itemsize == size
             and getattr(case.expected.get(key), 'dtype', None) != x.dtype]
    if names:
      notes.append(f'float{8 * size}: {_list(names)}: {words}')
  return notes


def _list(names, most=3):
  more = f' and {len(names) - most} more' if len(names) > most else ''
  return ', '.join(names[:most]) + more


def _initial(case, arrays):
  """Findings of the parameters before the first step, where they are given."""
  found = []
  for name in case.shapes:
    key = f'init/{name}'
    if key not in arrays:
      continue
    ours, theirs = arrays[key], case.parameters[name]
    error = np.inf
    if ours.shape == theirs.shape:
      theirs = theirs.astype(np.float64)
      error = float(np.abs(ours - theirs).max() / nonzero(
          np.abs(theirs).max()))
    status = 'agrees' if error <= 1e-6 else 'off'
    found.append(Finding(key, 'parameters', 'tensor', status, error, 1e-6,
                         _shape_note(ours.shape, theirs.shape)))
  return found


def _findings(case, arrays, comparison):
  rows: dict[str, list] = {}
  for row in comparison.rows:
    rows.setdefault(split(row.name)[0], []).append(row)
  parameters, optional = list(case.shapes), case.optional
  return [
      _finding(case, name, flow.place(name, parameters).stage,
               arrays.get(name), rows.get(name, []))
      for name in case.names if name in arrays or name not in optional]


def _finding(case, name, stage, array, rows):
  kind = kind_of(name)
  if array is None:
    return Finding(name, stage, kind, 'absent')
  if not rows:
    bad = np.argwhere(~np.isfinite(array))
    value = array[tuple(bad[0])] if len(bad) else ''
    note = f'{value} first at {bad[0].tolist()}' if len(bad) else ''
    return Finding(name, stage, kind, 'off', np.inf, TOLERANCE[kind], note)
  worst = max(rows, key=lambda x: np.nan_to_num(
      x.error / x.allowed, nan=np.inf))
  status = 'agrees' if worst.error <= worst.allowed else 'off'
  note = ''
  if status == 'off':
    note = _where(case, name, array) or worst.note.removeprefix(': ')
  return Finding(name, stage, kind, status, worst.error, worst.allowed, note,
                 whole=not split(worst.name)[1])


def _where(case, name, array):
  """Where a tensor is off first, or how its shape differs."""
  shape = case.shapes.get(name.split('/', 1)[-1])
  expected = case.expected.get(name)
  shape = expected.shape if expected is not None else shape
  if shape is not None and array.shape != shape:
    return _shape_note(array.shape, shape)
  if expected is None or not name.startswith('tensor/') or not array.ndim:
    return ''
  expected = expected.astype(np.float64)
  scale = max(np.abs(expected).max(), 1e-12)
  off = np.abs(array - expected) / scale > TOLERANCE['tensor']
  imagined = name.startswith(('tensor/imag', 'tensor/ret', 'tensor/weight',
                              'tensor/policy', 'tensor/critic',
                              'tensor/expl', 'tensor/advantage'))
  axis = 0 if imagined or array.ndim < 2 else 1
  if not off.any():
    return ''
  steps = np.flatnonzero(off.any(tuple(
      i for i in range(array.ndim) if i != axis)))
  word = 'imagined step' if imagined else 'time step'
  return (f'{off.sum()} of {off.size} elements are off, first at {word} '
          f'{steps[0]} of 0 to {array.shape[axis] - 1}')


def _shape_note(ours, theirs):
  if ours == theirs:
    return ''
  swapped = ' (the same axes in another order)' if (
      sorted(ours) == sorted(theirs)) else ''
  return f'shape {tuple(ours)}, expected {tuple(theirs)}{swapped}'


def _flips(case, arrays):
  """Samples of another class although their logits agree."""
  notes = []
  pairs = [(f'tensor/{x}/stoch', f'tensor/{x}/logit')
           for x in ('post', 'prior')]
  pairs += [('tensor/imag_stoch', 'tensor/imag_logit')]
  for sample, logit in pairs:
    if not all(x in arrays and x in case.expected and arrays[x].shape ==
               case.expected[x].shape for x in (sample, logit)):
      continue
    other = (arrays[sample].argmax(-1) != case.expected[sample].argmax(-1))
    ranked = np.sort(case.expected[logit].astype(np.float64), -1)
    close = ranked[..., -1] - ranked[..., -2] < MARGIN
    if (other & close).any():
      notes.append(f'{sample}: {(other & close).sum()} of {other.size} samples '
                   f'are another class where two logits are closer than '
                   f'{MARGIN:.0e}: rounding, no difference of the program')
  return notes


def _near_ties(case, findings):
  ties = case.data.get('near_ties')
  if not ties or not any(x.status == 'off' for x in findings):
    return []
  limits = ', '.join(f'{key}* {x:.0e}' for key, x in ties['allowed'].items())
  return [f'{ties["why"]}; allowed therefore: {limits}']


def _forgiven(case, findings):
  """Findings with what the case allows where rounding decides."""
  limits = case.data.get('near_ties', {}).get('allowed', {})
  found = []
  for x in findings:
    limit = max([limit for start, limit in limits.items()
                 if x.name.startswith(start)], default=0.0)
    if x.status == 'off' and x.error <= limit:
      x = dataclasses.replace(x, status='agrees', allowed=limit, note='')
    found.append(x)
  return found


def _hints(case, findings):
  """What to know where imagination is the first to differ."""
  verdict = Verdict(case, findings, [])
  first = verdict.first
  if first is None or first.stage != 'imagination' or (
      case.agent != 'dreamerv2'):
    return []
  return ['this release updates its model before it imagines: where all '
          'gradients of the model agree, the update (clipping, decay, '
          'optimiser) is what differs, or the imagination itself']
