"""The figure of a run: returns against environment steps."""

from __future__ import annotations

import math
import pathlib
import typing
from typing import Any

import numpy as np

from dreamer.files import MARK, atomic_write
from dreamer.stats import confidence
from dreamer.tables import amount

from . import comparable, references, runs

if typing.TYPE_CHECKING:
  from matplotlib.figure import Figure

TRAIN, EVAL, RANDOM, UNTRAINED, PAPER = (
    '#7a7a7a', '#1f5fa8', '#c2571a', '#8a6bb1', '#2b8a4b')


def save(figure: Any, path: pathlib.Path) -> None:
  """Writes a figure, with the mark of our files; see files.check_ours."""
  key = 'Software' if path.suffix == '.png' else 'Creator'
  with atomic_write(path) as file:
    figure.savefig(file, format=path.suffix[1:],
                   metadata={key: f'{MARK}, Matplotlib'})


def draw(run: runs.Run) -> Figure:
  """Returns a matplotlib Figure of a Run that has its Folder."""
  # Slow to import; most commands draw nothing.
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure
  figure = Figure(figsize=(8, 4.5), dpi=150, layout='constrained')
  FigureCanvasAgg(figure)
  axes = figure.add_subplot()
  assert run.folder is not None, run.where
  _curve(axes, run.folder.training, TRAIN, 'training episodes', 0.25)
  _curve(axes, run.folder.evaluations, EVAL, 'evaluation episodes', 0.6)
  for policy, color in (('random', RANDOM), ('untrained', UNTRAINED)):
    _level(axes, run.final.get(policy), color, runs.POLICIES[policy])
  _point(axes, run.final.get('trained'))
  paper = references.paper(run)
  if paper:
    differs = comparable.paper_differs(run)
    axes.axhline(paper.score, color=PAPER, linestyle='--', linewidth=1.2,
                 label=f'the paper, {paper.when} ({paper.score:.0f})' + (
                     f': {differs}' if differs else ''))
  _decorate(figure, axes, run)
  return figure


def seeds(axes: Any, found: list[runs.Run]) -> None:
  """All seeds of one experiment in one panel, beside random and paper."""
  for index, run in enumerate(found):
    assert run.folder is not None, run.where
    points = [(step, value) for step, values in run.folder.training
              for value in values]
    lines = bins(*np.array(points, np.float64).T) if points else []
    axes.plot([x[0] for x in lines], [x[1] for x in lines], color=EVAL,
              alpha=0.7, linewidth=1.3,
              label=None if index else 'training episodes, each seed')
    final = run.final.get('trained')
    if final:
      mean, low, high = confidence(final['returns'])
      axes.errorbar(
          [final['step']], [mean], yerr=[high - mean], color='black', fmt='D',
          markersize=4, capsize=3, zorder=5,
          label=None if index else 'final evaluation, 95 %')
  if random := found[0].final.get('random'):
    _level(axes, random, RANDOM, '')
    axes.lines[-1].set_label('random play')
  paper = references.paper(found[0])
  if paper:
    _paper(axes, paper)
  axes.set_title(f'{found[0].method}, {found[0].task}', fontsize=9)
  axes.set_xlim(left=0)
  axes.xaxis.set_major_formatter(lambda x, _: amount(x))
  axes.tick_params(labelsize=8)
  axes.spines[['top', 'right']].set_visible(False)
  axes.grid(alpha=0.25)


def _paper(axes, paper):
  """The paper's score: a line, or words where it would dwarf the curves."""
  if paper.score > 4 * axes.get_ylim()[1]:
    axes.text(0.02, 0.98, f'the paper, {paper.when}: {paper.score:,.0f}',
              color=PAPER, fontsize=8, va='top', transform=axes.transAxes)
  else:
    axes.axhline(paper.score, color=PAPER, linestyle='--', linewidth=1.2,
                 label='the paper, at the end')


def bins(steps: np.ndarray, values: np.ndarray, most: int = 40) -> list:
  """Groups points by steps: list of (mean step, mean, low, high).

  At most `most` bins of equal width. A bin of one value has NaN bounds.
  """
  if not len(steps):
    return []
  most = min(most, max(1, len(steps) // 5))
  edges = np.linspace(steps.min(), steps.max(), most + 1)
  index = np.clip(np.searchsorted(edges, steps, 'right') - 1, 0, most - 1)
  return [
      (steps[index == i].mean(), *confidence(values[index == i]))
      for i in np.unique(index)]


def _curve(axes, series, color, name, alpha):
  points = [(step, value) for step, values in series for value in values]
  if not points:
    return
  steps, values = np.array(points, np.float64).T
  axes.plot(steps, values, '.', color=color, alpha=alpha, markersize=3)
  x, mean, low, high = np.array(bins(steps, values)).T
  marker = 'o' if len(x) == 1 else None
  axes.plot(x, mean, color=color, marker=marker, linewidth=1.8, label=name)
  axes.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)


def _level(axes, entry, color, name):
  if entry is None:
    return
  mean, low, high = confidence(entry['returns'])
  axes.axhline(mean, color=color, linestyle=':', linewidth=1.5,
               label=f'{name} ({mean:.0f})')
  if math.isfinite(low):
    axes.axhspan(low, high, color=color, alpha=0.15, linewidth=0)


def _point(axes, entry):
  if entry is None:
    return
  mean, low, high = confidence(entry['returns'])
  axes.errorbar(
      [entry['step']], [mean],
      yerr=[high - mean] if math.isfinite(high) else None, color='black',
      fmt='D', markersize=5, capsize=4, zorder=5,
      label=f'final evaluation ({mean:.0f}, {len(entry["returns"])} episodes)')


def _decorate(figure, axes, run):
  axes.set_xlabel('environment steps')
  axes.set_ylabel('episode return')
  axes.set_title(run.task or run.where, fontsize=11)
  axes.set_xlim(left=0)
  if run.task.startswith('dmc_'):
    axes.set_ylim(bottom=0)
  axes.xaxis.set_major_formatter(lambda x, _: amount(x))
  axes.spines[['top', 'right']].set_visible(False)
  axes.grid(alpha=0.25)
  handles, _ = axes.get_legend_handles_labels()
  if handles:
    figure.legend(
        loc='outside lower center', ncols=3, fontsize=8, frameon=False)
    figure.text(
        0.99, 0.99, 'shaded: 95% interval of the mean', fontsize=7,
        color='#666666', ha='right', va='top')
  else:
    axes.text(0.5, 0.5, 'no episode has ended yet',
              transform=axes.transAxes, ha='center')
