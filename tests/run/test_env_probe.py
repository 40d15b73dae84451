"""What a run finds out about its environment, and tells at its start."""

import json
import types
import warnings

import gymnasium
import numpy as np
import pytest

import dreamerv1
import dreamerv2
from dreamer import envs
from dreamer.run import env_probe
from tests.support import strange_envs as strange
from tests.support.env_tools import make_config
from tests.support.fakes import FakeInterface

S = gymnasium.spaces


class Walk(gymnasium.Env):
  """A vector that is drawn as it is told, and a picture."""

  observation_space = S.Dict(
      eye=S.Box(0, 255, (64, 64, 3), np.uint8), place=S.Box(-9, 9, (1,)))
  action_space = S.Box(-1, 1, (2,))

  def __init__(self, first='seed', later='seed'):
    self.ways = {'first': first, 'later': later}

  def reset(self, seed=None, options=None):
    super().reset(seed=seed)
    return self._obs('first'), {}

  def step(self, action):
    return self._obs('later'), 1.0, False, False, {}

  def _obs(self, when):
    draw = {'seed': self.np_random.uniform, 'none': lambda: 0.5,
            'system': np.random.default_rng().uniform}[self.ways[when]]
    return {'eye': np.zeros((64, 64, 3), np.uint8),
            'place': np.float32([draw()])}


def inline(factory, **overrides):
  config = make_config(**{'action_repeat': 1, **overrides})
  return envs.make_envs(config, 'train', 1, factory)[0]


@pytest.mark.parametrize('first, later, same, differs', [
    ('seed', 'seed', True, ()), ('none', 'none', True, ()),
    ('system', 'seed', False, ('place',)),
    ('none', 'system', True, ('place',))])
def test_two_beginnings_with_one_seed(first, later, same, differs):
  found = env_probe.probe(inline(lambda: Walk(first, later)))
  assert found.differs == differs
  assert (found.first is not None) == same
  assert not same or sorted(found.first) == ['image', 'place']


def test_an_episode_that_ends_at_once():
  assert env_probe.probe(inline(lambda: strange.NewStyle(length=1))).first


def test_an_environment_that_fails():
  found = env_probe.probe(inline(strange.raises))
  assert found == (None, ())


def train(tmp_path, factory, agent=None, **overrides):
  """Returns what a short run prints."""
  agent = agent or FakeInterface()
  config = agent.configure(
      ['debug'], logdir=tmp_path / 'run', batch_length=3, time_limit=10,
      prefill=20, steps=30, eval_every=0, **{'envs.worker': 'inline'},
      **overrides)
  agent.train(factory, config)


@pytest.mark.parametrize('first, warned', [('seed', False), ('system', True)])
def test_a_run_warns_once_that_no_seed_arrives(tmp_path, capsys, first, warned):
  train(tmp_path, lambda: Walk(first))
  lines = [line for line in capsys.readouterr().err.splitlines()
           if 'does not follow the seed' in line]
  assert len(lines) == warned
  for line in lines:
    assert line.startswith('warning: environment Walk: place differ')
    assert 'evaluations' in line and 'drops its unfinished episode' in line


def test_an_evaluation_warns_as_well(tmp_path):
  train(tmp_path, lambda: Walk())
  with warnings.catch_warnings(record=True) as found:
    warnings.simplefilter('always')
    FakeInterface().evaluate(
        lambda: Walk('system'), tmp_path / 'run', 1, 'random')
  assert any('does not follow the seed' in str(x.message) for x in found)


def test_a_run_tells_what_it_makes_of_its_environment(tmp_path, capsys):
  train(tmp_path, strange.NewStyle)
  text = capsys.readouterr().err
  block = text[text.index('environment '):].splitlines()[:6]
  assert block == [
      'environment NewStyle, gymnasium, in this process',
      '  image: camera (uint8 128x96x3); vectors: none',
      '  left out: speed: not read by this agent',
      '  actions: 2 numbers, [-1, 1] to [0, 4], [-2, 2]; action_repeat 1',
      '  rewards: as they are; time_limit 10 steps, longer episodes are cut '
      'there',
      '  ends: terminated and truncated; learned, and part of what is '
      'imagined']


def test_a_run_tells_what_the_old_step_says(tmp_path, capsys):
  env = strange.OldStyle()
  env.action_space = S.Box(-1, 1, (1,))
  train(tmp_path, env)
  text = capsys.readouterr().err
  assert 'ends: step() of four values: an end is a termination unless' in text
  assert 'image: render() (30x40x3)' in text


