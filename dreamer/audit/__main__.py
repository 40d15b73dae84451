"""Every hyperparameter beside what the paper and the releases say of it.

Prints a table: key, what each source says, the value of this run, a verdict:
as paper; silent (the paper names no value: where ours is from); as released;
deviation (a profile keeps another value than its release, with the reason);
yours. Counts are in environment steps. `./run.sh train AGENT --help` lists
all presets and keys.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Sequence

from dreamer import cli
from dreamer.audit import tables
from dreamer.audit.sources import VERDICTS, Sources
from dreamer.config import agents
from dreamer.config.rules import show
from dreamer.config.schema import Config, diff
from dreamer.errors import UserError
from dreamer.files import ROOT, atomic_write, replace_section
from dreamer.locks import alone

EXAMPLES = """examples:
  ./run.sh audit dreamerv1 --configs dmc released
  ./run.sh audit dreamerv2 --configs atari --set batch_size=16 --differences
  ./run.sh audit --logdir runs/walker --sources
  ./run.sh audit --diff dreamerv1:dmc,paper_code dreamerv1:dmc,released
  ./run.sh audit --diff dreamerv1:dmc,released runs/walker --format json"""


def main(argv: Sequence[str] | None = None) -> None:
  """Prints an audit or a comparison, or writes the documents' sections."""
  args = parse(argv)
  if args.readme:
    write_sections(ROOT)
    return
  if args.diff:
    one, two = args.diff
    table = compare(one, two, args.agent)
  else:
    table = audit(args)
  print(tables.FORMATS[args.format](table, args.sources))


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
  """Returns the arguments; prints and exits for --help."""
  parser = cli.Parser(
      prog='./run.sh audit', usage='%(prog)s [AGENT] [options]',
      description=__doc__, epilog=EXAMPLES,
      formatter_class=argparse.RawDescriptionHelpFormatter)
  add = parser.add_argument
  add('agent', nargs='?', metavar='AGENT',
      help=f'{", ".join(agents.known())}, or yours; default: {_default()}, or '
      'that of the run')
  add('--configs', nargs='+', metavar='PRESET', action='extend', default=[],
      help='presets, as for training: suite, ablation, profile')
  add('--set', nargs='+', metavar='KEY=VALUE', action='extend', default=[])
  add('--logdir', help='audits the config.yaml of a run')
  add('--diff', nargs=2, metavar=('A', 'B'),
      help='two of: AGENT:PRESET,..., logdir of a run, config file')
  add('--format', choices=list(tables.FORMATS), default='text')
  add('--differences', action='store_true',
      help="only values that are not the paper's, nor those that fill its "
      'silence')
  add('--sources', action='store_true', help='also where each value stands')
  add('--readme', action='store_true',
      help='writes the section on conflicts into configs/README.md')
  args = parser.parse_args(argv)
  _check(args)
  return args


def _check(args):
  if args.agent is not None:
    agents.find(args.agent)  # Raises for an unknown one.
  given = [name for name in (
      'readme', 'diff', 'logdir', 'configs', 'set', 'differences')
      if getattr(args, name) not in (None, False, [])]
  if len(given) > 1 and given[0] in ('readme', 'diff') or (
      given[:1] == ['logdir'] and given[1:] not in ([], ['differences'])):
    raise UserError(f'--{given[0]} and --{given[1]} exclude each other; '
                    'give one of them')


def audit(args: argparse.Namespace) -> tables.Audit:
  """Returns the Audit that was asked for."""
  config = _config(args)
  sources = Sources.load(config.agent, config.schema)
  suite, preset = sources.identify(config)
  rows = sources.rows(config, suite, preset)
  what = args.logdir or ' '.join(config.presets) or 'defaults'
  return tables.Audit(
      _head(sources, config, suite, preset, what), sources.titles,
      [_record(row, sources.titles) for row in rows
       if row.differs or not args.differences],
      {'counts': {verdict: sum(row.verdict == verdict for row in rows)
                  for verdict in VERDICTS},
       'not audited': sources.unpublished})


