"""Which settings of DreamerV2 fit each other and the environment."""

import pytest

import dreamerv2
from dreamer.envs.spaces import IMAGE, ActionSpace, Space, vector_space
from tests.support.config_tools import refusal

SPACES = {'image': IMAGE, 'speed': vector_space((2,)),
          'angle': vector_space((3,))}
CONTINUOUS, DISCRETE = (ActionSpace(kind, 3) for kind in (
    'continuous', 'discrete'))
LOSS = {'expl.kind': 'model_loss'}


def validate(spaces=None, **settings):
  dreamerv2.validate(
      dreamerv2.schema().config(['debug'], settings), spaces)


def error(*args, **kwargs):
  """The message; it is of one line."""
  return refusal(lambda: validate(*args, **kwargs))


def test_every_preset_is_valid():
  schema = dreamerv2.schema()
  for name in schema.names:
    config = schema.config([name])
    dreamerv2.validate(config)
    for actions in (CONTINUOUS, DISCRETE):
      dreamerv2.validate(config, (SPACES, actions))


def test_schedule():
  assert 'longer than an episode' in error(batch_length=1000)


@pytest.mark.parametrize('key', ['actor_mix', 'actor_entropy'])
def test_schedule_without_time(key):
  settings = {f'{key}.kind': 'linear'}
  assert f'{key}.duration: 0 leaves no time' in error(**settings)
  validate(**settings, **{f'{key}.duration': 1})


def test_offset_has_to_fit():
  assert 'expl.offset: 10 is not below batch_length 10' in error(
      **{'expl.offset': 10})
  validate(**{'expl.offset': 9})


@pytest.mark.parametrize('dist, fits', [
    ('onehot', DISCRETE), ('trunc_normal', CONTINUOUS),
    ('tanh_normal', CONTINUOUS)])
def test_distribution_of_the_actor_is_one_of_such_actions(dist, fits):
  settings = {'actor.dist': dist}
  other, = {CONTINUOUS, DISCRETE} - {fits}
  validate((SPACES, fits), **settings)
  assert f'actor.dist: {dist} for {other.kind} actions' in error(
      (SPACES, other), **settings)


def test_share_above_1_is_no_share():
  for key in ('noise', 'eval_noise'):
    settings = {f'expl.{key}': 1.5}
    assert f'expl.{key}: 1.5 is no share of discrete' in error(
        (SPACES, DISCRETE), **settings)
    validate((SPACES, CONTINUOUS), **settings)


@pytest.mark.parametrize('spaces, settings, words', [
    ({'image': Space((84, 84, 3), 'uint8')}, {}, 'image: shape (84, 84, 3)'),
    ({'image': Space((64, 64), 'uint8')}, {}, "has no 'image' of this kind"),
    ({}, {}, "encoder.images: the environment has no 'image'"),
    (SPACES, {'encoder.images': 'imag'},
     "encoder.images: the environment has no 'imag' of this kind; it has "
     'image; allowed'),
    (SPACES, {'encoder.vectors': 'speed, image'},
     "encoder.vectors: the environment has no 'image' of this kind; it has "
     'speed, angle'),
    (SPACES, {'decoder.vectors': 'speed,'},
     "decoder.vectors: the environment has no ''"),
    (SPACES, {'encoder.images': 'none'},
     'encoder.images, encoder.vectors: nothing is named; the environment '
     'has image, speed, angle'),
    ({'speed': SPACES['speed']},
     {'encoder.images': 'all', 'encoder.vectors': 'all'},
     "decoder.images: the environment has no 'image' of this kind; it has "
     'none')])
def test_inputs(spaces, settings, words):
  assert words in error((spaces, CONTINUOUS), **settings)


@pytest.mark.parametrize('key, value, words', [
    ('encoder.kernels', '4,4,4,4,4', 'leave 0 of 64 pixels'),
    ('encoder.kernels', '65', 'leave 0 of 64 pixels'),
    ('decoder.kernels', '5,5,6,7', 'make images of 65 x 65 pixels'),
    ('decoder.kernels', '5,5,6', 'make images of 30 x 30 pixels'),
    ('encoder.kernels', '', 'whole numbers above 0'),
    ('decoder.kernels', '5,5,x,6', 'whole numbers above 0'),
    ('encoder.widths', '400,0', 'whole numbers above 0'),
    ('decoder.widths', '400,-1', 'whole numbers above 0'),
    ('decoder.widths', '400;300', 'whole numbers above 0')])
def test_layers(key, value, words):
  text = error(**{key: value})
  assert text.startswith(f'{key}: ') and words in text


def test_layers_that_fit():
  validate(**{'encoder.kernels': '8, 6,4', 'decoder.kernels': '3,3,3,3,4',
              'encoder.widths': '400, 300', 'decoder.widths': '1'})


@pytest.mark.parametrize('settings', [
    {'expl.loss': 'discount', 'discount_head.enabled': False},
    {'expl.loss': 'image', 'decoder.images': 'none',
     'decoder.vectors': 'all'}])
def test_loss_that_the_model_does_not_have(settings):
  spaces = SPACES, DISCRETE
  text = error(spaces, **LOSS, **settings)
  assert text.startswith(f'expl.loss: {settings["expl.loss"]} is no loss')
  assert 'it has kl' in text
  validate(spaces, **settings)  # not read by other behaviours
