"""Runs, from logdirs or from files that `collect` made, checked."""

import collections
import json
import math
import pathlib
import typing

from dreamer.config.schema import Schema, Section, read_yaml
from dreamer.errors import UserError
from dreamer.run import protocol

FORMAT = 'dreamer scores 1'
CUT = 'its last line was cut and is left out'


class Run(typing.NamedTuple):
  """One run of one seed.

  evaluations: [(env steps, [returns])], in the order of steps.
  reached: environment steps of its last line.
  final: {policy: evaluation after training}, see eval.jsonl.
  commits: of the code, all that took part. notes: what was left out, why.
  """

  where: str
  task: str
  method: str
  seed: int
  reached: int
  protocol: dict
  presets: list
  config: str
  commits: list
  evaluations: list
  final: dict
  notes: list

  @property
  def key(self):
    return self.method, self.task, self.seed


def load(paths, returns='evaluation'):
  """Returns the Runs of logdirs and collected files; checks them together.

  returns: evaluation, or training: the returns of the episodes that the
    agent learned from.
  Raises UserError: nothing there, damage, the same seed twice.
  """
  if not paths:
    raise UserError('no run named; name logdirs or files of `scores collect`')
  runs = []
  for path in map(pathlib.Path, paths):
    runs += [read_logdir(path, returns)] if path.is_dir() else read_file(
        path, returns)
  seen = {}
  for run in runs:
    if run.key in seen:
      raise UserError(
          f'{run.where}: seed {run.seed} of {run.method} on {run.task} is '
          f'also in {seen[run.key]}; leave one of them out')
    seen[run.key] = run.where
  return sorted(runs, key=lambda run: run.key)


def read_logdir(logdir, returns='evaluation'):
  """Returns the Run of a logdir, also of one written before scores.jsonl."""
  notes = []
  config = Section(read_yaml(logdir / 'config.yaml'))
  metrics = _lines(logdir / 'metrics.jsonl', notes)
  scores = _lines(logdir / 'scores.jsonl', notes)
  evals = _lines(logdir / 'eval.jsonl', notes)
  _check_task(logdir, config, scores + evals)
  _check_unit(logdir, config, metrics + scores)
  origin = scores[-1][1] if scores else _origin(config)
  final = _final(logdir, evals, notes)
  measured = dict(origin['protocol'])
  if returns == 'training':
    evaluations, measured['returns'] = _means(
        logdir, metrics, 'train/return'), 'training'
  elif scores:
    evaluations = _evaluations(logdir, scores, notes)
  else:
    evaluations = _means(logdir, metrics, 'eval/return')
  if not evaluations and (returns == 'training' or not final):
    raise UserError(
        f'{logdir}: no {returns} returns; ' + (
            'no episode has ended' if returns == 'training' else
            'evaluate the run by ./run.sh eval, or train with eval_every'))
  commits = dict.fromkeys(
      line.get('commit') for _, line in scores + evals)
  return Run(
      where(logdir), config.task, origin['agent'], config.seed,
      _reached(metrics, scores, final), measured, origin['presets'],
      origin['config'], [x for x in commits if x], evaluations, final, notes)


def read_file(path, returns='evaluation'):
  """Returns the Runs of a file that `collect` wrote."""
  try:
    content = json.loads(path.read_text(encoding='utf-8'))
  except (OSError, ValueError, RecursionError) as e:
    what = e.strerror if isinstance(e, OSError) else 'no JSON'
    raise UserError(
        f'{path}: cannot read: {what}; name a logdir or a file of `scores '
        'collect`') from None
  if not isinstance(content, dict) or content.get('format') != FORMAT:
    raise UserError(
        f'{path}: no file of `scores collect` (format {FORMAT!r})')
  found = [_from_json(path, row) for row in content['runs']]
  for run in found:
    if run.protocol.get('returns') != returns:
      raise UserError(
          f'{path}: {run.where} holds {run.protocol.get("returns")} returns, '
          f'not {returns}; collect it again from its logdir')
  return found


def to_json(run):
  """Returns a Run as a dict; `read_file` takes it back."""
  return {**run._asdict(), 'evaluations': [
      [step, list(returns)] for step, returns in run.evaluations]}


def by_task(runs):
  """Returns {task: runs}; raises where the seeds are of two experiments."""
  methods = {run.method for run in runs}
  if len(methods) > 1:
    raise UserError(
        f'runs of {" and ".join(sorted(methods))}; compare one agent at a '
        'time')
  groups = collections.defaultdict(list)
  for run in runs:
    groups[run.task].append(run)
  for task, group in groups.items():
    for run in group[1:]:
      if run.config != group[0].config:
        raise UserError(
            f'{task}: {run.where} has other settings than {group[0].where} '
            '(see their config.yaml); compare one experiment at a time')
  return dict(groups)


def reached(logdir):
  """Returns the environment steps of a logdir's last line; 0: none."""
  return _reached(*(_lines(logdir / name, []) for name in (
      'metrics.jsonl', 'scores.jsonl')), {})


