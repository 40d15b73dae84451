"""Parity of replay, prefill and schedule helpers with danijar/dreamerv2.

Each function takes the content of its file and returns the expected arrays
and ours, both by name.
"""

import collections
import itertools
import tempfile
import warnings

import numpy as np

from dreamer import npz
from dreamer.envs.spaces import ActionSpace
from dreamer.replay.replay import Replay
from dreamer.run.driver import Driver
from dreamer.run.prefill import Glue
from dreamer.run.when import Every, Until

FREQUENCIES = 2, 20000  # seed and draws behind the case's frequencies
NO_LIMIT = 10 ** 9


class Streams:
  """Our draws from the reference's two generators, in its order.

  An episode and a start come from its own generator, a length in between
  from NumPy's global one; we draw none where all pieces have one length.
  """

  def __init__(self, seed, lengths):
    own, shared = np.random.RandomState(seed), np.random.RandomState(seed)
    self._order = itertools.cycle([own, shared, own] if lengths else [own] * 2)

  def integers(self, high):
    return next(self._order).randint(high)


def replay_sampling(data):
  """Stored steps, pieces, chunks and frequencies of several settings."""
  expected, arrays = {}, {}
  for run in data['runs']:
    for name, pair in _replay_run(run).items():
      key = f'{run["name"]}/{name}'
      expected[key], arrays[key] = (np.asarray(x, np.float64) for x in pair)
  return expected, arrays


def _replay_run(run):
  """Dict of name to (theirs, ours)."""
  pairs = {}
  with tempfile.TemporaryDirectory() as folder:
    replay, stats = _filled(folder, run)
    names = run['stats_after_each_add'][0]
    pairs['stats'] = [
        [row[name] for name in names] for row in run['stats_after_each_add']
    ], [[row[name] for name in names] for row in stats]
    pairs['pieces'] = _pieces(replay, run)
    pairs.update(_chunks(replay, run))
    pairs.update(_frequencies(replay, run))
  return pairs


def _filled(folder, run):
  """A Replay with the episodes of a run, and its counts after each."""
  kwargs = run['kwargs']
  replay = Replay(
      folder, 0, capacity_agent_steps=int(kwargs['capacity']),
      min_length=kwargs['minlen'], max_length=kwargs['maxlen'] or NO_LIMIT,
      starts='prioritize_ends' if kwargs['prioritize_ends'] else 'inclusive')
  stats, total = [], [0, 0]
  for number, steps in enumerate(run['episode_transitions']):
    with warnings.catch_warnings():
      warnings.simplefilter('ignore')  # that one is too short
      stored = replay.add(_episode(number, steps + 1))
    total[0] += steps * bool(stored)
    total[1] += bool(stored)
    stats.append({
        'total_steps': total[0], 'total_episodes': total[1],
        'loaded_steps': replay.steps, 'loaded_episodes': replay.episodes})
  return replay, stats


def _episode(number, rows):
  """Each observation tells its episode and row."""
  row = np.arange(rows)
  return {
      'obs': np.stack([np.full(rows, number), row], 1).astype(np.int32),
      'action': np.zeros((rows, 1), np.float32),
      'reward': np.zeros(rows, np.float32), 'is_first': row == 0,
      'is_last': row == rows - 1, 'is_terminal': row == rows - 1}


def _seed(replay, run, seed):
  """From now on it draws as the reference does; no piece goes on."""
  kwargs = run['kwargs']
  replay.sampler.rng = np.random.default_rng(0)
  replay.restore({**replay.state(), 'rest': []})
  replay.sampler.rng = Streams(seed, kwargs['minlen'] != kwargs['maxlen'])


def _pieces(replay, run):
  """Episode, start, rows of the first pieces, and where is_first is set."""
  rows = [[*row[:3], *row[3]] for row in
          run['seed0_sequences_ep_index_length_first']]
  _seed(replay, run, 0)
  length = run['chunk_length']
  amount = (sum(row[2] for row in rows) + length) // length
  batch = replay.sample(amount, length, ('obs', 'is_first'))
  obs = batch['obs'].reshape(-1, 2)
  first = np.flatnonzero(batch['is_first'])
  ours = [[*obs[start], end - start, 0]
          for start, end in zip(first, [*first[1:], len(obs)])]
  return rows, ours[:len(rows)]


