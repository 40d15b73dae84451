"""From evaluations at single steps to a score at a budget, as the papers do.

  evaluations   x   x   x   x   x   x   x   x   x      (steps, returns)
  bins        |-----------|-----------|-----------|    edges offset + k width

A bin holds the evaluations in (edge - width, edge]; its score is the mean
over their episodes, without smoothing. The score at a budget is that of the
first bin that ends at or after it. A run that stopped before keeps its last
bin: it is carried forward, and said to be.
"""

from __future__ import annotations

import typing
from collections.abc import Iterable, Sequence

from dreamer.errors import UserError


class Rule(typing.NamedTuple):
  """Bins of one source. All numbers are environment steps."""

  name: str
  width: int
  offset: int = 0
  last: int | None = None  # no later bin exists: it stands for later budgets

  def edge(self, step: int) -> int:
    """Returns where the bin of a step ends."""
    edge = self.offset + -(-(step - self.offset) // self.width) * self.width
    return min(edge, self.last or edge)

  def text(self) -> str:
    start = f', from {self.offset:,} on' if self.offset else ''
    return f'{self.name}: bins of {self.width:,} environment steps{start}'


RULES = {rule.name: rule for rule in (
    Rule('table_g', 100_000),
    Rule('dreamerv1_released', 100_000, 5000, 4_905_000),
    Rule('figures_10_11', 200_000),
    Rule('figure_12', 50_000),
    Rule('pixelpoint', 1000, 500),
    Rule('pixelpoint_training', 1000),
    Rule('pixelpoint_discrete', 500, 250),
    Rule('pixelpoint_discrete_training', 500),
    Rule('atari', 1_000_000),
    Rule('dmc_vision', 30_000),
    # DreamerV3: a twentieth of each budget.
    Rule('dreamerv3_atari', 10_000_000),
    Rule('dreamerv3_atari100k', 20_000),
    Rule('dreamerv3_dmc_vision', 50_000),
    Rule('dreamerv3_dmc_proprio', 25_000),
    Rule('dreamerv3_dmlab', 5_000_000),
    Rule('dreamerv3_procgen', 2_500_000),
    Rule('dreamerv3_minecraft', 5_000_000))}


class Point(typing.NamedTuple):
  """The score of one run at one edge."""

  edge: int
  value: float
  episodes: int
  carried: int | None = None  # the edge it is carried forward from


def rule(text: str) -> Rule:
  """Returns the rule of a name, or one with a width in environment steps."""
  if text in RULES:
    return RULES[text]
  try:
    width = int(float(text))
  except (ValueError, OverflowError):
    width = 0
  if width < 1:
    raise UserError(
        f'--bin: {text!r} is not allowed; allowed: environment steps from 1 '
        f'on, or {", ".join(RULES)}')
  return Rule(f'width_{width}', width)


def points(
    evaluations: Iterable[tuple[int, Sequence[float]]],
    rule: Rule) -> dict[int, Point]:
  """Returns the Points of all bins that hold an evaluation, by edge.

  evaluations: [(env steps, returns)].
  """
  bins: dict = {}
  for step, returns in evaluations:
    edge = rule.offset + -(-(step - rule.offset) // rule.width) * rule.width
    bins.setdefault(edge, []).extend(returns)
  return {edge: Point(edge, sum(values) / len(values), len(values))
          for edge, values in sorted(bins.items())}


def at(points: dict[int, Point], rule: Rule, budget: int,
       reached: int) -> Point | str:
  """Returns the Point at a budget, or a text that says why there is none.

  points: by edge. reached: the step the run came to.
  """
  edge = rule.edge(budget)
  if edge in points and reached >= min(budget, edge):
    return points[edge]
  if reached >= min(budget, edge):
    return (f'no evaluation in the {rule.width:,} steps before {edge:,} '
            '(eval_every is too long)')
  before = [x for x in points if x <= edge and x <= reached]
  if not before:
    return f'it stopped at {reached:,}, before the first bin was complete'
  return points[max(before)]._replace(edge=edge, carried=max(before))
