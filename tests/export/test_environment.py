"""Exported policies know their environment: observations, actions, example.

What `environment.py` makes of them is what a run makes of them, to the bit.
"""

import importlib.util
import json
import shutil
import subprocess
import sys

import gymnasium
import numpy as np
import pytest
from dm_env import specs

import dreamerv1
from dreamer.config import agents
from dreamer.envs import resize
from dreamer.envs.suites import user
from dreamer.errors import UserError
from dreamer.export import environment, stablehlo, trained
from dreamer.run import env_identity, resume
from dreamer.run.run_folder import RunFolder
from tests.support import agent_tools
from tests.support import strange_envs as strange
from tests.support.env_tools import make_config, make_user_env

S = gymnasium.spaces
IMAGE = S.Box(0, 255, (64, 64, 3), np.uint8)


class Any(gymnasium.Env):
  """Shows random samples of a space."""

  def __init__(self, observations=IMAGE, actions=None, axis=False):
    self.observation_space = observations
    self.action_space = actions or S.Discrete(2)
    self.num_envs = 1 if axis else None
    self.axis = axis

  def reset(self, seed=None, options=None):
    self.observation_space.seed(seed)
    return self._sample(), {}

  def step(self, action):
    assert self.action_space.contains(action)
    self.taken = action
    return self._sample(), 0.0, False, False, {}

  def render(self):
    return self.frame

  def _sample(self):
    self.raw = self.observation_space.sample()
    if self.axis:
      self.raw = {key: x[None] for key, x in self.raw.items()}
    self.frame = np.random.default_rng(int(np.sum(
        self.np_random.integers(99)))).integers(0, 255, self.size, np.uint8)
    return self.raw

  size = (80, 100, 3)


@pytest.fixture(autouse=True)
def resize_is_beside_it(monkeypatch):
  monkeypatch.setitem(sys.modules, 'resize', resize)


def mapped(env, inner):
  """The Environment of what a user's environment tells, through JSON."""
  content = {
      'environment': env.about()['mapping'], 'config': {'action_repeat': 3},
      'obs_space': {key: [list(x.shape), x.dtype]
                    for key, x in env.obs_space.items()}}
  del inner
  return environment.Environment(json.loads(json.dumps(content)))


BOXES = {
    'as it is': IMAGE, 'large': S.Box(0, 255, (200, 150, 3), np.uint8),
    'small, enlarged': S.Box(0, 255, (32, 40, 3), np.uint8),
    'gray': S.Box(0, 255, (90, 90), np.uint8),
    'channels first': S.Box(0, 255, (4, 84, 84), np.uint8),
    'stacked frames': S.Box(0, 255, (3, 70, 64, 3), np.uint8),
    'a leading axis': S.Box(0, 255, (1, 64, 64, 3), np.uint8),
    'float': S.Box(-1, 1, (96, 96, 3)), 'bool': S.Box(0, 1, (64, 64), bool),
    'uint8 to 10': S.Box(0, 10, (64, 64, 1), np.uint8),
    'float64': S.Box(0.5, 7.25, (70, 64, 2), np.float64)}
NESTED = S.Dict(
    eye=S.Box(0, 255, (128, 96, 3), np.uint8), door=S.Discrete(4, start=-1),
    keys=S.MultiDiscrete([2, 3]), arm=S.Dict(angle=S.Box(-1, 1, (2, 2))),
    bits=S.MultiBinary([2, 2]), pair=S.Tuple([S.Box(-9, 9, ()), S.Discrete(3)]),
    reward=S.Box(-1, 1, (1,), np.float64), text=S.Text(5))


OBSERVATIONS = [
    *((name, box, '') for name, box in BOXES.items()), ('nested', NESTED, ''),
    ('two eyes', S.Dict(left=IMAGE, right=S.Box(0, 255, (70, 70), np.uint8),
                        x=S.Box(-1, 1, (3,))), 'right,left'),
    ('render', S.Box(-1, 1, (3,)), '')]


