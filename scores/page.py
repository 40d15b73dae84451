"""One HTML page about runs: everything is inside, it opens offline."""

from __future__ import annotations

import base64
import html
import io
import pathlib
from collections.abc import Sequence

from dreamer.audit import __main__ as audit
from dreamer.audit.tables import value_text
from dreamer.config import agents
from dreamer.errors import UserError
from dreamer.files import MARK
from dreamer.run.run_folder import RunFolder
from dreamer.stats import confidence
from dreamer.tables import Table, interval, to_html

from . import (
  comparable,
  compare,
  curves,
  plot,
  reached,
  references,
  runs,
  series,
  verdicts,
)

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff;
  max-width: 1150px; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.6em; } h2 { margin-top: 2em; border-bottom: 1px solid #ccc; }
h3 { font-size: 1em; margin: 1.5em 0 .4em; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px;
  font-variant-numeric: tabular-nums; }
th, td { padding: .25em .7em; text-align: right; white-space: nowrap;
  border-bottom: 1px solid #e4e4e4; }
th { background: #f4f4f4; }
th:first-child, td:first-child { text-align: left; }
img { max-width: 100%; }
.note { color: #555; font-size: 13px; margin: .2em 0; }
.films { display: flex; flex-wrap: wrap; gap: 1em; align-items: flex-end; }
.films figure { margin: 0; } figcaption { font-size: 12px; color: #555; }
.films img { image-rendering: pixelated; min-height: 128px; }
"""
MOST_VIDEOS = MOST_CURVES = 12
MOST_BYTES = 20_000_000  # of all videos


def page(found: list[runs.Run], reference: references.Reference | None = None,
         allow: Sequence[str] = (), compared: dict | str = '') -> str:
  """Returns the HTML.

  allow: keys of the protocol that may differ. compared: see `compared`.
  """
  groups, _ = comparable.check(found, reference, allow)
  title = f'{found[0].method}: {_amount(len(groups), "task")}, ' + _amount(
      len(found), 'run')
  parts = [
      _section('Runs', _runs(found)),
      _section('Evaluations after training', _final(found)),
      _section('Compared with the paper', _comparison(
          found, reference, compared)),
      _section('Curves', _figures(found, groups, reference, allow)),
      _section('Videos', _videos(found)),
      _section('Settings', _settings(found)),
      _section('Protocol', _protocol(found, reference))]
  return (
      '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
      '<meta name="viewport" content="width=device-width">\n'
      f'<meta name="generator" content="{MARK}">\n'
      f'<title>{html.escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n'
      f'<body>\n<h1>{html.escape(title)}</h1>\n{"".join(parts)}</body>\n'
      '</html>\n')


def _section(title, content):
  return f'<h2>{html.escape(title)}</h2>\n{content}\n'


def _note(text):
  return f'<p class="note">{html.escape(text)}</p>\n'


def _amount(number, what):
  return f'{number} {what}{"s" * (number != 1)}'


def _runs(found):
  rows = [[
      run.where, run.task or '-', '-' if run.seed is None else str(run.seed),
      f'{run.reached:,}',
      str(len(run.evaluations)), ' '.join(run.presets) or 'paper',
      run.config, ' '.join(run.commits) or 'not known'] for run in found]
  notes = tuple(f'{run.where}: {note}' for run in found
                for note in (*run.notes, *run.faults))
  return to_html(Table(
      'What was run', ('run', 'task', 'seed', 'env steps', 'evaluations',
                       'presets that hold', 'settings', 'commit'),
      rows, notes))


def _final(found):
  rows = []
  for run in found:
    if run.final:
      rows.append([run.where, run.task] + [
          _mean(run.final.get(policy)) for policy in runs.POLICIES])
  if not rows:
    return _note('None: ./run.sh eval makes them.')
  return to_html(Table(
      'Mean return with its 95 % interval over the episodes of one agent',
      ('run', 'task', *runs.POLICIES.values()), rows))


def _mean(entry):
  if entry is None:
    return '-'
  returns = entry['returns']
  return f'{interval(*confidence(returns))} ({len(returns)})'


def compared(found: list[runs.Run], reference: references.Reference | None,
             options: dict) -> dict | str:
  """Returns the comparison, or why there is none.

  options: of `compare.compare`. Raises UserError for what must not stand
  beside each other; see `comparable`.
  """
  comparable.check(found, reference, options.get('allow', ()))
  if reference is None:
    return ''
  try:
    runs.check(found)
    return compare.compare(found, reference, **options)
  except UserError as e:
    return str(e)


def _comparison(found, reference, result):
  if reference is None:
    return ''.join(to_html(reached.table(run)) for run in found) + _note(
        'Several seeds beside published ones, budget by budget: ./run.sh '
        'report RUN ... --to NAME.')
  if isinstance(result, str):
    return _note(f'Not compared: {result}')
  notes = [*(f'Note: {x}' for x in (*result['remarks'], *result['flags'])),
           *(f'Left out: {x}' for x in result['skipped'])]
  return (''.join(map(_note, notes))
          + ''.join(map(to_html, verdicts.tables(result)))
          + ''.join(map(_note, verdicts.explain(result))))


def _figures(found, groups, reference, allow):
  kinds = ['curves']
  if len(groups) > 1 and series.scale(groups):
    kinds.append('aggregate')
  if reference is not None and series.bars(reference, groups) and any(
      series.final(group, reference) for group in groups.values()):
    kinds.append('bars')
  # One run alone: as its picture has them, with what is beside the agent.
  own = [run for run in found if run.folder and reference is None]
  drawn = []
  if any(run.evaluations for run in found) and not (own and len(found) == 1):
    drawn = [plot.draw(kind, found, reference, allow) for kind in kinds]
  drawn += [curves.draw(run) for run in own[:MOST_CURVES]]
  if not drawn:
    return _note('No evaluations during training.')
  return ''.join(_image(figure, 'curves') for figure in drawn)


def _image(figure, name):
  file = io.BytesIO()
  figure.savefig(file, format='png')
  return _inline(file.getvalue(), 'png', name)


def _inline(data, kind, name):
  text = base64.b64encode(data).decode()
  return (f'<img alt="{html.escape(name)}" '
          f'src="data:image/{kind};base64,{text}">\n')


def _videos(found):
  """The newest video of each name, of the first seeds."""
  films: list = []
  left = size = 0
  for run in found:
    for name, path in newest(run.folder).items() if run.folder else ():
      data = path.read_bytes()
      if len(films) >= MOST_VIDEOS or size + len(data) > MOST_BYTES:
        left += 1
        continue
      size += len(data)
      step = int(path.name.split('_')[0])
      films.append(
          f'<figure>{_inline(data, "gif", name)}<figcaption>'
          f'{html.escape(run.where)}, {html.escape(name)}, step {step:,}'
          '</figcaption></figure>\n')
  if not films:
    return _note('None in the folders of these runs.')
  more = _note(f'{left} more in the folders of the runs.') if left else ''
  return f'<div class="films">\n{"".join(films)}</div>\n{more}'


def newest(folder: RunFolder) -> dict[str, pathlib.Path]:
  """Returns {name: path} of videos/<step>_<name>.gif."""
  found: dict[str, pathlib.Path] = {}
  for path in sorted((folder.path / 'videos').glob('*_*.gif')):
    step, _, name = path.stem.partition('_')
    if step.isdigit():
      found[name] = path
  return found


def _settings(found):
  """Audits: one for all runs that differ only in seed and task."""
  audits: dict = {}
  experiments: dict = {}
  parts = []
  for run in found:
    known = experiments.setdefault((run.method, run.config), run)
    if known.folder is None:
      experiments[run.method, run.config] = run
  for run in experiments.values():
    if run.folder is None or run.folder.config is None:
      parts.append(_note(f'{run.where}: config.yaml is in its folder.'))
      continue
    table, note = _audit(run)
    rows = tuple(tuple(x) for x in table.rows if x[0] != 'task')
    audits.setdefault((table.header, rows, note), []).append(
        (run.task, table))
  for (_, _, note), shown in audits.items():
    tasks = ', '.join(task for task, _ in shown)
    table = shown[0][1]
    parts.append(to_html(table._replace(title=f'{tasks}: {table.title}')))
    parts.append(_note(note) if note else '')
  return ''.join(parts)


def _audit(run):
  """Returns (Table, note)."""
  folder = str(run.folder.path)
  try:
    table = audit.audit(audit.parse(['--logdir', folder, '--differences']))
  except UserError as e:
    return _difference(run), (
        f'No audit: {str(e).replace(folder, run.where)}')
  names = [*table.columns, 'this run']
  rows = [[row['key'], *(value_text(row[name] and row[name]['value'])
                         for name in names), row['verdict']]
          for row in table.rows]
  counts = ', '.join(f'{count} {verdict}' for verdict, count
                     in table.notes['counts'].items())
  return Table(
      'what is not as in the paper',
      ('key', *table.columns.values(), 'this run', 'verdict'), rows,
      (f'All keys: {counts}.', *(
          f'{row["key"]}: {row["reason"]}' for row in table.rows
          if row['reason']))), ''


def _difference(run):
  """Of a run made by an older version: what differs from today's defaults."""
  defaults = agents.schema(run.method).defaults.flat
  rows = [[key, value_text(defaults.get(key)), value_text(value)]
          for key, value in run.folder.config.flat.items()
          if defaults.get(key) != value and key not in ('logdir', 'seed')]
  return Table("what differs from today's defaults",
               ('key', 'default', 'this run'), rows)


def _protocol(found, reference):
  theirs = _flat(reference.protocol) if reference else {}
  ours = [_flat(run.protocol) for run in found]
  keys = dict.fromkeys(key for flat in (*ours, theirs) for key in flat)
  rows = []
  for key in keys:
    values = dict.fromkeys(value_text(flat.get(key)) for flat in ours)
    rows.append([key, ', '.join(values), value_text(theirs.get(key))])
  name = reference.name if reference else 'reference'
  return to_html(Table(
      'How scores were measured', ('key', 'these runs', name), rows,
      ('-: does not apply, or is not known',)))


def _flat(protocol):
  return {
      (f'{key}.{inner}' if inner else key): value
      for key, outer in protocol.items()
      for inner, value in (
          outer.items() if isinstance(outer, dict) else [('', outer)])}
