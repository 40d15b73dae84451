"""Which observation is the image, which are vectors, which are left out."""

import dm_env.specs
import gymnasium
import numpy as np
import pytest

from dreamer.envs import base, observations, selected
from dreamer.errors import UserError

S = gymnasium.spaces


def picture(*shape, dtype=np.uint8, high=255):
  return S.Box(0, high, shape or (64, 64, 3), dtype)


def vector(size=2):
  return S.Box(-1, 1, (size,), np.float32)


def select(space, key='', images=True, beside=False):
  return selected.select(
      observations.entries(space), key, images, beside=beside)


def names(selection):
  return [entry.name for entry in selection.images]


@pytest.mark.parametrize('space, image', [
    (picture(), 'observation'), (picture(84, 84), 'observation'),
    (picture(4, 84, 84), 'observation'),
    (picture(high=1, dtype=np.float32), 'observation'),
    (S.Dict(camera=picture(), goal=vector()), 'camera'),
    (S.Dict(a=picture(), image=picture()), 'image'),
    (S.Dict(eye=S.Dict(left=picture()), goal=vector()), 'eye/left'),
    (S.Tuple((picture(), vector())), '0')])
def test_the_only_picture_is_the_image(space, image):
  assert names(select(space)) == [image]


@pytest.mark.parametrize('space', [
    vector(), S.Discrete(5), picture(128), S.Box(0, 1, (10, 10, 4), bool),
    S.Dict(a=vector(), b=S.Text(5)), S.Box(-1, 1, (100, 40), np.float32)])
def test_without_a_picture_the_image_is_rendered(space):
  assert names(select(space)) == []


def test_several_pictures_need_a_key():
  space = S.Dict(
      depth=picture(64, 64, 1), rgb=picture(), wrist_rgb=picture())
  with pytest.raises(UserError, match='depth, rgb, wrist_rgb') as info:
    select(space)
  assert 'image_key' in str(info.value)
  assert names(select(space, 'rgb')) == ['rgb']
  assert names(select(space, 'render')) == []
  both = select(space, 'rgb, depth')
  assert names(both) == ['rgb', 'depth']
  assert 'wrist_rgb' in both.left_out


@pytest.mark.parametrize('space, words', [
    (picture(7, 7, 3), 'board of symbols'), (picture(20, 20), 'board of'),
    (S.Box(-np.inf, np.inf, (64, 64, 3), np.float32), 'without bounds'),
    (S.Box(0, [[[1, 1, 5]]] * np.ones((64, 64, 3)), dtype=np.float64),
     'without bounds'),
    (picture(64, 64, 64), 'which of its axes')])
def test_what_may_be_a_picture_is_refused_with_the_choices(space, words):
  with pytest.raises(UserError, match=words) as info:
    select(space)
  assert 'image_key' in str(info.value) and 'render' in str(info.value)
  assert names(select(space, 'render')) == []


def test_a_small_board_is_what_is_said():
  space = S.Dict(image=picture(7, 7, 3), direction=S.Discrete(4))
  assert names(select(space, 'image')) == ['image']
  rendered = select(space, 'render')
  assert rendered.vectors['obs/image'].size == 7 * 7 * 3
  assert rendered.vectors['direction'].size == 4


@pytest.mark.parametrize('key, words', [
    ('rgb', "no observation 'rgb'"), ('camera,', "no observation ''"),
    ('far', 'without bounds'), ('goal', 'not clear')])
def test_a_key_that_can_not_be_the_image(key, words):
  space = S.Dict(
      camera=picture(), goal=vector(),
      far=S.Box(0, np.inf, (64, 64, 1), np.float32))
  with pytest.raises(UserError, match=words) as info:
    select(space, key)
  assert 'camera' in str(info.value)


def test_what_is_left_out_has_a_reason():
  space = S.Dict(
      camera=picture(), far=S.Box(0, np.inf, (64, 64, 1), np.float32),
      mission=S.Text(5), items=S.Sequence(vector()), none=S.Box(-1, 1, (0,)))
  found = select(space)
  assert set(found.left_out) == {'far', 'mission', 'items', 'none'}
  assert all(found.left_out.values()) and not found.vectors


def test_nobody_wants_images():
  found = select(S.Dict(a=picture(), b=picture(), c=vector()), images=False)
  assert not found.images and list(found.vectors) == ['c']
  assert set(found.left_out) == {'a', 'b'}


