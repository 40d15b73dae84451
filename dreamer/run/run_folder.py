"""What the folder of a run says. Reading it changes nothing in it."""

from __future__ import annotations

import functools
import math
import os
import pathlib
from typing import Any

from dreamer.config import agents
from dreamer.config.schema import Schema, Section
from dreamer.errors import UserError
from dreamer.log.jsonlines import read_numbered
from dreamer.run import provenance, units

CUT = 'its last line was cut and is left out'
RETURNS = ('evaluation', 'training')


class RunFolder:
  """A run by the files in its folder, as far as they go.

  path: resolved; it is the identity of the run.
  config: the Section of config.yaml, or None where there is none.
  evaluations, training: [(env steps, [returns])], in the order of steps; of
    training one mean per line of metrics.jsonl.
  cpu: [(env steps, CPU seconds of learning by then)]; empty: not known.
  final: {policy: evaluation after training}, see eval.jsonl.
  reached: environment steps of its last line.
  notes: what was left out, and why.
  faults: {(what, file): text} of the first ones, for which scores would be
    meaningless; what is one of RETURNS, or 'run' where it concerns both.
  Raises UserError where there is nothing, or nothing that can be read.
  """

  def __init__(self, path: str | os.PathLike) -> None:
    self.name = str(path)  # as given, for messages
    self.path = pathlib.Path(path).expanduser().resolve()
    if not self.path.is_dir():
      raise UserError(f'{path}: is no folder; name that of a run')
    self.notes: list[str] = []
    self.faults: dict[tuple[str, str], str] = {}
    self.config, self._agent = self._settings()
    self._metrics = self._lines('metrics.jsonl')
    self._scores = self._lines('scores.jsonl')
    self._evals = self._lines('eval.jsonl')
    if not (self.config or self._metrics or self._scores or self._evals):
      raise UserError(
          f'{path}: holds no run: neither config.yaml nor a line of '
          'metrics.jsonl, scores.jsonl or eval.jsonl; train there first')
    self._check_task()
    self._check_unit()
    self.training = self._means('training', 'train/return')
    self.cpu = self._cpu()
    self.evaluations = self._evaluations() if self._scores else (
        self._means('evaluation', 'eval/return'))
    self.final = self._final()
    self.reached = int(max(
        [line['step'] for _, line in (*self._metrics, *self._scores)
         if is_number(line.get('step'))]
        + [entry['step'] for entry in self.final.values()], default=0))

  # Where it comes from

  @functools.cached_property
  def agent(self) -> str | None:
    """The agent's name."""
    # Of a config.yaml that lacks it, its keys tell.
    return self._said('agent') or self._agent

  @property
  def task(self) -> str | None:
    task = self._setting('task') or self._said('task')
    return task if isinstance(task, str) else None

  @property
  def seed(self) -> int | None:
    seed = self._setting('seed')
    return self._said('seed') if seed is None else seed

  @functools.cached_property
  def presets(self) -> list[str]:
    """Those that hold; of runs that don't say it, by their settings."""
    names = self._said('presets')
    if names is None and self._schema and self.config:
      return provenance.presets(self.config, self._schema)
    return names or []

  @functools.cached_property
  def hash(self) -> str:
    """Of all settings that the seeds of one experiment share; or ''."""
    if self.config and self._schema:
      return provenance.config_hash(self.config, self._schema)
    return self._said('config') or ''

  @functools.cached_property
  def protocol(self) -> dict:
    """How its evaluations were measured; {}: not known."""
    if self._scores or not self.config:
      return dict(self._said('protocol') or {})
    return provenance.protocol(self.config)

  @property
  def commits(self) -> list[str]:
    """Of the code, all that took part."""
    found = (line.get('commit') for _, line in (*self._scores, *self._evals))
    return list(dict.fromkeys(x for x in found if x))

  def _said(self, key: str) -> Any:
    """What the last lines say of where the run comes from."""
    lines = [line for _, line in (*self._evals, *self._scores)]
    return next((line[key] for line in reversed(lines)
                 if line.get(key) is not None), None)

  @functools.cached_property
  def _schema(self) -> Schema | None:
    if self.agent is None:
      return None
    try:
      return agents.schema(self.agent)
    except UserError as e:
      self.notes.append(f'config.yaml: its presets are not known: {e}')
      return None

  def _setting(self, key: str) -> Any:
    return self.config.get(key) if self.config else None

  # Files

  def _settings(self) -> tuple[Section | None, str | None]:
    """Returns the settings and the agent that config.yaml says."""
    if not (self.path / 'config.yaml').exists():
      return None, None
    saved = agents.saved(self.path)
    return saved.config, saved.agent

  def _lines(self, name: str) -> list[tuple[int, dict]]:
    """Returns [(line number, dict)]; damaged lines are left out.

    Of eval.jsonl any line may be cut: `./run.sh eval` appends to it whatever
    happened before. Elsewhere only the last one may.
    """
    rows = read_numbered(self.path / name)
    for number, row in rows[:-1]:
      if row is None and name != 'eval.jsonl':
        self._fault('run', name, f'line {number} is damaged, with whole lines '
                    'after it; repair or remove it, or leave this run out')
      elif row is None:
        self.notes.append(f'{name}: line {number} is damaged and left out')
    if rows and rows[-1][1] is None:
      self.notes.append(f'{name}: {CUT}')
    good = [(number, row) for number, row in rows if row is not None]
    if name == 'eval.jsonl':
      return [(number, modern(row)) for number, row in good]
    return good

  def _fault(self, what: str, file: str, text: str) -> None:
    self.faults.setdefault((what, file), f'{file}: {text}')

  def _check_task(self) -> None:
    """Lines of another task are left out."""
    def of_task(lines):
      return [x for x in lines if x[1].get('task', self.task) == self.task]

    for name, lines in (
        ('scores.jsonl', self._scores), ('eval.jsonl', self._evals)):
      strange = [line['task'] for _, line in lines
                 if line.get('task', self.task) != self.task]
      if strange:
        self._fault(
            'run', name, f'holds evaluations of {strange[0]}, but config.yaml '
            f'says {self.task}; keep one task per folder')
    self._scores, self._evals = of_task(self._scores), of_task(self._evals)

  def _check_unit(self) -> None:
    """Steps have to be environment steps: agent steps times action repeat."""
    repeat = self._setting('action_repeat')
    for file, lines in (
        ('metrics.jsonl', self._metrics), ('scores.jsonl', self._scores)):
      for number, line in lines:
        step, agent_steps = line.get('step'), line.get('agent_steps')
        if step is None or agent_steps is None or repeat is None:
          continue
        if not is_number(agent_steps) or step != units.env_steps(
            agent_steps, self.config):
          self._fault(
              'run', file, f'line {number} has step {step} at {agent_steps} '
              f'agent steps and action_repeat {repeat}: steps have to be '
              'environment steps')

  def _evaluations(self) -> list[tuple[int, list[float]]]:
    found: dict = {}
    for number, line in self._scores:
      where, step = f'line {number}', line.get('step')
      values = self._finite(
          'evaluation', 'scores.jsonl', line.get('returns'), where)
      if not is_number(step):
        self._fault('evaluation', 'scores.jsonl',
                    f'{where}: step {step!r} is no number')
      elif values:
        if step in found:
          self.notes.append(f'scores.jsonl: step {step} occurs twice; its '
                            'last line counts')
        found[step] = values
    return sorted(found.items())

  def _means(self, what: str, key: str) -> list[tuple[int, list[float]]]:
    """Of metrics.jsonl: one mean per line."""
    found = {}
    for number, line in self._metrics:
      if key in line and is_number(line.get('step')):
        values = self._finite(
            what, 'metrics.jsonl', [line[key]], f'line {number}: {key}')
        found.update({line['step']: values} if values else {})
    return sorted(found.items())

  def _cpu(self) -> list[tuple[int, float]]:
    """(env steps, CPU seconds) of each line, if all say it."""
    found = [(line['step'], line['cpu']) for _, line in self._metrics
             if is_number(line.get('step')) and is_number(line.get('cpu'))]
    return sorted(found) if len(found) == len(self._metrics) else []

  def _final(self) -> dict[str, dict]:
    """The last evaluation of each policy after training."""
    found: dict = {}
    for number, line in self._evals:
      where, policy = f'line {number}', line.get('policy')
      if policy not in provenance.POLICIES:
        self._fault('run', 'eval.jsonl', f'{where}: policy {policy!r} is not '
                    f'allowed; allowed: {", ".join(provenance.POLICIES)}')
        continue
      values = self._finite('run', 'eval.jsonl', line.get('returns'), where)
      if values and policy in found:
        self.notes.append(f'eval.jsonl: an earlier evaluation of the {policy} '
                          'policy is left out')
      found.update({policy: final_entry(line, values)} if values else {})
    return found

  def _finite(
      self, what: str, file: str, values: Any, where: str) -> list[float]:
    """Returns the returns of a line, or notes a fault and returns []."""
    try:
      return finite(values, where)
    except UserError as e:
      self._fault(what, file, str(e))
      return []


def modern(line: dict) -> dict:
  """Returns a line of eval.jsonl with today's names for its values."""
  if 'step' in line or 'eval_seed' in line:
    return line
  names = {'env_steps': 'step', 'seed': 'eval_seed', 'run_seed': 'seed'}
  return {names.get(key, key): value for key, value in line.items()}


def final_entry(line: dict, values: list[float]) -> dict:
  """What counts of a line of eval.jsonl."""
  step = line.get('step')
  return {'step': step if is_number(step) else 0,
          'eval_seed': line.get('eval_seed'), 'returns': values}


def finite(values: Any, where: str) -> list[float]:
  """Returns a list of returns; raises UserError where it is none."""
  if not isinstance(values, list) or not values:
    raise UserError(f'{where}: no returns; leave this run out')
  if not all(map(is_number, values)):
    raise UserError(
        f'{where}: a return is not finite (NaN is written as null); nothing '
        'can be said about this run: leave it out')
  return [float(x) for x in values]


def is_number(value: Any) -> bool:
  """Whether a value of a line is a finite number."""
  return (isinstance(value, (int, float)) and not isinstance(value, bool)
          and math.isfinite(value))
