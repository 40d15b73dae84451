"""A Verdict as text, as JSON and as a page."""

from __future__ import annotations

import html
import json
import math
import typing

import numpy as np

from dreamer.conform.verdict import Finding, Verdict
from dreamer.files import MARK

LISTED = 8  # arrays that are off, in the text


def text(verdict: Verdict, source: str) -> str:
  """Lines for a terminal; the last one is the summary."""
  case = verdict.case
  total, given = len(verdict.computed), len(verdict.given)
  lines = [f'{case.name}: {case.reference}, {total} arrays; {source} gives '
           f'{given} ({given / total:.0%})', '']
  lines += _first(verdict) + ['', *_table(verdict), '']
  lines += [f'note: {note}' for note in trust(verdict)]
  return '\n'.join([*lines, verdict.summary])


def trust(verdict: Verdict) -> list[str]:
  """What to know before one believes the verdict."""
  margin = verdict.case.margin
  notes = list(verdict.notes)
  if margin is not None:
    notes.append(f'the closest argmax of this case is {margin:.0e} from its '
                 'rival')
  absent = [x for x in verdict.findings if x.status == 'absent']
  if absent:
    notes.append(f'{len(absent)} arrays are not given, so that nothing is '
                 f'known of them, such as {absent[0].name}')
  return notes


def _first(verdict):
  first = verdict.first
  if first is None and not verdict.given:
    return ['No array is given that a train step computes.']
  if first is None:
    return ['Every array that is given agrees.']
  off = [x for x in verdict.findings if x.status == 'off']
  lines = [f'First difference: {first.name} ({first.stage})',
           f'  {_error(first)}']
  if len(off) > 1:
    lines.append(f'Then also: {", ".join(x.name for x in off[1:LISTED])}'
                 + (f' and {len(off) - LISTED} more'
                    if len(off) > LISTED else ''))
  return lines


def _error(finding):
  if not np.isfinite(finding.error):
    return finding.note or 'no numbers to compare'
  words = f'{finding.error:.1e} {finding.unit}; allowed {finding.allowed:.0e}'
  return f'{words}; {finding.note}' if finding.note else words


def _table(verdict):
  lines = [f'{"stage":<26} {"agree":>5} {"off":>4} {"absent":>6}  worst']
  for stage, findings in verdict.stages.items():
    count = {x: sum(f.status == x for f in findings)
             for x in ('agrees', 'off', 'absent')}
    given = [x for x in findings if x.status != 'absent']
    worst = max(given, key=lambda x: x.share, default=None)
    words = f'{worst.error:.1e} {worst.name}' if worst else ''
    lines.append(f'{stage:<26} {count["agrees"]:>5} {count["off"]:>4} '
                 f'{count["absent"]:>6}  {words}'.rstrip())
  return lines


def data(verdict: Verdict) -> dict[str, typing.Any]:
  """What --json prints: numbers that are not finite are null."""
  first = verdict.first
  return {
      'summary': verdict.summary, 'conforms': verdict.conforms,
      'case': verdict.case.name, 'reference': verdict.case.reference,
      'expected': len(verdict.computed), 'given': len(verdict.given),
      'agree': len(verdict.agreeing),
      'first': first.name if first else None, 'notes': trust(verdict),
      'arrays': [_record(x) for x in verdict.findings]}


def _record(finding: Finding) -> dict[str, typing.Any]:
  given = finding.status != 'absent'
  finite = given and math.isfinite(finding.error)
  return {
      'name': finding.name, 'stage': finding.stage, 'kind': finding.kind,
      'status': finding.status, 'error': finding.error if finite else None,
      'allowed': finding.allowed if given else None,
      'relative_to': finding.unit, 'note': finding.note}


def to_json(verdict: Verdict, **more: typing.Any) -> str:
  return json.dumps({**data(verdict), **more}, indent=1)


STYLE = """
body { font: 15px sans-serif; max-width: 60em; margin: 2em auto; }
h2 { font-size: 1em; margin: 1.2em 0 .3em; }
div.row { display: flex; height: 1.25em; font-size: 12px; }
div.name { width: 24em; overflow: hidden; white-space: nowrap; }
div.scale { flex: 1; position: relative; background: #f4f4f4; }
div.bar { height: .9em; }
div.limit { position: absolute; left: 66.6%; top: 0; bottom: 0; width: 1px;
            background: #333; }
.agrees { background: #4a9; } .off { background: #c33; }
.absent { color: #999; }
"""


def page(verdict: Verdict, source: str, remarks: typing.Sequence[str] = ()
         ) -> str:
  """An HTML page with one bar per array.

  A bar's length is the logarithm of its error as a share of what is allowed:
  the line is the limit, the left end a millionth of it.
  """
  e = html.escape
  notes = ''.join(f'<li>{e(x)}</li>' for x in [*remarks, *trust(verdict)])
  parts = [
      '<!doctype html><meta charset="utf-8">',
      f'<meta name="generator" content="{MARK}">',
      f'<title>{e(verdict.summary)}</title><style>{STYLE}</style>',
      f'<h1>{e(verdict.case.name)}</h1><p><b>{e(verdict.summary)}</b></p>',
      f'<p>{e(source)} beside {e(verdict.case.reference)}. '
      f'{e(" ".join(_first(verdict)))}</p><ul>{notes}</ul>']
  for stage, findings in verdict.stages.items():
    parts.append(f'<h2>{e(stage)}</h2>')
    parts += map(_bar, findings)
  return '\n'.join(parts) + '\n'


def _bar(finding):
  name = html.escape(finding.name)
  if finding.status == 'absent':
    return (f'<div class="row absent"><div class="name">{name}</div>'
            'not given</div>')
  share = min(max(finding.share, 1e-6), 1e3)
  width = 100 * (math.log10(share) + 6) / 9
  title = html.escape(_error(finding))
  return (f'<div class="row" title="{title}"><div class="name">{name}</div>'
          f'<div class="scale"><div class="bar {finding.status}" '
          f'style="width:{width:.1f}%"></div><div class="limit"></div></div>'
          '</div>')
