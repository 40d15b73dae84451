"""Worker processes, and the environments that render in them."""

import inspect
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from dreamer import envs
from dreamer.envs import gl, spaces
from dreamer.envs.workers import remote
from dreamer.errors import UserError
from dreamer.run.driver import Driver
from dreamer.run.prefill import RandomPolicy
from tests.support import ROOT, quick
from tests.support import strange_envs as strange
from tests.support.env_tools import (
  assert_same,
  draw_actions,
  make_config,
  rollout,
)

LOW = {'dmc__buffer': 'small', 'dmc__shadows': 'off',
       'dmc__multisampling': False}


def config(**overrides):
  return make_config(**{'envs.worker': 'process', **overrides})


@pytest.fixture
def make():
  """Makes remote environments and closes them after the test."""
  made = []

  def function(factory=None, amount=1, **overrides):
    made.extend(
        envs.make_envs(config(**overrides), 'train', amount, factory))
    return made[-1]

  yield function
  for env in made:
    env.close()


def gone(pid):
  """Whether the process ended within some seconds; zombies have ended."""
  end = time.monotonic() + 250
  while time.monotonic() < end:
    try:
      state = Path(f'/proc/{pid}/stat').read_text().rpartition(') ')[2][0]
    except (FileNotFoundError, ProcessLookupError):
      return True
    if state == 'Z':
      return True
    time.sleep(0.05)
  return False


# What goes through the wire


def test_worker_equals_inline(make):
  inline = envs.make_env(config(time_limit=20))
  worker = make(time_limit=20)
  assert worker.obs_space == inline.obs_space
  assert worker.act_space == inline.act_space
  actions = draw_actions(inline.act_space, 10)
  left, right = rollout(inline, 7, actions), rollout(worker, 7, actions)
  for one, two in zip(left, right, strict=True):
    assert_same(one, two)
  obs = right[-1]
  assert obs['is_last'] is True and obs['is_terminal'] is False
  assert isinstance(obs['reward'], np.float32)
  assert isinstance(obs['discount'], np.float32)
  assert obs['image'].flags.writeable
  assert_same(worker.replay(7, actions), obs)


def test_workers_run_at_the_same_time(make):
  make(amount=2)
  pair = envs.make_envs(config(), 'train', 2)
  for index, env in enumerate(pair):
    env.send_reset(index)
  obs = [env.receive() for env in pair]
  assert (obs[0]['image'] != obs[1]['image']).any()
  for env in pair:
    env.close()


def test_close_ends_the_worker(make):
  env = make()
  env.reset(0)
  pid = env.pid
  env.close()
  env.close()
  assert gone(pid)
  with pytest.raises(remote.WorkerError, match='closed'):
    env.reset(0)
  env.restart()
  assert env.reset(0)['is_first']


def test_worker_leads_its_own_session(make):
  env = make()
  env.reset(0)
  assert os.getsid(env.pid) == env.pid != os.getsid(0)


def test_prints_do_not_disturb_the_protocol(make, capfd):
  env = make(strange.prints)
  env.reset(0)
  assert env.step(np.zeros(2, np.float32))['reward'] == 1
  env.close()
  output = capfd.readouterr()
  assert 'a library prints' in output.err and 'its C code' in output.err
  assert not output.out


# Errors


def test_user_error_is_carried_over(make, capfd):
  env = make(task='dmc_walker_wlak')
  for _ in range(2):
    with pytest.raises(UserError) as info:
      env.reset(0)
    assert not isinstance(info.value, remote.WorkerError)
    assert 'did you mean dmc_walker_walk' in str(info.value)
  env.close()
  assert 'Traceback' not in capfd.readouterr().err


@pytest.mark.parametrize('factory, words', [
    (strange.nan_reward, 'reward is nan'),
    (strange.wrong_image, 'camera is float32')])
def test_bad_values_are_named(make, factory, words):
  env = make(factory)
  env.reset(0)
  with pytest.raises(UserError, match=words) as info:
    env.step(np.zeros(2, np.float32))
  assert '\n' not in str(info.value)
  assert not isinstance(info.value, remote.WorkerError)


