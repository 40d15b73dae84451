"""One environment of a driver, with its unfinished episode."""

from __future__ import annotations

from typing import Any

import numpy as np

from dreamer import files
from dreamer.errors import UserError
from dreamer.processes.failure import WorkerError
from dreamer.run.checkpoint import below
from dreamer.run.protocols import Arrays


class Slot:
  """One environment and its unfinished episode.

  The receive methods return whether all went well. If not, the worker has
  been restarted and the episode is gone.
  """

  def __init__(
      self, env: Any, index: int, act_dim: int, entropy: tuple[int, int],
      restarts: int, amount: float, row: int | None, counts: bool) -> None:
    self.index = index
    self.amount = amount  # of episodes to finish
    self.finished = 0
    self.rows: list[Arrays] = []  # empty: no episode has been started
    self.rest: Arrays = {}  # the first row of the last finished episode
    self.counts = counts  # whether resets are steps; `rest` is the last row
    self.resets = False  # whether the next step is one
    self.failures = 0  # since an episode was finished
    self.failed_at: tuple | None = None  # the last of them: its row and place
    self.failed = 0  # over the whole run
    self._env = env
    self._act_dim = act_dim
    self._entropy = entropy
    self._restarts = restarts
    self._row = row  # of episodes: how many environments share it
    self._number = 0  # of episodes that were started
    self._seed = 0
    self._action = np.zeros(act_dim, np.float32)
    self._error: WorkerError | None = None

  @property
  def shown(self) -> Arrays:
    """What the policy sees of it."""
    return self.rows[-1] if self.rows else self.rest

  @property
  def number(self) -> int:
    """Of its episode in the row, the last one once it rests."""
    before = int(min(self.finished, self.amount - 1))
    return self.index + (self._row or 1) * before

  def send_reset(self) -> None:
    key = [self.index, self._number]
    if self._row:
      # As one environment alone; an episode that failed gets another seed.
      key = [0, self.number] + [self.failures] * (self.failures > 0)
    sequence = np.random.SeedSequence([*self._entropy, *key])
    self._seed = int(sequence.generate_state(1)[0]) % 2 ** 31
    self._number += 1
    self.rows, self.resets = [], False
    self._action = np.zeros(self._act_dim, np.float32)
    self._send(self._env.send_reset, self._seed)

  def send_step(self, action: np.ndarray) -> None:
    self._action = action
    self._send(self._env.send_step, action)

  def send_replay(self) -> None:
    actions = np.stack([x['action'] for x in self.rows])[1:]
    self._send(self._env.send_replay, self._seed, actions)

  def receive_step(self) -> bool:
    obs = self._receive()
    if obs is not None:
      self.rows.append({
          **{k: _stored(v) for k, v in obs.items()}, 'action': self._action})
    return obs is not None

  receive_reset = receive_step

  def receive_replay(self) -> bool:
    last = self.rows[-1]
    try:
      obs = self._receive()
    except WorkerError:
      raise
    except UserError as error:  # say, steps beyond an end that came earlier
      return self._lost(error)
    if obs is None:
      return False
    wrong = [key for key, value in obs.items() if key in last
             and not np.array_equal(_stored(value), last[key])]
    return not wrong or self._lost(f'{", ".join(wrong)} differ')

  def _lost(self, why):
    files.warn(
        f'environment {self.index} did not return to where it was saved, its '
        f'episode is dropped: {why}')
    self.rows = []
    return False

  def episode(self) -> Arrays:
    return {k: np.stack([x[k] for x in self.rows]) for k in self.rows[0]}

  def state(self) -> Arrays:
    state = {
        'number': np.array(self._number), 'seed': np.array(self._seed),
        'failures': np.array(self.failures),
        'failed': np.array(self.failed)}
    rows = self.episode() if self.rows else {}
    rest = self.rest if self.resets else {}
    return {**state, **{f'rows/{k}': v for k, v in rows.items()},
            **{f'rest/{k}': np.asarray(v) for k, v in rest.items()}}

  def restore(self, state: Arrays) -> None:
    self._number = int(state['number'])
    self._seed = int(state['seed'])
    self.failures = int(state['failures'])
    self.failed = int(state.get('failed', self.failures))  # older ones lack it
    self.rest = below(state, 'rest/')
    self.resets = bool(self.rest)
    rows = below(state, 'rows/')
    length = len(rows['action']) if rows else 0
    self.rows = [{k: v[t] for k, v in rows.items()} for t in range(length)]

  def _send(self, function, *args):
    self._error = None
    try:
      function(*args)
    except WorkerError as error:
      self._error = error  # reported by receive

  def _receive(self):
    try:
      if self._error:
        raise self._error
      return self._env.receive()
    except WorkerError as error:
      self._fail(error)

  def _fail(self, error):
    self._check_place(error)
    lost = ', its episode is dropped' if self.rows else ''
    self.rows = []
    while True:
      self.failures += 1
      self.failed += 1
      if self.failures > self._restarts:
        raise error
      files.warn(f'environment {self.index} failed and is restarted{lost}: '
                   f'{error}', self.failed)
      try:
        return self._env.restart()
      except WorkerError as another:
        error = another

  def _check_place(self, error):
    """Raises what has happened at the same place before."""
    place = error.place and (len(self.rows), error.place)
    if place and place == self.failed_at and self.failures < self._restarts:
      what = f'step {len(self.rows)}' if self.rows else 'reset'
      raise WorkerError(
          f'{error}; the same at {what} of two episodes in a row, so it is '
          'not restarted again') from error
    self.failed_at = place


def _stored(value):
  """A copy; floats as float32."""
  value = np.array(value)
  floating = np.issubdtype(value.dtype, np.floating)
  return value.astype(np.float32) if floating else value
