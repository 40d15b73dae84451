"""Steps environments with a policy and hands over finished episodes."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dreamer.envs.spaces import ActionSpace
from dreamer.errors import UserError
from dreamer.run.checkpoint import below
from dreamer.run.protocols import Arrays, Policy
from dreamer.run.slot import Slot


class Driver:
  """Several environments in lockstep, each in its own process if they are.

    driver.send(policy)   # act on the current observations
    ...                   # environments step while the learner computes
    driver.receive()      # n agent steps are done

  policy: function (obs, state) -> (action [n, A], state). obs: dict of arrays
    [n, ...]; state: what the policy returned last, a dict of arrays [n, ...]
    or None, at first None. Rows with is_first start an episode: the policy
    has to forget their state.
  on_episode: function (episode, env index), called for finished episodes.
    Rows are the observation, and as `action` the one that led to it: zeros
    at the reset, which is row 0. Floats are float32.
  envs: objects with send_reset(seed), send_step(action), send_replay(seed,
    actions), receive() -> obs, restart().
  on_step: function (env index, row, action, state), called for each row that
    was acted on: the observation and, as `action`, what led to it; what the
    policy did there, and its state, of all environments.
  on_lost: function (env index), called when an episode with rows breaks off.
  seed, name: episode k of environment i is reset with a seed made of these
    four, so that 'train' and 'eval' differ. With amounts, the n environments
    share one row of episodes: i plays i, i + n, i + 2n and so on, and the
    seed of episode k is made of seed, name and k, whatever n is.
  restarts: failed episodes in a row that an environment is forgiven. When
    one fails, its unfinished episode is dropped and a new one started. Where
    two in a row fail at the same step with the same error in the same line,
    it is a mistake, and no further restart would help.
  amounts: how many episodes each environment finishes, at least one, or
    None: without end. An environment that has finished its last one rests:
    it is neither reset nor stepped, the policy sees the beginning of that
    episode in its row, and what it decides there is ignored.
  count_resets: whether each reset but the first takes a step, in which the
    other environments go on, as in danijar/dreamerv3. The policy then sees
    the end of the episode, and what it decides there is ignored.

  Episodes begin when the policy needs them, in `send`, so that none begins
  that nobody wants.

  Attributes:
    steps: agent steps asked for, those of dropped episodes included.
    episodes: finished ones.
    dropped: unfinished ones that were lost.
  """

  def __init__(
      self, envs: Sequence[Any], act_space: ActionSpace, seed: int,
      name: str = 'train',
      on_episode: Callable[[Arrays, int], object] | None = None,
      restarts: int = 10, amounts: Sequence[int] | None = None,
      count_resets: bool = False) -> None:
    self.on_episode = on_episode
    self.on_step: Callable[
        [int, Arrays, np.ndarray, Arrays], object] | None = None
    self.on_lost: Callable[[int], object] | None = None
    self.steps = 0
    self.episodes = 0
    self.dropped = 0
    self._act_shape = (len(envs), act_space.dim)
    row = None if amounts is None else len(envs)
    limits = [math.inf] * len(envs) if amounts is None else amounts
    self._slots = [
        Slot(env, i, act_space.dim, (seed, zlib.crc32(name.encode())),
              restarts, amount, row, count_resets)
        for i, (env, amount) in enumerate(zip(envs, limits, strict=True))]
    self._state: Any = None  # of the policy
    self._sent = False

  @property
  def numbers(self) -> list[int]:
    """With amounts: which episode each environment plays, or played last."""
    return [x.number for x in self._slots]

  @property
  def finished(self) -> bool:
    """Whether every environment has finished its amount of episodes."""
    return not self._active()

  def reset(self) -> dict[int, Arrays]:
    """Forgets unfinished episodes: the next `send` starts new ones.

    Episodes without a step go on. Returns the others, as dict of env index
    to episode.
    """
    assert not self._sent
    self._state = None
    unfinished = {}
    for slot in self._slots:
      if len(slot.rows) > 1:
        unfinished[slot.index] = slot.episode()
        slot.rows = []
    return unfinished

  def send(self, policy: Policy) -> None:
    """Acts on the current observations and starts a step everywhere.

    Starts a new episode first where there is none.
    """
    assert not self._sent and not self.finished
    self._begin([x for x in self._active() if not x.rows and not x.resets])
    rows = [x.shown for x in self._slots]
    keys = [key for key in rows[0] if key != 'action']
    obs = {key: np.stack([row[key] for row in rows]) for key in keys}
    actions, self._state = policy(obs, self._state)
    actions = np.array(actions, np.float32)
    assert actions.shape == self._act_shape, (actions.shape, self._act_shape)
    for slot in self._active():
      self._send_to(slot, actions[slot.index])
    self._sent = True

  def _send_to(self, slot, action):
    if slot.resets:
      slot.send_reset()
      return
    if self.on_step:
      self.on_step(slot.index, slot.rows[-1], action, self._state or {})
    slot.send_step(action)

  def receive(self) -> None:
    """Completes the step; hands over the episodes that have ended."""
    assert self._sent
    self._sent = False
    active = self._active()
    self.steps += len(active)
    for slot in active:
      going = bool(slot.rows)
      self._note(slot, slot.receive_step() or not going)
    for slot in active:
      if slot.rows and slot.rows[-1]['is_last']:
        self.episodes += 1
        self._hand_over(slot)

  def state(self) -> Arrays:
    """Counters, unfinished episodes and the policy's state, as arrays.

    Only between `receive` and `send`.
    """
    assert not self._sent
    state = {
        'steps': np.array(self.steps), 'episodes': np.array(self.episodes),
        'dropped': np.array(self.dropped),
        'amount': np.array(len(self._slots))}
    for key, value in (self._state or {}).items():
      state[f'policy/{key}'] = np.array(value)
    for slot in self._slots:
      for key, value in slot.state().items():
        state[f'env{slot.index}/{key}'] = value
    return state

  def restore(self, state: Arrays) -> None:
    """Continues as from `state()`, in the middle of episodes.

    Each environment replays its seed and actions. Where it does not arrive at
    the recorded image and reward (another machine or version), the episode
    is dropped with a warning and a new one started.
    """
    if int(state['amount']) != len(self._slots):
      raise UserError(
          f'envs.amount: the checkpoint has {int(state["amount"])}, not '
          f'{len(self._slots)}; resume with the same number')
    self.steps = int(state['steps'])
    self.episodes = int(state['episodes'])
    self.dropped = int(state['dropped'])
    self._state = below(state, 'policy/') or None
    for slot in self._slots:
      slot.restore(below(state, f'env{slot.index}/'))
    live = [x for x in self._slots if x.rows]
    for slot in live:
      slot.send_replay()
    for slot in live:
      self._note(slot, slot.receive_replay())

  def _note(self, slot, well):
    """Whether an episode went on."""
    if well:
      return
    self.dropped += 1
    if self.on_lost:
      self.on_lost(slot.index)

  def _active(self):
    return [x for x in self._slots if x.finished < x.amount]

  def _begin(self, slots):
    while slots:
      for slot in slots:
        slot.send_reset()
      slots = [x for x in slots if not x.receive_reset()]

  def _hand_over(self, slot):
    episode = slot.episode()
    slot.rest = slot.rows[-1 if slot.counts else 0]
    slot.resets = slot.counts
    slot.rows = []
    slot.failures = 0
    slot.failed_at = None
    slot.finished += 1
    if self.on_episode:
      self.on_episode(episode, slot.index)


def unfinished(state: Arrays) -> dict[int, Arrays]:
  """The episodes in a `Driver.state()` by environment, the last row included.
  """
  found: dict[int, Arrays] = {}
  for name, value in below(state, 'env').items():
    index, _, key = name.partition('/')
    if key.startswith('rows/'):
      found.setdefault(int(index), {})[key.removeprefix('rows/')] = value
  return found
