"""Runs the adapters on cases and writes the table of ports.

  python conform/ports.py run --ports FOLDER [--explain PYTHON]
      [--with WORDS ...] [--case CASE] [NAME ...]
  python conform/ports.py table

`run` needs PyTorch and, in FOLDER, a checkout of each port under its name
(sheeprl, dreamer-torch, pydreamer, dreamer-pytorch, rl). What it finds goes to
ports.json, from which `table` writes ports.md. PYTHON is one with TensorFlow:
it names causes (python -m dreamer.conform --explain), by a search among all
changes or by those that --with names, upon each other. NAME is that of an
adapter.
"""

import argparse
import collections
import json
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from dreamer import cli, conform  # noqa: E402
from dreamer.conform.__main__ import read  # noqa: E402
from dreamer.conform.verdict import judge  # noqa: E402
from dreamer.errors import UserError  # noqa: E402
from dreamer.files import atomic_write  # noqa: E402
from dreamer.locks import alone  # noqa: E402

STOPS = ' stops: '  # what conform/porting.py says of one
RESULTS, TABLE = HERE / 'ports.json', HERE / 'ports.md'
# stops: why it stops on a case, as its code says.
Port = collections.namedtuple(
    'Port', 'folder repository what adapter cases stops', defaults=({},))
PORTS = [
    Port('dreamer-pytorch', 'juliusfrost/dreamer-pytorch', 'V1',
         'dreamer_pytorch', ['v1_dmc_small', 'v1_atari_small']),
    Port('sheeprl', 'Eclectic-Sheep/sheeprl', 'V1', 'sheeprl_v1',
         ['v1_dmc_small', 'v1_atari_small'], {
             'v1_atari_small': 'the loss of its head of ends is one number for '
             'each step, not their mean, and no gradient can be taken of '
             'several numbers; its sign is the other way round, too'}),
    Port('sheeprl', 'Eclectic-Sheep/sheeprl', 'V2', 'sheeprl_v2',
         ['v2_atari_small', 'v2_dmc_vision_small_kl_below']),
    Port('dreamer-torch', 'jsikyoon/dreamer-torch', 'V2', 'dreamer_torch',
         ['v2_atari_small', 'v2_dmc_vision_small_kl_below']),
    Port('pydreamer', 'jurgisp/pydreamer', 'V2', 'pydreamer_v2',
         ['v2_atari_small', 'v2_dmc_vision_small_kl_below'], {
             'v2_dmc_vision_small_kl_below': 'actor and critic get imagined '
             'states without gradient, so that an actor that learns through '
             'them has none, which an assertion finds'}),
    Port('rl', 'pytorch/rl', 'V3', 'torchrl_v3', ['v3_dmc_proprio_small'])]

HEAD = """# Ports beside the releases

Public ports of Dreamer ran our cases: their own code, with the parameters, the
batch and the samples of the case, compared array by array with what the release
computed. `python conform/ports.py table` wrote this page from
[ports.json](ports.json); the adapters are beside it.

What can be set in a port is set as in the release, so that what remains is in
its code. A difference is no judgement: some of them are meant, some follow an
earlier version of a release, and a port may learn well with all of them. The
commits are those that we have; if yours is newer, run the adapter on it, and
tell us where we are wrong.

*First difference* is the first array, in the order in which data flows through
a train step, that is not the release's; what comes after it may differ only
because of it. *Agrees* counts the arrays that are given. *Cause*: our own agent
computes the same with this change (`--explain`), so far as the arrays go; other
changes may do the same on a case that can not tell them apart.
"""
TAIL = """
Of DreamerV3, NM512/dreamerv3-torch and sheeprl's dreamer_v3 follow the
algorithm of 2023, as reading their code says: a dense recurrent cell, Adam with
three optimisers, no stored latents, no critic loss on replayed steps. The cases
here are of the release of 2024 and later, another algorithm, so that there is
nothing to compare.
"""


