"""Driver: steps, episodes, failures, and resuming in between."""

import io
import itertools
import warnings
import zlib

import numpy as np
import pytest

from dreamer import files
from dreamer.envs.spaces import ActionSpace
from dreamer.errors import UserError
from dreamer.processes.failure import WorkerError
from dreamer.run.driver import Driver
from dreamer.run.evaluate import evaluate
from dreamer.run.prefill import Glue, RandomPolicy

SPACE = ActionSpace('continuous', 2)


class Env:
  """Half calls around a sum of actions; episodes of `length` steps.

  crash: numbers of calls (from 1 on) whose answer is a WorkerError.
  """

  def __init__(self, length, crash=(), drift=0.0):
    self.length = length
    self.crash = crash
    self.drift = drift  # what another machine would get wrong in a replay
    self.calls = 0
    self.restarts = 0
    self.log = []
    self._answer = None
    self._image = np.zeros((2, 2, 3), np.uint8)

  def send_reset(self, seed=None):
    self._send(lambda: self._reset(seed))

  def send_step(self, action):
    self._send(lambda: self._step(action))

  def send_replay(self, seed, actions):
    self._send(lambda: self._replay(seed, actions))

  def receive(self):
    self.calls += 1
    answer, self._answer = self._answer, None
    if self.calls in self.crash:
      raise WorkerError('it crashed')
    return answer()

  def restart(self):
    self.restarts += 1
    self._answer = None

  def _send(self, answer):
    assert self._answer is None
    self._answer = answer

  def _reset(self, seed):
    assert type(seed) is int and 0 <= seed < 2 ** 31
    self.log.append(seed)
    self.time = 0
    self._place = np.random.default_rng(seed).normal(size=2)
    return self._obs(0.0)

  def _step(self, action):
    assert self.time < self.length
    self.time += 1
    self._place += action
    return self._obs(self._place.sum())

  def _replay(self, seed, actions):
    obs = self._reset(seed)
    for action in actions:
      obs = self._step(action)
    return {**obs, 'reward': obs['reward'] + np.float32(self.drift)}

  def _obs(self, reward):
    last = self.time == self.length
    self._image[...] = int(self._place[0] * 100) % 256
    return {
        'image': self._image, 'place': self._place,
        'reward': np.float32(reward), 'discount': np.float32(1),
        'is_first': self.time == 0, 'is_last': last, 'is_terminal': False}


class Policy:
  """Depends on its state, on every observation, and on nothing else."""

  def __init__(self):
    self.seen = []

  def __call__(self, obs, state):
    amount = len(obs['is_first'])
    if state is None:
      state = {'count': np.zeros((amount, 1), np.float32)}
    self.seen.append((obs, state))
    count = np.where(obs['is_first'][:, None], 0, state['count'])
    action = np.sin(count + obs['place'].astype(np.float64))
    return action, {'count': (count + 1).astype(np.float32)}


def make(envs, seed=0, name='train', **kwargs):
  episodes = []
  driver = Driver(
      envs, SPACE, seed, name, lambda *x: episodes.append(x), **kwargs)
  return driver, episodes


def run(driver, steps, policy=None):
  policy = policy or Policy()
  for _ in range(steps):
    driver.send(policy)
    driver.receive()


def equal(left, right):
  assert set(left) == set(right)
  for key, value in left.items():
    assert value.dtype == right[key].dtype, key
    np.testing.assert_array_equal(value, right[key], err_msg=key)


