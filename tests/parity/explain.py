"""Which single change of our agent computes what another program computed.

  python -m tests.parity.explain CASE ...

prints, for every change that is known, whether the explanation of its arrays
names it; see `explain` for what `conform --explain` does.
"""

from __future__ import annotations

import itertools
import sys
import typing

import numpy as np

from dreamer import conform
from dreamer.conform import flow
from dreamer.conform.compare import Comparison
from dreamer.conform.verdict import judge
from tests.parity import cases as parity_cases
from tests.parity import changes
from tests.parity.changes import Change
from tests.parity.runs import Runs

MOST = 12  # changes upon each other
TRIED, PAIRED = 12, 6  # of those that move an array: alone, in pairs


def first_difference(case: conform.Case, ours: dict, theirs: dict
                     ) -> str | None:
  """The first array of theirs that is not ours; None: all are equal."""
  units = case.units
  for name in case.names:
    if name not in theirs or name not in ours or np.array_equal(
        ours[name], theirs[name], equal_nan=True):
      continue
    if not (np.isfinite(ours[name]).all() and np.isfinite(theirs[name]).all()):
      return name
    row, = Comparison(
        {name: ours[name]}, theirs, case.steps, units=units).rows
    if not row.error <= row.allowed:
      return name
  return None


class Step(typing.NamedTuple):
  """One step of an explanation: changes that are equally good, and after
  them the first array that still differs (None: none does)."""

  options: list[tuple[Change, ...]]
  rest: str | None


def search(runs: Runs, theirs: dict, first: str,
           say: typing.Callable = print) -> list[Step]:
  """Changes upon each other that bring the first difference further.

  In each round the change is taken after which the first difference comes
  last. Those that move the array the right way by themselves are tried
  first; where none of them helps, pairs of faults, then all others, whose
  effect may depend on what is changed already.
  """
  steps: list[Step] = []
  applied: tuple[Change, ...] = ()
  while first is not None and len(steps) < MOST:
    able, rest = ranked(runs, theirs, first, applied, say)
    faults_ = [x for x in able if x.enter][:PAIRED]
    rounds = ([(x,) for x in able[:TRIED]],
              list(itertools.combinations(faults_, 2)),
              [(x,) for x in (*able[TRIED:], *rest)])
    found = next(filter(None, (
        _best(runs, theirs, first, applied, options, say)
        for options in rounds)), None)
    if found is None:
      break
    steps.append(found)
    applied += found.options[0]
    first = found.rest
  return steps


def ranked(runs: Runs, theirs: dict, first: str,
           applied: typing.Sequence[Change], say: typing.Callable
           ) -> tuple[list[Change], list[Change]]:
  """Changes that move an array, the most promising first; and the others.

  As if effects added up: how far the array would be from theirs, were the
  effect of the change alone added to what is computed now.
  """
  steps = 1 if _early(runs, first) else 0
  base, now = runs.arrays([], steps), runs.arrays(applied, steps)
  able, rest = {}, []
  for change in runs.changes:
    if change in applied:
      continue
    say(f'  our agent with {change.words}')
    ours = runs.arrays([change], steps)
    if ours is None or first not in ours:
      continue
    effect = _difference(ours[first], base[first])
    if effect is None and ours[first].shape == theirs[first].shape:
      able[change.words] = 0.0, change
      continue
    if effect is None or not np.abs(effect).max() > 0:
      rest.append(change)
      continue
    left = _difference(theirs[first], now[first])
    left = np.inf if left is None or left.shape != effect.shape else (
        np.nan_to_num(np.linalg.norm(left - effect), nan=np.inf))
    able[change.words] = left, change
  order = sorted(able.values(), key=lambda x: x[0])
  return [change for _, change in order], rest


def _early(runs, name):
  """Whether an array is of the first update, without those after it."""
  return flow.place(name, list(runs.case.shapes)).order[0] == 0


def _difference(one, other):
  """In float64; None for other shapes."""
  if one.shape != other.shape:
    return None
  return one.astype(np.float64) - other


def _best(runs, theirs, first, applied, options, say):
  """The Step of what moves the first difference furthest, or None."""
  found: dict[str | None, list] = {}
  for option in options:
    say(f'  trying {" and ".join(x.words for x in (*applied, *option))}')
    rest = _rest(runs, theirs, first, [*applied, *option])
    if rest != first:
      found.setdefault(rest, []).append(option)
  if not found:
    return None
  rest = max(found, key=lambda x: np.inf if x is None else (
      runs.case.names.index(x)))
  return Step(found[rest], rest)


def _rest(runs, theirs, first, applied):
  """The first difference with changes, if it is later than `first` was.

  None: no array differs; `first`: it is no later, or they can not run.
  """
  for steps in (1, 0) if _early(runs, first) else (0,):
    ours = runs.arrays(applied, steps)
    rest = first if ours is None else first_difference(
        runs.case, ours, theirs)
    if rest is not None:
      break
  order = runs.case.names.index
  return first if rest and order(rest) <= order(first) else rest


