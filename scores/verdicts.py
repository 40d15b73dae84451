"""A comparison as tables and text."""

from dreamer.tables import Table, to_text

from . import aggregates, atari, intervals


def tables(result: dict) -> list[Table]:
  """Returns the Tables of a comparison."""
  if result['curves'] is not None:
    return _curve_tables(result)
  found = []
  for part in result['budgets']:
    found.append(_task_table(part))
    if part['aggregates']:
      found.append(_aggregate_table(part))
  return found


def text(result: dict) -> str:
  """Returns the comparison as it is printed."""
  head = [
      f'Ours ({result["agent"]}) beside {result["reference"]} '
      f'({result["method"]}), {100 * result["level"]:g} % intervals', '']
  head += [f'Note: {x}' for x in (*result['remarks'], *result['flags'])]
  head += [f'Left out: {x}' for x in result['skipped']]
  parts = [to_text(table) for table in tables(result)]
  return '\n'.join(head).rstrip() + '\n\n' + '\n\n'.join(
      [*parts, '\n'.join(explain(result))])


def explain(result: dict) -> list[str]:
  """Lines that say how to read the tables."""
  amount = len(result['curves'] or ()) + sum(
      len(x['tasks']) for x in result['budgets'])
  level = result['level']
  learned = [] if result['learned'] is None else [
      f'learned: runs of ours and of the reference with {result["learned"]:g} '
      'or more; in brackets how often shares would be so far apart if both '
      "learned equally often (Fisher's exact test)."]
  return [
      'reproduces: the interval of the difference lies within the margin; '
      'differs: it lies beyond.',
      'How many seeds would tell: if difference and spread are as seen, with '
      f'probability {intervals.POWER}. No number: the '
      "reference's own seeds are too few, or the difference is about the "
      'margin.',
      f'Each verdict errs with probability {1 - level:.2g} at most: of '
      f'{amount}, up to {amount * (1 - level):.1f} may be wrong by chance.',
      *learned,
      "Intervals of a task are Welch's, with caution for few seeds; over tasks "
      'a stratified bootstrap over seeds, corrected for few seeds, with random '
      f'numbers by --seed {result["seed"]}.']


def _task_table(part):
  notes = _task_notes(part['tasks'])
  if part['aggregates_missing'] and len(part['tasks']) > 1:
    notes.append(part['aggregates_missing'])
  learned = any(row['learned'] for row in part['tasks'])
  return Table(
      f'At {part["budget"]:,} environment steps', _columns('task', learned),
      [_task_row(row['task'], row, learned) for row in part['tasks']],
      [f'Note: {x}' for x in notes])


def _curve_tables(result):
  """A table for each task: its budgets, then what all together give."""
  rows: dict = {}
  for part in result['budgets']:
    for row in part['tasks']:
      rows.setdefault(row['task'], []).append((f'{part["budget"]:,}', row))
  for row in result['curves']:
    rows[row['task']].append((
        f'mean of {len(row["budgets"])} to {row["budgets"][-1]:,}', row))
  learned = result['learned'] is not None
  return [
      Table(task, _columns('environment steps', learned),
            [_task_row(label, row, learned) for label, row in found],
            [f'Note: {x}' for x in _task_notes([row for _, row in found])])
      for task, found in rows.items()]


def _columns(first, learned):
  return (first, 'seeds', 'ours', 'seeds', 'reference', 'difference', 'margin',
          'P(better)', *(['learned'] if learned else []), 'verdict')


def _task_row(label, row, learned):
  return [
      label, _seeds(row['ours']), _text(row['ours']), _seeds(row['reference']),
      _text(row['reference']), _text(row['difference']),
      f'{row["margin"]:,.4g}',
      '-' if row['improvement'] is None else f'{row["improvement"]:.2f}',
      *([_learned(row)] if learned else []), _verdict(row)]


def _task_notes(rows):
  notes = list(dict.fromkeys(row['assumed'] for row in rows if row['assumed']))
  if any(row[key]['carried'] for row in rows for key in ('ours', 'reference')):
    notes.append('+: so many of them stopped before; their last bins are '
                 'carried forward')
  return notes


def _learned(row):
  found = row['learned']
  return '-' if found is None else (
      f'{found["ours"]}/{row["ours"]["n"]}, {found["reference"]}/'
      f'{row["reference"]["n"]} ({found["chance"]:.2f})')


def _aggregate_table(part):
  digits = 1 if part['aggregates'][0]['metric'] in aggregates.CONTROL else 2
  rows = [[
      row['metric'], _text(row['ours'], digits),
      _text(row['reference'], digits),
      _text(row['difference'], 2 if row['ours'] is None else digits),
      _verdict(row) if row['verdict'] else '-'] for row in part['aggregates']]
  tasks = len(part['tasks'])
  of = f' of {len(atari.games())}' if digits == 2 else ''
  return Table(
      f'Over {tasks}{of} tasks, at {part["budget"]:,} environment steps',
      ('metric', 'ours', 'reference', 'difference', 'verdict'), rows)


def _seeds(entry):
  carried = f' (+{entry["carried"]})' if entry['carried'] else ''
  return f'{entry["n"] or "?"}{carried}'


def _text(entry, digits=1):
  if entry is None:
    return '-'
  mean = f'{entry["mean"]:,.{digits}f}'
  if entry['low'] is None:
    return mean
  return f'{mean} [{entry["low"]:,.{digits}f}, {entry["high"]:,.{digits}f}]'


def _verdict(row):
  if row['verdict'] == 'differs':
    return f'differs: {"higher" if row["difference"]["mean"] > 0 else "lower"}'
  if row['verdict'] != 'too few seeds' or 'seeds_needed' not in row:
    return row['verdict']
  needed = row['seeds_needed']
  if isinstance(needed, int):
    return f'too few seeds: about {needed} would tell'
  return f'too few seeds: {needed} would tell' if (
      needed == 'no number') else 'too few seeds: no spread is known'