@pytest.mark.parametrize('factory, words', [
    (strange.crash, 'signal 11.*the simulator exploded'),
    (strange.raises, 'ValueError: no such joint')])
def test_crash_and_restart(make, factory, words):
  env = make(factory)
  env.reset(0)
  pid = env.pid
  env.send_step(np.zeros(2, np.float32))
  with pytest.raises(remote.WorkerError, match=words) as info:
    env.receive()
  assert '\n' not in str(info.value)
  assert gone(pid)
  with pytest.raises(remote.WorkerError):
    env.reset(0)
  env.restart()
  assert env.reset(0)['is_first']


WORKERS = pytest.mark.parametrize('worker', ['process', 'inline'])


@WORKERS
def test_what_an_environment_raises_is_one_line(make, capfd, worker):
  env = make(strange.raises, envs__worker=worker)
  env.reset(0)
  with pytest.raises(remote.WorkerError) as info:
    env.step(np.zeros(2, np.float32))
  line = inspect.getsource(strange.Bad).splitlines().index(
      "      raise ValueError('no such joint')")
  line += inspect.findsource(strange.Bad)[1] + 1
  text = str(info.value)
  assert text.startswith('train environment 0 (')
  assert text.endswith(
      f'ValueError: no such joint (tests/support/strange_envs.py:{line} in '
      'step)')
  assert str(line) in info.value.place
  env.close()
  assert not capfd.readouterr().err
  env.restart()
  assert env.reset(0)['is_first']


@WORKERS
def test_a_factory_that_fails_is_one_line(make, capfd, worker):
  with pytest.raises(remote.WorkerError, match=(
      "TypeError: .*missing 1 required positional argument: 'rank'")) as info:
    make(strange.needs_argument, envs__worker=worker).reset(0)
  assert '\n' not in str(info.value)
  assert not capfd.readouterr().err


def test_a_close_that_fails_in_a_worker_is_reported(make, capfd):
  env = make(strange.BadClose)
  env.reset(0)
  env.close()
  assert capfd.readouterr().err == (
      'warning: train environment 0 (tests.support.strange_envs:BadClose): '
      'close() failed: RuntimeError: the display is gone '
      f'({strange.__file__}:{line_of(strange.BadClose)} in close)\n').replace(
          f'{os.getcwd()}/', '')


def test_a_close_has_time(make, monkeypatch, tmp_path):
  monkeypatch.setenv('SLOW_CLOSE', str(tmp_path / 'file'))
  env = make(strange.SlowClose)
  env.reset(0)
  env.close()
  assert (tmp_path / 'file').read_text() == 'closed'


def test_a_close_without_end_is_told(make, monkeypatch, tmp_path):
  monkeypatch.setenv('SLOW_CLOSE', str(tmp_path / 'file'))
  monkeypatch.setattr(remote, 'CLOSING', 2.1)
  env = make(strange.SlowClose)
  env.reset(0)
  with pytest.warns(UserWarning, match='closing took over 2.1 seconds'):
    env.close()
  assert not (tmp_path / 'file').exists()


def test_what_a_crashed_worker_started_ends(make):
  env = make(strange.Leaves)
  env.reset(0)
  pid = int(env.step(np.zeros(2, np.float32))['reward'])
  assert not Path(f'/proc/{pid}/stat').read_text().count(' Z ')
  with pytest.raises(remote.WorkerError, match='signal 6'):
    for _ in range(3):
      env.step(np.zeros(2, np.float32))
  assert gone(pid)


def test_a_close_that_fails_inline_is_reported(make):
  env = make(strange.BadClose, envs__worker='inline')
  env.reset(0)
  with pytest.warns(UserWarning, match='close.. failed.*the display is gone'):
    env.restart()
  assert env.reset(0)['is_first']
  with pytest.warns(UserWarning, match='close.. failed'):
    env.close()


def line_of(kind):
  """The number of a class's last line."""
  lines, first = inspect.getsourcelines(kind)
  return first + len(lines) - 1