def test_episode():
  driver, episodes = make([Env(4)])
  policy = Policy()
  run(driver, 4, policy)
  (episode, index), = episodes
  assert index == 0
  assert {k: (v.dtype.name, v.shape) for k, v in episode.items()} == {
      'image': ('uint8', (5, 2, 2, 3)), 'place': ('float32', (5, 2)),
      'reward': ('float32', (5,)), 'discount': ('float32', (5,)),
      'is_first': ('bool', (5,)), 'is_last': ('bool', (5,)),
      'is_terminal': ('bool', (5,)), 'action': ('float32', (5, 2))}
  np.testing.assert_array_equal(episode['is_first'], [1, 0, 0, 0, 0])
  np.testing.assert_array_equal(episode['is_last'], [0, 0, 0, 0, 1])
  assert not episode['action'][0].any()
  # action[t] led to row t
  moved = episode['place'][0] + np.cumsum(episode['action'], 0)
  np.testing.assert_allclose(episode['place'], moved, atol=1e-5)
  np.testing.assert_allclose(episode['reward'][1:], moved[1:].sum(1), atol=1e-5)


def test_every_pair_is_one_step_per_env():
  driver, episodes = make([Env(3), Env(5), Env(4)])
  policy = Policy()
  run(driver, 30, policy)
  assert (driver.steps, driver.episodes, driver.dropped) == (90, 23, 0)
  assert len(episodes) == 23
  lengths = {i: {len(e['reward']) for e, j in episodes if i == j}
             for i in range(3)}
  assert lengths == {0: {4}, 1: {6}, 2: {5}}
  firsts = np.stack([obs['is_first'] for obs, _ in policy.seen])
  times = np.arange(30)[:, None] % np.array([3, 5, 4])
  np.testing.assert_array_equal(firsts, times == 0)
  assert not any(obs['is_last'].any() for obs, _ in policy.seen)
  obs, state = policy.seen[3]
  assert obs['image'].shape == (3, 2, 2, 3) and 'action' not in obs
  assert state['count'].tolist() == [[3], [3], [3]]


def test_episodes_do_not_share_memory():
  driver, episodes = make([Env(3)])  # `image` and `place` are reused
  run(driver, 3)
  assert len(np.unique(episodes[0][0]['image'][:, 0, 0, 0])) == 4
  copy = {k: v.copy() for k, v in episodes[0][0].items()}
  run(driver, 3)
  equal(episodes[0][0], copy)


def test_policy_may_reuse_its_arrays():
  action = np.zeros((1, 2), np.float32)

  def policy(obs, state):
    action[:] += 1
    return action, state
  driver, episodes = make([Env(3)])
  run(driver, 3, policy)
  assert episodes[0][0]['action'][:, 0].tolist() == [0, 1, 2, 3]


def test_seeds_are_those_of_the_recipe():
  envs = [Env(2), Env(2)]
  run(make(envs, 7, 'eval')[0], 5)
  for i, env in enumerate(envs):
    expected = [
        int(np.random.SeedSequence(
            [7, zlib.crc32(b'eval'), i, k]).generate_state(1)[0]) % 2 ** 31
        for k in range(3)]
    assert env.log == expected
  assert len({*envs[0].log, *envs[1].log}) == 6


@pytest.mark.parametrize('amounts', [[5], [3, 2], [2, 2, 1]])
def test_episodes_of_a_row_do_not_depend_on_the_number_of_environments(
    amounts):
  """k-th of all: from seed, name and k; lengths differ, so they interleave."""
  count = len(amounts)
  envs = [Env(2 + 3 * i) for i in range(count)]
  driver, episodes = make(envs, 7, 'eval', amounts=amounts)
  numbers = []
  while not driver.finished:
    run(driver, 1)
    numbers.append(driver.numbers)
  expected = [
      int(np.random.SeedSequence(
          [7, zlib.crc32(b'eval'), 0, k]).generate_state(1)[0]) % 2 ** 31
      for k in range(5)]
  for i, env in enumerate(envs):
    assert env.log == expected[i::count]
    seen = list(dict.fromkeys(row[i] for row in numbers))
    assert seen == list(range(5))[i::count]


def test_an_episode_of_a_row_that_fails_is_played_with_another_seed():
  """Others keep theirs."""
  envs = [Env(2), Env(3, crash=[2, 4])]
  with warnings.catch_warnings(record=True):
    driver, episodes = make(envs, amounts=[2, 2])
    while not driver.finished:
      run(driver, 1)
  alone = Env(1)
  run(make([alone], amounts=[4])[0], 4)
  assert envs[0].log == alone.log[::2]
  assert envs[1].log[0] == alone.log[1] and envs[1].log[-1] == alone.log[3]
  assert len(envs[1].log) == len(set(envs[1].log)) == 4


