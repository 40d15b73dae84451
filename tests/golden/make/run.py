"""Makes golden cases again from a release, and compares them with the stored.

  python tests/golden/make/run.py CASE [CASE ...] --release DIR --python PY

DIR is a clean checkout of the release at the commit that case.json names, PY
the Python of an environment with its packages (README.md beside this file).
Exit status 0: every array of every case is there and within the tolerance.
"""
import argparse
import importlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
GOLDEN = HERE.parent
sys.path[0] = str(GOLDEN.parents[1])  # the root, in place of this folder

import numpy as np  # noqa: E402

from dreamer.errors import UserError  # noqa: E402
from tests.golden.make import compare, rules  # noqa: E402

MAKERS = ('v3', 'v2', 'v1', 'tf1')
# May differ from run to run, or say how a case was checked when it was made.
REMARKS = ('notes', 'versions', 'checks', 'form', 'argmax_margin_min')


class Refused(Exception):
  """What can't be run, in one line."""


def main():
  args = arguments()
  if args.list:
    for maker in MAKERS:
      print(maker, *table(maker).CASES, *table(maker).FUNCTIONS)
    return 0
  failed = 0
  for case in args.case:
    try:
      failed += not remake(case, args)
    except (Refused, UserError) as error:
      print(f'{case}: error: {error}', file=sys.stderr)
      failed += 1
  return 1 if failed else 0


def arguments():
  parser = argparse.ArgumentParser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  add = parser.add_argument
  add('case', nargs='*')
  add('--release', help='checkout of the release')
  add('--python', help="the release's Python")
  add('--cases', default=str(GOLDEN), help='folder of the stored cases')
  add('--keep', help='folder for the cases made; default: thrown away')
  add('--plain', action='store_true',
      help='run the untouched release as well, and say how far it is')
  add('--list', action='store_true', help='say which cases there are')
  args = parser.parse_args()
  for key in ('release', 'python', 'cases', 'keep'):  # `--key=~/x`
    setattr(args, key, getattr(args, key) and os.path.expanduser(
        getattr(args, key)))
  if not args.list and not (args.case and args.release and args.python):
    parser.error('give a case, --release and --python, or --list')
  return args


def table(maker):
  return importlib.import_module(f'tests.golden.make.{maker}.cases')


def maker_of(case):
  for maker in MAKERS:
    if case in (*table(maker).CASES, *table(maker).FUNCTIONS):
      return maker
  raise Refused('no maker knows it; --list says which cases there are')


def remake(case, args):
  """Makes one case and prints how far it is from the stored one."""
  maker = maker_of(case)
  check_release(pathlib.Path(args.release), table(maker))
  stored = pathlib.Path(args.cases) / case
  if case in table(maker).FUNCTIONS and not stored.exists():
    raise Refused(f'{args.cases} has no such case, which holds the inputs')
  with tempfile.TemporaryDirectory() as scratch:
    out = pathlib.Path(args.keep or scratch) / case
    if out.exists() and not rules.is_empty(out):
      raise Refused(f'--keep: {rules.USED.format(out)}')
    make(maker, case, args, stored, out)
    if not stored.exists():
      print(f'{case}: made in {out}; {args.cases} holds none to compare with')
      return True
    return show(case, stored, out)


def check_release(folder, cases):
  """Refuses a checkout of another commit, or one that was edited."""
  def git(*words):
    return subprocess.run(
        ['git', '-C', str(folder), *words], check=False, text=True,
        capture_output=True).stdout.strip()
  commit = git('rev-parse', 'HEAD')
  if commit != cases.COMMIT:
    raise Refused(f'{folder} is at {commit or "no commit"}; '
                  f'check out {cases.COMMIT} of {cases.REPOSITORY}')
  edited = git(
      'status', '--porcelain', '--untracked-files=no', '--', *cases.FOLDERS)
  if edited:
    raise Refused(f'{folder} was edited: {edited.splitlines()[0].strip()}')


def make(maker, case, args, stored, out):
  """Runs the maker in the release's Python."""
  python = args.python
  if os.path.dirname(python):
    python = os.path.abspath(python)
  command = [python, '-B', '-m', maker, case, '--release',
             os.path.abspath(args.release), '--out', str(out.resolve())]
  command += ['--stored', str(stored.resolve())] if stored.exists() else []
  command += ['--plain'] if args.plain else []
  try:
    result = subprocess.run(
        command, cwd=HERE, env=dict(os.environ, PYTHONPATH=str(HERE)),
        check=False, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT)
  except OSError as error:
    raise Refused(f'--python {args.python}: {error.strerror}') from error
  if result.returncode:
    raise Refused(f'the maker failed:\n{result.stdout[-2000:]}')


def show(case, stored, out):
  """Prints the largest difference by kind of array, and all that is wrong."""
  if (out / 'case.json').exists():
    rows, problems = compare.arrays(stored, out)
    problems += settings(stored, out)
  else:
    rows, problems = compare.functions(stored, out)
  print(f'{case}: {"FAIL" if problems else "ok"}, {len(rows)} arrays, '
        f'{sum(row.error == 0 for row in rows)} of them bit by bit')
  for kind in dict.fromkeys(row.kind for row in rows):
    worst = max((row for row in rows if row.kind == kind),
                key=lambda row: np.nan_to_num(row.error, nan=np.inf))
    print(f'  {kind:<8} {worst.error:.1e}  {worst.name}')
  for line in problems + left(stored, out):
    print(f'  {line}')
  made = read(out) if (out / 'case.json').exists() else {}
  if 'untouched' in made:
    untouched = made['untouched']
    print(f'  the untouched release differs by {untouched:.1e}')
  sys.stdout.flush()
  return not problems


def left(stored, out):
  """A line for each file of the stored case that no program makes."""
  files = stored.iterdir() if stored.is_dir() else [stored]
  return [f'{path.name}: no program makes it' for path in sorted(files)
          if path.name != 'case.json' and not (out / path.name).exists()]


def settings(stored, out):
  """One line for each key of case.json that says something else now."""
  theirs, ours = read(stored), read(out)
  return [
      f'case.json: {key} is {ours[key]!r:.200}, stored {theirs[key]!r:.200}'
      for key in ours if key in theirs and key not in REMARKS
      and not same(ours[key], theirs[key])]


def same(one, two):
  """Equal, numbers to float32's accuracy."""
  if isinstance(one, float) or isinstance(two, float):
    return np.isclose(one, two, rtol=1e-3, atol=1e-6)
  if isinstance(one, dict) and isinstance(two, dict):
    return one.keys() == two.keys() and all(same(one[k], two[k]) for k in one)
  if isinstance(one, list) and isinstance(two, list):
    return len(one) == len(two) and all(map(same, one, two))
  return one == two


def read(folder):
  return json.loads((folder / 'case.json').read_text())


if __name__ == '__main__':
  sys.exit(main())
