"""Videos as animated GIF files, without video tools."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from dreamer.files import MARK, atomic_write


def write_gif(path: str | os.PathLike, frames: np.ndarray, fps: float) -> None:
  """Writes uint8 frames [T, H, W, C] as a GIF, atomically."""
  with atomic_write(path) as file:
    file.write(encode_gif(panels(frames), fps))


def panels(frames: np.ndarray) -> np.ndarray:
  """Frames [T, H, W, C] of any channels as pictures side by side.

  Three channels each are a coloured one, where they go into C, and else each
  is a gray one: stacked frames, or cameras that were joined.
  """
  channels = frames.shape[-1]
  size = 3 if channels % 3 == 0 else 1
  parts = np.split(frames, channels // size, -1)
  return np.concatenate(parts, 2) if parts[1:] else frames


def encode_gif(frames: np.ndarray, fps: float) -> bytes:
  """Returns the bytes of an endless GIF of uint8 frames [T, H, W, C].

  All frames share one palette of 256 colours, drawn from 32 of them; GIF
  counts time in 1/100 s, and viewers play no faster than 50 fps.
  """
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
      duration=max(20, 10 * round(100 / fps)), comment=MARK.encode())
  return buffer.getvalue()


def size(gif: bytes) -> tuple[int, int]:
  """Returns height and width. Raises OSError for what is no picture."""
  with Image.open(io.BytesIO(gif)) as image:
    return image.height, image.width


def label(frames: np.ndarray, labels: Sequence[str]) -> np.ndarray:
  """Adds a strip on the left, labels from top to bottom, to [T, H, W, C]."""
  length, height, _, channels = frames.shape
  wide = max(ImageDraw.Draw(Image.new('L', (1, 1))).textlength(text)
             for text in labels)
  image = Image.new('L', (int(wide) + 6, height))
  draw = ImageDraw.Draw(image)
  for index, text in enumerate(labels):
    draw.text((3, height * index // len(labels)), text, fill=255)
  strip = np.asarray(image)[None, :, :, None]
  strip = np.broadcast_to(strip, (length, *strip.shape[1:3], channels))
  return np.concatenate([strip, frames], 2)
