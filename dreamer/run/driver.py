"""Steps environments with a policy and hands over finished episodes."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dreamer import files
from dreamer.envs.spaces import ActionSpace
from dreamer.errors import UserError
from dreamer.processes.failure import WorkerError
from dreamer.rng import pack_rng, unpack_rng
from dreamer.run.checkpoint import below
from dreamer.run.protocols import Arrays, Policy


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
        _Slot(env, i, act_space.dim, (seed, zlib.crc32(name.encode())),
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


class _Slot:
  """One environment and its unfinished episode.

  The receive methods return whether all went well. If not, the worker has
  been restarted and the episode is gone.
  """

  def __init__(
      self, env, index, act_dim, entropy, restarts, amount, row,
      counts) -> None:
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
  def number(self):
    """Of its episode in the row, the last one once it rests."""
    return self.index + self._row * min(self.finished, self.amount - 1)

  def send_reset(self):
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

  def send_step(self, action):
    self._action = action
    self._send(self._env.send_step, action)

  def send_replay(self):
    actions = np.stack([x['action'] for x in self.rows])[1:]
    self._send(self._env.send_replay, self._seed, actions)

  def receive_step(self):
    obs = self._receive()
    if obs is not None:
      self.rows.append({
          **{k: _stored(v) for k, v in obs.items()}, 'action': self._action})
    return obs is not None

  receive_reset = receive_step

  def receive_replay(self):
    last = self.rows[-1]
    try:
      obs = self._receive()
    except WorkerError:
      raise
    except UserError as error:  # say, steps beyond an end that came earlier
      return self._lost(error)
    if obs is None:
      return False
    keys = [x for x in ('image', 'reward', 'is_last') if x in last]
    wrong = [k for k in keys if not np.array_equal(_stored(obs[k]), last[k])]
    return not wrong or self._lost(f'{", ".join(wrong)} differ')

  def _lost(self, why):
    files.warn(
        f'environment {self.index} did not return to where it was saved, its '
        f'episode is dropped: {why}')
    self.rows = []
    return False

  def episode(self):
    return {k: np.stack([x[k] for x in self.rows]) for k in self.rows[0]}

  def state(self):
    state = {
        'number': np.array(self._number), 'seed': np.array(self._seed),
        'failures': np.array(self.failures),
        'failed': np.array(self.failed)}
    rows = self.episode() if self.rows else {}
    rest = self.rest if self.resets else {}
    return {**state, **{f'rows/{k}': v for k, v in rows.items()},
            **{f'rest/{k}': np.asarray(v) for k, v in rest.items()}}

  def restore(self, state):
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


def unfinished(state: Arrays) -> dict[int, Arrays]:
  """The episodes in a `Driver.state()` by environment, the last row included.
  """
  found: dict[int, Arrays] = {}
  for name, value in below(state, 'env').items():
    index, _, key = name.partition('/')
    if key.startswith('rows/'):
      found.setdefault(int(index), {})[key.removeprefix('rows/')] = value
  return found


class Glue:
  """Puts unfinished episodes before the next ones, as danijar/dreamerv2 does.

  There the driver forgets the episodes that are unfinished when the prefill
  ends, and the replay does not: it stores each together with the next one of
  the same environment. In the middle stands the second one's reset row.
  """

  def __init__(self) -> None:
    self._heads: dict[int, Arrays] = {}  # env index: what waits

  def keep(self, episodes: dict[int, Arrays]) -> None:
    """Takes unfinished episodes, dict of env index to episode."""
    self._heads.update(episodes)

  def __call__(self, episode: Arrays, index: int) -> Arrays:
    """The episode of an environment, with what waits put before it."""
    head = self._heads.pop(index, None)
    if head is None:
      return episode
    return {k: np.concatenate([head[k], v]) for k, v in episode.items()}

  def state(self) -> Arrays:
    return {f'{index}/{key}': value for index, head in self._heads.items()
            for key, value in head.items()}

  def restore(self, state: Arrays) -> None:
    indices = {name.split('/')[0] for name in state}
    self._heads = {int(x): below(state, f'{x}/') for x in indices}


class RandomPolicy:
  """Uniform actions, from its own generator; for `Driver.send`."""

  def __init__(self, act_space: ActionSpace, seed: int) -> None:
    self._act_space = act_space
    self._rng = np.random.default_rng([seed, zlib.crc32(b'random_policy')])

  def __call__(
      self, obs: Arrays, state: Arrays | None = None
  ) -> tuple[np.ndarray, Arrays | None]:
    amount = len(obs['is_first'])
    actions = [self._act_space.sample(self._rng) for _ in range(amount)]
    return np.stack(actions), state

  def state(self) -> Arrays:
    return {'rng': pack_rng(self._rng)}

  def restore(self, state: Arrays) -> None:
    unpack_rng(self._rng, state['rng'])


def _stored(value):
  """A copy; floats as float32."""
  value = np.array(value)
  floating = np.issubdtype(value.dtype, np.floating)
  return value.astype(np.float32) if floating else value