@pytest.mark.parametrize(
    'name, space, key', OBSERVATIONS, ids=[x[0] for x in OBSERVATIONS])
def test_observations_are_those_of_the_run(name, space, key):
  inner = Any(space)
  env = make_user_env(lambda: inner, image_key=key)
  for seed in range(3):
    obs = env.reset(seed)
    found = mapped(env, inner).observe(inner.raw, inner.frame)
    assert set(found) == set(env.obs_space)
    for entry in found:
      assert found[entry].dtype == obs[entry].dtype
      np.testing.assert_array_equal(found[entry], obs[entry], entry)


@pytest.mark.parametrize('size', [(80, 100), (64, 64, 1), (40, 50, 4)])
def test_what_is_rendered(size, monkeypatch):
  monkeypatch.setattr(Any, 'size', size)
  inner = Any(S.Box(-1, 1, (3,)))
  env = make_user_env(lambda: inner)
  obs = env.reset(0)
  mapping = mapped(env, inner)
  found = mapping.observe(inner.raw, inner.frame)
  np.testing.assert_array_equal(found['image'], obs['image'])
  with pytest.raises(ValueError, match='pass it as frame'):
    mapping.observe(inner.raw)


def test_without_an_image():
  inner = Any(S.Box(-1, 1, (3,)))
  config = dreamerv2_config(images='none')
  from dreamer.envs import make_env  # For this test only.
  env = make_env(config, factory=lambda: inner)
  obs = env.reset(0)
  found = mapped(env, inner).observe(inner.raw)
  assert set(found) == {'observation'} == set(env.obs_space)
  np.testing.assert_array_equal(found['observation'], obs['observation'])


def dreamerv2_config(**keys):
  return agents.schema('dreamerv2').config(overrides={
      'task': 'own_', 'envs.worker': 'inline', **keys})


def test_a_vector_of_one():
  space = S.Dict(eye=IMAGE, arm=S.Box(-1, 1, (2,)))
  inner = Any(space, S.Box(-2, 2, (3,)), axis=True)
  env = make_user_env(lambda: inner)
  obs = env.reset(0)
  found = mapped(env, inner).observe(inner.raw)
  assert inner.raw['eye'].shape == (1, 64, 64, 3)
  for name, value in found.items():
    np.testing.assert_array_equal(value, obs[name])


ACTIONS = [
    S.Discrete(5), S.Discrete(3, start=-2), S.MultiDiscrete([2, 3, 2]),
    S.MultiDiscrete([[2, 3], [2, 2]], np.int32), S.MultiBinary(3),
    S.Box(-2, 2, (2,), np.float64), S.Box(np.float32([0, -1]), np.float32(
        [3, 7])), S.Box(0, np.inf, (3,)), S.Box(-np.inf, -5, (2,)),
    S.Box(-np.inf, np.inf, (1,)), S.Box(-3, 4, (2, 2), np.int8),
    S.Box(0.1, 0.3, (4,), np.float16), S.Box(0, 3, (), np.int64)]


@pytest.mark.parametrize('space', ACTIONS, ids=str)
def test_actions_are_those_of_the_run(space):
  inner = Any(actions=space)
  env = user.UserEnv(inner)
  mapping = mapped(env, inner)
  rng = np.random.default_rng(0)
  env.reset(0)
  for _ in range(50):
    action = env.act_space.sample(rng) * rng.choice([1, 1.5])
    sent = mapping.action(action)
    env.step(action)
    assert space.contains(sent), sent
    assert np.asarray(sent).dtype == np.asarray(inner.taken).dtype
    np.testing.assert_array_equal(sent, inner.taken)


def test_actions_of_dm_env():
  spec = specs.BoundedArray((2,), np.float64, [-1, 0], [1, 4])
  env = user.UserEnv(strange.DmStyle())
  sent = mapped(env, None).action(np.float32([1, -1]))
  np.testing.assert_allclose(sent, [3, -1])
  assert spec.dtype == sent.dtype