def test_a_run_in_a_worker_tells_the_same(capsys):
  config = make_config(**{'action_repeat': 1, 'envs.worker': 'process'})
  remote, = envs.make_envs(config, 'train', 1, strange.new_style)
  local = inline(strange.new_style)
  try:
    assert remote.about() == local.about()
    assert json.loads(json.dumps(local.about())) == local.about()
  finally:
    remote.close()


@pytest.mark.parametrize('task', [
    'dummy_continuous', 'dummy_discrete', 'crafter_reward', 'atari_pong',
    'minatar_breakout'])
def test_every_suite_tells(task):
  config = make_config(task=task)
  env = envs.make_env(config)
  agent = types.SimpleNamespace(obs_keys=('image',), learns_ends=True)
  text = env_probe.describe(env.about(), config, agent)
  assert text.startswith(f'environment {task}, built in')
  assert 'image: 64x64x' in text and 'action_repeat 2' in text


def test_repeats_of_the_environments_own():
  about = {**inline(strange.NewStyle).about(), 'repeats': [4, 4]}
  agent = types.SimpleNamespace(obs_keys=('image', 'speed'), learns_ends=False)
  text = lambda amount: env_probe.describe(
      about, make_config(action_repeat=amount), agent)
  assert 'the environment repeats each 4 times itself\n' in text(1)
  assert 'repeats each 4 times itself, together 12\n' in text(3)
  assert 'vectors: speed (1)' in text(1)
  about['repeats'] = [2, 4]
  assert 'repeats each 2 to 4 times itself, together 6 to 12\n' in text(3)
  assert 'no part of what is imagined' in text(1)


def test_rewards_that_are_changed():
  agent = types.SimpleNamespace(obs_keys=('image',), learns_ends=False)
  config = make_config(reward_transform='tanh')
  about = inline(strange.NewStyle).about()
  assert 'rewards: tanh of them' in env_probe.describe(about, config, agent)


@pytest.fixture(scope='module')
def schemas():
  return {module: module.schema() for module in (dreamerv1, dreamerv2)}


class TestOwnDefaults:
  """What holds in an environment of a user's."""

  @pytest.mark.parametrize('presets', [
      [], ['laptop'], ['released'], ['released', 'laptop'], ['paper']])
  @pytest.mark.parametrize('module', [dreamerv1, dreamerv2])
  def test_no_suite_is_a_trap(self, module, presets, schemas):
    schema = schemas[module]
    made = [schema.config(presets, {'task': task})
            for task in ('own_', 'own_thing', 'gym_Pendulum-v1')]
    made.append(schema.config(presets).update({'task': 'own_thing'}))
    for config in made:
      flat = config.flat
      assert config.action_repeat == 1
      assert config.reward_transform == 'none'
      assert config.discount_head.enabled and config.discount_head.gradient
      for part in ('encoder', 'decoder'):
        assert flat.get(f'{part}.vectors', 'all') == 'all'
        images = 'image' if module is dreamerv1 else 'all'
        assert flat.get(f'{part}.images', images) == images
      assert config.presets == ('own', *presets)

  def test_configure_is_for_own_environments(self):
    config = dreamerv1.configure(['laptop'])
    assert config.presets == ('own', 'laptop') and config.task == 'own_'

  def test_what_is_said_wins(self):
    config = dreamerv1.configure(['laptop'], action_repeat=3)
    assert config.action_repeat == 3
    named = dreamerv2.configure(['dmc_vision']).update({'task': 'own_x'})
    assert named.action_repeat == 2 and not named.discount_head.enabled
    assert named.encoder.vectors == 'all'

  @pytest.mark.parametrize('presets, chosen', [
      (['laptop'], {'task': 'atari_pong'}), (['dmc', 'debug'], {}),
      (['atari'], {})])
  def test_tasks_of_suites_are_as_they_were(self, presets, chosen, schemas):
    config = dreamerv1.configure(presets, **chosen)
    assert config == schemas[dreamerv1].config(presets, chosen)
    assert config.presets == tuple(presets)

  def test_vectors_alone(self):
    config = dreamerv2.configure(['vectors'])
    assert config.images == 'none' and config.encoder.images == 'none'
    assert config.action_repeat == 1