def _lines(path, notes):
  """Returns [(line number, dict)]; only the last line may be cut."""
  try:
    text = path.read_text(encoding='utf-8', errors='replace')
  except FileNotFoundError:
    return []
  except OSError as e:
    raise UserError(f'{path}: cannot read: {e.strerror or e}') from None
  rows, lines = [], text.split('\n')
  for number, line in enumerate(lines, 1):
    row = _parse(line) if line.strip() else None
    if row is not None:
      rows.append((number, row))
    elif line.strip() and any(x.strip() for x in lines[number:]):
      raise UserError(
          f'{path}: line {number} is damaged, with whole lines after it; '
          'repair or remove it, or leave this run out')
    elif line.strip():
      notes.append(f'{path.name}: {CUT}')
  return rows


def _parse(line):
  try:
    row = json.loads(line)
  except (ValueError, RecursionError):
    return None
  return row if isinstance(row, dict) else None


def _check_task(logdir, config, lines):
  for _, line in lines:
    if line.get('task', config.task) != config.task:
      raise UserError(
          f'{logdir}: holds evaluations of {line["task"]}, but config.yaml '
          f'says {config.task}; keep one task per folder')


def _check_unit(logdir, config, lines):
  """Steps have to be environment steps: agent steps times action repeat."""
  for number, line in lines:
    step, agent_steps = line.get('step'), line.get('agent_steps')
    if step is None or agent_steps is None:
      continue
    if step != agent_steps * config.action_repeat:
      raise UserError(
          f'{logdir}: line {number} has step {step} at {agent_steps} agent '
          f'steps and action_repeat {config.action_repeat}: steps have to be '
          'environment steps')


def _evaluations(logdir, lines, notes):
  found = {}
  for number, line in lines:
    where = f'{logdir}/scores.jsonl: line {number}'
    values = _finite(line.get('returns'), where)
    step = line.get('step')
    if not _is_number(step):
      raise UserError(f'{where}: step {step!r} is no number')
    if step in found:
      notes.append(f'scores.jsonl: step {step} occurs twice; its last line '
                   'counts')
    found[step] = values
  return sorted(found.items())


def _means(logdir, lines, key):
  """Evaluations of metrics.jsonl: one mean per line."""
  found = {}
  for number, line in lines:
    if key in line:
      found[line['step']] = _finite(
          [line[key]], f'{logdir}/metrics.jsonl: line {number}: {key}')
  return sorted(found.items())


def _final(logdir, lines, notes):
  """The last evaluation of each policy after training."""
  found = {}
  for number, line in lines:
    policy = line.get('policy')
    if policy not in protocol.POLICIES:
      raise UserError(
          f'{logdir}/eval.jsonl: line {number}: policy {policy!r} is not '
          f'allowed; allowed: {", ".join(protocol.POLICIES)}')
    values = _finite(
        line.get('returns'), f'{logdir}/eval.jsonl: line {number}')
    if policy in found:
      notes.append(f'eval.jsonl: an earlier evaluation of the {policy} policy '
                   'is left out')
    found[policy] = _final_entry(line, values)
  return found


def _final_entry(line, values):
  """What counts of a line of eval.jsonl, which had other names in the past."""
  return {
      'step': line.get('step', line.get('env_steps')) or 0,
      'eval_seed': line.get('eval_seed', line.get('seed')), 'returns': values}


def _finite(values, where):
  if not isinstance(values, list) or not values:
    raise UserError(f'{where}: no returns; leave this run out')
  if not all(map(_is_number, values)):
    raise UserError(
        f'{where}: a return is not finite (NaN is written as null); nothing '
        'can be said about this run: leave it out')
  return [float(x) for x in values]


def _is_number(value):
  return (isinstance(value, (int, float)) and not isinstance(value, bool)
          and math.isfinite(value))


def _reached(metrics, scores, final):
  steps = [line['step'] for _, line in metrics + scores
           if _is_number(line.get('step'))]
  return int(max([*steps, *(x['step'] for x in final.values())],
                 default=0))


def _origin(config):
  """What scores.jsonl says, for runs that were made before it."""
  agent = 'dreamerv2' if 'kl.balance' in config.flat else 'dreamerv1'
  return {
      'agent': agent, 'protocol': protocol.protocol(config),
      'presets': protocol.presets(config, Schema.load(
          f'configs/{agent}.yaml')),
      'config': protocol.config_hash(config)}


def where(logdir):
  """The end of a path: enough to find the run, nothing about the machine."""
  return '/'.join(logdir.resolve().parts[-2:])


def _from_json(path, row):
  missing = [key for key in Run._fields if key not in row]
  if missing:
    raise UserError(f'{path}: a run lacks {", ".join(missing)}; collect again')
  run = Run(**{key: row[key] for key in Run._fields})
  where = f'{path}: {run.where}'
  evaluations = [
      (step, _finite(values, f'{where}: step {step}'))
      for step, values in run.evaluations]
  final = {policy: _final_entry(entry, _finite(
      entry.get('returns'), f'{where}: {policy}'))
           for policy, entry in run.final.items()}
  return run._replace(evaluations=evaluations, final=final)