@WORKERS
def test_failures_are_restarted_in_either_place(make, monkeypatch, worker):
  monkeypatch.setattr(strange.Sometimes, 'resets', 0)
  env = make(strange.Sometimes, envs__worker=worker)
  episodes = []
  driver = Driver(
      [env], env.act_space, 0, 'train', lambda *x: episodes.append(x))
  with pytest.warns(UserWarning, match='no answer to call') as warned:
    while len(episodes) < 7:
      driver.send(RandomPolicy(env.act_space, 0))
      driver.receive()
  # A fresh worker counts from 0; the process goes on counting.
  assert len(warned) == 3 and driver.dropped == 0


@WORKERS
def test_a_mistake_is_restarted_once(make, worker):
  env = make(strange.raises, envs__worker=worker)
  driver = Driver([env], env.act_space, 0)
  with pytest.warns(UserWarning, match='no such joint') as warned, (
      pytest.raises(remote.WorkerError, match=(
          'no such joint.*the same at step 1 of two episodes'))):
    for _ in range(10):
      driver.send(RandomPolicy(env.act_space, 0))
      driver.receive()
  assert len(warned) == 1


def test_worker_killed_while_idle(make):
  env = make()
  env.reset(0)
  os.kill(env.pid, signal.SIGKILL)
  assert gone(env.pid)
  env.send_step(np.zeros(2, np.float32))
  with pytest.raises(remote.WorkerError, match='signal 9'):
    env.receive()


def test_hang_is_noticed_and_ended(make):
  env = make(strange.hang, envs__timeout=2.0)
  env.reset(0)
  pid = env.pid
  with pytest.raises(remote.WorkerError, match='envs.timeout'):
    env.step(np.zeros(2, np.float32))
  assert gone(pid)
  env.restart()
  assert env.reset(0)['is_first']


@pytest.mark.parametrize('factory, key, where', [
    (strange.slow_reset, 'envs.reset_timeout', 'reset'),
    (strange.slow_start, 'envs.reset_timeout', 'start'),
    (strange.hang, 'envs.timeout', 'step')])
def test_the_start_and_resets_have_a_time_of_their_own(
    make, factory, key, where):
  """Each wait, with its own key short and the other one long."""
  times = {'envs.timeout': 60, 'envs.reset_timeout': 60}
  env = make(factory, **{**times, key: 1})
  with pytest.raises(remote.WorkerError, match=(
      f'no answer for 1 seconds; .* raise {key}$')):
    env.reset(0)
    assert where == 'step'
    env.step(np.zeros(2, np.float32))


@pytest.mark.parametrize('factory', [strange.slow_reset, strange.slow_start])
def test_a_slow_start_is_not_a_hang(make, factory):
  env = make(factory, envs__timeout=1)
  assert env.reset(0)['is_first']
  assert env.step(np.zeros(2, np.float32))['reward'] == 1
  assert env.replay(0, np.zeros((2, 2), np.float32))['reward'] == 1


# The end of the parent


PARENT = '''
import sys, threading, time
import numpy as np
from dreamer import envs
from dreamer.config import agents

def main():
  schema = agents.schema('dreamerv1')
  settings = schema.config(overrides={
      'task': sys.argv[1], 'time_limit': 10 ** 6, 'action_repeat': 10 ** 5})
  made = envs.make_envs(settings, 'train', 2)
  for env in made:
    env.reset(0)
  print(*[env.pid for env in made], flush=True)
  for env in made:
    env.send_step(np.zeros(env.act_space.shape, np.float32))

'''
DIRECT = 'main()\n'
THREADED = '''
thread = threading.Thread(target=main)
thread.start()
thread.join()
'''


def run_parent(task, start, then):
  """Starts a parent of two workers; returns it and their numbers."""
  parent = subprocess.Popen(
      [sys.executable, '-c', PARENT + start + then, task], cwd=ROOT,
      stdout=subprocess.PIPE, text=True)
  return parent, [int(pid) for pid in parent.stdout.readline().split()]


@pytest.mark.parametrize('task', [
    'dummy_continuous',
    pytest.param('dmc_cartpole_balance', marks=pytest.mark.slow)])
def test_killed_parent_leaves_no_worker(task):
  parent, pids = run_parent(task, DIRECT, 'time.sleep(1000)')
  assert len(pids) == 2 and not any(map(ended, pids))
  parent.kill()
  parent.wait()
  assert all(map(gone, pids))


