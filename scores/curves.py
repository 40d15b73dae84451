"""The figure of a run: returns against environment steps."""

import math

import numpy as np

from dreamer.stats import confidence

TRAIN, EVAL, RANDOM, UNTRAINED, PAPER = (
    '#7a7a7a', '#1f5fa8', '#c2571a', '#8a6bb1', '#2b8a4b')


def draw(run):
  """Returns a matplotlib Figure of a `results.Run`."""
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure
  figure = Figure(figsize=(8, 4.5), dpi=150, layout='constrained')
  FigureCanvasAgg(figure)
  axes = figure.add_subplot()
  _curve(axes, *run.series('train/return'), TRAIN, 'training episodes', 0.25)
  _curve(axes, *run.series('eval/return'), EVAL, 'evaluation episodes',
         0.6)
  _level(axes, run.evals.get('random'), RANDOM, 'random policy')
  _level(axes, run.evals.get('untrained'), UNTRAINED, 'untrained agent')
  _point(axes, run.evals.get('trained'))
  if run.paper is not None:
    score, when = run.paper.score, run.paper.when
    axes.axhline(score, color=PAPER, linestyle='--', linewidth=1.2,
                 label=f'the paper, {when} ({score:.0f})')
  _decorate(figure, axes, run)
  return figure


def bins(steps, values, amount=40):
  """Groups points by steps: list of (mean step, mean, low, high).

  At most `amount` bins of equal width. A bin of one value has NaN bounds.
  """
  if not len(steps):
    return []
  amount = min(amount, max(1, len(steps) // 5))
  edges = np.linspace(steps.min(), steps.max(), amount + 1)
  index = np.clip(np.searchsorted(edges, steps, 'right') - 1, 0, amount - 1)
  return [
      (steps[index == i].mean(), *confidence(values[index == i]))
      for i in np.unique(index)]


def _curve(axes, steps, values, color, name, alpha):
  if not len(steps):
    return
  axes.plot(steps, values, '.', color=color, alpha=alpha, markersize=3)
  x, mean, low, high = np.array(bins(steps, values)).T
  marker = 'o' if len(x) == 1 else None
  axes.plot(x, mean, color=color, marker=marker, linewidth=1.8, label=name)
  axes.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)


def _level(axes, entry, color, name):
  if entry is None:
    return
  axes.axhline(entry['mean'], color=color, linestyle=':', linewidth=1.5,
               label=f'{name} ({entry["mean"]:.0f})')
  if math.isfinite(entry['low']):
    axes.axhspan(entry['low'], entry['high'], color=color, alpha=0.15,
                 linewidth=0)


def _point(axes, entry):
  if entry is None:
    return
  half = entry['high'] - entry['mean']
  axes.errorbar(
      [entry['step']], [entry['mean']],
      yerr=[half] if math.isfinite(half) else None, color='black', fmt='D',
      markersize=5, capsize=4, zorder=5,
      label=f'final evaluation ({entry["mean"]:.0f}, '
      f'{entry["episodes"]} episodes)')


def _decorate(figure, axes, run):
  axes.set_xlabel('environment steps')
  axes.set_ylabel('episode return')
  axes.set_title(run.task or run.logdir.name, fontsize=11)
  axes.set_xlim(left=0)
  if (run.task or '').startswith('dmc_'):
    axes.set_ylim(bottom=0)
  axes.xaxis.set_major_formatter(_steps)
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


def _steps(value, position):
  for size, unit in ((1e6, 'M'), (1e3, 'k')):
    if abs(value) >= size:
      return f'{value / size:g}{unit}'
  return f'{value:g}'