def upon_each_other(runs: Runs, theirs: dict, first: str,
                    words: typing.Sequence[str],
                    say: typing.Callable = print) -> list[Step]:
  """The Steps of certain changes in their order, in place of a search.

  A change after which the first difference is no later counts with the next.
  """
  steps: list[Step] = []
  applied: list[Change] = []
  waiting: tuple[Change, ...] = ()
  rest: str | None = first
  for change in [changes.named(runs.changes, x) for x in words]:
    if rest is None:
      break
    waiting += (change,)
    say(f'  trying {" and ".join(x.words for x in (*applied, *waiting))}')
    found = _rest(runs, theirs, rest, [*applied, *waiting])
    if found != rest:
      steps.append(Step([waiting], found))
      applied, waiting, rest = [*applied, *waiting], (), found
  return steps


def explain(case: conform.Case, arrays: dict, verdict: typing.Any,
            runs: Runs | None = None, words: typing.Sequence[str] = ()
            ) -> list[str]:
  """Lines for the reader of `conform --explain`.

  runs: of the case, where several programs are explained. words: of changes,
  which are applied upon each other in place of a search.
  """
  first = verdict.first
  if first is None:
    return []
  if first.name.startswith('init/'):
    return [f'{first.name}: the parameters that it starts from are others; '
            'make them those of the rule first']
  theirs = {key: np.asarray(x) for key, x in arrays.items()
            if not key.startswith('init/')}
  runs = runs or Runs(case)
  say = lambda text: print(text, file=sys.stderr, flush=True)
  if not words:
    found = search(runs, theirs, first.name, say)
    return tell(found, first.name, len(runs.changes))
  found = upon_each_other(runs, theirs, first.name, words, say)
  used = sum(len(x.options[0]) for x in found)
  lines = tell(found, first.name, len(words))
  if found and found[-1].rest is None:
    lines += [f'no array shows whether also: {x}' for x in words[used:]]
  return lines


def tell(steps: list[Step], first: str, tried: int) -> list[str]:
  """The steps of a search among so many changes, in words."""
  lines = []
  for number, step in enumerate(steps):
    names = [' and '.join(x.words for x in option) for option in step.options]
    start = 'equals ours with' if number == 0 else 'and with'
    where = 'in all arrays' if step.rest is None else f'up to {step.rest}'
    text = f'{start} {names[0]}, {where}'
    if names[1:]:
      text += ('; this case can not tell that from '
               f'{"; ".join(names[1:])}')
    lines.append(text)
  if not steps or steps[-1].rest is not None:
    rest = steps[-1].rest if steps else first
    lines.append(f'{rest}: by none of the {tried} changes that were tried')
  return lines


# What the explanation finds of our own changes


def table(case: conform.Case, say: typing.Callable = print
          ) -> dict[str, str]:
  """What is said of the arrays of each change: by its words.

  'named'; 'not seen' where the case computes the same without it; 'not told
  from ...'; 'missed'; 'no run' where a case has other parameters than that
  needs, or another setting contradicts it.
  """
  runs, found = Runs(case), {}
  base = runs.arrays([])
  for change in runs.changes:
    say(f'  computing: {change.words}')
    runs.arrays([change])
  for change in runs.changes:
    theirs = runs.arrays([change])
    found[change.words] = 'no run' if theirs is None else (
        _said(runs, change, base, theirs))
  return found


def _said(runs, change, base, theirs):
  first = first_difference(runs.case, base, theirs)
  if first is None:
    return 'not seen'
  equal = [x.words for x in runs.changes if (ours := runs.arrays([x])) and
           first_difference(runs.case, ours, theirs) is None]
  if change.words not in equal:
    return 'missed'
  others = [x for x in equal if x != change.words]
  return f'not told from {"; ".join(others)}' if others else 'named'


def main(argv: list[str]) -> None:
  """Prints tables of cases, or explains the arrays that follow one."""
  case = conform.case(argv[0])
  if argv[1:] and argv[1].endswith('.npz'):
    runs = Runs(case)
    for path in argv[1:]:
      arrays = parity_cases.read_npz(path)
      first = judge(case, arrays).first
      print(path, first and first.name)
      print('\n'.join(explain(case, arrays, judge(case, arrays), runs)))
    return
  for name in argv:
    case = conform.case(name)
    found = table(case, lambda text: print(text, file=sys.stderr, flush=True))
    print(f'{case.name}: {len(found)} changes')
    for words, said in found.items():
      print(f'  ambiguous  {words}: {said}' if said.startswith('not told')
            else f'  {said:<10} {words}')
    counts = {}
    for said in found.values():
      key = 'ambiguous' if said.startswith('not told') else said
      counts[key] = counts.get(key, 0) + 1
    print('  ' + ', '.join(f'{n} {key}' for key, n in counts.items()))


if __name__ == '__main__':
  main(sys.argv[1:])
