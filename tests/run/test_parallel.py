"""Acting beside learning: neither waits, all else is as in lockstep."""

import functools
import itertools
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from dreamer import npz
from dreamer.config.schema import Section
from dreamer.envs import make_envs
from dreamer.envs.spaces import IMAGE, ActionSpace
from dreamer.errors import UserError
from dreamer.replay.replay import Replay
from dreamer.run import actor, checkpoint, parallel, resume, training
from dreamer.run.stop import Stopped
from tests.support import ROOT, strange_envs
from tests.support.fakes import MODULE, FakeAgent
from tests.support.run_tools import metrics, saved
from tests.support.run_tools import run_fake as run
from tests.support.strange_envs import NewStyle


@pytest.fixture
def config(debug_config):
  def make(**overrides):
    return debug_config(**{'parallel': True, 'eval_every': 0, **overrides})
  return make


@pytest.fixture
def loops(monkeypatch):
  """The loops of runs that a test starts."""
  found = []
  before = parallel.ParallelLoop.__init__

  def init(self, *args, **kwargs):
    found.append(self)
    before(self, *args, **kwargs)

  monkeypatch.setattr(parallel.ParallelLoop, '__init__', init)
  return found


@pytest.fixture(autouse=True)
def nothing_is_left():
  """No thread acts, and no process does, whatever ended a run."""
  yield
  assert not acting()


def acting():
  """Whether environments are stepped beside what else is done."""
  return any(x.name == 'acting' for x in threading.enumerate())


def is_closed(loop):
  return loop.actor.closed


class Slow(NewStyle):
  """Its steps take 3 ms, its episodes 20 of them."""

  def __init__(self):
    super().__init__(length=20)

  def step(self, action):
    time.sleep(0.003)
    return super().step(action)


SLOW = {'task': 'own_slow', 'action_repeat': 1, 'prefill': 40, 'time_limit': 20}


def slowly(config, **agent):
  return run(config, make=functools.partial(make_envs, factory=Slow), **agent)


class TestRun:

  def test_to_its_end(self, config, loops, capsys):
    config = config(steps=900, update_ratio={'least': 0.02})
    events = run(config)
    arrays, meta = saved(config)
    assert (meta['env_steps'], meta['agent_steps']) == (900, 450)
    assert arrays['replay/names'].shape == (9,)
    # Of the prefill's 100 agent steps none is the agent's.
    assert arrays['agent/calls'][0] == 350
    # Those calls were made by another process.
    assert {what for what, _ in events} == {'update'}
    assert meta['updates'] == len(events) >= 2 + 0.02 * 700 - 1
    steps = [x['step'] for x in metrics(config)]
    assert steps == sorted(set(steps)) and steps[-1] == 900
    assert len(steps) > 3 and metrics(config)[-1]['train/length'] == 100
    assert is_closed(loops[0])
    line, = (x for x in capsys.readouterr().err.splitlines()
             if x.startswith('parallel: '))
    for words in ('every 10 updates', 'at least 0.02', 'would be 0.02',
                  'not the same to the bit'):
      assert words in line

  def test_several_environments(self, config):
    config = config(steps=900, **{'envs.amount': 3})
    run(config)
    assert saved(config)[1]['env_steps'] == 900
    assert saved(config)[0]['replay/names'].shape == (9,)

  def test_what_is_replayed_is_as_in_lockstep(self, config):
    """The same seeds, images that follow from the actions, whole episodes."""
    one, two = config(steps=600), config(steps=600, parallel=False)
    two = two.update({'logdir': one.logdir + '_lockstep'})
    run(one)
    run(two)
    stores = [sorted(pathlib.Path(x.logdir, 'episodes').glob('*.npz'))
              for x in (one, two)]
    env, = make_envs(one, 'train', 1)
    assert len(stores[0]) == len(stores[1]) == 6
    for left, right in zip(*stores, strict=True):
      ours, theirs = npz.read(left), npz.read(right)
      assert {k: (v.dtype, v.shape) for k, v in ours.items()} == {
          k: (v.dtype, v.shape) for k, v in theirs.items()}
      np.testing.assert_array_equal(ours['image'][0], theirs['image'][0])

  @pytest.mark.parametrize('seconds, expected', [
      (0.01, 'bss+e'), (0, 's[^s]*(be){3}')])
  def test_neither_waits(self, config, seconds, expected):
    """Several steps in an update, several updates from step to step."""
    order = []

    class Recorder:

      def __init__(self, env):
        self.env = env

      def __getattr__(self, name):
        return getattr(self.env, name)

      def receive(self):
        obs = self.env.receive()
        order.append('step')
        return obs

    class Agent(FakeAgent):

      def train(self, batch, env_steps):
        order.append('begin')
        metrics = super().train(batch, env_steps)
        order.append('end')
        return metrics

    config = config(steps=80, pretrain_updates=1, **SLOW)
    training.train(
        config, 'fake', functools.partial(Agent, seconds=seconds),
        lambda *args: [Recorder(x) for x in make_envs(*args, factory=Slow)],
        training.Stop(), MODULE)
    text = ''.join(x[0] for x in order)
    assert re.search(expected, text), text

  def test_log_evaluations_and_videos(self, config, loops):
    seen = []

    class Agent(FakeAgent):

      def policy(self, obs, state=None, mode='train', env_steps=0):
        if mode == 'eval' and obs['is_first'].any() and acting():
          before = loops[0].driver.steps
          ends = time.monotonic() + 10
          while loops[0].driver.steps == before and time.monotonic() < ends:
            time.sleep(0.01)
          seen.append(loops[0].driver.steps - before)
        return super().policy(obs, state, mode, env_steps)

    config = config(steps=200, eval_every=50, video_every=100, **SLOW)
    make = functools.partial(make_envs, factory=Slow)
    training.train(config, 'fake', Agent, make, training.Stop(), MODULE)
    rows = metrics(config)
    assert rows[-1]['step'] == 200
    assert sum('eval/return' in x for x in rows) >= 3
    assert list(pathlib.Path(config.logdir, 'videos').glob('*_openloop.gif'))
    # While the agent is evaluated the environments go on.
    assert any(seen)
    assert all(x['eval/length'] == 20 for x in rows if 'eval/length' in x)