def test_no_episode_begins_before_a_step_needs_it():
  env = Env(4)
  driver, episodes = make([env])
  assert not env.log
  run(driver, 4)
  assert len(episodes) == 1 and len(env.log) == 1
  run(driver, 1)
  assert len(env.log) == 2


def test_environments_rest_after_their_amount():
  envs = [Env(2), Env(5), Env(3)]
  driver, episodes = make(envs, amounts=[2, 1, 1])
  policy = Policy()
  steps = 0
  while not driver.finished:
    run(driver, 1, policy)
    steps += 1
  assert steps == 5 and driver.steps == 4 + 5 + 3
  assert sorted(index for _, index in episodes) == [0, 0, 1, 2]
  assert [len(x.log) for x in envs] == [2, 1, 1]
  assert [x.calls for x in envs] == [2 + 4, 1 + 5, 1 + 3]
  # The row of one that rests is the beginning of its last episode.
  obs, _ = policy.seen[4]
  assert obs['is_first'].tolist() == [True, False, True]
  np.testing.assert_array_equal(
      obs['image'][0], [x for x, i in episodes if i == 0][1]['image'][0])
  with pytest.raises(AssertionError):
    driver.send(policy)


def test_evaluation_resets_once_for_each_episode():
  envs = [Env(2), Env(5), Env(3)]
  policy = Policy()
  result = evaluate(
      lambda obs, state, _: policy(obs, state), envs, SPACE, 0, 'test', 5)
  assert [len(x.log) for x in envs] == [2, 2, 1]
  assert result.lengths == [2, 5, 3, 2, 5]


def test_resting_changes_no_other_episode():
  straight, expected = make([Env(2), Env(9)], amounts=[9, 1])
  run(straight, 9)
  resting, episodes = make([Env(2), Env(9)], amounts=[1, 1])
  run(resting, 9)
  (left, _), = [x for x in expected if x[1] == 1]
  (right, _), = [x for x in episodes if x[1] == 1]
  equal(left, right)


def test_reset_forgets_unfinished_episodes():
  env = Env(4)
  driver, episodes = make([env])
  policy = Policy()
  run(driver, 2, policy)
  driver.reset()
  run(driver, 4, policy)
  assert len(episodes) == 1 and len(episodes[0][0]['reward']) == 5
  assert policy.seen[2][0]['is_first'].all() and len(set(env.log)) == 2
  assert policy.seen[2][1]['count'] == 0
  assert driver.dropped == 0


def test_reset_hands_over_what_is_unfinished():
  envs = [Env(4), Env(6), Env(2)]
  driver, episodes = make(envs)
  policy = Policy()
  run(driver, 2, policy)
  unfinished = driver.reset()
  assert sorted(unfinished) == [0, 1]  # the third's has just ended
  for index, episode in unfinished.items():
    assert len(episode['reward']) == 3
    np.testing.assert_array_equal(episode['is_first'], [1, 0, 0])
    np.testing.assert_array_equal(
        episode['place'][:2], [x[0]['place'][index] for x in policy.seen])
  run(driver, 1, policy)
  assert [len(x.log) for x in envs] == [2, 2, 2]
  assert driver.reset().keys() == {0, 1, 2}


def test_glue():
  driver, episodes = make([Env(4), Env(6)])
  run(driver, 2)
  heads = driver.reset()
  glue = Glue()
  glue.keep({0: heads[0]})
  run(driver, 8)
  found = [glue(*x) for x in episodes]
  assert [len(x['reward']) for x in found] == [8, 7, 5]
  assert found[1] is episodes[1][0] and found[2] is episodes[2][0]
  for key, value in found[0].items():
    np.testing.assert_array_equal(value[:3], heads[0][key])
    np.testing.assert_array_equal(value[3:], episodes[0][0][key])
    assert value.dtype == heads[0][key].dtype
  assert np.flatnonzero(found[0]['is_first']).tolist() == [0, 3]
  assert not found[0]['action'][3].any()