def test_workers_outlive_the_thread_that_made_them():
  parent, pids = run_parent(
      'dummy_continuous', THREADED, 'time.sleep(1000)')
  time.sleep(0.5)
  assert len(pids) == 2 and not any(map(ended, pids))
  parent.terminate()
  parent.wait()
  assert all(map(gone, pids))


@pytest.mark.parametrize('then', ['pass', 'raise SystemExit(3)'])
def test_exiting_parent_leaves_no_worker(then):
  parent, pids = run_parent('dummy_continuous', DIRECT, then)
  parent.wait(timeout=250)
  assert len(pids) == 2 and all(map(gone, pids))


def ended(pid):
  return not Path(f'/proc/{pid}').exists()


# TensorFlow


TENSORFLOW = '''
    import tensorflow as tf
    from dreamer import envs
    from dreamer.config import agents
    from tests.support import mapped
    schema = agents.schema('dreamerv1')
    settings = schema.config(overrides={
        'task': 'dmc_cartpole_balance', 'dmc.shadows': 'off'})
    env, = envs.make_envs(settings)
    assert env.reset(0)['image'].std() > 0
    assert float(tf.reduce_sum(tf.ones(3))) == 3
    assert env.step(env.act_space.sample(
        __import__('numpy').random.default_rng(0)))['image'].std() > 0
    names = ' '.join(mapped(env.pid))
    assert 'libmujoco' in names
    assert 'tensorflow' not in names, 'TensorFlow in the worker'
    env.close()
    print('fine')
'''


@pytest.mark.slow
def test_worker_of_a_tensorflow_parent_has_none():
  result = subprocess.run(
      [sys.executable, '-c', textwrap.dedent(TENSORFLOW)], cwd=ROOT,
      capture_output=True, text=True, timeout=200)
  assert result.returncode == 0, result.stderr
  assert result.stdout.split() == ['fine']


def test_nothing_here_imports_tensorflow():
  code = textwrap.dedent('''
      import sys, pkgutil, importlib
      import dreamer.envs
      for module in pkgutil.iter_modules(dreamer.envs.__path__):
        importlib.import_module(f'dreamer.envs.{module.name}')
      assert 'tensorflow' not in sys.modules
      assert 'dm_control' not in sys.modules
      assert 'gym' not in sys.modules
  ''')
  subprocess.run([sys.executable, '-c', code], cwd=ROOT, check=True)


def test_factory_beside_tensorflow_is_refused(monkeypatch):
  from dreamer.envs.workers import worker  # For this test only.
  monkeypatch.setitem(sys.modules, 'tensorflow', None)
  with pytest.raises(UserError, match='imports TensorFlow'):
    worker.load_factory('tests.support.strange_envs:crash')


# OpenGL


def test_choose_gl_respects_what_is_set(monkeypatch):
  monkeypatch.setenv('MUJOCO_GL', 'something')
  monkeypatch.setattr(gl, 'find_gl', None)
  assert gl.choose_gl() == 'something'


def test_choose_gl_falls_back_and_remembers(monkeypatch):
  monkeypatch.setenv('MUJOCO_GL', '')
  monkeypatch.setattr(
      gl, 'renderer_name', lambda name: 'fine' if name == 'osmesa' else None)
  assert gl.choose_gl() == 'osmesa'
  assert os.environ['MUJOCO_GL'] == 'osmesa'


def test_no_gl_says_what_to_install(monkeypatch):
  monkeypatch.setenv('MUJOCO_GL', '')
  monkeypatch.setattr(gl, 'renderer_name', lambda name: None)
  with pytest.raises(UserError) as info:
    gl.choose_gl()
  text = str(info.value)
  assert 'libegl1 libegl-mesa0 libgl1-mesa-dri libgl1' in text
  assert 'libosmesa6' in text and '\n' not in text


@pytest.mark.skipif('DISPLAY' in os.environ, reason='glfw works here')
def test_backend_of_the_users_own_that_fails(make, monkeypatch):
  """MuJoCo raises an error that is no RuntimeError."""
  monkeypatch.setenv('MUJOCO_GL', 'glfw')
  with pytest.raises(UserError, match='MUJOCO_GL=glfw does not render'):
    make(task='dmc_walker_walk', **LOW).reset(0)


