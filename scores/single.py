"""What a run has reached, beside a random policy and the paper.

Reads `metrics.jsonl` (training) and `eval.jsonl` (evaluations) of a logdir;
prints a table and draws `report.png`.
"""

import math
import sys

from dreamer import cli
from dreamer.errors import UserError
from dreamer.files import atomic_write
from dreamer.stats import confidence
from scores import curves
from scores.results import Run

NAMES = {'trained': 'trained agent', 'untrained': 'untrained agent',
         'random': 'random policy'}


def table(run):
  """Returns the lines that `python -m scores.single` prints."""
  lines = []
  if run.evals or run.paper is not None:
    lines = [f'{"":<28}{"episodes":>8}{"return":>10}   95% interval']
  for policy, name in NAMES.items():
    if policy in run.evals:
      lines.append(_table_line(name, run.evals[policy]))
  if run.paper is not None:
    name = f'the paper, {run.paper.when}'
    lines.append(f'{name:<28}{"":>8}{run.paper.score:>10.1f}')
  trained = run.evals.get('trained')
  head = f'{run.task or "unknown task"}'
  if trained is None:
    lines += [''] if lines else []
    return [head, '', *lines, 'The trained agent has not been evaluated.',
            _training_line(run)]
  head += f' after {int(trained["step"]):,} environment steps'
  verdict = [_compare(trained, run.evals.get('random'))]
  if run.paper is not None:
    verdict.insert(0, _share(trained, run.paper))
  return [head, '', *lines, '', *verdict]


def report_png(logdir):
  """Draws the return curves of a run into `report.png`; returns its path."""
  run = Run(logdir)
  path = run.logdir / 'report.png'
  with atomic_write(path) as file:
    curves.draw(run).savefig(file, format='png')
  return path


def main(argv=None):
  """Prints the table of a run and draws its curves."""
  parser = cli.Parser(
      prog='python -m scores.single', description=main.__doc__)
  parser.add_argument('folder', nargs='?', help='the same as --logdir')
  parser.add_argument('--logdir', help='folder of the run')
  args = parser.parse_args(argv)
  if bool(args.folder) == bool(args.logdir):
    raise UserError('--logdir: name the folder of one run')
  run = Run(args.logdir or args.folder)
  print('\n'.join(table(run)))
  for note in run.notes:
    print(f'note: {note}', file=sys.stderr)
  print(f'\nCurves: {report_png(run.logdir)}')


def _table_line(name, entry):
  return (f'{name:<28}{entry["episodes"]:>8}{entry["mean"]:>10.1f}   '
          f'{_interval(entry["low"], entry["high"])}')


def _interval(low, high, form='.1f'):
  if not math.isfinite(low):
    return 'unknown (one episode)'
  return f'[{low:{form}}, {high:{form}}]'


def _share(trained, paper):
  low, high = (100 * trained[key] / paper.score for key in ('low', 'high'))
  share = 100 * trained['mean'] / paper.score
  return (f"Share of the paper's score ({paper.when}): {share:.1f}% "
          f'{_interval(low, high)}')


def _compare(trained, random):
  if random is None:
    return 'No random policy to compare with: evaluate it with --policy random'
  if not math.isfinite(trained['low'] + random['high']):
    return ('Above the random policy? Unknown: an interval needs at least 2 '
            'episodes each')
  if trained['low'] > random['high']:
    return "The interval lies above the random policy's: yes"
  return (f"The interval lies above the random policy's: no "
          f'({trained["low"]:.1f} <= {random["high"]:.1f})')


def _training_line(run):
  _, values = run.series('train/return')
  if not len(values):
    return 'No training episode has ended yet.'
  mean, low, high = confidence(values[-10:])
  return (f'Return of its last {min(10, len(values))} training episode(s): '
          f'{mean:.1f} {_interval(low, high)}')


if __name__ == '__main__':
  cli.guard(main)
