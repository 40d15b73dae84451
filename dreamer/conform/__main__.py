"""Compares what another program computed with what a release did.

CASE is a folder of tests/golden, or the name of one; ARRAYS.npz holds arrays
under the names of the case, as numpy.savez writes them. The arrays are
compared in the order in which data flows through a train step, and the first
one that is off is named. Without ARRAYS.npz, the names and shapes are listed.

Exit status: 0, all arrays that are given agree (with --all: and none is
absent); 1, some do not; 2, they can not be compared.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Sequence

import numpy as np

from dreamer import cli, npz
from dreamer.conform import cases, explain, flow, show
from dreamer.conform.cases import Arrays, Case
from dreamer.conform.verdict import judge
from dreamer.errors import UserError
from dreamer.files import atomic_write, check_ours

EXAMPLES = """examples:
  python -m dreamer.conform v2_atari_small
  python -m dreamer.conform v2_atari_small mine.npz
  python -m dreamer.conform v2_atari_small mine.npz --html mine.html
  python -m dreamer.conform v2_atari_small mine.npz --explain"""


def main(argv: Sequence[str] | None = None) -> int:
  """Prints the verdict; returns the exit status."""
  args = parse(argv)
  case = cases.case(args.case)
  if args.arrays is None:
    print('\n'.join(names(case)))
    return 0
  arrays = read(args.arrays)
  if args.html:
    check_ours(args.html)
  verdict = judge(case, arrays)
  if not verdict.given and verdict.first is None:
    raise UserError(f'{args.arrays}: no array that a train step computes, so '
                    'that nothing can be compared; start with tensor/embed')
  causes = explain.lines(case, arrays, verdict, args.words or ()
                         ) if args.explain else []
  if args.html:
    with atomic_write(args.html, 'w') as file:
      file.write(show.page(verdict, args.arrays, causes))
  if args.json:
    print(show.to_json(verdict, causes=causes))
  else:
    print('\n'.join([*causes, show.text(verdict, args.arrays)]))
  absent = args.all and len(verdict.given) < len(verdict.computed)
  return 0 if verdict.conforms and not absent else 1


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
  """Returns the arguments; prints and exits for --help."""
  parser = cli.Parser(
      prog='python -m dreamer.conform',
      usage='%(prog)s CASE [ARRAYS.npz] [options]', description=__doc__,
      epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter)
  add = parser.add_argument
  add('case', metavar='CASE')
  add('arrays', metavar='ARRAYS.npz', nargs='?')
  add('--all', action='store_true', help='an array that is absent is a '
      'difference')
  add('--json', action='store_true', help='prints JSON in place of the text')
  add('--html', metavar='FILE', help='also writes a page, a bar per array')
  add('--explain', action='store_true', help='names the setting or the fault '
      'by which our agent computes the same; needs a checkout and TensorFlow')
  add('--with', metavar='WORDS', action='append', dest='words',
      help='of --explain: no search, but the change of these words; several '
      'are applied upon each other')
  args = parser.parse_args(argv)
  for key in ('json', 'html', 'explain', 'all'):
    if args.arrays is None and getattr(args, key):
      parser.error(f'--{key} needs ARRAYS.npz')
  if args.words and not args.explain:
    parser.error('--with needs --explain')
  return args


def names(case: Case) -> list[str]:
  """A line for each array of a case: stage, name, shape.

  ?: only statistics and the first elements of it are given.
  """
  parameters, lines = list(case.shapes), []
  for name in case.names:
    shape: object = case.shapes.get(name.split('/', 1)[-1])
    if name in case.expected:
      shape = case.expected[name].shape
    stage = flow.place(name, parameters).stage
    lines.append(f'{stage:<26} {name} {"?" if shape is None else shape}')
  return lines


def read(path: str) -> Arrays:
  """The arrays of an `.npz` from anybody. No pickle is read.

  Raises UserError, in one line, for a file that is none or damaged.
  """
  try:
    return npz.read(path)
  except OSError as error:
    raise UserError(f'{path}: {error.strerror}') from error
  except npz.DAMAGE as error:
    raise UserError(f'{path}: {_why(path, error)}') from error


def _why(path, error):
  """What is wrong with a file that could not be read."""
  if pathlib.Path(path).read_bytes()[:6] == b'\x93NUMPY':
    return 'one array (.npy); write arrays by name with numpy.savez'
  try:
    with np.load(path, allow_pickle=False) as data:
      for name in data.files:
        try:
          data[name]
        except ValueError as found:
          if 'pickle' in str(found).lower():
            return (f'{name}: Python objects, which come as a pickle and are '
                    'never read; write numbers')
  except (OSError, *npz.DAMAGE):
    pass
  return (f'damaged, or no .npz ({cli.one_line(error)}); write it with '
          'numpy.savez')


if __name__ == '__main__':
  cli.guard(lambda: sys.exit(main()))