@pytest.mark.parametrize('task, factory', [
    ('gym_InvertedPendulum-v5', None), ('dummy_continuous', strange.cartpole)])
def test_the_renderer_is_chosen_for_any_environment(
    make, monkeypatch, task, factory):
  monkeypatch.delenv('MUJOCO_GL', raising=False)
  monkeypatch.delenv('PYOPENGL_PLATFORM', raising=False)
  env = make(factory, task=task)
  assert env.reset(0)['image'].std() > 0
  assert os.environ['MUJOCO_GL'] in gl.BACKENDS
  assert 'PYOPENGL_PLATFORM' not in os.environ  # only there
  environ = Path(f'/proc/{env.pid}/environ').read_text().split('\0')
  assert f'PYOPENGL_PLATFORM={os.environ["MUJOCO_GL"]}' in environ


def test_choose_gl_follows_a_platform_that_is_set(monkeypatch):
  tried = []
  monkeypatch.setenv('MUJOCO_GL', '')
  monkeypatch.setenv('PYOPENGL_PLATFORM', 'osmesa')
  monkeypatch.setattr(gl, 'renderer_name', lambda name: tried.append(name))
  with pytest.raises(UserError, match='tried osmesa'):
    gl.choose_gl()
  assert tried == ['osmesa']


INLINE = {
    'object': 'suite.load("cartpole", "swingup")',
    'lambda': 'lambda: suite.load("cartpole", "swingup")',
    'gymnasium': 'lambda: gymnasium.make('
                 '"InvertedPendulum-v5", render_mode="rgb_array")'}


@pytest.mark.parametrize(
    'kind', quick.every(len(INLINE), [(kind,) for kind in INLINE]))
def test_software_opengl_beside_tensorflow_is_refused(kind):
  """At once, instead of a process that crashes later."""
  if not any(x in gl.renderer_name(gl.choose_gl()) for x in gl.SOFTWARE):
    pytest.skip('OpenGL is drawn by a graphics card here')
  code = f"""
      import gymnasium
      from dm_control import suite
      from dreamer import cli, envs
      from tests.support.env_tools import make_config
      def main():
        envs.make_envs(make_config(), 'train', 1, {INLINE[kind]})
      cli.guard(main)
  """
  environ = {k: v for k, v in os.environ.items() if k != 'MUJOCO_GL'}
  done = subprocess.run(
      [sys.executable, '-c', textwrap.dedent(code)], cwd=ROOT, env=environ,
      capture_output=True, text=True)
  assert done.returncode == 2, done.stderr
  last = done.stderr.splitlines()[-1]  # dm_control's import warns before
  assert last.startswith('error: environment ')
  assert 'pass a function that can be imported by name' in last
  assert 'Traceback' not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize('backend', [None, 'egl'])
def test_numbers_from_an_object_of_dm_control(backend):
  """Nothing is rendered; but with EGL the import alone loads the driver."""
  code = '''
      import dreamerv2
      from dreamer import envs
      from tests.support.strange_envs import cartpole
      config = dreamerv2.configure(['dmc_proprio'], images='none')
      env, = envs.make_envs(config, 'train', 1, cartpole())
      import tensorflow as tf
      assert env.reset(0)['position'].shape == (3,)
      assert env.step(env.act_space.sample(
          __import__('numpy').random.default_rng(0)))['reward'] >= 0
      print('fine')
  '''
  environ = {key: value for key, value in os.environ.items()
             if key not in ('MUJOCO_GL', 'PYOPENGL_PLATFORM')}
  if backend:
    environ['MUJOCO_GL'] = backend
  done = subprocess.run(
      [sys.executable, '-c', textwrap.dedent(code)], cwd=ROOT,
      capture_output=True, text=True, env=environ)
  if backend:
    assert 'and TensorFlow crash in one process' in done.stderr
    return
  assert done.stdout == 'fine\n', done.stderr