class TestRatio:

  def ratio(self, bounds, **pace):
    return parallel.Ratio(Section({
        'update_ratio': {'least': 0, 'most': 0, **bounds},
        **(pace or {'train_every': 4, 'train_updates': 1})}))

  def test_no_updates_at_all(self):
    """0 is no bound, but not where nothing is to be learned."""
    streams = {'train_ratio': 0, 'batch_size': 2, 'batch_length': 8,
               'action_repeat': 1}
    for pace in (streams, {'train_every': 4, 'train_updates': 0}):
      assert not self.ratio({}, **pace).may_learn(100, 0)
      assert self.ratio({}, **pace).may_act(100, 0)
    assert self.ratio({'most': 1}, **streams).may_learn(100, 0)

  @pytest.mark.parametrize('least, most', [
      (0, 0), (0.1, 0.1), (0.3, 0), (0, 0.3), (2, 2.5), (0.01, 7)])
  def test_one_of_both_may_always_go_on(self, least, most):
    ratio = self.ratio({'least': least, 'most': most})
    for steps, updates in itertools.product(range(0, 60, 4), range(60)):
      act, learn = ratio.may_act(steps, updates), ratio.may_learn(
          steps, updates)
      assert act or learn
      assert act or updates < least * steps
      assert learn or updates > most * steps

  @pytest.mark.parametrize('seconds, step, bounds', [
      (0.01, 0, {'least': 0.05}), (0, 0.003, {'most': 0.05}),
      (0, 0, {'least': 0.05, 'most': 0.05})])
  def test_of_a_run(self, config, seconds, step, bounds):
    """Whichever of both is the faster one waits."""
    config = config(
        steps=440, update_ratio=bounds, pretrain_updates=1,
        **{**SLOW, 'time_limit': 20})
    (slowly if step else run)(
        config if step else config.update({'task': 'dummy_continuous'}),
        seconds=seconds)
    made = saved(config)[1]['updates'] - 1
    assert made >= 20 - 1 if 'least' in bounds else made < 400 * 0.05 + 2
    assert made <= 20 + 1 or 'most' not in bounds

  def test_bounds_that_leave_nothing(self, config):
    config = config(update_ratio={'least': 2, 'most': 1})
    from dreamerv1 import validate  # Beside this test nothing needs it.
    with pytest.raises(UserError, match='update_ratio.least: 2.0 is more th'):
      validate(config)


