"""Steps environments with a policy and hands over finished episodes."""

import zlib

import numpy as np

from dreamer import files
from dreamer.envs.workers.remote import WorkerError
from dreamer.errors import UserError
from dreamer.rng import pack_rng, unpack_rng
from dreamer.run.checkpoint import below


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
  seed, name: episode k of environment i is reset with a seed made of these
    four, so that 'train' and 'eval' differ.
  restarts: failed episodes in a row that an environment is forgiven. When a
    worker fails, its unfinished episode is dropped and a new one started.

  Attributes:
    steps: agent steps asked for, those of dropped episodes included.
    episodes: finished ones.
    dropped: unfinished ones that were lost.
  """

  def __init__(self, envs, act_space, seed, name='train', on_episode=None,
               restarts=10):
    self.on_episode = on_episode
    self.steps = 0
    self.episodes = 0
    self.dropped = 0
    self._act_shape = (len(envs), act_space.dim)
    self._slots = [
        _Slot(env, i, act_space.dim, (seed, zlib.crc32(name.encode()), i),
              restarts) for i, env in enumerate(envs)]
    self._state = None  # of the policy
    self._sent = False

  def reset(self):
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

  def send(self, policy):
    """Acts on the current observations and starts a step everywhere."""
    assert not self._sent
    self._begin([x for x in self._slots if not x.rows])
    keys = [x for x in self._slots[0].rows[-1] if x != 'action']
    obs = {k: np.stack([x.rows[-1][k] for x in self._slots]) for k in keys}
    actions, self._state = policy(obs, self._state)
    actions = np.array(actions, np.float32)
    assert actions.shape == self._act_shape, (actions.shape, self._act_shape)
    for slot, action in zip(self._slots, actions, strict=True):
      slot.send_step(action)
    self._sent = True

  def receive(self):
    """Completes the step; starts new episodes where one has ended."""
    assert self._sent
    self._sent = False
    self.steps += len(self._slots)
    done = []
    for slot in self._slots:
      alive = slot.receive_step()
      self.dropped += not alive
      if not alive or slot.rows[-1]['is_last']:
        done.append(slot)
    for slot in done:
      if slot.rows:
        self.episodes += 1
        self._hand_over(slot)
    self._begin(done)

  def state(self):
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

  def restore(self, state):
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
    self.dropped += sum(not x.receive_replay() for x in live)

  def _begin(self, slots):
    while slots:
      for slot in slots:
        slot.send_reset()
      slots = [x for x in slots if not x.receive_reset()]

  def _hand_over(self, slot):
    episode = slot.episode()
    slot.rows = []
    slot.failures = 0
    if self.on_episode:
      self.on_episode(episode, slot.index)


class _Slot:
  """One environment and its unfinished episode.

  The receive methods return whether all went well. If not, the worker has
  been restarted and the episode is gone.
  """

  def __init__(self, env, index, act_dim, entropy, restarts):
    self.index = index
    self.rows = []  # dicts; empty: no episode has been started
    self.failures = 0  # since an episode was finished
    self._env = env
    self._act_dim = act_dim
    self._entropy = entropy
    self._restarts = restarts
    self._number = 0  # of episodes that were started
    self._seed = 0
    self._action = None
    self._error = None

  def send_reset(self):
    sequence = np.random.SeedSequence([*self._entropy, self._number])
    self._seed = int(sequence.generate_state(1)[0]) % 2 ** 31
    self._number += 1
    self.rows = []
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
    files.report(
        f'environment {self.index} did not return to where it was saved, its '
        f'episode is dropped: {why}')
    self.rows = []
    return False

  def episode(self):
    return {k: np.stack([x[k] for x in self.rows]) for k in self.rows[0]}

  def state(self):
    state = {
        'number': np.array(self._number), 'seed': np.array(self._seed),
        'failures': np.array(self.failures)}
    rows = self.episode() if self.rows else {}
    return {**state, **{f'rows/{k}': v for k, v in rows.items()}}

  def restore(self, state):
    self._number = int(state['number'])
    self._seed = int(state['seed'])
    self.failures = int(state['failures'])
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
    self.rows = []
    while True:
      self.failures += 1
      if self.failures > self._restarts:
        raise error
      files.report(f'environment {self.index} failed and is restarted, its '
                   f'episode is dropped: {error}')
      try:
        return self._env.restart()
      except WorkerError as another:
        error = another


class Glue:
  """Puts unfinished episodes before the next ones, as danijar/dreamerv2 does.

  There the driver forgets the episodes that are unfinished when the prefill
  ends, and the replay does not: it stores each together with the next one of
  the same environment. In the middle stands the second one's reset row.
  """

  def __init__(self):
    self._heads = {}  # env index: what waits

  def keep(self, episodes):
    """Takes unfinished episodes, dict of env index to episode."""
    self._heads.update(episodes)

  def __call__(self, episode, index):
    """The episode of an environment, with what waits put before it."""
    head = self._heads.pop(index, None)
    if head is None:
      return episode
    return {k: np.concatenate([head[k], v]) for k, v in episode.items()}

  def state(self):
    return {f'{index}/{key}': value for index, head in self._heads.items()
            for key, value in head.items()}

  def restore(self, state):
    indices = {name.split('/')[0] for name in state}
    self._heads = {int(x): below(state, f'{x}/') for x in indices}


class RandomPolicy:
  """Uniform actions, from its own generator; for `Driver.send`."""

  def __init__(self, act_space, seed):
    self._act_space = act_space
    self._rng = np.random.default_rng([seed, zlib.crc32(b'random_policy')])

  def __call__(self, obs, state=None):
    amount = len(obs['is_first'])
    actions = [self._act_space.sample(self._rng) for _ in range(amount)]
    return np.stack(actions), state

  def state(self):
    return {'rng': pack_rng(self._rng)}

  def restore(self, state):
    unpack_rng(self._rng, state['rng'])


def _stored(value):
  """A copy; floats as float32."""
  value = np.array(value)
  floating = np.issubdtype(value.dtype, np.floating)
  return value.astype(np.float32) if floating else value