def _config(args):
  """Returns the Config that is asked for."""
  if args.logdir is not None:
    config = read(args.logdir)
    if args.agent not in (None, config.agent):
      raise UserError(
          f'{args.logdir} is a run of {config.agent}, not {args.agent}')
    return config
  overrides = {}
  for text in args.set:
    key, equals, value = text.partition('=')
    if not equals:
      raise UserError(f'--set {show(text)}: write --set KEY=VALUE')
    overrides[key] = value
  return agents.schema(args.agent or _default()).config(args.configs, overrides)


def _default():
  return agents.known()[0]


def read(path: str | pathlib.Path) -> Config:
  """Returns the Config of a logdir or a config file."""
  if not pathlib.Path(path).exists():
    raise UserError(f'{path}: no such folder or file')
  return agents.read(path)


def resolve(text: str, agent: str | None = None) -> Config:
  """Returns the Config of an argument of --diff.

  agent: Whose presets a text without AGENT: names.
  """
  head, colon, names = text.partition(':')
  if colon and not pathlib.Path(text).exists():
    agent = head
  else:
    names = text
    if pathlib.Path(text).exists():
      return read(text)
    if agent is None:
      raise UserError(
          f'{show(text)} is neither AGENT:PRESET,... nor a folder or file; '
          f'agents: {", ".join(agents.known())}')
  return agents.schema(agent).config([x for x in names.split(',') if x])


def compare(a: str, b: str, agent: str | None = None) -> tables.Audit:
  """Returns the Audit of what differs in two configs."""
  one, two = resolve(a, agent), resolve(b, agent)
  if one.agent != two.agent:
    raise UserError(f'{a} is of {one.agent}, {b} of {two.agent}: only configs '
                    'of one agent can be compared')
  sources = Sources.load(one.agent, one.schema)
  suites = [sources.identify(config)[0] for config in (one, two)]
  rows = [_difference(sources, suites, key, x, y)
          for key, x, y in diff(one, two)]
  head = {'agent': one.agent, 'A': a, 'B': b,
          'suite': ' and '.join(dict.fromkeys(suites))}
  return tables.Audit(head, {'A': 'A', 'B': 'B', **sources.titles}, rows,
                      {'count': len(rows)})


def _head(sources, config, suite, preset, what):
  column = sources.columns[sources.presets[preset]]
  head = {'agent': sources.agent, 'this run': what, 'suite': suite,
          'profile': preset, 'which follows': column['what']}
  found = sources.suites[suite]
  if found.note:
    head['note'] = found.note
  if not config.task.startswith(found.tasks):
    head['note'] = f'nothing is published for {config.task}'
  return head


def _record(row, columns):
  """A row as plain data: what JSON has and the others print."""
  return {
      'key': row.key, **{name: _cell(row.entry, name) for name in columns},
      'this run': {'value': row.value}, 'verdict': row.text,
      'reason': row.detail if row.verdict == 'deviation' else '',
      'note': row.entry.note}


def _difference(sources, suites, key, a, b):
  """A row of a comparison; a cell has two values where the suites do."""
  row = {'key': key, 'A': {'value': a}, 'B': {'value': b}}
  for name in sources.columns:
    cells = [_cell(sources.suites[suite].entries.get(key), name)
             for suite in suites]
    row[name] = cells[0]
    if cells[0] != cells[1]:
      row[name] = {'value': ' | '.join(
          tables.value_text(cell and cell['value']) for cell in cells)}
  return row


def _cell(entry, column):
  """What a source says as plain data; None where it says nothing."""
  cell = entry and entry.cells.get(column)
  return cell and {'value': cell.value, 'source': cell.source}


def write_sections(root: pathlib.Path) -> None:
  """Writes the sections on conflicts into the documents."""
  for name, section in tables.sections().items():
    with alone(root):
      text = replace_section(root / name, tables.SECTION, section)
      with atomic_write(root / name, 'w') as file:
        file.write(text)
    print(f'{root / name}: section written', file=sys.stderr)


if __name__ == '__main__':
  cli.guard(main)
