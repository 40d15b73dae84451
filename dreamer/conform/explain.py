"""Which setting or fault makes our own agent compute the same: --explain."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence

import numpy as np

from dreamer.conform.cases import Case
from dreamer.conform.verdict import Verdict
from dreamer.errors import UserError
from dreamer.files import ROOT

RUNNER = 'tests.parity.cause'  # runs our agents: in a checkout


def lines(case: Case, arrays: Mapping[str, np.ndarray], verdict: Verdict,
          words: Sequence[str] = ()) -> list[str]:
  """Lines that name what explains the first difference.

  words: of changes that are applied upon each other, in place of a search.
  Raises UserError where our agents can not be run, and for words that are not
  those of one change.
  """
  if verdict.first is None:
    return []
  need = '--explain runs our own agents; without it NumPy is enough'
  if not (ROOT / f'{RUNNER.replace(".", "/")}.py').exists():
    raise UserError(f'{need}: run it in a checkout of this project')
  if importlib.util.find_spec('tensorflow') is None:
    raise UserError(
        f'{need}: tensorflow is not here; ./run.sh setup, then ./run.sh '
        'conform, or pip install -r requirements.txt')
  # Other projects have a folder `tests` as well.
  sys.path.insert(0, str(ROOT))
  try:
    runner = importlib.import_module(RUNNER)
  finally:
    sys.path.remove(str(ROOT))
  return runner.lines(case, arrays, verdict, words)