def test_glue_resumes():
  driver, episodes = make([Env(4) for _ in range(12)])
  run(driver, 2)
  glue, other = Glue(), Glue()
  glue.keep(driver.reset())
  other.keep({5: {'reward': np.zeros(3)}})
  state = stored(glue.state())
  assert len(state) == 12 * 8
  other.restore(state)
  run(driver, 4)
  for episode in episodes:
    equal(glue(*episode), other(*episode))
  assert not glue.state() and not other.state()


# Failures

def test_crash_drops_the_episode_and_goes_on():
  # Env 0: reset, 2 steps, the third crashes; new reset and episode.
  envs = [Env(4, crash=[4]), Env(5)]
  driver, episodes = make(envs)
  policy = Policy()
  with pytest.warns(UserWarning, match='environment 0 failed .*it crashed'):
    run(driver, 7, policy)
  assert (driver.steps, driver.dropped, driver.episodes) == (14, 1, 2)
  assert [(len(e['reward']), i) for e, i in episodes] == [(6, 1), (5, 0)]
  assert policy.seen[3][0]['is_first'].tolist() == [True, False]
  assert envs[0].restarts == 1 and len(set(envs[0].log)) == 2


def test_crash_in_a_reset_loses_nothing():
  env = Env(2, crash=[1, 5])
  driver, episodes = make([env])
  with pytest.warns(UserWarning, match='failed'):
    run(driver, 4)
  assert (driver.dropped, driver.episodes, env.restarts) == (0, 2, 2)


def test_error_in_send_counts_as_a_crash():
  env = Env(3)
  step, count = env.send_step, []

  def send_step(action):
    count.append(1)
    if len(count) == 2:
      raise WorkerError('broken pipe')
    step(action)
  env.send_step = send_step
  driver, episodes = make([env, Env(3)])
  with pytest.warns(UserWarning, match='broken pipe'):
    run(driver, 5)
  assert (driver.dropped, driver.episodes, env.restarts) == (1, 2, 1)


def test_too_many_crashes_in_a_row():
  env = Env(3, crash=range(1, 100))
  driver, _ = make([env], restarts=3)
  with pytest.warns(UserWarning) as warned, pytest.raises(WorkerError):
    run(driver, 1)
  assert env.restarts == 3 and len(warned) == 3


def test_an_env_that_resets_but_never_steps_ends_too():
  env = Env(3, crash=range(2, 1000, 2))
  driver, _ = make([env], restarts=3)
  with pytest.warns(UserWarning), pytest.raises(WorkerError):
    run(driver, 100)
  assert env.restarts == 3


class Mistaken(Env):
  """Fails in each step number `at`, as the environment's own code does."""

  def __init__(self, length, at, places=('here',)):
    super().__init__(length)
    self.at = at
    self.places = itertools.cycle(places)

  def receive(self):
    obs = super().receive()
    if self.time in self.at:
      raise WorkerError('no such joint', next(self.places))
    return obs


def test_a_mistake_that_repeats_is_not_restarted_again():
  env = Mistaken(5, at=[2])
  driver, _ = make([env])
  with pytest.warns(UserWarning) as warned, pytest.raises(WorkerError, match=(
      'no such joint; the same at step 2 of two episodes in a row')):
    run(driver, 100)
  assert env.restarts == 1 and len(warned) == 1


def test_a_mistake_in_reset():
  env = Mistaken(5, at=[0])
  with pytest.warns(UserWarning), pytest.raises(
      WorkerError, match='the same at reset of two'):
    run(make([env])[0], 1)
  assert env.restarts == 1


def test_failures_at_several_places_are_no_mistake():
  env = Mistaken(5, at=[2], places=('here', 'there'))
  driver, _ = make([env], restarts=6)
  with pytest.warns(UserWarning), pytest.raises(WorkerError, match='joint$'):
    run(driver, 100)
  assert env.restarts == 6


