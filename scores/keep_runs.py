"""Finished runs into scores/ours, in the form that the repository keeps."""

from __future__ import annotations

import argparse
import pathlib
import re

import numpy as np
from PIL import Image, ImageSequence

from dreamer.errors import UserError
from dreamer.files import ROOT, atomic_write
from dreamer.locks import alone
from dreamer.log.jsonlines import read_lines
from dreamer.log.video import encode_gif
from dreamer.run.run_folder import RunFolder

from . import page

OURS = ROOT / 'scores' / 'ours'
FILES = 'config.yaml', 'metrics.jsonl', 'scores.jsonl', 'eval.jsonl'
FRAMES, FPS = 50, 10  # of a video
COLUMNS = 3  # sequences of an open-loop video; it has 6
SIDE = 64  # pixels of one


def main(args: argparse.Namespace) -> None:
  """Copies what tables and pictures are made of."""
  if not re.fullmatch(r'[a-z0-9_]+(/[a-z0-9_]+)?', args.name):
    raise UserError(f'--name: {args.name!r} has to be of the letters a to z, '
                    'digits and _, with at most one /')
  found = [RunFolder(path) for path in args.runs]
  for folder in found:
    if folder.seed is None or folder.config is None:
      raise UserError(f'{folder.name}: has no config.yaml with its seed')
  targets = [OURS / args.name / f'seed{x.seed}' for x in found]
  for folder, target in zip(found, targets, strict=True):
    if targets.count(target) > 1:
      raise UserError(f'{folder.name}: another run named has seed '
                      f'{folder.seed}, too; keep them by two names')
  OURS.mkdir(parents=True, exist_ok=True)
  with alone(OURS):
    _keep(found, targets, args.name)


def _keep(found, targets, name):
  for folder, target in zip(found, targets, strict=True):
    check_same(folder, target)
  for index, (folder, target) in enumerate(zip(found, targets, strict=True)):
    keep(folder, target, f'runs/{name}/seed{folder.seed}', index == 0)
    print(target)


def check_same(folder: RunFolder, target: pathlib.Path) -> None:
  """Raises UserError where the target holds anything but this run.

  The first line of metrics.jsonl, with its times, is that of one run alone.
  """
  if not target.exists() or not any(target.iterdir()):
    return
  first = [next(iter(read_lines(x / FILES[1])[0]), None)
           for x in (folder.path, target)]
  if first[0] is None or first[0] != first[1]:
    raise UserError(
        f'--name: {target} holds another run than {folder.path}; choose '
        'another name, or remove that one')


def keep(folder: RunFolder, target: pathlib.Path, logdir: str,
         videos: bool) -> None:
  """Copies one run; logdir: the name that its config gets.

  videos: also its newest ones, small: frames and sequences are left out.
  """
  target.mkdir(parents=True, exist_ok=True)
  for name in FILES:
    if (source := folder.path / name).exists():
      with atomic_write(target / name) as file:
        file.write(source.read_bytes())
  config = target / 'config.yaml'
  # A long one goes on in lines of their own.
  text = re.sub(r'(?m)^logdir:.*(\n +.*)*$', lambda _: f'logdir: {logdir}',
                config.read_text())
  with atomic_write(config, 'w') as file:
    file.write(text)
  for name, path in page.newest(folder).items() if videos else ():
    with atomic_write(target / f'{name}.gif') as file:
      file.write(small(path))


def small(path: pathlib.Path) -> bytes:
  """A GIF with fewer frames, and with fewer sequences side by side."""
  with Image.open(path) as gif:
    frames = np.stack([np.asarray(frame.convert('RGB'))
                       for frame in ImageSequence.Iterator(gif)])
  step = -(-len(frames) // FRAMES)
  strip = frames.shape[2] % SIDE  # of labels
  width = strip + min(frames.shape[2] - strip, COLUMNS * SIDE)
  return encode_gif(frames[::step, :, :width], FPS)
