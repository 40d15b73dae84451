"""What one run has reached: beside random play, and the paper's score."""

from __future__ import annotations

import math

from dreamer.stats import confidence
from dreamer.tables import Table, interval

from . import atari, comparable, references, runs


def table(run: runs.Run) -> Table:
  """Returns what a run has reached after training."""
  entries = {policy: confidence(entry['returns'])
             for policy, entry in run.final.items()}
  rows = [[name, str(len(run.final[policy]['returns'])),
           interval(*entries[policy])]
          for policy, name in runs.POLICIES.items() if policy in entries]
  paper = references.paper(run)
  differs = comparable.paper_differs(run)
  if paper:
    rows.append([f'the paper, {paper.when}', '', f'{paper.score:,.1f}'])
  title = f'{run.where}: {run.task or "unknown task"}'
  trained = entries.get('trained')
  if trained is None:
    notes = ['The trained agent has not been evaluated.', _training(run)]
  else:
    title += f' after {run.final["trained"]["step"]:,} environment steps'
    notes = [*([_share(run.task, trained, paper, differs)] if paper else []),
             _above(trained, entries.get('random'))]
  return Table(title, ('', 'episodes', 'return, 95% interval'), rows, notes)


def _share(task, trained, paper, differs):
  if differs:
    return ("No share of the paper's score, which was measured in another way: "
            f'{differs}')
  random = atari.column('random').get(task)
  low, base = (0.0, '') if random is None else (
      random, f' from random play, {random:,.1f}')
  if paper.score <= low:
    return f"No share of the paper's score, which is not above {low:,.1f}"
  share = interval(*(100 * (x - low) / (paper.score - low) for x in trained))
  return f"Share of the paper's score ({paper.when}){base}, in %: {share}"


def _above(trained, random):
  if random is None:
    return 'No random policy to compare with: evaluate it with --policy random'
  if not math.isfinite(trained[1] + random[2]):
    return ('Above the random policy? Unknown: an interval needs at least 2 '
            'episodes each')
  if trained[1] > random[2]:
    return "The interval lies above the random policy's: yes"
  return (f"The interval lies above the random policy's: no "
          f'({trained[1]:.1f} <= {random[2]:.1f})')


def _training(run):
  returns = [x for _, values in run.folder.training for x in values] if (
      run.folder) else []
  if not returns:
    return 'No training episode has ended yet.'
  last = returns[-10:]
  return (f'Return of its last {len(last)} training episode(s): '
          f'{interval(*confidence(last))}')
