"""Where rounding decides: what is compared loosely, and why.

An argmax that is close to its rival may fall either way, and all that is
imagined after it differs; the sign of what is rounding alone is anybody's.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping

import numpy as np

from dreamer.conform.compare import Comparison

MARGIN, LOOSE = 4e-5, 0.05
# What is of imagination, by how names begin.
IMAGINED = ('imag_', 'returns', 'weight', 'critic', 'policy_', 'reward_',
            'actor')
# V3: advantages below this are rounding of the critic's float32 predictions,
# and the actor's step has its sign: it is only bounded then.
FAINT, BOUND = 1e-6, 2.5
# V3: how near the two largest values of a pooled window may be, as a share of
# all, for rounding to choose the pixel that learns; and what that may move.
TIE, MOVED = 3e-7, 5e-3


def allow(comparison: Comparison, data: Mapping[str, typing.Any]) -> None:
  """Loosens rows of a comparison that fails where rounding may decide.

  data: the content of case.json. Adds a note for what it does.
  """
  if data['agent'] == 'dreamerv3':
    _after_step(comparison, data)
    _faint(comparison, data['steps'])
  else:
    _after_imagination(comparison, data.get('argmax_margin_min'))


def allow_ties(comparison: Comparison, ties: int) -> None:
  """Loosens what the encoder learns where rounding chose among pixels.

  ties: how many pooled windows have two values within TIE.
  """
  comparison.rows = [
      row._replace(allowed=max(MOVED, row.allowed)) if '/enc/' in row.name and (
          row.kind in ('grad', 'slot', 'norm') or 'agc_scale' in row.name)
      else row for row in comparison.rows]
  comparison.notes.append(
      f'{ties} pooled window(s) of the encoder have two values that rounding '
      f'orders: what it learns is compared to {MOVED:.1%}')


def _after_imagination(comparison, margin):
  """V1, V2; margin: of the closest argmax of the case, None without one."""
  if comparison.ok or margin is None or margin >= MARGIN:
    return
  comparison.rows = [
      _looser(row) for row in comparison.rows if not _head_of_flip(row)]
  comparison.notes.append(
      f'an argmax is {margin:.0e} from its rival: numbers after imagination '
      f'are compared to {LOOSE:.0%} of their statistics')


def _plain(row):
  """An array's name without step and kind: imag_reward, actor/out/bias."""
  return row.name.removeprefix('step0/').split('/', 1)[-1]


def _head_of_flip(row):
  """Single elements say nothing after a flip."""
  return row.name.endswith('.head') and _plain(row).startswith(IMAGINED)


def _looser(row):
  name = _plain(row)
  loose = name.startswith(IMAGINED) or row.kind in ('grad', 'param') and (
      name.startswith(('actor/', 'critic/', 'target_critic/')))
  return row._replace(allowed=LOOSE) if loose else row


def _after_step(comparison, data):
  """V3: all that comes after the first step with a close argmax."""
  close = [min(margins.values(), default=np.inf) < MARGIN for margins in
           data.get('argmax_margins', [])]
  if comparison.ok or not any(close):
    return
  first = close.index(True)
  late = tuple(f'step{k}/' for k in range(first, data['steps']))
  if first == 0:
    late += ('tensor/', 'grad/', 'param1/', 'extra/')
  comparison.rows = [
      row._replace(allowed=max(LOOSE, row.allowed)) if row.name.startswith(
          (*late, 'param/', 'slot/', 'extra/retnorm')) else row
      for row in comparison.rows]
  comparison.notes.append(
      f'an argmax of step {first} is close to its rival: '
      f'what comes after it is compared to {LOOSE:.0%}')


def _faint(comparison, steps):
  """V3: bounds the actor's arrays where its gradients are rounding."""
  sizes = [float(comparison.expected.get(f'step{k}/metric/adv_mag', 1))
           for k in range(steps)]
  faint = [k for k, size in enumerate(sizes) if 0 < size < FAINT]
  if not faint:
    return
  allowed = {'param/pol/': BOUND, 'slot/momentum/pol/': BOUND, **{
      f'step{k}/loss/policy': 1e-3 for k in faint}}
  for index, row in enumerate(comparison.rows):
    for prefix, bound in allowed.items():
      if row.name.startswith(prefix):
        comparison.rows[index] = row._replace(allowed=bound)
  comparison.notes.append(
      f'advantages of step {faint[0]} are {sizes[faint[0]]:.0e}, rounding of '
      "float32: the actor's parameters and momentum are only bounded")
