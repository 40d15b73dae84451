"""What the release's replay, driver and triggers do, as tables."""
import collections
import pathlib
import tempfile

import common
import numpy as np


def when(data):
  """When Every and Until say yes."""
  found = {}
  for name, rows in data.items():
    kind = common.Every if name.startswith('every') else common.Until
    ask = kind(int(name[5:]))
    found[name] = [[step, bool(ask(step))] for step, _ in rows]
  return found


def replay_sampling(data):
  """Counts, pieces, chunks and frequencies of several settings."""
  with tempfile.TemporaryDirectory() as folder:
    runs = [_run(row, pathlib.Path(folder) / row['name'])
            for row in data['runs']]
  return dict(data, runs=runs)


def _run(row, folder):
  replay = common.Replay(folder, **row['kwargs'])
  stats = []
  for number, steps in enumerate(row['episode_transitions']):
    replay.add_episode(_episode(number, steps + 1))
    stats.append(replay.stats)
  pieces = row['seed0_sequences_ep_index_length_first']
  _seed(replay, 0)
  pieces = [_piece(replay._sample_sequence()) for _ in pieces]
  _seed(replay, 1)
  stream = replay._generate_chunks(row['chunk_length'])
  chunks = [_chunk(next(stream)) for _ in row['seed1_chunks']]
  starts, last = _frequencies(replay, 2, 20000)
  return dict(
      row, stats_after_each_add=stats, seed1_chunks=chunks,
      seed0_sequences_ep_index_length_first=pieces,
      start_frequency_20000=row['start_frequency_20000'] and starts,
      last_start_frequency=last)


def _episode(number, rows):
  """Each observation tells its episode and row."""
  row = np.arange(rows)
  return dict(
      obs=np.stack([np.full(rows, number), row], 1),
      action=np.zeros((rows, 1)), reward=np.zeros(rows), is_first=row == 0,
      is_last=row == rows - 1, is_terminal=row == rows - 1)


def _seed(replay, seed):
  """Of both generators that the release draws from."""
  replay._random.seed(seed)
  np.random.seed(seed)


def _piece(sequence):
  """Episode, start, length, and where is_first is set."""
  first = np.flatnonzero(sequence['is_first']).tolist()
  return [*sequence['obs'][0].tolist(), len(sequence['obs']), first]


def _chunk(chunk):
  return dict(
      obs=chunk['obs'].tolist(), keys=sorted(chunk),
      is_first=np.flatnonzero(chunk['is_first']).tolist())


def _frequencies(replay, seed, draws):
  """How often each start is drawn, and the last one of each episode."""
  _seed(replay, seed)
  counts = collections.Counter(
      tuple(replay._sample_sequence()['obs'][0].tolist())
      for _ in range(draws))
  last = {}
  for number in sorted({number for number, _ in counts}):
    start = max(s for n, s in counts if n == number)
    last[str(number)] = counts[number, start] / draws
  return {str(k): v / draws for k, v in counts.items()}, last


class _Env:
  """Episodes of `length` actions; an observation is (episode, step)."""

  def __init__(self, length):
    self.length, self.episode, self.time = length, -1, 0
    self.act_space = {'action': np.zeros(1)}

  def reset(self):
    self.episode, self.time = self.episode + 1, 0
    return self._observe()

  def step(self, action):
    self.time += 1
    return self._observe()

  def _observe(self):
    return dict(
        obs=np.array([self.episode, self.time], np.int32), reward=0.0,
        is_first=self.time == 0, is_last=self.time == self.length,
        is_terminal=False)


def driver_prefill(data):
  """What is stored of the episode that the end of the prefill cuts.

  In the order of the release's train.py: prefill, reset, then the agent, here
  with the actions that the stored episodes hold.
  """
  script = iter([
      action for episode in data['replay_episodes'] for action, first in zip(
          episode['action0'], episode['is_first']) if not first])
  policy = lambda obs, state, **kwargs: (
      {'action': np.array([[next(script, 0.0)]])}, state)
  step, finished, train_at = common.Counter(), [], []
  length = len(data['driver_episodes'][0]) - 1
  with tempfile.TemporaryDirectory() as folder:
    replay = common.Replay(pathlib.Path(folder))
    driver = common.Driver([_Env(length)])
    driver.on_episode(lambda episode: finished.append(episode['obs']))
    driver.on_step(lambda transition, worker: step.increment())
    driver.on_step(replay.add_step)
    driver.on_reset(replay.add_step)
    driver(policy, steps=data['steps_after_prefill'], episodes=1)
    driver.reset()
    prefilled, should_train = int(step), common.Every(4)
    driver.on_step(lambda transition, worker: (
        should_train(step) and train_at.append(int(step))))
    driver(policy, steps=data['steps'] - prefilled)
  return dict(
      steps_after_prefill=prefilled, steps=int(step), train_at=train_at,
      replay_stats=replay.stats,
      driver_episodes=[x.tolist() for x in finished],
      replay_episodes=[dict(
          obs=x['obs'].tolist(), is_first=x['is_first'].tolist(),
          action0=x['action'][:, 0].tolist())
          for x in replay._complete_eps.values()])