def test_a_finished_episode_forgives_a_mistake():
  env = Mistaken(3, at=[2])
  env.length = 3
  driver, episodes = make([env])
  with pytest.warns(UserWarning) as warned:
    run(driver, 2)
    env.at = []
    run(driver, 3)
    env.at = [2]
    run(driver, 2)
  assert len(warned) == 2 and len(episodes) == 1


def test_repeated_warnings_are_counted():
  """Python's own filter would show equal ones once."""
  env = Env(2, crash=range(2, 1000, 5))
  driver, _ = make([env])
  with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter('default')
    run(driver, 9)
    resumed, _ = make([Env(2, crash=[1])])
    resumed.restore(driver.state())
    run(resumed, 1)
  texts = [str(x.message) for x in warned]
  assert [x.rpartition('crashed')[2] for x in texts] == [
      '', ' (2nd time)', ' (3rd time)', ' (4th time)']


@pytest.mark.parametrize('number, text', [
    (1, '1st'), (2, '2nd'), (3, '3rd'), (4, '4th'), (11, '11th'),
    (12, '12th'), (21, '21st'), (113, '113th'), (101, '101st')])
def test_ordinals(number, text):
  assert files.ordinal(number) == text


def test_no_restarts():
  driver, _ = make([Env(3, crash=[2])], restarts=0)
  with pytest.raises(WorkerError):
    run(driver, 1)


def test_a_finished_episode_forgives():
  # Each episode crashes once at its first step, and then succeeds.
  env = Env(2, crash=range(2, 1000, 5))
  driver, _ = make([env], restarts=1)
  with pytest.warns(UserWarning):
    run(driver, 30)
  assert (driver.episodes, driver.dropped) == (10, 10)


def test_failing_restart_counts():
  env = Env(3, crash=[2])

  def restart():
    raise WorkerError('no process')
  env.restart = restart
  driver, _ = make([env], restarts=2)
  with pytest.warns(UserWarning), pytest.raises(WorkerError, match='no proc'):
    run(driver, 1)


def test_other_errors_pass():
  env = Env(3)

  def receive():
    raise UserError('reward is nan')
  env.receive = receive
  with pytest.raises(UserError, match='reward is nan'):
    run(make([env])[0], 1)


# Resuming

def stored(state):
  buffer = io.BytesIO()
  np.savez(buffer, **state)
  buffer.seek(0)
  return dict(np.load(buffer, allow_pickle=False))


@pytest.mark.parametrize('stop', [0, 1, 2, 3, 4, 7, 12])
def test_resume_is_exact(stop):
  lengths = [3, 5, 4]
  straight, expected = make([Env(x) for x in lengths])
  run(straight, stop + 20)
  first, before = make([Env(x) for x in lengths])
  run(first, stop)
  state = stored(first.state())
  run(first, 3)  # must not change what was saved
  second, after = make([Env(x) for x in lengths])
  second.restore(state)
  run(second, 20)
  episodes = before[:int(state['episodes'])] + after
  assert len(episodes) == len(expected)
  for (left, i), (right, j) in zip(expected, episodes):
    assert i == j
    equal(left, right)
  assert second.steps == straight.steps
  assert second.episodes == straight.episodes
  assert second.dropped == 0
  equal(second.state(), straight.state())


def test_resume_replays_instead_of_acting():
  driver, _ = make([Env(9)])
  run(driver, 4)
  env = Env(9)
  resumed, _ = make([env])
  resumed.restore(driver.state())
  assert env.calls == 1 and env.time == 4


def test_a_resume_that_arrives_elsewhere_drops_the_episode():
  driver, _ = make([Env(9), Env(9)])
  run(driver, 4)
  resumed, episodes = make([Env(9), Env(9, drift=0.5)])
  with pytest.warns(UserWarning, match='environment 1 .* reward differ'):
    resumed.restore(driver.state())
  policy = Policy()
  run(resumed, 9, policy)
  assert resumed.dropped == 1
  assert policy.seen[0][0]['is_first'].tolist() == [False, True]
  assert [(len(e['reward']), i) for e, i in episodes] == [(10, 0), (10, 1)]


