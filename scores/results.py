"""The figures of a finished or running logdir, and the papers' scores."""

import csv
import math
import pathlib
from typing import NamedTuple

import numpy as np

from dreamer.config.schema import read_yaml
from dreamer.errors import UserError
from dreamer.files import ROOT
from dreamer.log.jsonlines import read_lines
from dreamer.run.protocol import POLICIES
from dreamer.stats import confidence

TABLES = {  # by agent and suite: file and method in scores/published
    ('dreamerv1', 'dmc'): ('dreamerv1_table_g.csv', 'dreamer'),
    ('dreamerv2', 'dmc'): ('dreamerv2_dmc_vision_curves.csv', 'dreamerv2'),
    ('dreamerv2', 'atari'): ('dreamerv2_table_k1.csv', 'dreamerv2')}


class Published(NamedTuple):
  """A paper's mean score and the environment steps it was reached at."""

  score: float
  steps: int

  @property
  def when(self):
    return f'{self.steps / 1e6:.3g}M steps'


class Run:
  """The figures of one logdir.

  agent: dreamerv1 where the folder doesn't say. task: str or None. evals: dict
  of policy to a dict with step, episodes, mean, low, high. notes: what
  was left out, and why. Raises UserError where there is nothing to report.
  """

  def __init__(self, logdir):
    self.logdir = pathlib.Path(logdir)
    if not self.logdir.is_dir():
      raise UserError(f'logdir: {logdir} is no folder; name that of a run')
    self.notes = []
    self.metrics = self._read('metrics.jsonl')
    lines = self._read('eval.jsonl')
    if not self.metrics and not lines:
      raise UserError(
          f'logdir: {logdir} has neither metrics.jsonl nor eval.jsonl with '
          'any line; train there first')
    self.agent = self._agent()
    self.task = self._task(lines)
    self.evals = self._evals(lines)

  @property
  def paper(self):
    """What the agent's paper reached at last: Published, or None."""
    return published(self.task, self.agent)

  def series(self, name):
    """Returns arrays (env steps, values) of a metric; nulls are left out."""
    pairs = [
        (row['step'], row[name]) for row in self.metrics
        if _is_number(row.get('step')) and _is_number(row.get(name))]
    pairs = np.array(pairs, np.float64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]

  def _read(self, name):
    lines, damaged = read_lines(self.logdir / name)
    if damaged:
      self.notes.append(f'{name}: {damaged} damaged line(s) left out')
    return lines

  def _agent(self):
    lines = self._read('scores.jsonl')
    return next((x['agent'] for x in lines if 'agent' in x), 'dreamerv1')

  def _task(self, lines):
    path = self.logdir / 'config.yaml'
    task = read_yaml(path).get('task') if path.exists() else None
    if task is None:
      task = next((x['task'] for x in reversed(lines) if 'task' in x), None)
    return task if isinstance(task, str) else None

  def _evals(self, lines):
    evals, skipped = {}, 0
    for line in lines:
      returns = line.get('returns')
      if line.get('task', self.task) != self.task or not (
          line.get('policy') in POLICIES and isinstance(returns, list) and
          returns and all(map(_is_number, returns))):
        skipped += 1
        continue
      mean, low, high = confidence(returns)
      steps = line.get('step', line.get('env_steps'))
      evals[line['policy']] = dict(
          step=steps if _is_number(steps) else 0, episodes=len(returns),
          mean=mean, low=low, high=high)
    if skipped:
      self.notes.append(
          f'eval.jsonl: {skipped} line(s) of another task or without finite '
          'returns left out')
    return evals


def published(task, agent='dreamerv1'):
  """Returns the Published score of the task in the agent's paper, or None."""
  name = (task or '').replace('dmc_ball_in_cup_', 'dmc_cup_')
  suite = agent, name.split('_')[0]
  if suite not in TABLES:
    return None
  path, method = TABLES[suite]
  with open(ROOT / 'scores' / 'published' / path, encoding='utf-8',
            newline='') as file:
    found = [Published(float(row['value']), int(row['env_steps']))
             for row in csv.DictReader(file)
             if (row['task'], row['method']) == (name, method)]
  return max(found, key=lambda x: x.steps, default=None)


def _is_number(value):
  return isinstance(value, (int, float)) and math.isfinite(value)
