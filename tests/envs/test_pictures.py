"""What is a picture, and that no channel of it is lost."""

import numpy as np
import pytest

from dreamer.envs import pictures
from dreamer.envs.pictures import Picture
from dreamer.errors import UserError


@pytest.mark.parametrize('shape, first', [
    ((84, 84), 0), ((84, 84, 3), 0), ((3, 84, 84), 1), ((84, 84, 4), 0),
    ((4, 84, 84), 1), ((84, 84, 12), 0), ((4, 84, 84, 3), 1),
    ((4, 3, 84, 84), 2), ((210, 160, 3), 0), ((32, 32, 1), 0),
    ((7, 7, 3), None), ((20, 20), None), ((64, 64, 64), None),
    ((64, 64, 32), None), ((12288,), None), ((), None)])
def test_sides(shape, first):
  assert pictures.sides(shape) == first


@pytest.mark.parametrize('shape, first', [
    ((7, 7, 3), 0), ((4, 10, 10), 1), ((10, 10, 4), 0), ((20, 20), 0),
    ((3, 96, 96), 1), ((5,), None), ((2, 7, 7, 3), None)])
def test_sides_of_what_is_named(shape, first):
  assert pictures.small_sides(shape) == first


@pytest.mark.parametrize('shape, channels', [
    ((64, 64, 3), 3), ((128, 128, 1), 1), ((3, 80, 100), 3), ((48, 32), 1),
    ((210, 160, 4), 4), ((4, 84, 84), 4), ((4, 84, 84, 3), 12),
    ((64, 64, 2), 2), ((7, 7, 3), 3), ((50, 40, 5), 5)])
def test_every_channel_is_kept(shape, channels):
  picture = Picture(shape, np.uint8, 0, 255)
  image = picture(np.full(shape, 77, np.uint8))
  assert picture.channels == channels
  assert image.shape == (64, 64, channels) and image.dtype == np.uint8
  assert (image == 77).all()


@pytest.mark.parametrize('axis', [0, -1])
def test_stacked_frames_keep_their_order(axis):
  frames = [np.full((84, 84), x, np.uint8) for x in (10, 20, 30, 40)]
  stack = np.stack(frames, axis)
  image = Picture(stack.shape, np.uint8)(stack)
  assert image[5, 7].tolist() == [10, 20, 30, 40]


def test_stacked_colours_keep_their_order():
  stack = np.stack([np.full((84, 84, 3), (x, x + 1, x + 2), np.uint8)
                    for x in (10, 20)])
  assert Picture(stack.shape, np.uint8)(stack)[3, 4].tolist() == [
      10, 11, 12, 20, 21, 22]


def test_channels_first_is_turned_not_mixed():
  image = np.random.default_rng(0).integers(
      0, 255, (64, 64, 3)).astype(np.uint8)
  turned = np.moveaxis(image, -1, 0)
  np.testing.assert_array_equal(Picture((3, 64, 64), np.uint8)(turned), image)


@pytest.mark.parametrize('dtype, low, high, value, expected', [
    (np.float32, 0, 1, 0.5, 128), (np.float32, 0, 255, 77, 77),
    (np.float64, -1, 1, -1, 0), (np.int64, 0, 255, 200, 200),
    (np.uint16, 0, 65535, 65535, 255), (bool, None, None, True, 255),
    (np.uint8, 0, 1, 1, 255)])
def test_numbers_are_stretched_from_their_bounds(
    dtype, low, high, value, expected):
  image = Picture((64, 64, 3), dtype, low, high)(
      np.full((64, 64, 3), value, dtype))
  assert (image == expected).all() and image.dtype == np.uint8


@pytest.mark.parametrize('dtype, low, high', [
    (np.float32, -np.inf, np.inf), (np.float32, None, None),
    (np.uint16, None, None), (np.int64, 0, np.inf)])
def test_numbers_without_bounds_are_no_picture(dtype, low, high):
  with pytest.raises(UserError, match='without bounds'):
    Picture((64, 64, 3), dtype, low, high)


@pytest.mark.parametrize('value', [3.0, -0.5, np.nan])
def test_numbers_outside_of_their_bounds(value):
  with pytest.raises(UserError, match=r'its space says 0\.\.1'):
    Picture((64, 64, 3), np.float32, 0, 1)(np.full((64, 64, 3), value))


def test_unclear_axes():
  with pytest.raises(UserError, match='not clear'):
    Picture((64, 64, 64, 3), np.uint8)


def test_shrinks_by_area():
  fine = np.zeros((128, 128, 3), np.uint8)
  fine[::2] = 100
  assert (Picture(fine.shape, np.uint8)(fine) == 50).all()


@pytest.mark.parametrize('shape', [
    (40, 60), (40, 60, 1), (40, 60, 3), (500, 400, 4)])
def test_rendered_frames_become_rgb(shape):
  image = pictures.rendered(np.full(shape, 9, np.uint8))
  assert image.shape == (64, 64, 3) and (image == 9).all()


@pytest.mark.parametrize('frame', [
    np.zeros((40, 60, 3)), np.zeros((40, 60, 2), np.uint8),
    np.zeros((0, 60, 3), np.uint8), np.zeros(9, np.uint8)])
def test_rendered_frames_of_another_kind(frame):
  with pytest.raises(UserError, match=r'uint8 \[H, W, 3\]'):
    pictures.rendered(frame)
