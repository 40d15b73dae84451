"""The papers' tables, recomputed from the raw figures behind them."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from dreamer.errors import UserError
from dreamer.tables import (
  Table,
  number,
  to_markdown,
  to_text,
  to_titled_markdown,
)

from . import atari, benchmarks, csv_rows

AGENTS = {  # of Table 1
    'dreamerv2': 'DreamerV2', 'schedules': 'DreamerV2 (schedules)',
    'iqn': 'IQN', 'rainbow': 'Rainbow', 'c51': 'C51', 'dqn': 'DQN'}
COLUMNS = {  # of Table G
    'a3c': 'A3C', 'd4pg': 'D4PG', 'planet': 'PlaNet', 'dreamer': 'Dreamer'}
ALTERNATIVES = (
    'gamer median, aggregated before averaging the seeds',
    "gamer mean, James Bond's human score as released (29.0)")


def cells(name: str) -> list[tuple]:
  """Returns [(row, column, computed, printed, digits)] of a table.

  computed: from the raw figures, not rounded. printed: as in the paper.
  """
  return {'table_g': _table_g, 'table_1': _table_1,
          'table_k1': _table_k1}[name]()


def wrong(computed: float, printed: float, digits: int) -> bool:
  """Is a computed number not the printed one, to the printed digit?"""
  return _digits(computed, digits) != _digits(printed, digits)


def alternatives() -> dict[str, float]:
  """Returns {what: number} for two ways that don't give Table 1."""
  raw, games = atari.released(), atari.games()
  means = raw.mean(0)
  humans = {**atari.column('human_gamer'),
            **atari.column('human_gamer_release')}
  shifted = np.array([humans[game] for game in games])
  random = np.array([atari.column('random')[game] for game in games])
  return dict(zip(ALTERNATIVES, (
      float(np.median(atari.normalize(raw, games), 1).mean()),
      float(((means - random) / (shifted - random)).mean())), strict=True))


def tables() -> dict[str, Callable[[], Table]]:
  """Returns {name: function that makes a Table}."""
  return {'table_g': _show_g, 'table_k1': _show_k1, 'table_1': _show_1,
          'table_2': _show_2, 'section_3_2': _show_counts,
          'figures': _show_figures, 'dreamerv3': benchmarks.table}


def main(args: argparse.Namespace) -> None:
  """Prints tables by name; all, where no name is given."""
  known = tables()
  for name in args.names:
    if name not in known:
      raise UserError(f'unknown table {name!r}; allowed: {", ".join(known)}')
  names = args.names or list(known)
  markdown = to_markdown if len(names) == 1 else to_titled_markdown
  show = markdown if args.markdown else to_text
  print('\n\n\n'.join(show(known[name]()) for name in names))


def _table_g():
  rows = csv_rows.published('dreamerv1_table_g')
  printed = {row.method: row.value for row in rows if row.task == 'dmc_mean'}
  values: dict = {
      method: [row.value for row in rows if row.method == method
               and row.task != 'dmc_mean'] for method in printed}
  return [('mean', method, float(np.mean(values[method])), score, 2)
          for method, score in printed.items()]


def _table_k1():
  means = atari.released().mean(0)
  printed = atari.column('dreamerv2')
  return [(game, 'dreamerv2', float(mean), printed[game], 0)
          for game, mean in zip(atari.games(), means, strict=True)]


def _table_1():
  rows = csv_rows.published('dreamerv2_table_1')
  found = []
  for method in AGENTS:
    numbers = atari.aggregates(_means(method), atari.games())
    for metric, computed in zip(atari.METRICS, numbers, strict=True):
      printed, = (row.value for row in rows if row.method == method
                  and row.task == f'atari55_{metric}')
      found.append((method, metric, float(computed), printed, 2))
  return found


def _means(method):
  if method in ('dreamerv2', 'schedules'):
    return atari.released(method).mean(0)
  return np.array([atari.column(method)[game] for game in atari.games()])


def _show_g():
  rows = csv_rows.published('dreamerv1_table_g')
  values = {(row.task, row.method): row.value for row in rows}
  tasks = [row.task for row in rows
           if row.method == 'dreamer' and row.task != 'dmc_mean']
  found = [[task, *(number(values.get((task, method)), 2)
                    for method in COLUMNS)] for task in tasks]
  means = _computed('table_g')
  found.append(['mean (recomputed)', *(
      means['mean', method] for method in COLUMNS)])
  return Table(
      'DreamerV1, Appendix G: return after 5e6 (A3C, D4PG: 1e8) environment '
      'steps', ('task', *COLUMNS.values()), found,
      (*_verdicts('table_g'), *_notes(rows)))


