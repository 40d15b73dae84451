"""Scores: the papers' tables, ours beside them. `./run.sh scores --help`."""

import importlib

from common import cli

HELP = {
    'tables': "prints the papers' tables, recomputed from the raw figures",
    'collect': 'turns runs into one file of scores'}


def main(argv=None):
  """Runs one of the commands."""
  args = parse(argv)
  importlib.import_module(f'scores.{args.command}').main(args)


def parse(argv=None):
  """Returns the arguments; prints and exits for --help."""
  parser = cli.Parser(prog='./run.sh scores', description=__doc__)
  commands = parser.add_subparsers(dest='command', required=True)
  for name, add in ARGUMENTS.items():
    add(commands.add_parser(name, help=HELP[name], description=HELP[name]))
  return parser.parse_args(argv)


def _tables(parser):
  parser.add_argument('names', nargs='*', metavar='NAME',
                      help='table_g, table_k1, table_1, table_2, '
                      'section_3_2, figures; default: all')
  parser.add_argument('--markdown', action='store_true')


def _collect(parser):
  _runs(parser)
  parser.add_argument('--out', help='JSON file; default: printed')
  parser.add_argument('--csv', help='also, or only, the binned scores as CSV')
  parser.add_argument(
      '--bin', help="width of bins in environment steps, or a paper's rule; "
      'default: the rule of the paper that has the task')


def _runs(parser):
  parser.add_argument(
      'runs', nargs='+', metavar='RUN', help='logdir, or file of `collect`')
  parser.add_argument(
      '--returns', choices=['evaluation', 'training'], default='evaluation',
      help='training: of the episodes that the agent learned from')


ARGUMENTS = {'tables': _tables, 'collect': _collect}

if __name__ == '__main__':
  cli.guard(main)
