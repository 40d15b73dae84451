"""Which settings of DreamerV1 fit each other and the environment."""

import pytest

import dreamerv1
from dreamer.envs.spaces import IMAGE, ActionSpace, Space
from tests.support.config_tools import refusal

SPACES = {'image': IMAGE}
CONTINUOUS, DISCRETE = (ActionSpace(kind, 3) for kind in (
    'continuous', 'discrete'))


def validate(presets=(), spaces=None, **settings):
  dreamerv1.validate(
      dreamerv1.schema().config([*presets, 'debug'], settings), spaces)


def error(*args, **kwargs):
  """The message; it is of one line."""
  return refusal(lambda: validate(*args, **kwargs))


def test_every_preset_is_valid():
  schema = dreamerv1.schema()
  for name in schema.names:
    config = schema.config([name])
    dreamerv1.validate(config)
    planner = config.behaviour == 'planner'
    for actions in [CONTINUOUS] + [DISCRETE] * (not planner):
      dreamerv1.validate(config, (SPACES, actions))


def test_schedule():
  assert 'longer than an episode' in error(batch_length=1000)


@pytest.mark.parametrize('key, limit', [
    ('batch', 'batch_size 4'), ('time', 'batch_length 10')])
def test_window_beyond_the_batch(key, limit):
  settings = {f'cpc.window_{key}': 11}
  assert f'cpc.window_{key}: 11 is more than {limit}' in error(
      ['contrastive', 'paper_code'], **settings)
  validate(['contrastive'], **settings)  # no window
  validate(['paper_code'], **settings)  # no contrast


def test_elites():
  settings = {'planner.elites': 50}
  assert 'planner.elites: 50 of 20 planner.candidates' in error(
      ['planet'], **settings)
  validate(**settings)  # no planner


@pytest.mark.parametrize('presets, settings, wanted', [
    (['planet'], {}, 'behaviour: planner with discrete actions'),
    ([], {'expl.kind': 'gaussian'}, 'expl.kind: gaussian with discrete')])
def test_discrete_actions(presets, settings, wanted):
  assert wanted in error(presets, (SPACES, DISCRETE), **settings)
  validate(presets, (SPACES, CONTINUOUS), **settings)
  validate(presets, **settings)  # not known yet


@pytest.mark.parametrize('space, wanted', [
    ({}, 'give the environment an image'),
    ({'image': Space((84, 84, 3), 'uint8')}, 'shape (84, 84, 3)'),
    ({'image': Space((64, 64), 'uint8')}, 'shape (64, 64)')])
def test_observations(space, wanted):
  assert wanted in error(spaces=(space, CONTINUOUS))