def _show_k1():
  names = ('random', 'human_gamer', 'human_record', 'dqn', 'c51', 'rainbow',
           'iqn')
  computed = _computed('table_k1')
  rows = [[game, *(f'{atari.column(name)[game]:,.10g}' for name in names),
           computed[game, 'dreamerv2']] for game in atari.games()]
  return Table(
      'DreamerV2, Table K.1: the last column is recomputed from 8 seeds',
      ('task', 'random', 'gamer', 'record', 'DQN', 'C51', 'Rainbow', 'IQN',
       'DreamerV2'), rows, (
           *_verdicts('table_k1'), _stopped(),
           *_notes(csv_rows.published('dreamerv2_table_k1'))))


def _stopped():
  rows = [row for row in csv_rows.published('dreamerv2_released_seeds')
          if (row.method, row.env_steps) == ('dreamerv2', 199_000_000)]
  carried = sum(row.carried is not None for row in rows)
  return (f'{carried} of the {len(rows)} runs behind it stopped before 199M '
          'frames: their last bins are carried forward.')


def _show_1():
  computed = _computed('table_1')
  rows = [[name, *(computed[method, metric] for metric in atari.METRICS)]
          for method, name in AGENTS.items()]
  return Table(
      'DreamerV2, Table 1: recomputed from the seeds and Table K.1',
      ('agent', *atari.METRICS.values()), rows, (
          *_verdicts('table_1'), 'Other ways give other numbers:',
          *(f'  {what}: {value:.2f}'
            for what, value in alternatives().items())))


def _show_2():
  rows = [row for row in csv_rows.published('dreamerv2_ablations')
          if row.source == 'v2_table_2']
  values = {(row.method, row.task): row.value for row in rows}
  found = [[method, *(number(values[method, f'atari55_{metric}'], 2)
                      for metric in atari.METRICS)]
           for method in dict.fromkeys(row.method for row in rows)]
  return Table(
      'DreamerV2, Table 2: as printed (the runs behind it are not released)',
      ('variant', *atari.METRICS.values()), found, _notes(rows))


def _show_counts():
  rows = [row for row in csv_rows.published('dreamerv2_ablations')
          if row.source == 'v2_section_3_2']
  found: dict = {}
  for row in rows:
    found.setdefault(row.method, []).append(row.value)
  return Table(
      'DreamerV2, Section 3.2: games of 55, as printed',
      ('comparison', 'won', 'lost', 'tied', 'sum'),
      [[method, *(f'{x:.0f}' for x in (*counts, sum(counts)))]
       for method, counts in found.items()], _notes(rows))


def _show_figures():
  rows = csv_rows.published('dreamerv1_figures')
  found = [[row.source.removeprefix('v1_'), row.task, row.method,
            number(row.env_steps, 0), number(row.value, 2),
            number(row.std, 2)] for row in rows]
  return Table(
      'DreamerV1, Figures 4, 9, 10, 11, 12: read off the graphics',
      ('figure', 'task', 'method', 'env steps', 'return', 'std'), found,
      _notes(rows))


def _computed(name):
  """Returns {(row, column): text}, with what is printed if it differs."""
  return {
      (row, column): _digits(computed, digits) + (
          f' (printed {_digits(printed, digits)})'
          if wrong(computed, printed, digits) else '')
      for row, column, computed, printed, digits in cells(name)}


def _digits(value, digits):
  return f'{round(value, digits) + 0.0:,.{digits}f}'  # + 0.0: no minus zero


def _verdicts(name):
  found = cells(name)
  good = sum(not wrong(*cell[2:]) for cell in found)
  return [f'{good} of {len(found)} recomputed numbers are the printed ones.']


def _notes(rows):
  """Lines for what is doubtful: where, and why."""
  found: dict = {}
  for row in rows:
    if row.note:
      found.setdefault(row.note, []).append(f'{row.method} {row.task}')
  return tuple(
      f'{cells[0] if len(cells) == 1 else f"{len(cells)} cells"}: '
      f'{csv_rows.explain(note)}' for note, cells in found.items())