class TestActor:
  """The process that acts."""

  @pytest.fixture
  def made(self, config):
    space = ActionSpace('continuous', 2)
    agent = FakeAgent(None, None, space)
    other = actor.Actor(MODULE, config(), {'image': IMAGE}, space)
    yield agent, other
    other.close()

  def obs(self, first=False):
    return {'image': np.zeros((1, 64, 64, 3), np.uint8),
            'is_first': np.array([first]), 'reward': np.zeros(1)}

  def test_acts_as_the_agent(self, made):
    agent, other = made
    agent.weights, agent.calls['train'] = np.array([0.3, 2.0]), 4
    other.wait()
    other.offer(agent.acting_state())
    other.refresh()
    ours = theirs = None
    for first in (True, False, False, True):
      one, ours = agent.policy(self.obs(first), ours)
      two, theirs = other(self.obs(first), theirs, 0)
      np.testing.assert_array_equal(one, two)
      np.testing.assert_array_equal(ours['memory'], theirs['memory'])
    assert other.counters() == {'acts': 8}

  def test_only_the_newest_weights_are_handed_over(self, made):
    agent, other = made
    other.wait()
    for value in (1.0, 2.0, 3.0):
      other.offer({'weights': np.full(2, value)})
    before, _ = other(self.obs(), None, 0)
    other.refresh()
    other.refresh()
    after, _ = other(self.obs(), None, 0)
    # Weights, calls and memory: 0 + 1 + 1, 3 + 2 + 1.
    np.testing.assert_allclose(before, np.sin([[2, 2]]), rtol=1e-6)
    np.testing.assert_allclose(after, np.sin([[6, 6]]), rtol=1e-6)

  def test_ends_with_its_parent(self, made):
    _, other = made
    other.wait()
    pid = other.pid
    other.close()
    assert not pathlib.Path(f'/proc/{pid}').exists()


class TestFailures:
  """A line each; no thread and no process stays."""

  def refusal(self, *args, **kwargs):
    with pytest.raises(UserError) as info:
      run(*args, **kwargs)
    assert '\n' not in str(info.value)
    return str(info.value)

  def test_an_environment_that_fails_again_and_again(
      self, config, loops, capsys):
    class Fails(NewStyle):
      steps = 0

      def step(self, action):
        Fails.steps += 1
        if Fails.steps > 80:
          raise ValueError('no such joint')
        return super().step(action)

    config = config(**{**SLOW, 'save_every': 20, 'steps': 500})
    make = functools.partial(make_envs, factory=lambda: Fails(20))
    line = self.refusal(config, make=make)
    assert 'warning: environment 0 failed and is' in capsys.readouterr().err
    assert 'no such joint' in line and 'of two episodes in a row' in line
    assert is_closed(loops[0])
    assert saved(config)[1]['env_steps'] <= 80

  def test_an_environment_that_fails_now_and_then(
      self, config, capsys, monkeypatch):
    monkeypatch.setattr(strange_envs.Sometimes, 'resets', 0)
    config = config(
        **{**SLOW, 'time_limit': 10, 'batch_length': 2, 'steps': 100,
           'prefill': 4})
    run(config, make=functools.partial(
        make_envs, factory=lambda: strange_envs.Sometimes()))
    assert saved(config)[1]['env_steps'] == 100
    assert capsys.readouterr().err.count('no answer to call') > 3

  def test_the_acting_process_is_killed(self, config, loops):
    class Agent(FakeAgent):

      def train(self, batch, env_steps):
        if self.updates == 5:
          os.kill(loops[0].actor.pid, signal.SIGKILL)
        return super().train(batch, env_steps)

    config = config(**SLOW, steps=10 ** 6)
    with pytest.raises(UserError, match=(
        'the acting process ended with signal 9; last output: ')):
      training.train(
          config, 'fake', Agent, functools.partial(make_envs, factory=Slow),
          training.Stop(), MODULE)

  def test_the_acting_process_can_not_start(self, config):
    """It doesn't know the agent that its parent does."""
    with pytest.raises(UserError, match='the acting process ended with stat'):
      training.train(
          config(), 'fake', FakeAgent, make_envs, training.Stop(), 'nowhere')

  def test_losses_that_stay_nan(self, config):
    assert 'loss/model: not finite in 10 updates' in self.refusal(
        config(steps=10 ** 6, **SLOW), nan_from=5,
        make=functools.partial(make_envs, factory=Slow))

  @pytest.mark.parametrize('what', ['checkpoints', 'episodes'])
  def test_disk_full(self, config, monkeypatch, what):
    before, count = npz.write, itertools.count()

    def write(path, arrays):
      if path.parent.name == what and next(count) == 3:
        raise UserError(f'disk full: {path} was not written')
      before(path, arrays)

    monkeypatch.setattr(checkpoint.npz, 'write', write)
    config = config(**{**SLOW, 'save_every': 20, 'steps': 10 ** 6})
    line = self.refusal(
        config, make=functools.partial(make_envs, factory=Slow))
    assert 'disk full' in line and what in line
    monkeypatch.undo()
    count = saved(config)[1]['env_steps']
    run(config.update({'steps': count + 40}),
        make=functools.partial(make_envs, factory=Slow))
    assert saved(config)[1]['env_steps'] == count + 40

  def test_one_object_for_training_and_evaluation(self, config):
    config = config(**SLOW, steps=100, eval_every=40)
    line = self.refusal(config, make=functools.partial(
        make_envs, factory=NewStyle(20)))
    assert line.startswith('parallel: ') and 'eval_every to 0' in line
    run(config.update({'eval_every': 0}), make=functools.partial(
        make_envs, factory=NewStyle(20)))

  def test_opengl_in_this_process(self, config):
    def make(*args):
      envs = make_envs(*args)
      for env in envs:
        env.opengl = True
      return envs
    line = self.refusal(config(), make=make)
    assert line.startswith('parallel: ') and 'imported by name' in line


