"""README's results and scores/ours/*/scores.json, from the runs kept there."""

from __future__ import annotations

import argparse
import math
import pathlib
import statistics

from dreamer.errors import UserError
from dreamer.files import ROOT, atomic_write, replace_section
from dreamer.locks import alone
from dreamer.stats import confidence
from dreamer.tables import Table, amount, interval, to_markdown

from . import catalog, collect, comparable, references, runs

OURS = ROOT / 'scores' / 'ours'
README = ROOT / 'README.md'
NOTE = """\
Mean returns of {} evaluation episodes; in brackets the 95 % interval of one
agent, over its episodes. *above*: whether the trained agent's interval lies
above those of the untrained agent and of the random policy. `./run.sh scores
readme` wrote this table."""
SHORT = """\
Mean returns of {} evaluation episodes, a number for each seed. *above*: how
many of them lie above untrained agent and random play, with intervals. [All
runs](scores/ours/README.md), with command, commit, hardware and curves;
`./run.sh scores readme` wrote this table."""
HEAD = """\
# Our runs

A folder for each set of runs: what was run, on what, and why. All that train
one agent in one way are below; [agents_laptop](agents_laptop),
[ablations_v1](ablations_v1), [ablations_v2_control](ablations_v2_control) and
[ablations_v2](ablations_v2) hold what is compared.
"""


def main(args: argparse.Namespace) -> None:
  """Writes what is not up to date; with --check it only says so."""
  with alone(ROOT):
    _main(args)


def _main(args):
  stale = [path for path, text in texts(OURS, README).items()
           if not path.exists() or path.read_text(encoding='utf-8') != text]
  if args.check and stale:
    raise UserError(
        f'{", ".join(path.name for path in stale)}: not what the runs in '
        'scores/ours give; write it anew by ./run.sh scores readme')
  if not args.check:
    for path, text in texts(OURS, README).items():
      if path in stale:
        with atomic_write(path, 'w') as file:
          file.write(text)
        print(path)


def texts(ours: pathlib.Path, readme: pathlib.Path
          ) -> dict[pathlib.Path, str]:
  """Returns {path: text} of all files that are made from the runs."""
  found: dict = {}
  folders: dict = {}
  for folder in sorted({path.parent for path in ours.glob('*/seed*')}):
    folders[folder.name] = runs.load(sorted(folder.glob('seed*')))
    found[folder / 'scores.json'] = collect.dumps(collect.collect(
        folders[folder.name], _width(folders[folder.name])))
  found[readme] = replace_section(readme, 'scores', section(folders))
  found[ours / 'README.md'] = f'{HEAD}\n{every_run(folders)}\n'
  return found


def section(folders: dict[str, list[runs.Run]]) -> str:
  """Returns a table with a row for each folder and task."""
  rows = [
      [f'[{name}](scores/ours/{name})', task, f'{group[0].reached:,}',
       *_means(group), _paper(group[0])]
      for name, found in folders.items()
      for task, group in _evaluated(found).items()]
  return to_markdown(Table('', (
      'runs', 'task', 'env steps', 'trained agents', 'untrained', 'random',
      'above', "paper's agent"), rows, (SHORT.format(_episodes(folders)),)))


def every_run(folders: dict[str, list[runs.Run]]) -> str:
  """Returns the table of all runs that were evaluated after training."""
  rows = [
      [f'[{name}]({name})', run.task, str(run.seed),
       f'{run.reached:,}', *_finals(run), _paper(run)]
      for name, found in folders.items() for run in found if run.final]
  return to_markdown(Table('', (
      'runs', 'task', 'seed', 'env steps', 'trained agent', 'untrained agent',
      'random policy', 'above', "paper's agent"), rows,
      (NOTE.format(_episodes(folders)),)))


def _evaluated(found):
  """{task: its runs that were evaluated after training}."""
  groups: dict = {}
  for run in found:
    if run.final:
      groups.setdefault(run.task, []).append(run)
  return groups


def _means(group):
  """Texts: a mean for each run, means over runs, how many are above."""
  means = {policy: [statistics.fmean(run.final[policy]['returns'])
                    for run in group if policy in run.final]
           for policy in runs.POLICIES}
  texts = [', '.join(f'{x:,.1f}' for x in means['trained'])]
  texts += [f'{statistics.fmean(means[x]):,.1f}' if means[x] else '-'
            for x in ('untrained', 'random')]
  above = [_finals(run)[-1] for run in group]
  return [*texts, '-' if '-' in above else (
      f'{above.count("yes")} of {len(above)}')]


def _episodes(folders):
  """How many episodes an evaluation has, as a text."""
  amounts = {len(entry['returns']) for found in folders.values()
             for run in found for entry in run.final.values()}
  return ' to '.join(map(str, sorted({min(amounts), max(amounts)}))) if (
      amounts) else 'no'


def _finals(run):
  """Texts: the three policies, and whether the trained one is above."""
  found = {policy: confidence(entry['returns'])
           for policy, entry in run.final.items()}
  texts = [interval(*found[policy]) if policy in found else '-'
           for policy in runs.POLICIES]
  if len(found) < len(runs.POLICIES):
    return [*texts, '-']
  low, highs = found['trained'][1], [
      found[x][2] for x in ('untrained', 'random')]
  if not all(map(math.isfinite, (low, *highs))):
    return [*texts, '-']  # of one episode
  return [*texts, 'yes' if all(low > x for x in highs) else 'no']


def _paper(run):
  """The last score of the paper's agent, its steps, and what differs."""
  paper = references.paper(run)
  if paper is None:
    return '-'
  differs = comparable.paper_differs(run)
  return f'{paper.score:,.1f} at {amount(paper.steps)}' + (
      f' ({differs})' if differs else '')


def _width(found):
  """Short runs get bins of one evaluation; None: the paper's."""
  rule = catalog.default_rule(found[0].task, found[0].method)
  if all(run.reached >= rule.width for run in found):
    return None
  return str(found[0].protocol['every'] or rule.width)
