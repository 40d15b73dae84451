"""What runs have reached, beside a random policy and the paper.

Prints a table for each run, and writes all that is known of them into one
page that opens offline, and the curves of a single run into a picture.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Sequence

from dreamer import files
from dreamer.errors import UserError
from dreamer.files import atomic_write
from dreamer.tables import to_text

from . import curves, page, reached, references, runs

PICTURES = ('.png', '.svg', '.pdf')
OUT = 'report.html', 'report.png'


def main(args: argparse.Namespace) -> None:
  """Prints the tables of runs, and writes page and picture."""
  paths = [*args.runs, *([args.logdir] if args.logdir else [])]
  found = runs.load(paths, args.returns, strict=False)
  reference = None
  if args.to:
    reference = references.load(
        args.to, args.method, args.bin, args.returns)
  options = {
      'margin': args.margin, 'level': args.level, 'seed': args.seed,
      'budgets': args.budgets, 'allow': args.allow, 'learned': args.learned}
  paths = outputs(found, args.out)
  if args.out:
    files.check_ours(paths[0])
  compared = page.compared(found, reference, options)
  for run in found:
    print(to_text(reached.table(run)), end='\n\n')
    for note in (*run.notes, *run.faults):
      print(f'note: {run.where}: {note}', file=sys.stderr)
  if reference is not None and isinstance(compared, str):
    print(f'note: not compared with {reference.name}: {compared}',
          file=sys.stderr)
  for path in paths:
    try:
      files.check_ours(path)
      write(path, found, reference, args.allow, compared)
    except UserError as e:
      if args.out or not isinstance(e.__cause__, OSError):
        raise
      files.warn(f'{e}; name another place by --out')
    else:
      print(f'{"Curves" if path.suffix in PICTURES else "Page"}: {path}')


def outputs(found: list[runs.Run], out: str | None) -> list[pathlib.Path]:
  """Returns the files to write.

  out: a page or the picture of one run, by the end of its name; None: both,
    into the run's folder; the page alone and here, for several runs.
  """
  folder = found[0].folder if len(found) == 1 else None
  if not out:
    return [folder.path / name for name in OUT] if folder else (
        [pathlib.Path(OUT[0])])
  path = pathlib.Path(out).expanduser()
  if path.suffix in PICTURES:
    if not folder:
      raise UserError(
          f'--out: {out} would be the picture of one run by its folder; name '
          'a page (.html), or draw several by ./run.sh scores plot')
  elif path.suffix not in ('.html', '.htm'):
    raise UserError(f'--out: {out} has to end with .html, '
                    f'{", ".join(PICTURES)}')
  return [path]


def write(path: pathlib.Path, found: list[runs.Run],
          reference: references.Reference | None, allow: Sequence[str],
          compared: dict | str) -> None:
  """Writes a page, or a picture of the first run."""
  if path.suffix in PICTURES:
    curves.save(curves.draw(found[0]), path)
  else:
    text = page.page(found, reference, allow, compared)
    with atomic_write(path, 'w') as file:
      file.write(text)
