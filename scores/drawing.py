"""What figures are made of: panels, lines with spreads, bars, legends."""

from __future__ import annotations

import math
import typing
from collections.abc import Sequence

import numpy as np

from dreamer.tables import amount

from . import runs, series

if typing.TYPE_CHECKING:
  from matplotlib.figure import Figure

Axes: typing.TypeAlias = typing.Any  # matplotlib's; its types are too wide
Scores = dict[str, dict[str, tuple]]  # by method and task: mean, std

OURS = '#1f5fa8'
COLORS = ('#2b8a4b', '#c2571a', '#8a6bb1', '#b8a12b', '#7a7a7a', '#a83250',
          '#3f9fa8', '#555555')


def grid(amount: int) -> tuple[Figure, list[Axes]]:
  """Returns a Figure and so many axes, at most five in a row."""
  # Slow to import; most commands draw nothing.
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure
  columns = min(amount, 5)
  rows = math.ceil(amount / columns)
  figure = Figure(figsize=(max(4.5, 2.5 * columns), 2.1 * rows + 1.1),
                  dpi=130, layout='constrained')
  FigureCanvasAgg(figure)
  panels = np.ravel(figure.subplots(rows, columns, squeeze=False))
  for axes in panels[amount:]:
    axes.set_visible(False)
  return figure, list(panels[:amount])


def line(axes: Axes, curve: series.Curve | None, color: str) -> None:
  """A curve with its spread."""
  if curve is None:
    return
  marker = 'o' if len(curve.steps) < 15 else None
  axes.plot(curve.steps, curve.mean, color=color, label=curve.label,
            linewidth=1.4, marker=marker, markersize=3)
  axes.fill_between(
      curve.steps, curve.mean - curve.std, curve.mean + curve.std,
      color=color, alpha=0.2, linewidth=0)


def within(axes: Axes, group: Sequence[runs.Run],
           known: series.Curve | None) -> None:
  """Short runs are not squeezed into the first pixels of a long curve."""
  furthest = 1.5 * max(run.reached for run in group)
  if known is None or known.steps[-1] < 3 * furthest:
    return
  axes.set_xlim(0, furthest)
  highest = max(
      float(y) for line in axes.lines
      for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
      if x <= furthest)
  axes.set_ylim(0 if axes.get_ylim()[0] > -0.1 * highest else None,
                1.3 * highest)


def finish(axes: Axes, title: str) -> None:
  """Title, ticks and frame of a panel."""
  axes.set_title(title, fontsize=8)
  axes.tick_params(labelsize=7)
  axes.set_xlim(left=min(0, axes.get_xlim()[0]) if axes.lines else 0)
  if title.startswith('dmc_'):
    axes.set_ylim(0, 1050 if axes.get_ylim()[1] > 700 else None)
  axes.xaxis.set_major_formatter(lambda x, _: amount(x))
  axes.spines[['top', 'right']].set_visible(False)
  axes.grid(alpha=0.25)


def legend(figure: Figure, panels: Sequence[Axes], note: str) -> Figure:
  """One legend for all panels, with a note as its title."""
  handles: dict = {}
  for axes in panels:
    found, labels = axes.get_legend_handles_labels()
    handles.update(zip(labels, found, strict=True))
  figure.legend(
      handles.values(), handles.keys(), loc='outside lower center',
      ncols=min(5, max(1, len(handles))), fontsize=8, frameon=False,
      title=note, title_fontsize=7)
  return figure


def wide_bars(scores: Scores, tasks: Sequence[str]) -> Figure:
  """All tasks of one scale in one panel."""
  figure, (axes,) = grid(1)
  figure.set_size_inches(max(6, 0.5 * len(tasks) + 2), 4)
  _bar_groups(axes, scores, tasks)
  axes.set_ylabel('episode return', fontsize=8)
  axes.set_xticks(range(len(tasks)), [
      task.removeprefix('dmc_').replace('_', ' ') for task in tasks],
      rotation=40, ha='right', fontsize=8)
  return _bar_legend(figure, [axes], scores)


def small_bars(scores: Scores, tasks: Sequence[str]) -> Figure:
  """A panel per task, each with its own scale."""
  figure, panels = grid(len(tasks))
  for axes, task in zip(panels, tasks, strict=True):
    _bar_groups(axes, scores, [task])
    axes.set_xticks([])
    axes.yaxis.set_major_formatter(lambda y, _: amount(y))
    axes.set_title(task, fontsize=8)
  return _bar_legend(figure, panels, scores)


def _bar_groups(axes, scores, tasks):
  width = 0.85 / len(scores)
  for index, (method, color) in enumerate(_colors(scores)):
    found = [scores[method].get(task) for task in tasks]
    x = np.arange(len(tasks)) + (index - (len(scores) - 1) / 2) * width
    axes.bar(
        x, [entry[0] if entry else 0 for entry in found], width, color=color,
        yerr=[(entry[1] or 0) if entry else 0 for entry in found],
        error_kw={'elinewidth': 0.8}, label=method)
  axes.tick_params(labelsize=7)
  axes.spines[['top', 'right']].set_visible(False)
  axes.grid(axis='y', alpha=0.25)


def _bar_legend(figure, panels, scores):
  handles, labels = panels[0].get_legend_handles_labels()
  spread = any(entry[1] for found in scores.values()
               for entry in found.values())
  figure.legend(
      handles, labels, loc='outside lower center', ncols=min(6, len(scores)),
      fontsize=8, frameon=False, title_fontsize=7,
      title='lines: standard deviation over seeds' if spread else None)
  return figure


def _colors(scores):
  others = iter(COLORS[::-1])
  return [(method, OURS if method.startswith('ours') else
           COLORS[0] if method.startswith('dreamer') else next(others))
          for method in scores]
