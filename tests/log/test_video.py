"""Videos: as GIF files, in a run's folder and for TensorBoard."""

import io

import numpy as np
import pytest
from PIL import Image

from dreamer.log import video
from dreamer.log.logger import Logger
from tests.support.event_files import events


def make_frames(length=6, channels=3):
  rng = np.random.default_rng(0)
  shape = (length, 16, 24, channels)
  return rng.integers(0, 2, shape).astype(np.uint8) * 255


@pytest.mark.parametrize('channels', [1, 3])
def test_gif(tmp_path, channels):
  frames = make_frames(channels=channels)
  video.write_gif(tmp_path / 'x.gif', frames, 20)
  assert [x.name for x in tmp_path.iterdir()] == ['x.gif']
  with Image.open(tmp_path / 'x.gif') as image:
    assert image.n_frames == 6 and image.info['duration'] == 50
    for index, frame in enumerate(frames):
      image.seek(index)
      found = np.asarray(image.convert('RGB'))
      assert np.array_equal(found, np.broadcast_to(frame, found.shape))


def test_colours_are_close():
  y, x = np.mgrid[:64, :64]
  frame = np.stack([2 * x, 3 * y, x + y], -1).astype(np.uint8)
  frames = np.stack([np.roll(frame, i, 1) for i in range(40)])
  with Image.open(io.BytesIO(video.encode_gif(frames, 10))) as image:
    image.seek(17)
    error = np.asarray(image.convert('RGB')) - frames[17].astype(float)
  assert np.abs(error).mean() < 8


@pytest.mark.parametrize('fps, duration', [(10, 100), (30, 30), (500, 20)])
def test_duration(fps, duration):
  data = video.encode_gif(make_frames(2), fps)
  with Image.open(io.BytesIO(data)) as image:
    assert image.info['duration'] == duration


def test_one_frame():
  with Image.open(io.BytesIO(video.encode_gif(make_frames(1), 5))) as image:
    assert image.n_frames == 1


@pytest.mark.parametrize('channels, width, kept', [
    (1, 24, 1), (3, 24, 3), (4, 96, 1), (6, 48, 3), (12, 96, 3), (2, 48, 1)])
def test_every_channel_is_shown(channels, width, kept, tmp_path):
  frames = np.arange(4 * 16 * 24 * channels, dtype=np.uint64) % 251
  frames = frames.astype(np.uint8).reshape(4, 16, 24, channels)
  shown = video.panels(frames)
  assert shown.shape == (4, 16, width, kept)
  last = shown[:, :, -24:]
  assert np.array_equal(last, frames[..., -kept:])
  assert np.array_equal(shown[:, :, :24], frames[..., :kept])
  with Logger(tmp_path, 100) as logger:
    logger.video('open', frames, 20, ['truth'])
    logger.write(40, 20, 4)
  video.write_gif(tmp_path / 'x.gif', frames, 20)
  with Image.open(tmp_path / 'x.gif') as image:
    assert image.size == (width, 16)


def test_labels():
  frames = make_frames(4)
  labelled = video.label(frames, ['a', 'bb'])
  assert labelled.shape[:2] == (4, 16) and labelled.shape[3] == 3
  assert np.array_equal(labelled[:, :, -24:], frames)
  strip = labelled[:, :, :-24]
  assert strip[:, :8].any() and strip[:, 8:].any()


def test_logged(tmp_path):
  with Logger(tmp_path, 100) as logger:
    logger.video('eval/policy', make_frames(), 20)
    logger.video('open', make_frames(), 20, ['truth'])
    logger.write(40, 20, 4)
    logger.write(50, 25, 5)
  names = sorted(x.name for x in (tmp_path / 'videos').iterdir())
  assert names == [
      '000000000040_eval_policy.gif', '000000000040_open.gif']
  with Image.open(tmp_path / 'videos' / names[1]) as image:
    assert image.size[0] > 24 and image.size[1] == 16
  images = {
      value.tag: value.image for event in events(tmp_path)
      for value in event.summary.value if value.HasField('image')}
  assert set(images) == {'eval/policy', 'open'}
  assert (images['open'].width, images['open'].height) == image.size
  assert images['open'].encoded_image_string.startswith(b'GIF89a')
