"""Normalised scores of the 55 Atari games, as the DreamerV2 paper has them.

  gamer   (x - random) / (human gamer - random)
  record  (x - random) / (human record - random)

Table 1 takes the mean over seeds first, then aggregates over games. (The
caption of Table K.1 says the opposite order; that gives other numbers.)
"""

import functools

import numpy as np

from scores import form

METRICS = {
    'gamer_median': 'Gamer median', 'gamer_mean': 'Gamer mean',
    'record_mean': 'Record mean', 'clipped_record_mean': 'Clipped record mean'}


@functools.cache
def column(method):
  """Returns {task: score} of a column of Table K.1."""
  return {row.task: row.value for row in form.published('dreamerv2_table_k1')
          if row.method == method}


def games():
  """Returns the 55 tasks: Atari 57 without Defender and Surround."""
  return list(column('random'))


def normalize(scores, tasks, base='human_gamer'):
  """Returns scores [..., tasks] relative to random play and a human."""
  low = np.array([column('random')[task] for task in tasks])
  high = np.array([column(base)[task] for task in tasks])
  return (np.asarray(scores, np.float64) - low) / (high - low)


def aggregates(means, tasks, gamer='human_gamer'):
  """Returns Table 1's four numbers over the last axis of means [..., tasks].

  Returns an array [..., 4] in the order of METRICS.
  """
  gamer = normalize(means, tasks, gamer)
  record = normalize(means, tasks, 'human_record')
  return np.stack([
      np.median(gamer, -1), gamer.mean(-1), record.mean(-1),
      np.minimum(record, 1).mean(-1)], -1)


@functools.cache
def released(method='dreamerv2', step=199_000_000):
  """Returns the released scores at a step as an array [seeds, 55]."""
  found = {}
  for row in form.published('dreamerv2_released_seeds'):
    if (row.method, row.env_steps) == (method, step):
      found.setdefault(row.seed, {})[row.task] = row.value
  return np.array([[scores[task] for task in games()]
                   for scores in found.values()])
