"""Videos as animated GIF files, without video tools."""

import io

import numpy as np

from dreamer.files import atomic_write

STRIP = 12  # height of a strip of labels in pixels


def write_gif(path, frames, fps):
  """Writes uint8 frames [T, H, W, C] (C 1 or 3) as a GIF, atomically."""
  with atomic_write(path) as file:
    file.write(encode_gif(frames, fps))


def encode_gif(frames, fps):
  """Returns the bytes of an endless GIF of uint8 frames [T, H, W, C].

  All frames share one palette of 256 colours, drawn from 32 of them; GIF
  counts time in 1/100 s, and viewers play no faster than 50 fps.
  """
  from PIL import Image
  frames = np.asarray(frames)
  assert frames.dtype == np.uint8 and frames.ndim == 4, frames.shape
  assert len(frames) and frames.shape[-1] in (1, 3) and fps > 0
  frames = np.repeat(frames, 3, -1) if frames.shape[-1] == 1 else frames
  some = np.unique(np.linspace(0, len(frames) - 1, 32).astype(int))
  sheet = frames[some].reshape(-1, *frames.shape[2:])
  palette = Image.fromarray(sheet).quantize(256)
  first, *rest = [
      Image.fromarray(frame).quantize(
          palette=palette, dither=Image.Dither.NONE) for frame in frames]
  buffer = io.BytesIO()
  first.save(
      buffer, 'GIF', save_all=True, append_images=rest, loop=0,
      duration=max(20, 10 * round(100 / fps)))
  return buffer.getvalue()


def to_frames(video):
  """Returns uint8 frames [T, H, W, C] of any video the agents make.

  video: [T, H, W, C] or a batch [B, T, H, W, C], which is stacked from top to
  bottom; uint8, or floats in [0, 1] (clipped; NaN is black).
  """
  video = np.asarray(video)
  if video.dtype != np.uint8:
    video = np.nan_to_num(video.astype(np.float32), nan=0.0).clip(0, 1)
    video = (255 * video + 0.5).astype(np.uint8)
  if video.ndim == 5:
    batch, time, height, width, channels = video.shape
    video = video.transpose(1, 0, 2, 3, 4).reshape(
        time, batch * height, width, channels)
  assert video.ndim == 4, video.shape
  return video


def side_by_side(videos):
  """Joins {label: frames [T, H, W, C]} from left to right, labels on top.

  Shorter videos hold their last frame; lower ones are black below.
  """
  videos = {name: to_frames(video) for name, video in videos.items()}
  length = max(len(video) for video in videos.values())
  height = max(video.shape[1] for video in videos.values())
  panels = []
  for name, video in videos.items():
    pad = [(0, length - len(video)), (0, 0), (0, 0), (0, 0)]
    video = label(np.pad(video, pad, mode='edge'), [name])
    pad = [(0, 0), (0, height + STRIP - video.shape[1]), (0, 0), (0, 0)]
    panels.append(np.pad(video, pad))
  return np.concatenate(panels, 2)


def label(frames, labels, side='top'):
  """Adds a strip of labels at equal distances to frames [T, H, W, C].

  side: 'top' puts them from left to right, 'left' from top to bottom.
  """
  from PIL import Image, ImageDraw
  length, height, width, channels = frames.shape
  top = side == 'top'
  wide = max(ImageDraw.Draw(Image.new('L', (1, 1))).textlength(text)
             for text in labels)
  image = Image.new('L', (width, STRIP) if top else (int(wide) + 6, height))
  draw = ImageDraw.Draw(image)
  for index, text in enumerate(labels):
    place = (width if top else height) * index // len(labels)
    draw.text((place + 3, 0) if top else (3, place), text, fill=255)
  strip = np.asarray(image)[None, :, :, None]
  strip = np.broadcast_to(strip, (length, *strip.shape[1:3], channels))
  return np.concatenate([strip, frames], 1 if top else 2)