class TestResume:

  def test_raising_steps(self, config):
    for steps in (300, 500, 640):
      config_ = config(steps=steps)
      run(config_)
    arrays, meta = saved(config_)
    assert meta['env_steps'] == 640
    assert arrays['replay/names'].shape == (6,)
    assert arrays['agent/calls'][0] == 320 - 100

  def test_checkpoints_are_of_one_moment(self, config, capsys):
    """After a crash, what was in flight is there again, and goes on."""
    class Crash(Exception):
      pass

    class Agent(FakeAgent):

      def train(self, batch, env_steps):
        if env_steps > 300:
          raise Crash
        return super().train(batch, env_steps)

    config = config(**{**SLOW, 'save_every': 25, 'steps': 400})
    make = functools.partial(make_envs, factory=Slow)
    with pytest.raises(Crash):
      training.train(
          config, 'fake', functools.partial(Agent, seconds=0.002), make,
          training.Stop(), MODULE)
    arrays, meta = saved(config)
    # It is due at 300, and taken when what is in flight arrives.
    assert 100 < meta['env_steps'] < 400
    # Episodes of 20 steps: what is not replayed is in flight.
    rows = len(arrays.get('driver/env0/rows/reward', [0])) - 1
    assert 20 * len(arrays['replay/names']) + rows == meta['env_steps']
    assert arrays['agent/calls'][0] == meta['env_steps'] - 40
    run(config, make=make)
    assert 'did not return' not in capsys.readouterr().err
    assert saved(config)[1]['env_steps'] == 400
    store = Replay(pathlib.Path(config.logdir) / 'episodes', 0)
    assert (store.episodes, store.steps) == (20, 400)

  @pytest.mark.parametrize('key, value', [
      ('parallel', False), ('sync_updates', 3), ('update_ratio.most', 1.0)])
  def test_settings_stay(self, config, key, value):
    config = config(steps=300)
    run(config)
    with pytest.raises(UserError, match=f'^{key}: the run in'):
      run(config.update({'steps': 400, key: value}))


class TestStop:

  @pytest.mark.parametrize('checks', [1, 4, 40])
  def test_asked_to(self, config, checks):
    """A checkpoint of where it is, whatever goes on."""
    class StopAt(training.Stop):
      left = checks

      def check(self):
        self.left -= 1
        if self.left <= 0:
          raise Stopped(signal.SIGINT)

    config = config(**SLOW, steps=10 ** 6)
    with pytest.raises(Stopped):
      run(config, StopAt(), functools.partial(make_envs, factory=Slow))
    arrays, meta = saved(config)
    rows = len(arrays.get('driver/env0/rows/reward', [0])) - 1
    assert 20 * len(arrays['replay/names']) + rows == meta['env_steps']

  @pytest.mark.parametrize('signum, code', [
      (signal.SIGINT, 130), (signal.SIGTERM, 143)])
  def test_signals(self, tmp_path, signum, code):
    """As Ctrl-C sends them: to all processes of the terminal."""
    command = [
        sys.executable, '-m', MODULE, 'train', '--configs', 'debug', '--task',
        'dummy_continuous', '--logdir', str(tmp_path / 'run'), '--parallel',
        'true', '--update_ratio.least', '0.01', '--eval_every', '0',
        '--steps', '1000000']
    process = subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True,
        start_new_session=True)
    end = time.monotonic() + 250
    while len(list(tmp_path.glob('run/episodes/*.npz'))) < 4:
      assert time.monotonic() < end
      time.sleep(0.05)
    os.killpg(process.pid, signum)
    _, err = process.communicate(timeout=250)
    assert process.returncode == code
    assert 'Traceback' not in err
    assert err.splitlines()[-1].startswith('Stopped, with a checkpoint; ')
    arrays, meta = resume.checkpoints(tmp_path / 'run').load()
    assert meta['env_steps'] > 300 and arrays['agent/calls'][0] > 0
