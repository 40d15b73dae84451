"""What updates tell of themselves, and when a run has to end for it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dreamer import scalars
from dreamer.config.schema import Config
from dreamer.errors import UserError
from dreamer.log.means import Means

NONFINITE = 10  # updates in a row that end a run


class Learned:
  """Metrics of updates, which wait unread as long as they may.

  Reading waits for an update; as many as end a run are read at once, but for
  the one that has only begun.

  means: takes what was read. nonfinite: updates in a row.
  """

  def __init__(self, config: Config, means: Means) -> None:
    self._config, self._means = config, means
    self.nonfinite = 0
    self._unread: list[tuple[int, Mapping[str, Any]]] = []

  def add(self, env_steps: int, metrics: Mapping[str, Any]) -> None:
    """Those of an update at a step. Raises UserError, see `read`."""
    if len(self._unread) >= NONFINITE:
      self.read()
    self._unread.append((env_steps, metrics))

  def read(self) -> None:
    """Raises UserError where losses stay not finite."""
    unread, self._unread = self._unread, []
    found = scalars.read([metrics for _, metrics in unread])
    for (step, _), metrics in zip(unread, found, strict=True):
      self._means.add(metrics)
      self._check_finite(step, metrics)

  def _check_finite(self, step, metrics):
    bad = [key for key, value in metrics.items() if not math.isfinite(value)
           and key.startswith(('loss/', 'grad_norm/'))]
    if self._config.precision == 'float16':
      # Overflow only lowers a group's loss scale, down to 1.
      scales = {key.replace('loss_scale/', 'grad_norm/'): value
                for key, value in metrics.items() if 'loss_scale/' in key}
      bad = [key for key in bad if scales.get(key, math.inf) <= 1]
    self.nonfinite = self.nonfinite + 1 if bad else 0
    if self.nonfinite >= NONFINITE:
      opt = self._optimizer(bad[0])
      raise UserError(
          f'{bad[0]}: not finite in {self.nonfinite} updates in a row, the '
          f'last at env step {step}; lower {opt}.lr or {opt}.clip, or set '
          'precision float32')

  def _optimizer(self, metric):
    """The keys of the optimiser that a metric is of, or of the first one."""
    names = [key.removesuffix('.lr') for key in self._config.flat
             if key.endswith('opt.lr')]
    own = f'{metric.split("/")[1]}_opt'
    return own if own in names else names[0]
