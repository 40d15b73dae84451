"""The DreamerV3 paper's aggregates from the released runs."""

import pytest

from dreamer.tables import to_text
from scores import benchmarks, references

# Of each suite, from an independent program.
FIGURES = {
    ('atari', 'gamer_median'): 829.5, ('atari100k', 'gamer_mean'): 120.4,
    ('atari100k', 'gamer_median'): 45.5, ('dmc_vision', 'mean'): 785.6,
    ('dmc_proprio', 'mean'): 757.5, ('dmlab', 'capped_mean'): 71.1,
    ('procgen', 'normed_mean'): 65.7, ('minecraft', 'mean'): 8.95}


def test_aggregates():
  found = {(suite, name): value
           for suite, name, value, _, _ in benchmarks.cells()}
  assert found == pytest.approx(FIGURES, abs=0.06)


def test_which_are_printed():
  fits = {suite for suite, _, value, printed, digits in benchmarks.cells()
          if round(value, digits) == round(printed, digits)}
  assert fits == {'atari', 'dmlab'}
  curve = benchmarks.aggregates('minecraft', 'dreamerv3', benchmarks.CURVE)
  assert round(curve['mean'], 1) == 9.1
  assert 'minecraft mean: by curve: the printed number' in to_text(
      benchmarks.table())


@pytest.mark.parametrize('suite', benchmarks.SUITES)
def test_references(suite):
  """Every agent of the release can be compared with, at all budgets."""
  name = f'dreamerv3/{suite}'
  assert references.kind_of_returns(name) == 'training'
  for method in benchmarks.methods(suite):
    reference = references.load(name, method)
    ends = {max(points) for points in reference.scores.values()}
    assert len(ends) == 1
    end, = ends
    assert reference.rule.edge(end) == end
    means = {task: points[end].mean
             for task, points in reference.scores.items()}
    assert means == pytest.approx(benchmarks.scores(suite, method))
