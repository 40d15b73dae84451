"""What runs have reached, beside a random policy and the paper.

Prints a table for each run, and writes all that is known of them into one
page that opens offline, and the curves of a single run into a picture.
"""

from __future__ import annotations

import argparse
import math
import pathlib
import sys
from collections.abc import Sequence

from dreamer import files
from dreamer.errors import UserError
from dreamer.files import atomic_write
from dreamer.stats import confidence
from dreamer.tables import Table, interval, to_text

from . import comparable, curves, page, references, runs

PICTURES = ('.png', '.svg', '.pdf')
OUT = 'report.html', 'report.png'


def main(args: argparse.Namespace) -> None:
  """Prints the tables of runs, and writes page and picture."""
  paths = [*args.runs, *([args.logdir] if args.logdir else [])]
  found = runs.load(paths, args.returns, strict=False)
  reference = None
  if args.to:
    reference = references.load(args.to, args.method, args.bin)
  options = {
      'margin': args.margin, 'level': args.level, 'seed': args.seed,
      'budgets': args.budgets, 'allow': args.allow, 'learned': args.learned}
  paths = outputs(found, args.out)
  if args.out:
    files.check_ours(paths[0])
  compared = page.compared(found, reference, options)
  for run in found:
    print(to_text(table(run)), end='\n\n')
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


def table(run: runs.Run) -> Table:
  """Returns what a run has reached after training."""
  entries = {policy: confidence(entry['returns'])
             for policy, entry in run.final.items()}
  rows = [[name, str(len(run.final[policy]['returns'])),
           interval(*entries[policy])]
          for policy, name in runs.POLICIES.items() if policy in entries]
  paper = references.paper(run)
  differs = comparable.paper_differs(run)
  if paper:
    rows.append([f'the paper, {paper.when}', '', f'{paper.score:,.1f}'])
  title = f'{run.where}: {run.task or "unknown task"}'
  trained = entries.get('trained')
  if trained is None:
    notes = ['The trained agent has not been evaluated.', _training(run)]
  else:
    title += f' after {run.final["trained"]["step"]:,} environment steps'
    notes = [*([_share(trained, paper, differs)] if paper else []),
             _above(trained, entries.get('random'))]
  return Table(title, ('', 'episodes', 'return, 95% interval'), rows, notes)


def _share(trained, paper, differs):
  if differs:
    return ("No share of the paper's score, which was measured in another way: "
            f'{differs}')
  share = interval(*(100 * x / paper.score for x in trained))
  return f"Share of the paper's score ({paper.when}), in %: {share}"


def _above(trained, random):
  if random is None:
    return 'No random policy to compare with: evaluate it with --policy random'
  if not math.isfinite(trained[1] + random[2]):
    return ('Above the random policy? Unknown: an interval needs at least 2 '
            'episodes each')
  if trained[1] > random[2]:
    return "The interval lies above the random policy's: yes"
  return (f"The interval lies above the random policy's: no "
          f'({trained[1]:.1f} <= {random[2]:.1f})')


def _training(run):
  returns = [x for _, values in run.folder.training for x in values] if (
      run.folder) else []
  if not returns:
    return 'No training episode has ended yet.'
  last = returns[-10:]
  return (f'Return of its last {len(last)} training episode(s): '
          f'{interval(*confidence(last))}')