def test_opengl_that_may_be_used_is_a_warning(monkeypatch):
  monkeypatch.setattr(gl, 'renderer_name', lambda name: 'llvmpipe')
  monkeypatch.setenv('MUJOCO_GL', 'egl')
  monkeypatch.setitem(sys.modules, 'moderngl', None)
  with pytest.warns(UserWarning, match='Mine: if it renders with OpenGL: soft'):
    gl.check_inline('Mine', None)
  monkeypatch.setattr(gl, 'renderer_name', lambda name: 'NVIDIA H100')
  gl.check_inline('Mine', None)
  gl.check_inline('Mine', True)


def test_errors_of_opengl_name_the_remedy(monkeypatch):
  monkeypatch.setenv('MUJOCO_GL', '')
  error = RuntimeError('X11: The DISPLAY environment variable is missing')
  assert 'install the system packages libegl1' in gl.remedy(error)
  monkeypatch.setenv('MUJOCO_GL', 'egl')
  assert 'python -m dreamer.envs.gl' in gl.remedy(error)
  assert gl.remedy(KeyError('left_knee')) == ''


@pytest.mark.skipif('DISPLAY' in os.environ, reason='glfw works here')
def test_a_users_environment_that_can_not_render(make, monkeypatch):
  monkeypatch.setenv('MUJOCO_GL', 'glfw')
  with pytest.raises(UserError, match=(
      'with MUJOCO_GL=glfw: python -m dreamer.envs.gl tells')) as info:
    make(strange.cartpole).reset(0)
  assert '\n' not in str(info.value)


def test_gl_command_reports_a_backend_that_fails():
  result = subprocess.run(
      [sys.executable, '-m', 'dreamer.envs.gl'], cwd=ROOT,
      env={**os.environ, 'MUJOCO_GL': 'glfww'}, capture_output=True,
      text=True)
  assert result.returncode == 2 and not result.stdout
  assert result.stderr.startswith('error: MUJOCO_GL=glfww does not render')
  assert result.stderr.count('\n') == 1


def test_wrong_gl_is_one_line_from_the_worker(make, monkeypatch):
  monkeypatch.setenv('MUJOCO_GL', 'glfww')
  env = make(task='dmc_walker_walk')
  with pytest.raises(UserError, match='MUJOCO_GL=glfww does not render'):
    env.reset(0)


# DeepMind Control


@pytest.mark.parametrize('task, actions, vectors', [
    ('dmc_cup_catch', 2, {'position', 'velocity'}),
    ('dmc_walker_walk', 6, {'orientations', 'height', 'velocity'})])
def test_control_task(make, task, actions, vectors):
  env = make(task=task, **LOW)
  assert env.act_space == spaces.ActionSpace('continuous', actions)
  assert set(env.obs_space) == {'image', *vectors}
  if 'height' in vectors:
    assert env.obs_space['height'].shape == (1,)
  obs = rollout(env, 0, draw_actions(env.act_space, 3))[-1]
  assert obs['image'].std() > 0
  assert all(obs[key].dtype == np.float32 for key in vectors)


@pytest.mark.slow
@pytest.mark.parametrize('task', [
    x for x in envs.task_list() if x.startswith('dmc_')])
def test_every_control_task(make, task):
  """Deterministic in another process and after another episode."""
  env, other = make(task=task, **LOW), make(task=task, **LOW)
  actions = draw_actions(env.act_space, 12)
  rollout(other, 5, -actions)
  left, right = rollout(env, 2 ** 40, actions), rollout(
      other, 2 ** 40, actions)
  for one, two in zip(left, right, strict=True):
    assert_same(one, two)
  assert_same(env.replay(2 ** 40, actions), right[-1])
  assert left[-1]['image'].std() > 0
  assert (left[0]['image'] != left[-1]['image']).any()
  assert (env.reset(1)['image'] != left[0]['image']).any() or (
      task.startswith('dmc_cheetah'))


@pytest.mark.slow
def test_control_episode_is_500_decisions(make):
  env = make(task='dmc_cartpole_swingup', **LOW)
  action = np.zeros(1, np.float32)
  obs, count = env.reset(0), 0
  while not obs['is_last']:
    obs, count = env.step(action), count + 1
  assert count == 500
  assert not obs['is_terminal'] and obs['discount'] == 1