def test_a_vector_that_evaluations_show():
  """It stays one beside the image; a picture is none."""
  space = S.Dict(board=S.Box(0, 255, (10, 10, 4), np.uint8), rgb=picture())
  assert list(select(space, 'board').vectors) == []
  assert list(select(space, 'board', beside=True).vectors) == ['board']
  assert list(select(space, 'board', images=False).vectors) == ['board']
  assert list(select(space, 'rgb', beside=True).vectors) == ['board']


def test_joined_pictures():
  space = S.Dict(rgb=picture(80, 80, 3), depth=picture(64, 64, 1))
  image = selected.Image(select(space, 'rgb,depth').images)
  assert image.space.shape == (64, 64, 4)
  obs = {'rgb': np.full((80, 80, 3), 3, np.uint8),
         'depth': np.full((64, 64, 1), 9, np.uint8)}
  assert image(obs)[1, 2].tolist() == [3, 3, 3, 9]


def read(space, obs):
  reader, = select(space).vectors.values()
  return reader.vector(obs)


@pytest.mark.parametrize('space, obs, expected', [
    (vector(3), [1, 2, 3], [1, 2, 3]), (S.Box(-1, 1, ()), 0.5, [0.5]),
    (S.Box(-1, 1, (1,)), 0.5, [0.5]), (S.Box(-1, 1, ()), [0.5], [0.5]),
    (S.Box(-1, 1, (2, 2)), [[1, 2], [3, 4]], [1, 2, 3, 4]),
    (S.Discrete(3), 1, [0, 1, 0]), (S.Discrete(3, start=5), 7, [0, 0, 1]),
    (S.MultiDiscrete([2, 3]), [1, 0], [0, 1, 1, 0, 0]),
    (S.MultiBinary(3), [1, 0, 1], [1, 0, 1]),
    (S.Discrete(5000), 4999, [4999]),
    (dm_env.specs.DiscreteArray(3), 2, [0, 0, 1]),
    (dm_env.specs.BoundedArray((2,), int, 0, 9), [1, 2], [1, 2])])
def test_vectors(space, obs, expected):
  value = read(space, obs)
  assert value.dtype == np.float32 and value.tolist() == expected


ONE, TWO = S.Dict(a=vector()), S.Dict(a=S.Dict(b=vector()))


@pytest.mark.parametrize('space, obs, words', [
    (vector(), {'position': 1}, 'is a dict with position, its space says'),
    (ONE, np.zeros(2), 'the observation is float64 2, its space says a dict'),
    (ONE, {'b': 1}, 'observation a is missing; what came holds b'),
    (TWO, {'a': np.zeros(2)}, 'observation a is float64 2, its .* a dict'),
    (TWO, {'a': {}}, 'observation a/b is missing; what came holds nothing'),
    (vector(), None, 'is None, its space says float32 2'),
    (vector(), 'left', "is 'left', its space"),
    (vector(), [[1, 2], [3]], 'is a list of uneven rows'),
    (vector(), np.zeros(3), 'is float64 3, its space says float32 2'),
    (S.Box(-1, 1, (2, 3)), np.zeros((3, 2)), 'is float64 3x2, its space'),
    (S.Discrete(3), 3, 'none of its choices'),
    (S.Tuple((vector(), S.Text(3))), np.zeros(2), 'its space says a tuple')])
def test_observations_that_are_not_as_their_space(space, obs, words):
  with pytest.raises(UserError, match=words) as info:
    read(space, obs)
  assert '\n' not in str(info.value)


@pytest.mark.parametrize('value', [
    np.zeros((64, 64, 3), np.float32), np.zeros((80, 80, 3), np.uint8), None])
def test_images_that_are_not_as_their_space(value):
  image = selected.Image(select(S.Dict(eye=picture())).images)
  with pytest.raises(UserError, match='eye is .*says uint8 64x64x3'):
    image({'eye': value})


def test_two_entries_of_one_name():
  space = {'a/b': vector(), 'a': {'b': vector()}}
  with pytest.raises(UserError, match='two observations are called a/b'):
    observations.entries(space)


def test_names_that_mean_something_else_inside():
  taken = [*base.RESERVED, 'obs/reward', 'obs/obs/x', 'speed', 'is_open']
  found = [base.inside(name) for name in taken]
  assert len(set(found)) == len(found)
  assert not set(found) & set(base.RESERVED)
  assert base.inside('speed') == 'speed'
  assert base.inside('reward') == 'obs/reward'
  assert [base.inside('kl', x) for x in ((), ('kl', 'x'))] == ['kl', 'obs/kl']