def test_actions_with_a_leading_axis():
  inner = gymnasium.vector.SyncVectorEnv(
      [lambda: Any(actions=S.Box(-2, 2, (3,)))])
  env = user.UserEnv(inner)
  sent = mapped(env, inner).action(np.ones(3, np.float32))
  assert sent.tolist() == [[2, 2, 2]] and inner.action_space.contains(sent)


def test_a_run_records_it(tmp_path):
  inner = Any(NESTED, S.Box(-2, 2, (2,)))
  env = make_user_env(lambda: inner)
  mapping = env.about()['mapping']
  check = lambda new, mapping: env_identity.check(
      str(tmp_path), env, 'own_Any', new, None, mapping)
  check(True, mapping)
  assert env_identity.read(tmp_path)['mapping'] == mapping
  check(True, None)  # as an older version did
  path = tmp_path / 'environment.json'
  old = json.loads(path.read_text())
  del old['mapping']
  path.write_text(json.dumps(old))
  assert env_identity.read(tmp_path)['mapping'] is None
  check(False, mapping)  # continued
  assert env_identity.read(tmp_path) == {**old, 'mapping': mapping}
  assert env_identity.read(tmp_path / 'none') is None


def recorded(env, task='own_Any'):
  return {**env_identity.describe(env, task),
          'mapping': env.about()['mapping']}


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
  """A tiny agent for an environment that nobody can make again."""
  out = tmp_path_factory.mktemp('own')
  env = make_user_env(lambda: Any(NESTED, S.Box(-2, 2, (2,), np.float64)))
  config = agent_tools.make_config(task='own_Any', action_repeat=2)
  stablehlo.export(agents.find('dreamerv1'), config, out,
                   recorded=json.loads(json.dumps(recorded(env))))
  return out, env


def test_the_folder_is_whole(exported):
  out, env = exported
  content = json.loads((out / 'program.json').read_text())
  assert content['environment'] == env.about()['mapping']
  assert content['act_space'] == ['continuous', 2]
  assert set(content['obs_space']) == set(env.obs_space)
  code = (
      'import json, sys; from environment import Environment; '
      'content = json.load(open("program.json")); '
      'print(Environment(content).action([1.0, -1.0]).tolist()); '
      'assert not [x for x in sys.modules if x.startswith("dreamer")]')
  done = subprocess.run(
      [sys.executable, '-c', code.replace('[1.0, -1.0]', (
          '__import__("numpy").array([1.0, -1.0])'))], cwd=out,
      env={'PATH': ''}, capture_output=True, text=True)
  assert done.stdout == '[2.0, -2.0]\n', done.stderr


@pytest.mark.skipif(not importlib.util.find_spec('jax'), reason='no jax here')
def test_the_example_acts_within_the_bounds(exported, tmp_path):
  out = shutil.copytree(exported[0], tmp_path / 'moved')
  code = f'''
import sys
sys.path[:0] = [{str(out)!r}]
import numpy as np
from act import Policy, play
seen = []

class Env:
  def reset(self):
    return dict(
        eye=np.zeros((128, 96, 3), np.uint8), door=-1, keys=np.array([1, 2]),
        arm=dict(angle=np.eye(2)), bits=np.ones((2, 2)), pair=(0.5, 2),
        reward=np.zeros(1), text='x'), dict()

  def step(self, action):
    seen.append(action.tolist())
    return self.reset()[0], 1.0, False, len(seen) == 6, dict()

assert play(Policy({str(out)!r}), Env(), 99) == 6
assert len(seen) == 6 and all(abs(x) <= 2 for pair in seen for x in pair)
assert seen[0] == seen[1] != seen[2] == seen[3], seen  # action_repeat 2
assert not [x for x in sys.modules if x.startswith('dreamer')]
'''
  done = subprocess.run([sys.executable, '-c', code], cwd=tmp_path,
                        capture_output=True, text=True)
  assert done.returncode == 0, done.stderr[-2000:]
  done = subprocess.run([sys.executable, out / 'act.py', out], cwd=tmp_path,
                        env={'PATH': ''}, capture_output=True, text=True)
  assert done.returncode == 0, done.stderr[-2000:]
  assert len(done.stdout.splitlines()) == 10


