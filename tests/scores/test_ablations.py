"""Ablations at a small size: scores of runs, and what follows from them."""

import math

import pytest

from dreamer.config import agents
from dreamer.errors import UserError
from scores import __main__, ablations, intervals, matrix
from scores.ablations import Claim, Effect
from tests.support.scores_tools import write_lines, write_run

V1 = 'laptop_ablations_v1'


def claim(theirs):
  """One whose effect in the paper is as named."""
  return Claim('variant', 'base', 'dreamerv1_figures', 'v1_fig11',
               'dmc_walker_stand', theirs, 'reconstruction', 200_000)


BAD, LITTLE = claim('reward_only'), claim('reconstruction')


@pytest.mark.parametrize('what, low, high, verdict', [
    (BAD, -80, -10, 'as in the paper'),
    (BAD, -80, 10, 'cannot be told with 3 seeds'),
    (BAD, 1, 40, 'the other way'),
    (BAD, math.nan, math.nan, 'cannot be told with 3 seeds'),
    (LITTLE, -19, 19, 'as in the paper'),
    (LITTLE, -25, 19, 'cannot be told with 3 seeds'),
    (LITTLE, -40, -11, 'the other way'),
    (LITTLE, 11, 40, 'the other way')])
def test_verdicts(what, low, high, verdict):
  difference = intervals.Interval((low + high) / 2, low, high)
  assert Effect(what, 100.0, difference, (3, 4)).verdict == verdict


def test_the_papers_effects():
  """Figure 11 at 200 000 steps: 164.52 and 587.71."""
  assert BAD.effect == pytest.approx(164.52 / 587.71 - 1)


def test_the_default_on_minatar_learns_by_reinforce_alone():
  schema = agents.schema('dreamerv2')
  one, two = (schema.config(['minatar', *names, 'laptop']) for names in (
      [], ['mixed_gradients', 'reinforce_only']))
  other = {x.split('.')[0] for x in one.flat if one.flat[x] != two.flat[x]}
  assert other == {'actor_gradient', 'actor_mix', 'actor_entropy'}
  assert (one.actor_gradient, two.actor_gradient) == ('auto', 'reinforce')
  assert one.actor_entropy.start == two.actor_entropy.start == (
      two.actor_entropy.end)


def test_a_paper_that_counts_games():
  """Section 3.2: better in 18 of 55 games, worse in 24."""
  found = ablations.REINFORCE_ONLY
  assert found.effect == pytest.approx((18 - 24) / 55)
  assert found.shown == '18 games better, 24 worse'


@pytest.mark.parametrize('name', ablations.CLAIMS)
def test_claims_have_runs_and_figures(name):
  methods = {x.method for x in matrix.jobs(name)}
  for found in ablations.CLAIMS[name]:
    assert {found.variant, found.base} <= methods
    assert math.isfinite(found.effect)


def write(root, method, seed, returns, kept=False):
  """A finished run whose last quarter has these returns, the rest 0."""
  folder = root / method / ('' if kept else 'dmc_walker_stand') / f'seed{seed}'
  presets = next(x.presets for x in matrix.jobs(V1) if x.method == method)
  write_run(folder, [], seed=seed, presets=presets, task='dmc_walker_stand')
  steps = [12_000, 22_500, *(23_000 + 500 * i for i in range(15))]
  write_lines(folder / 'metrics.jsonl', [
      {'step': step, 'agent_steps': step // 4,
       'train/return': returns if step > 22_500 else 0.0} for step in steps])


def test_runs_of_something_else(tmp_path):
  write(tmp_path, 'reconstruction', 0, 1.0, kept=True)
  for name, method, wanted in (
      ('laptop_ablations_v2', 'default', 'agent dreamerv1, not dreamerv2'),
      (V1, 'planet', 'behaviour actor_critic, not planner')):
    (tmp_path / 'reconstruction').rename(tmp_path / method)
    with pytest.raises(UserError, match=f'seed0: holds a run of {wanted}'):
      __main__.main(['ablations', name, '--logdir', str(tmp_path)])
    (tmp_path / method).rename(tmp_path / 'reconstruction')


def test_runs(tmp_path, capsys):
  for seed in range(3):
    write(tmp_path, 'reconstruction', seed, 500.0 + seed)
    write(tmp_path, 'reward_only', seed, 100.0 + seed, kept=True)
  __main__.main(['ablations', V1, '--logdir', str(tmp_path), '--out',
                 str(tmp_path / 'picture.png')])
  text = capsys.readouterr().out
  line, = [x for x in text.splitlines() if x.startswith('reward_only ')]
  assert '101' in line and '-400' in line and 'as in the paper' in line
  assert (tmp_path / 'picture.png').stat().st_size > 1000


def test_unfinished_runs_do_not_count(tmp_path):
  write(tmp_path, 'reconstruction', 0, 500.0)
  jobs = [x._replace(steps=60_000) for x in matrix.jobs(V1)]
  with pytest.raises(UserError, match='no finished run'):
    ablations.collect(jobs, tmp_path)


@pytest.mark.parametrize('options, match', [
    (['table_g'], 'laptop_ablations_v1'), ([V1], 'no finished run'),
    ([V1, '--out', 'x.txt'], 'has to end with')])
def test_mistakes(options, match, tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(UserError, match=match):
    __main__.main(['ablations', *options])
