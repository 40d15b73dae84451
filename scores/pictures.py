"""README's pictures, from the runs that scores/ours keeps."""

from __future__ import annotations

import argparse
import pathlib
import typing

from dreamer.errors import UserError
from dreamer.files import ROOT, atomic_write, replace_section
from dreamer.locks import alone

from . import curves, runs

if typing.TYPE_CHECKING:
  from matplotlib.figure import Figure

OURS = ROOT / 'scores' / 'ours'
README = ROOT / 'README.md'
CURVES = 'curves.png'
MOST_BYTES = 2_000_000  # of all pictures
COLUMNS = 4  # panels beside each other, at most
VIDEOS = {'openloop': ('predictions: truth, model, error', 270),
          'policy': ('the learned policy', 160)}


def main(args: argparse.Namespace) -> None:
  """Draws the curves, and writes the section of README."""
  folders = [path for path in sorted(OURS.glob('*'))
             if list(path.glob('seed*/openloop.gif'))]
  if not folders:
    raise UserError(f'{OURS}: no run there has videos; keep one by ./run.sh '
                    'scores keep')
  curves.save(draw(folders), OURS / CURVES)
  text = section(README, folders)
  size = sum(path.stat().st_size for path in pictures(folders))
  if size > MOST_BYTES:
    raise UserError(f'{size:,} bytes of pictures are more than {MOST_BYTES:,}; '
                    'keep fewer videos')
  with alone(ROOT), atomic_write(README, 'w') as file:
    file.write(replace_section(README, 'pictures', text))
  print(README)


def pictures(folders: list[pathlib.Path]) -> list[pathlib.Path]:
  """Returns the files that README shows."""
  return [OURS / CURVES, *(path for folder in folders
                           for path in sorted(folder.glob('seed*/*.gif')))]


def draw(folders: list[pathlib.Path]) -> Figure:
  """One panel per folder: the evaluations of all seeds, beside the paper."""
  # Slow to import; most commands draw nothing.
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure
  rows = -(-len(folders) // COLUMNS)
  columns = -(-len(folders) // rows)
  figure = Figure(figsize=(4 * columns, 3.4 * rows), dpi=110,
                  layout='constrained')
  FigureCanvasAgg(figure)
  panels = figure.subplots(rows, columns, squeeze=False).flat
  for axes, folder in zip(panels, folders, strict=False):
    curves.seeds(axes, runs.load(sorted(folder.glob('seed*'))))
  for axes in panels[len(folders):]:
    axes.set_axis_off()
  handles, labels = panels[0].get_legend_handles_labels()
  figure.legend(handles, labels, loc='outside lower center', ncols=4,
                fontsize=8, frameon=False)
  return figure


def section(readme: pathlib.Path, folders: list[pathlib.Path]) -> str:
  """Returns the lines of README: videos of each folder, then the curves."""
  lines = ['<p align="center">']
  for folder in folders:
    seed = sorted(folder.glob('seed*/openloop.gif'))[0].parent
    run, = runs.load([seed])
    for name, (what, width) in VIDEOS.items():
      path = seed / f'{name}.gif'
      if path.exists():
        where = path.relative_to(readme.parent).as_posix()
        lines.append(f'<img src="{where}" width="{width}" '
                     f'alt="{run.task}: {what}" title="{run.task}: {what}">')
  where = (OURS / CURVES).relative_to(readme.parent).as_posix()
  lines += ['<br>', f'<img src="{where}" alt="returns of all seeds against '
            'environment steps, beside random play and the paper">', '</p>',
            '', 'Truth, prediction and error of videos that the world models '
            'predict open loop, from 5 frames', 'and the actions after them; '
            'the learned policies; all seeds of the runs in',
            '[scores/ours](scores/README.md). `./run.sh scores pictures` drew '
            'them.']
  return '\n'.join(lines)