def test_a_resume_with_another_image_drops_the_episode():
  driver, _ = make([Env(9)])
  run(driver, 4)
  state = driver.state()
  state['env0/rows/image'][-1, 0, 0, 0] ^= 1
  resumed, _ = make([Env(9)])
  with pytest.warns(UserWarning, match='image differ'):
    resumed.restore(state)
  assert resumed.dropped == 1


@pytest.mark.parametrize('error', [WorkerError, UserError])
def test_a_resume_that_fails_drops_the_episode(error):
  driver, _ = make([Env(9)])
  run(driver, 4)

  class Fails(Env):

    def _replay(self, seed, actions):
      raise error('beyond the end')

  resumed, episodes = make([Fails(9)])
  with pytest.warns(UserWarning, match='beyond the end'):
    resumed.restore(driver.state())
  run(resumed, 9)
  assert (resumed.dropped, len(episodes)) == (1, 1)


def test_resume_remembers_failures():
  driver, _ = make([Env(9, crash=[2])], restarts=1)
  with pytest.warns(UserWarning):
    run(driver, 2)
  resumed, _ = make([Env(9, crash=[2])], restarts=1)
  resumed.restore(driver.state())
  with pytest.raises(WorkerError):
    run(resumed, 1)


def test_resume_with_another_number_of_envs():
  driver, _ = make([Env(9)])
  with pytest.raises(UserError, match='envs.amount: the checkpoint has 1'):
    make([Env(9), Env(9)])[0].restore(driver.state())


def test_no_state_between_send_and_receive():
  driver, _ = make([Env(9)])
  driver.send(Policy())
  for call in (driver.state, driver.reset, lambda: driver.send(Policy())):
    with pytest.raises(AssertionError):
      call()


# Random policy

@pytest.mark.parametrize('kind', ['continuous', 'discrete'])
def test_random_policy(kind):
  policy = RandomPolicy(ActionSpace(kind, 3), 0)
  obs = {'is_first': np.zeros(2000, bool)}
  actions, state = policy(obs, None)
  assert actions.shape == (2000, 3) and actions.dtype == np.float32
  assert state is None
  if kind == 'discrete':
    assert set(np.unique(actions)) == {0, 1} and (actions.sum(1) == 1).all()
    np.testing.assert_allclose(actions.mean(0), 1 / 3, atol=0.05)
  else:
    assert -1 <= actions.min() < -0.99 and 0.99 < actions.max() <= 1
    np.testing.assert_allclose(actions.mean(0), 0, atol=0.06)
  saved = stored(policy.state())
  other = RandomPolicy(ActionSpace(kind, 3), 1)
  assert not np.array_equal(other(obs)[0], policy(obs)[0])
  other.restore(saved)
  policy.restore(saved)
  np.testing.assert_array_equal(other(obs)[0], policy(obs)[0])
  again = RandomPolicy(ActionSpace(kind, 3), 0)
  np.testing.assert_array_equal(again(obs)[0], actions)


def test_random_policy_drives():
  driver, episodes = make([Env(3), Env(4)])
  run(driver, 12, RandomPolicy(SPACE, 0))
  assert driver.episodes == 7
  assert len({e['action'][1:].tobytes() for e, _ in episodes}) == 7


def test_nothing_here_imports_tensorflow():
  import subprocess  # For this test only.
  import sys  # For this test only.
  code = ('import sys, dreamer.replay.replay, dreamer.run.driver, '
          'dreamer.run.when, dreamer.run.checkpoint; '
          'print("tensorflow" in sys.modules)')
  result = subprocess.run(
      [sys.executable, '-c', code], capture_output=True, text=True)
  assert result.stdout == 'False\n', result.stderr
