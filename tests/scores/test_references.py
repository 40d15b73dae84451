"""What a run's paper says of its task."""

import pytest

from scores import references
from tests.support.scores_tools import TABLE_G, make_run


@pytest.mark.parametrize('task, wanted', [
    *TABLE_G.items(), ('dmc_ball_in_cup_catch', TABLE_G['dmc_cup_catch']),
    ('dmc_acrobot_swingup', 365.26),
    ('dmc_humanoid_walk', None), ('dummy_continuous', None), ('', None)])
def test_of_dreamerv1(task, wanted):
  found = references.paper(make_run()._replace(task=task))
  assert found == (wanted and (wanted, 5e6))
  assert not found or found.when == '5M steps'


@pytest.mark.parametrize('task, presets, wanted', [
    ('dmc_cheetah_run', [], (807.35, 198e4)),
    ('dmc_cheetah_run', ['dmc_proprio'], None),
    ('dmc_cup_catch', [], (776.88, 198e4)),
    ('atari_alien', [], (3967.0, 199e6)), ('crafter_reward', [], None)])
def test_of_dreamerv2(task, presets, wanted):
  run = make_run()._replace(task=task, method='dreamerv2', presets=presets)
  found = references.paper(run)
  assert found == (wanted and pytest.approx(wanted, abs=0.5))


@pytest.mark.parametrize('task, preset, wanted', [
    ('dmc_cup_catch', 'dmc_vision', (971.79, 1e6)),
    ('dmc_ball_in_cup_catch', 'dmc_proprio', (960.4, 5e5)),
    ('gym_procgen:procgen-coinrun-v0', 'procgen', (9.862, 5e7)),
    ('dmlab_rooms_watermaze', 'dmlab', (24.435, 1e8)),
    ('atari_pong', 'atari100k', (-4.9, 4e5))])
def test_of_dreamerv3(task, preset, wanted):
  """By whichever of its names a task is trained."""
  run = make_run()._replace(
      task=task, method='dreamerv3', presets=[preset])
  assert references.paper(run) == pytest.approx(wanted, abs=0.005)


def test_planet_has_scores_of_its_own():
  run = make_run()._replace(presets=['planet', 'laptop'])
  assert references.paper(run) == (944.7, 5e6)


def test_other_agents_have_no_paper():
  assert references.paper(make_run()._replace(method='')) is None
