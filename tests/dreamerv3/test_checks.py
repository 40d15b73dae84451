"""Which settings of DreamerV3 fit each other and the environment."""

import pytest

import dreamerv3
from dreamer.envs.spaces import IMAGE, ActionSpace, Space, vector_space
from tests.support.config_tools import refusal

SPACES = {'image': IMAGE, 'speed': vector_space((2,)),
          'level': Space((), 'int32', 0, 3)}
DISCRETE = ActionSpace('discrete', 3)


def validate(spaces=None, presets=('debug',), **settings):
  dreamerv3.validate(
      dreamerv3.schema().config(presets, settings), spaces)


def error(*args, **kwargs):
  """The message; it is of one line."""
  return refusal(lambda: validate(*args, **kwargs))


def test_every_preset_is_valid():
  schema = dreamerv3.schema()
  for name in schema.names:
    dreamerv3.validate(schema.config([name]))
    dreamerv3.validate(schema.config([name]), (SPACES, DISCRETE))


@pytest.mark.parametrize('size', [
    'size1m', 'size12m', 'size25m', 'size50m', 'size100m', 'size200m',
    'size400m'])
def test_sizes_follow_one_rule(size):
  config = dreamerv3.schema().config([size])
  units = config.rssm.hidden
  assert config.rssm.deter == 8 * units
  assert config.rssm.classes == config.encoder.depth == units // 16
  assert config.decoder.depth == config.encoder.depth
  assert {config[key].units for key in (
      'encoder', 'decoder', 'reward', 'discount_head', 'actor', 'critic')
          } == {units}
  validate(None, [size])


def test_blocks_have_to_divide():
  assert 'rssm.blocks: 3 do not divide rssm.deter, 16' in error(
      **{'rssm.blocks': 3})
  assert 'decoder.blocks: 5 do not divide rssm.deter' in error(
      **{'decoder.blocks': 5})
  assert 'decoder.blocks: 16 do not divide channels' in error(
      **{'decoder.blocks': 16})


def test_sequences_that_go_on_are_of_one_device():
  assert 'replay.consec: 2' in error(
      **{'replay.consec': 2, 'devices': 2, 'batch_size': 4})


@pytest.mark.parametrize('settings, wanted', [
    ({'opt': {'kind': 'adam', 'decay': 0.1}}, 'opt.decay: 0.1 is for opt.kind'),
    ({'opt.beta2': 1.0}, 'opt.beta2: 1.0 would never forget'),
    ({'value_norm': {'kind': 'percentiles', 'rate': 0.0}},
     'value_norm.rate: 0.0 takes nothing in')])
def test_what_would_be_no_number(settings, wanted):
  assert wanted in error(**settings)


def test_multiples_are_numbers():
  assert "encoder.multiples: '2,x' are no whole numbers" in error(
      **{'encoder.multiples': '2,x'})


@pytest.mark.parametrize('kind', ['linear', 'cosine'])
def test_schedules_need_time(kind):
  settings = {'opt.schedule': kind, 'opt.warmup': 10}
  assert 'opt.anneal: 0 updates leave no time' in error(**settings)
  assert 'opt.anneal: 10' in error(**settings, **{'opt.anneal': 10})
  validate(**settings, **{'opt.anneal': 11})


def test_percentiles_have_an_order():
  assert 'return_norm.low: 95.0 is not below return_norm.high 95.0' in error(
      **{'return_norm.low': 95.0})
  validate(**{'value_norm.low': 96.0})  # none there


def test_deviations_have_an_order():
  assert 'actor.min_std: 2.0 is more than actor.max_std 1.0' in error(
      **{'actor.min_std': 2.0})


def test_no_more_starts_than_steps():
  assert 'last_starts: 11 is more than batch_length 10' in error(
      last_starts=11)
  validate(last_starts=10)


def test_devices_share_a_batch():
  assert 'devices: 3' in error(devices=3)


class TestSpaces:

  @pytest.mark.parametrize('shape', [
      (64, 64, 3), (96, 96, 1), (48, 48, 2), (64, 80, 3), (160, 16, 4)])
  def test_images_of_any_size_that_halves(self, shape):
    validate(({'image': Space(shape, 'uint8', 0, 255)}, DISCRETE))

  @pytest.mark.parametrize('shape', [(60, 60, 3), (64, 40, 1), (84, 84, 1)])
  def test_others_are_refused(self, shape):
    text = error(({'image': Space(shape, 'uint8', 0, 255)}, DISCRETE))
    assert text.startswith(f'image: shape {shape}') and (
        'multiples of 16') in text

  def test_fewer_halvings(self):
    settings = {f'{name}.multiples': '2,4' for name in ('encoder', 'decoder')}
    spaces = {'image': Space((84, 84, 1), 'uint8', 0, 255)}, DISCRETE
    validate(spaces, **settings)
    validate(spaces, **{f'{name}.{key}': value for name in (
        'encoder', 'decoder') for key, value in (
            ('multiples', '1,2,4'), ('outer', True))})

  def test_images_are_of_one_size(self):
    images = {key: Space((size, size, 1), 'uint8', 0, 255)
              for key, size in (('a', 64), ('b', 96))}
    settings = {f'{name}.images': 'all' for name in ('encoder', 'decoder')}
    text = error((images, DISCRETE), **settings)
    assert 'a is 64 x 64 and b 96 x 96' in text
    validate((images, DISCRETE), **{
        f'{name}.images': 'b' for name in ('encoder', 'decoder')})

  def test_an_input_that_is_not_there(self):
    assert "no 'height'" in error(
        (SPACES, DISCRETE), **{'encoder.vectors': 'height'})

  def test_nothing_to_see(self):
    assert 'nothing is named' in error(
        (SPACES, DISCRETE), **{'encoder.images': 'none'})