def _chunks(replay, run):
  """The stream of chunks, taken in batches of two."""
  chunks, length = run['seed1_chunks'], run['chunk_length']
  keys = chunks[0]['keys']
  _seed(replay, run, 1)
  batches = [replay.sample(2, length, keys) for _ in chunks[::2]]
  merged = {k: np.concatenate([x[k] for x in batches]) for k in batches[0]}
  first = np.zeros((len(chunks), length))
  for row, chunk in zip(first, chunks):
    row[chunk['is_first']] = 1
  return {
      'chunks/obs': ([x['obs'] for x in chunks], merged['obs']),
      'chunks/is_first': (first, merged['is_first']),
      'chunks/keys': (len(keys), len(set(merged) & set(keys)))}


def _frequencies(replay, run):
  """How often each start, or the last one of each episode, is drawn."""
  seed, draws = FREQUENCIES
  replay.sampler.rng = np.random.default_rng(0)
  stored = [x.decode() for x in replay.state()['names']]
  _seed(replay, run, seed)
  numbers = {
      k: int(npz.read(replay.directory / x)['obs'][0, 0])
      for k, x in enumerate(stored, replay.sampler.first)}
  counts = collections.Counter()
  for _ in range(draws):
    number, start, _ = replay.sampler.draw(run['chunk_length'])
    counts[numbers[number], start] += 1
  last = {number: max(s for n, s in counts if n == number)
          for number in numbers.values()}
  theirs = run['last_start_frequency']
  pairs = {'last': (
      [theirs[str(x)] for x in last],
      [counts[x, last[x]] / draws for x in last])}
  theirs = run.get('start_frequency_20000')
  if theirs:
    pairs['starts'] = (
        [theirs.get(str(x), 0) for x in sorted(counts)] + [len(theirs)],
        [counts[x] / draws for x in sorted(counts)] + [len(counts)])
  return pairs


def driver_prefill(data):
  """What is stored of the episode that the end of the prefill cuts."""
  stored = data['replay_episodes']
  actions = [
      action for episode in stored
      for action, first in zip(episode['action0'], episode['is_first'])
      if not first]
  ours = _collect(
      actions, data['steps_after_prefill'], data['steps'],
      len(data['driver_episodes'][0]) - 1)
  expected = {
      key: data[key] for key in ('steps', 'train_at', 'driver_episodes')}
  expected['replay_stats'] = list(data['replay_stats'].values())
  for number, episode in enumerate(stored):
    for key, value in episode.items():
      expected[f'replay_episodes/{number}/{key}'] = value
  return expected, ours


class _Env:
  """Episodes of `length` steps; an observation is (episode, step)."""

  def __init__(self, length):
    self.length, self.episode, self.time = length, -1, 0

  def send_reset(self, seed):
    self.episode, self.time = self.episode + 1, 0

  def send_step(self, action):
    self.time += 1

  def receive(self):
    return {
        'obs': np.array([self.episode, self.time], np.int32),
        'reward': np.float32(0), 'is_first': self.time == 0,
        'is_last': self.time == self.length, 'is_terminal': False}


def _collect(actions, prefill, steps, length):
  """Prefill, reset and glue, and the agent's steps with given actions."""
  script = iter(actions)
  policy = lambda obs, state: (np.array([[next(script, 0.0)]]), state)
  finished, glue, train = [], Glue(), Every(4)
  arrays = {'train_at': []}
  with tempfile.TemporaryDirectory() as folder:
    replay, paths = Replay(folder, 0), []

    def on_episode(episode, index):
      finished.append(episode['obs'])
      paths.append(replay.add(glue(episode, index)))

    driver = Driver([_Env(length)], ActionSpace('continuous', 1), 0,
                    on_episode=on_episode)
    while driver.steps < steps:
      driver.send(policy)
      driver.receive()
      if driver.steps == prefill:
        glue.keep(driver.reset())
      elif driver.steps > prefill and train(driver.steps):
        arrays['train_at'].append(driver.steps)
    for number, path in enumerate(paths):
      episode = npz.read(path)
      episode['action0'] = episode['action'][:, 0]
      for key in ('obs', 'is_first', 'action0'):
        arrays[f'replay_episodes/{number}/{key}'] = episode[key]
  return {**arrays, 'steps': driver.steps, 'driver_episodes': finished,
          'replay_stats': [replay.steps, replay.episodes] * 2}


def when(data):
  """Triggers of Every and Until at given counts."""
  expected, arrays = {}, {}
  for name, rows in data.items():
    kind = Every if name.startswith('every') else Until
    trigger = kind(int(name.removeprefix(kind.__name__.lower())))
    expected[name] = [fired for _, fired in rows]
    arrays[name] = [trigger(count) for count, _ in rows]
  return expected, arrays


FUNCTIONS = {'replay_sampling.json': replay_sampling,
             'driver_prefill.json': driver_prefill, 'when.json': when}
