"""Scores: the papers' tables, ours beside them. `./run.sh scores --help`."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Sequence

from dreamer import cli

HELP = {
    'demo': 'the main job: trains a small agent and shows what it reaches '
             'beside random play and the paper',
    'tables': "prints the papers' tables, recomputed from the raw figures",
    'collect': 'turns runs into one file of scores',
    'compare': 'compares runs with published scores: intervals and verdicts',
    'plot': 'draws curves and bars of runs beside published ones',
    'report': 'what runs have reached: tables, a page that opens offline, '
              'the picture of one run',
    'matrix': 'prints the commands of all runs behind a table or a figure',
    'sweep': 'runs all of a table, a figure or a file of own runs: here, or '
             'on a Ray cluster',
    'agents': 'several agents side by side: on the same tasks, at the same '
              'environment steps and CPU time of learning',
    'ablations': 'what the laptop_ablations_* runs give, beside what the '
             'papers say',
    'keep': 'copies finished runs into scores/ours, small',
    'pictures': "draws README's pictures from the runs in scores/ours",
    'readme': "writes README's results, and scores.json, from scores/ours"}
MODULES = {'keep': 'keep_runs'}  # others are named like their command


def main(argv: Sequence[str] | None = None) -> None:
  """Runs one of the commands."""
  args = parse(argv)
  module = MODULES.get(args.command, args.command)
  importlib.import_module(f'{__package__}.{module}').main(args)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
  """Returns the arguments; prints and exits for --help."""
  parser = cli.Parser(prog='./run.sh scores', description=__doc__)
  commands = parser.add_subparsers(dest='command', required=True)
  for name, add in ARGUMENTS.items():
    add(commands.add_parser(name, help=HELP[name], description=HELP[name]))
  args = parser.parse_args(argv)
  if getattr(args, 'returns', '') is None:
    from . import references  # Only where it is asked for.
    args.returns = references.kind_of_returns(getattr(args, 'to', None))
  return args


def _demo(parser):
  parser.add_argument('--logdir', default='runs/laptop')
  parser.add_argument('--steps', type=int, help='of the environment; '
                      'default: of a first run of minutes')


def _tables(parser):
  parser.add_argument('names', nargs='*', metavar='NAME',
                      help='table_g, table_k1, table_1, table_2, '
                      'section_3_2, figures, dreamerv3; default: all')
  parser.add_argument('--markdown', action='store_true')


def _collect(parser):
  _runs(parser)
  parser.add_argument('--out', help='JSON file; default: printed')
  parser.add_argument('--csv', help='also, or only, the binned scores as CSV')
  parser.add_argument(
      '--bin', help="width of bins in environment steps, or a paper's rule; "
      'default: the rule of the paper that has the task')


def _compare(parser):
  _runs(parser)
  _reference(parser)
  parser.add_argument('--json', action='store_true', help='prints JSON')


def _reference(parser, required=True):
  parser.add_argument(
      '--to', required=required, metavar='REFERENCE',
      help='dreamerv1/table_g, dreamerv1/released, dreamerv1/fig9, fig10, '
      'fig11, fig12, dreamerv1/pixelpoint, dreamerv2/table_k1, '
      'dreamerv2/released, dreamerv2/pixelpoint, dreamerv2/dmc_vision, '
      'dreamerv2/humanoid, dreamerv2/montezuma, dreamerv3/atari, atari100k, '
      'dmc_vision, dmc_proprio, dmlab, procgen, minecraft, or a file: of '
      '`collect`, or CSV of the published form')
  parser.add_argument(
      '--method', help="of those the reference has; default: the paper's agent")
  parser.add_argument(
      '--margin', help="a return, or a share of the reference's score as 10%%;"
      ' default: 50 for dmc, 20%% elsewhere')
  parser.add_argument(
      '--learned', type=float, metavar='RETURN', help='from which on a run '
      'counts as having learned: also compares the shares of those')
  parser.add_argument('--level', type=float, default=0.95, help='of intervals')
  parser.add_argument(
      '--seed', type=int, default=0, help='of the bootstrap over tasks')
  parser.add_argument(
      '--budgets', nargs='+', type=steps, metavar='STEPS',
      help='environment steps; default: all that both have')
  _allow(parser)
  parser.add_argument(
      '--bin', help='of a reference that is a file: width of bins in '
      'environment steps, or the name of a rule')


def _allow(parser):
  parser.add_argument(
      '--allow', nargs='+', default=(), metavar='KEY',
      help='keys of the protocol that may differ: returns, actions, sticky, '
      'time_limit')


def _plot(parser):
  parser.add_argument(
      'kind', choices=['curves', 'bars', 'aggregate', 'ablations', 'horizons'],
      help='curves: per task; bars: at the end, as in Figures 6 and 9; '
      'aggregate: over tasks; ablations: variants of a figure; horizons: '
      'Figure 4')
  _runs(parser, '*')
  parser.add_argument('--to', metavar='REFERENCE', help='see compare --help')
  parser.add_argument('--method', help="default: the paper's agent")
  _allow(parser)
  parser.add_argument('--out', required=True, help='.png, .svg or .pdf')


def _report(parser):
  _runs(parser, '*')
  parser.add_argument('--logdir', help='the same as RUN')
  _reference(parser, required=False)
  parser.add_argument(
      '--out', metavar='FILE', help='.html: the page; .png, .svg, .pdf: the '
      'picture of one run; default: both, report.html and report.png in the '
      "run's folder; of several runs report.html here")


NAMES = ('table_g, k1, table_1, table_2, section_3_2, fig4, fig9, fig10, '
         'fig11, fig12, released_v1, dmc_vision, humanoid, montezuma, '
         'atari_v3, atari100k, dmc_vision_v3, dmc_proprio, dmlab, procgen, '
         'laptop_ablations_v1, laptop_ablations_v2, '
         'laptop_ablations_v2_control')


def _matrix(parser):
  add = parser.add_argument
  add('name', metavar='NAME', help=NAMES)
  add('--format', choices=['shell', 'slurm'], default='shell',
      help='slurm: one script, a job array; default: %(default)s')
  add('--missing', metavar='DIR',
      help='only runs that are not finished under DIR')
  _part(parser)
  add('--tflops', type=float, default=10.0,
      help='TFLOP/s that updates are assumed to reach; default: %(default)g')
  add('--updates-per-second', type=float, help='instead of --tflops')
  add('--steps-per-second', type=float, default=200.0,
      help='agent steps per second between updates: acting, environment, '
      'rendering; default: %(default)g')


def _part(parser):
  """Of a table or figure."""
  add = parser.add_argument
  add('--logdir', help='folder for the runs; default: runs/NAME')
  add('--seeds', type=int, help="0, 1, ... so many; default: the paper's")
  add('--tasks', nargs='+', metavar='TASK')
  add('--methods', nargs='+', metavar='METHOD')
  add('--profile',
      help='paper, paper_code, paper_2024, curves_2024 (paper_2024 with what '
      'its code did), released or laptop; default: paper_code for DreamerV1, '
      'the code behind its tables; paper for DreamerV2 and DreamerV3')


def _sweep(parser):
  add = parser.add_argument
  add('name', metavar='NAME', help=f'{NAMES}; or a .yaml file of own runs, '
      'each a line `name: what follows ./run.sh train`')
  _part(parser)
  add('--address', help="of a Ray cluster: auto, HOST:PORT, ray://HOST:PORT; "
      'default: this machine')
  add('--cpus-per-run', type=int, help='default: 2, or 1 where no machine '
      'has more')
  add('--gpus-per-run', type=float, help='may be a part of one, as 0.5; '
      'default: 1 where a machine has one, else 0')
  add('--retries', type=int, default=2, help='of a run that fails; then the '
      'others go on without it; default: %(default)d')
  add('--to', metavar='REFERENCE', help='what finished runs are compared '
      "with, see compare --help; default: the table's own")


def _ablations(parser):
  add = parser.add_argument
  add('name', metavar='NAME',
      help='laptop_ablations_v1, laptop_ablations_v2 or '
      'laptop_ablations_v2_control: what was run by `./run.sh sweep NAME`')
  add('--logdir', help='folder of the runs; default: runs/NAME')
  add('--seeds', type=int, help='0, 1, ... so many; default: 3')
  add('--markdown', action='store_true')
  add('--out', help='also a picture: .png, .svg or .pdf')


def _agents(parser):
  add = parser.add_argument
  add('runs', nargs='+', metavar='RUN', help='logdir')
  add('--steps', nargs='+', type=steps, help='environment steps; default: '
      'what all runs of a task have reached')
  add('--cpu', nargs='+', type=float, help='minutes; default: as above')
  add('--markdown', action='store_true')


def _keep(parser):
  parser.add_argument('runs', nargs='+', metavar='RUN', help='logdir')
  parser.add_argument(
      '--name', required=True, help='the folder in scores/ours, or one in it: '
      'ablations_v1/planet')


def _pictures(parser):
  del parser  # no options


def _readme(parser):
  parser.add_argument(
      '--check', action='store_true',
      help='only says, and fails, where they are not up to date')


def steps(text: str) -> int:
  """Returns a number of environment steps, also from 1e6."""
  try:
    return int(float(text))
  except OverflowError:
    raise argparse.ArgumentTypeError(f'{text} is not finite') from None


def _runs(parser, nargs='+'):
  parser.add_argument(
      'runs', nargs=nargs, metavar='RUN', help='logdir, or file of `collect`')
  parser.add_argument(
      '--returns', choices=['evaluation', 'training'],
      help='training: of the episodes that the agent learned from; default: '
      'as the reference has them, evaluation without one')


ARGUMENTS: dict[str, Callable] = {
    'demo': _demo,
    'tables': _tables, 'collect': _collect, 'compare': _compare,
    'plot': _plot, 'report': _report, 'matrix': _matrix,
    'sweep': _sweep, 'agents': _agents, 'ablations': _ablations,
    'keep': _keep, 'pictures': _pictures, 'readme': _readme}

if __name__ == '__main__':
  cli.guard(main)