def test_longer_than_the_native_limit(make):
  env = make(task='dmc_cartpole_balance', time_limit=1300,
             action_repeat=1300, **LOW)
  env.reset(0)
  obs = env.step(np.zeros(1, np.float32))
  assert obs['is_last'] and obs['reward'] > 0 and not obs['is_first']


PLAIN = '''
    import sys
    import numpy as np
    from dm_control import suite
    env = suite.load(sys.argv[1], sys.argv[2], {'random': 3})
    camera = int(sys.argv[3])
    spec = env.action_spec()
    actions = np.load(sys.argv[4])
    if sys.argv[5] == 'mapped':
      actions = spec.minimum + (actions + 1) / 2 * (
          spec.maximum - spec.minimum)
    env.reset()
    images = [env.physics.render(64, 64, camera)]
    rewards = []
    for action in actions:
      rewards.append(env.step(action).reward + env.step(action).reward)
      images.append(env.physics.render(64, 64, camera))
    np.savez(sys.argv[6], images=images, rewards=rewards)
'''


@pytest.mark.slow
@pytest.mark.parametrize('domain, task, camera, actions', [
    ('walker', 'walk', 0, 'as they are'), ('cartpole', 'balance', 0, 'mapped'),
    ('quadruped', 'walk', 2, 'mapped')])
def test_full_quality_equals_plain_rendering(
    make, tmp_path, domain, task, camera, actions):
  env = make(task=f'dmc_{domain}_{task}')
  decisions = draw_actions(env.act_space, 5)
  np.save(tmp_path / 'actions.npy', decisions)
  subprocess.run(
      [sys.executable, '-c', textwrap.dedent(PLAIN), domain, task,
       str(camera), str(tmp_path / 'actions.npy'), actions,
       str(tmp_path / 'plain.npz')], check=True)
  plain = np.load(tmp_path / 'plain.npz')
  obs = rollout(env, 3, decisions)
  np.testing.assert_array_equal(
      [x['image'] for x in obs], plain['images'])
  np.testing.assert_allclose(
      [x['reward'] for x in obs[1:]], plain['rewards'], rtol=1e-6)


QUALITY = '''
    import sys
    from dreamer.envs.suites import dmc
    def look(**quality):
      env = dmc.DMC('walker_walk', **quality)
      env.reset(0)
      physics = env._env.physics
      context = physics.contexts.mujoco.ptr
      return (context.offWidth, context.offHeight, context.offSamples,
              context.shadowSize), env.render().astype(float)
    full, image = look()
    assert full == (640, 480, 4, 2048), full
    for expected, changes, quality in (
        ((64, 64, 4, 2048), False, {'buffer': 'small'}),
        ((640, 480, 4, 1024), True, {'shadows': 'low'}),
        ((640, 480, 4, 0), True, {'shadows': 'off'}),
        ((640, 480, 0, 2048), True, {'multisampling': False})):
      sizes, other = look(**quality)
      assert sizes == expected, (quality, sizes)
      print(quality, abs(image - other).mean())
      if changes:
        assert abs(image - other).mean() > 0, quality
'''


@pytest.mark.slow
def test_quality_keys_reach_the_renderer():
  subprocess.run(
      [sys.executable, '-c', textwrap.dedent(QUALITY)], cwd=ROOT,
      check=True, env={**os.environ, 'MUJOCO_GL': gl.choose_gl()})


@pytest.mark.slow
def test_camera_key(make):
  standard, side = make(task='dmc_walker_walk', **LOW), make(
      task='dmc_walker_walk', dmc__camera=1, **LOW)
  assert (standard.reset(0)['image'] != side.reset(0)['image']).any()
  env = make(task='dmc_walker_walk', dmc__camera=9, **LOW)
  with pytest.raises(UserError, match='dmc.camera=9.*0..1'):
    env.reset(0)


@pytest.mark.slow
def test_normalize_actions_changes_only_other_bounds(make):
  def reward(task, **settings):
    env = make(task=task, **settings, **LOW)
    return rollout(env, 0, draw_actions(env.act_space, 3))[-1]
  assert_same(
      reward('dmc_walker_walk'),
      reward('dmc_walker_walk', dmc__normalize_actions='all'))