def main():
  parser = cli.Parser(
      description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
  parser.add_argument('command', choices=['run', 'table'])
  parser.add_argument('names', nargs='*', metavar='NAME')
  parser.add_argument('--ports', metavar='FOLDER')
  parser.add_argument('--explain', metavar='PYTHON')
  parser.add_argument('--with', metavar='WORDS', action='append', dest='words',
                      default=[])
  parser.add_argument('--case', choices=sorted(
      {case for port in PORTS for case in port.cases}))
  args = parser.parse_intermixed_args()
  if args.command == 'run':
    if not args.ports:
      raise UserError('--ports: give the folder of the checkouts')
    if args.words and not args.explain:
      raise UserError('--with: is of --explain, which is not given')
    run(args)
  with atomic_write(TABLE, 'w') as file:
    file.write(page(results()))


def run(args):
  """Runs adapters; keeps what was found before of the others."""
  for port in PORTS:
    if args.names and port.adapter not in args.names:
      continue
    for case in port.cases:
      if args.case not in (None, case):
        continue
      print(port.adapter, case, flush=True)
      found = compare(port, case, args)
      with alone(HERE), atomic_write(RESULTS, 'w') as file:
        file.write(json.dumps(
            {**results(), f'{port.adapter} {case}': found}, indent=1) + '\n')


def results():
  if not RESULTS.exists():
    return {}
  return json.loads(RESULTS.read_text())


def compare(port, name, args):
  """One port on one case: a record for the table."""
  folder = pathlib.Path(args.ports) / port.folder
  with tempfile.TemporaryDirectory() as temp:
    out = pathlib.Path(temp) / 'arrays.npz'
    done = subprocess.run(
        [sys.executable, HERE / f'{port.adapter}.py', name, out, '--port',
         folder], capture_output=True, text=True)
    if done.returncode:
      raise UserError(f'{port.adapter}: {done.stderr.strip()[-300:]}')
    said = [x for x in done.stdout.splitlines() if x.startswith('* ')]
    verdict = judge(conform.case(name), read(str(out)))
    causes = explained(args, name, out) if args.explain else []
  return {**record(verdict), 'commit': commit(folder),
          'said': [x[2:] for x in said], 'causes': causes}


def record(verdict):
  first = verdict.first
  whole = [stage for stage, findings in verdict.stages.items()
           if stage != 'parameters' and all(
               x.status != 'off' for x in findings)
           and any(x.status == 'agrees' for x in findings)]
  return {'summary': verdict.summary, 'given': len(verdict.given),
          'agree': len(verdict.agreeing), 'first': first and first.name,
          'stage': first and first.stage, 'whole': whole,
          'error': first and float(f'{min(first.error, 1e30):.1e}'),
          'note': first.note if first else ''}


def explained(args, name, out):
  python = args.explain
  if pathlib.Path(python).parent.name:  # Else it is found by PATH.
    python = pathlib.Path(python).absolute()
  done = subprocess.run(
      [python, '-m', 'dreamer.conform', name, out, '--explain', '--json',
       *(x for words in args.words for x in ('--with', words))],
      capture_output=True, text=True, cwd=HERE.parent)
  if done.returncode == 2:
    raise UserError(done.stderr.strip()[-300:])
  return json.loads(done.stdout)['causes']


def commit(folder):
  done = subprocess.run(['git', '-C', folder, 'rev-parse', '--short=7', 'HEAD'],
                        capture_output=True, text=True)
  return done.stdout.strip() or 'unknown'


def page(found):
  """The text of ports.md."""
  lines = [HEAD, '| port | case | agrees | first difference | cause |',
           '|---|---|---|---|---|']
  notes = []
  for port in PORTS:
    for case in port.cases:
      row = found.get(f'{port.adapter} {case}')
      if row:
        lines.append(f'| {" | ".join(cells(port, case, row))} |')
        notes += [(port, case, x) for x in details(row)]
  lines += ['', '## What else to know', '']
  lines += [f'- {port.repository} {port.what}, {case}: {text}'
            for port, case, text in notes]
  return '\n'.join(lines) + '\n' + TAIL


def cells(port, case, row):
  first = 'none: it is right in all that is given'
  if row['first']:
    first = f'`{row["first"]}` ({row["stage"]})'
    first += f': {row["note"]}' if row['note'] else f', {row["error"]:.0e}'
  none = 'not looked for' if row['first'] else '-'
  cause = '<br>'.join([*row['causes'], *stopped(port, case, row)]) or none
  return [f'{port.repository}@{row["commit"]}, {port.what}', case,
          f'{row["agree"]} of {row["given"]}', first, cause]


def stopped(port, case, row):
  """A line on why a port stops, where it does."""
  stops = any(STOPS in x for x in row['said'])
  start = 'then it stops' if row['causes'] else 'it stops there'
  return [f'{start}: {port.stops.get(case, "see below")}'] if stops else []


def details(row):
  whole = ', '.join(row['whole']) or 'no stage whole'
  return [f'agrees in {whole}', *row['said']]


if __name__ == '__main__':
  cli.guard(main)