class TestRefusals:

  def logdir(self, tmp_path, **content):
    config = agents.schema('dreamerv1').config(overrides={
        'task': 'own_Any', 'logdir': str(tmp_path)})
    config.save(tmp_path / 'config.yaml')
    if content:
      (tmp_path / 'environment.json').write_text(json.dumps(content))
    return config

  def test_a_run_of_another_agent(self, tmp_path):
    self.save(tmp_path, self.logdir(tmp_path))
    with pytest.raises(UserError, match='of dreamerv1, not dreamerv2; use dr'):
      stablehlo.main(['dreamerv2', '--logdir', str(tmp_path), '--out',
                      str(tmp_path / 'out')])

  def save(self, tmp_path, config, **arrays):
    resume.checkpoints(tmp_path).save(
        arrays or {'x': np.zeros(1)}, {
            'agent': config.agent, 'task': config.task, 'env_steps': 1,
            'presets': [], 'config': config.flat})

  def test_the_settings_are_those_of_the_checkpoint(self, tmp_path):
    config = self.logdir(tmp_path).update(
        {'task': 'dummy_continuous', 'devices': 2, 'horizon': 7})
    self.save(tmp_path, config, **{'agent/x': np.arange(3)})
    config.update({'horizon': 3}).save(tmp_path / 'config.yaml')
    with pytest.warns(UserWarning, match="horizon is 3 there.*checkpoint's se"):
      found, arrays, recorded = trained.load(
          str(tmp_path), agents.find('dreamerv1'))
    assert (found.horizon, found.devices, recorded) == (7, 1, None)
    assert arrays['x'].tolist() == [0, 1, 2]

  def test_nothing_recorded(self, tmp_path):
    config = self.logdir(tmp_path)
    with pytest.raises(UserError, match='has no environment.json, and own_Any'):
      trained.recorded_environment(tmp_path, config)

  def test_nothing_about_the_mapping(self, tmp_path, capsys):
    config = self.logdir(tmp_path, obs={}, act=['discrete', 2], first=None)
    found = trained.recorded_environment(tmp_path, config)
    assert found['act'] == ['discrete', 2]
    assert 'does not say how observations and actions are mapped' in (
        capsys.readouterr().err)
    with pytest.raises(ValueError, match='does not say how observations'):
      environment.Environment({'environment': None})

  def test_suites_need_no_record(self, tmp_path):
    config = self.logdir(tmp_path).update({'task': 'dummy_continuous'})
    assert trained.recorded_environment(tmp_path, config) is None


@pytest.mark.slow
def test_a_trained_agent_of_an_own_environment(tmp_path):
  """From `train` to a folder, with nothing but the run."""
  space = S.Dict(camera=IMAGE, joints=S.Box(-1, 1, (3,)))
  env = gymnasium.wrappers.TimeLimit(
      Any(space, S.Box(-2, 2, (2,), np.float64)), 20)
  config = dreamerv1.configure(
      ['debug'], logdir=tmp_path / 'run', steps=210, eval_every=0)
  dreamerv1.train(env, config)
  assert RunFolder(tmp_path / 'run').task == 'own_Any'
  stablehlo.main(['dreamerv1', '--out', str(tmp_path / 'out'), '--logdir',
                  str(tmp_path / 'run')])
  content = json.loads((tmp_path / 'out' / 'program.json').read_text())
  assert content['environment']['actions']['high'] == [2, 2]
  assert make_config().task  # the suites' own are as they were
