"""Which setting or fault makes our own agent compute the same: --explain."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping

import numpy as np

from dreamer.conform.cases import Case
from dreamer.conform.verdict import Verdict
from dreamer.errors import UserError

RUNNER = 'tests.parity.explain'  # runs our agents: in a checkout


def lines(case: Case, arrays: Mapping[str, np.ndarray], verdict: Verdict
          ) -> list[str]:
  """Lines that name what explains the first difference.

  Raises UserError where our agents can not be run.
  """
  if verdict.first is None:
    return []
  for name, remedy in (
      ('tests', 'run it in a checkout of this project'),
      ('tensorflow', 'run it by ./run.sh conform after ./run.sh setup, or '
       'pip install -r requirements.txt')):
    if importlib.util.find_spec(name) is None:
      raise UserError(f'--explain runs our own agents, and {name} is not '
                      f'here: {remedy}; without --explain NumPy is enough')
  # Imports TensorFlow: for this option only.
  runner = importlib.import_module(RUNNER)
  return runner.explain(case, arrays, verdict)
