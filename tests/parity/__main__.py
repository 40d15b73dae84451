"""Compares the agents with what the released code computed, array by array.

  python -m tests.parity [--jit] CASE [CASE ...]

A case is a folder (case.json, batch.npz, expected.npz), the JSON file of a
function or a folder of such, in the form that tests/golden/README.md
describes, at any place. The agent that the case describes is built, gets the
parameters of the rule, runs the train steps with deterministic sampling, and
every array of expected.npz is compared. Exit status 0: all within tolerance
and nothing left out. With --jit XLA compiles the train step.
"""

import importlib
import pathlib
import sys
from unittest import mock

import numpy as np

from dreamer.config.schema import Schema
from dreamer.errors import UserError
from dreamer.nn import device
from tests.parity import cases as parity_cases
from tests.parity.references import find_reference


def main(argv=None):
  argv = sys.argv[1:] if argv is None else argv
  if not argv or argv[0] in ('-h', '--help'):
    print(__doc__.strip())
    return 0 if argv else 2
  jit = '--jit' in argv
  argv = [x for x in argv if x != '--jit']
  device.setup(Schema.load('configs/dreamerv1.yaml').defaults)
  failed = 0
  for path in argv:
    try:
      failed += not show(path, run_case(path, jit=jit))
    except UserError as error:
      print(f'{path}: error: {error}', file=sys.stderr)
      failed += 1
  print(f'{len(argv) - failed} of {len(argv)} cases pass')
  return 1 if failed else 0


def run_case(path, eager=False, jit=False):
  """Runs one case; returns a Comparison.

  The train steps run as a compiled graph, as in training; `eager` runs them
  op by op, which starts faster; `jit` lets XLA compile them. Raises UserError
  for what can't be run.
  """
  path = pathlib.Path(path)
  if (path / 'dists.npz').exists():
    from tests.parity import misc  # imports TensorFlow, after its set-up
    return misc.run(path)
  if path.suffix == '.json':
    case = parity_cases.read_json(path)
  else:
    case = parity_cases.read_json(path / 'case.json')
  if parity_cases.is_function(case):
    from tests.parity import functions  # imports TensorFlow, too
    return functions.run(path, case)
  reference = find_reference(case)
  runner = importlib.import_module(reference.runner)
  with mock.patch.object(device, 'compiles', lambda config: jit):
    return runner.run(path, case, reference, eager)


def show(path, comparison):
  """Prints the worst error per kind of array; returns whether all is well."""
  print(f'{path}: {"ok" if comparison.ok else "FAIL"}, '
        f'{len(comparison.rows)} arrays compared')
  kinds = dict.fromkeys(row.kind for row in comparison.rows)
  for kind in kinds:
    rows = [row for row in comparison.rows if row.kind == kind]
    worst = max(
        rows, key=lambda x: np.nan_to_num(x.error / x.allowed, nan=np.inf))
    print(f'  {kind:<8} worst {worst.error:.1e} (allowed '
          f'{worst.allowed:.0e}) {worst.name}')
  for line in comparison.notes + comparison.problems:
    print(f'  {line}')
  return comparison.ok


if __name__ == '__main__':
  sys.exit(main())
