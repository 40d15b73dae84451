"""The Python interface: what it is given, understood or refused in a line."""

import functools
import json
import os
import pathlib
import types
import warnings

import gymnasium
import numpy as np
import pytest

import dreamerv1
import dreamerv2
from dreamer.config import agents
from dreamer.errors import UserError
from tests.support.fakes import FakeInterface
from tests.support.strange_envs import NewStyle

AGENT = FakeInterface()
SMALL = {'batch_length': 3, 'time_limit': 10, 'envs.worker': 'inline',
         'eval_every': 0, 'prefill': 20, 'steps': 30}


def configure(logdir, **overrides):
  return AGENT.configure(
      ['debug'], logdir=logdir, **{**SMALL, **overrides})


def refusal(function, *args, **options):
  """The line that a wrong call ends with."""
  with pytest.raises(UserError) as info:
    function(*args, **options)
  assert '\n' not in str(info.value)
  return str(info.value)


@pytest.fixture(scope='module')
def logdir(tmp_path_factory):
  """A finished run in an environment of one's own."""
  path = tmp_path_factory.mktemp('interface') / 'run'
  AGENT.train(NewStyle, configure(path))
  return path


def needs_a_rank(rank, size=3):
  return NewStyle()


class TestTrain:

  @pytest.mark.parametrize('env, words', [
      (None, ['None', 'a function without arguments']),
      (3, ['3', 'pass an environment']),
      (gymnasium, ['module', 'pass an environment']),
      ('CartPole-v1', ["'CartPole-v1' is text", '--task gym_CartPole-v1']),
      ('dmc_walker_walk', ['--task dmc_walker_walk']),
      ([NewStyle(), NewStyle()], ['list', 'of 2', 'envs.amount 2']),
      ((NewStyle(),), ['tuple', 'of 1']),
      ({'env': NewStyle()}, ['dict']),
      (types.SimpleNamespace(), ['SimpleNamespace']),
      (gymnasium.vector.SyncVectorEnv([NewStyle, NewStyle]),
       ['SyncVectorEnv', '2 environments', 'envs.amount 2']),
      (needs_a_rank, ['needs_a_rank', 'needs arguments (rank)', 'partial']),
      (functools.partial(needs_a_rank, size=2), ['needs arguments (rank)']),
      (dreamerv1.configure(['debug']), ['a Config', 'train(env, config)'])])
  def test_no_environment(self, tmp_path, env, words):
    line = refusal(AGENT.train, env, configure(tmp_path / 'run'))
    assert line.startswith('env: ')
    assert all(word in line for word in words), line
    assert not (tmp_path / 'run').exists()

  @pytest.mark.parametrize('config, words', [
      (None, ['None', 'dreamerv1.configure(']),
      ({'logdir': 'x'}, ['dict', 'dreamerv1.configure(']),
      ('runs/x/config.yaml', ["'runs/x/config.yaml'"]),
      (['debug'], ['list', 'dreamerv1.configure(']),
      (NewStyle, ['NewStyle', 'dreamerv1.configure(']),
      (dreamerv2.configure(['debug'], logdir='x'),
       ['is of dreamerv2', 'dreamerv1.configure(']),
      (dreamerv1.configure(['debug']),
       ['logdir: is missing', "logdir='FOLDER'"])])
  def test_no_config(self, config, words):
    line = refusal(AGENT.train, NewStyle, config)
    assert all(word in line for word in words), line

  def test_swapped(self, tmp_path):
    line = refusal(AGENT.train, configure(tmp_path), NewStyle)
    assert 'train(env, config)' in line

  def test_the_config_of_the_other_agent(self, tmp_path):
    config = dreamerv1.configure(['debug'], logdir=tmp_path)
    line = refusal(dreamerv2.train, NewStyle, config)
    assert 'is of dreamerv1' in line and 'dreamerv2.configure(' in line

  def test_one_object_for_two(self, tmp_path):
    config = configure(tmp_path, **{'envs.amount': 2})
    assert 'envs.amount=2' in refusal(AGENT.train, NewStyle(), config)


class TestConfigure:

  @pytest.mark.parametrize('presets, same', [
      ('debug', ['debug']), (None, []), (('dmc', 'debug'), ['dmc', 'debug']),
      (iter(['dmc', 'debug']), ['dmc', 'debug'])])
  def test_forms_of_presets(self, presets, same):
    assert dreamerv1.configure(presets) == dreamerv1.configure(same)

  @pytest.mark.parametrize('presets, words', [
      (3, ['presets: 3', "configure(['laptop']"]),
      ({'logdir': 'x'}, ['presets: ', 'dict', 'key=value']),
      ({'debug', 'dmc'}, ['presets: ', 'set']),
      ([3], ['3', 'allowed: ']), ([None], ['None']), ([['debug']], ['debug']),
      ('debgu', ["'debgu'", 'did you mean debug'])])
  def test_no_presets(self, presets, words):
    line = refusal(dreamerv1.configure, presets)
    assert all(word in line for word in words), line

  def test_unknown_key(self):
    assert 'stepz' in refusal(dreamerv1.configure, ['debug'], stepz=3)


class TestFolders:
  """`~`, paths as objects, spaces and other letters."""

  @pytest.fixture(autouse=True)
  def home(self, tmp_path, monkeypatch):
    (tmp_path / 'home').mkdir()
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    monkeypatch.chdir(tmp_path)

  @pytest.mark.parametrize('given, folder', [
      ('~/runs/1', 'home/runs/1'), (pathlib.Path('~/runs/2'), 'home/runs/2'),
      (pathlib.Path('runs/3'), 'runs/3'), ('runs/4/', 'runs/4'),
      ('my runs/Größe 1', 'my runs/Größe 1'), ('runs/[a]*?', 'runs/[a]*?')])
  def test_train_and_evaluate(self, tmp_path, given, folder):
    AGENT.train(NewStyle, configure(given))
    assert (tmp_path / folder / 'config.yaml').exists()
    line, _ = AGENT.evaluate(NewStyle, given, episodes=1, policy='random')
    rows = (tmp_path / folder / 'eval.jsonl').read_text().splitlines()
    assert [json.loads(row) for row in rows] == [line]
    assert not os.path.exists('~')

  def test_the_command_line(self, tmp_path):
    """Shells leave `--key=~/folder` as it is."""
    AGENT.main(['train', '--configs', 'debug', '--logdir=~/a', '--eval_every',
                '0', '--task', 'dummy_continuous', '--envs.worker=inline'])
    assert (tmp_path / 'home/a/checkpoints').exists()
    AGENT.main(['eval', '--logdir=~/a', '--episodes', '1', '--video=~/a.gif'])
    assert (tmp_path / 'home/a.gif').exists()
    assert not os.path.exists('~')

  def test_a_path_is_text_in_the_config(self):
    config = dreamerv1.configure(logdir=pathlib.Path('runs/3'))
    assert config.logdir == 'runs/3'
    config = dreamerv1.configure(logdir='~/runs')
    assert config.logdir == os.path.expanduser('~/runs') != '~/runs'
    assert config.update({'logdir': pathlib.Path('x')}).logdir == 'x'
    assert 'logdir' in refusal(dreamerv1.configure, logdir=3)


class TestEvaluate:

  @pytest.mark.parametrize('options, words', [
      ({'policy': 'Trained'}, ["'Trained'", 'did you mean trained']),
      ({'policy': 'best'}, ["'best'", 'trained, untrained, random']),
      ({'policy': ''}, ["''", 'trained, untrained, random']),
      ({'policy': None}, ['None', 'trained, untrained, random']),
      ({'policy': ['random']}, ['random', 'allowed']),
      ({'episodes': 0}, ['episodes: 0', 'allowed: 1..']),
      ({'episodes': -1}, ['episodes: -1']),
      ({'episodes': 2.5}, ['episodes: 2.5', 'whole number']),
      ({'episodes': 'ten'}, ["episodes: 'ten'", 'whole number']),
      ({'episodes': None}, ['episodes: None']),
      ({'episodes': True}, ['episodes: True']),
      ({'seed': -1}, ['seed: -1', 'allowed: 0..']),
      ({'seed': None}, ['seed: None']),
      ({'seed': 2 ** 31}, ['seed: 2147483648']),
      ({'amount': 0}, ['amount: 0', 'allowed: 1..']),
      ({'amount': 1.5}, ['amount: 1.5']),
      ({'video': 'a.mp4'}, ['video: a.mp4', '.gif']),
      ({'video': 3}, ['video: 3'])])
  def test_wrong_options(self, logdir, options, words):
    line = refusal(AGENT.evaluate, NewStyle, logdir, **options)
    assert all(word in line for word in words), line

  @pytest.mark.parametrize('folder, words', [
      (None, ['logdir: None']), (3, ['logdir: 3']), ('', ['logdir: is empty']),
      (b'runs', ['logdir: ']), (NewStyle, ['logdir: NewStyle']),
      ('/nowhere', ['/nowhere is no folder'])])
  def test_no_folder(self, folder, words):
    line = refusal(AGENT.evaluate, NewStyle, folder)
    assert all(word in line for word in words), line

  def test_an_empty_folder(self, tmp_path):
    assert 'no checkpoint' in refusal(AGENT.evaluate, NewStyle, tmp_path)

  @pytest.mark.parametrize('env', [None, 'CartPole-v1', [NewStyle()]])
  def test_no_environment(self, logdir, env):
    assert refusal(AGENT.evaluate, env, logdir).startswith('env: ')

  def test_swapped(self, logdir):
    assert refusal(AGENT.evaluate, logdir, NewStyle).startswith('logdir: ')

  def test_numbers_of_other_types(self, logdir):
    one, _ = AGENT.evaluate(
        NewStyle, logdir, np.int64(2), 'random', np.uint8(3), '2')
    two, _ = AGENT.evaluate(NewStyle, str(logdir), 2.0, 'random', 3, 2)
    assert one == two
    assert (one['episodes'], one['eval_seed']) == (2, 3)

  def test_each_evaluation_is_a_line(self, logdir, tmp_path):
    before = (logdir / 'eval.jsonl').read_text() if (
        logdir / 'eval.jsonl').exists() else ''
    lines = [AGENT.evaluate(NewStyle, logdir, 2, policy, video=video)[0]
             for policy, video in (('trained', False), ('untrained', True),
                                   ('random', str(tmp_path / 'a.gif')))]
    text = (logdir / 'eval.jsonl').read_text()
    assert text.startswith(before)
    found = [json.loads(x) for x in text[len(before):].splitlines()]
    assert found == lines
    assert [x['policy'] for x in found] == ['trained', 'untrained', 'random']
    assert (tmp_path / 'a.gif').read_bytes()[:3] == b'GIF'

  def test_one_object_is_one_environment(self, tmp_path):
    AGENT.train(NewStyle, configure(tmp_path, **{'envs.amount': 2}))
    line, _ = AGENT.evaluate(NewStyle(), tmp_path, 2)
    assert line['protocol']['envs'] == 1


class TestReading:
  """Evaluating a run changes nothing in it but eval.jsonl."""

  def contents(self, logdir):
    return {path: path.read_bytes() for path in sorted(logdir.rglob('*'))
            if path.is_file() and path.name != 'eval.jsonl'}

  def test_damaged_checkpoints_stay(self, tmp_path):
    AGENT.train(NewStyle, configure(tmp_path))
    paths = sorted((tmp_path / 'checkpoints').iterdir())
    for path, is_there in zip(reversed(paths), (True, False), strict=True):
      path.write_bytes(path.read_bytes()[:-100])
      before = self.contents(tmp_path)
      with pytest.warns(UserWarning, match='is damaged'):
        if is_there:
          line, _ = AGENT.evaluate(NewStyle, tmp_path, 1)
          assert line['step'] == int(paths[0].stem)
        else:
          refusal(AGENT.evaluate, NewStyle, tmp_path, 1)
      assert self.contents(tmp_path) == before

  def test_a_run_that_can_not_be_written_to(self, tmp_path, capsys):
    """The score and a video elsewhere are made; the line costs a warning."""
    AGENT.train(NewStyle, configure(tmp_path / 'run'))
    (tmp_path / 'run' / 'eval.jsonl').mkdir()  # As where nobody may write.
    before = self.contents(tmp_path)
    with pytest.warns(UserWarning, match='can not write .*eval.jsonl'):
      line, result = AGENT.evaluate(
          NewStyle, tmp_path / 'run', 1, video=tmp_path / 'a.gif')
    assert line['episodes'] == 1 and result.video is not None
    assert (tmp_path / 'a.gif').read_bytes()[:3] == b'GIF'
    (tmp_path / 'a.gif').unlink()
    assert self.contents(tmp_path) == before


class Coloured(NewStyle):
  """An environment with an argument that spaces don't show."""

  def __init__(self, colour=10, dim=2, dark=False):
    super().__init__()
    self.colour, self.dark = colour, dark
    self.action_space = gymnasium.spaces.Box(-1, 1, (dim,))
    if dark:
      self.observation_space = gymnasium.spaces.Dict({
          'camera': self.observation_space['camera']})

  def _obs(self):
    obs = {**super()._obs(), 'speed': np.float32(self.colour / 255)}
    return {key: obs[key] for key in self.observation_space}


def make_coloured():
  return Coloured()


class Unseeded(Coloured):
  """Begins each episode elsewhere, whatever the seed."""

  def reset(self, seed=None, options=None):
    return super().reset(seed=int(np.random.default_rng().integers(2 ** 31)))


def make_unseeded():
  return Unseeded()


class Maker:

  def __call__(self):
    return Coloured()


class TestIdentity:
  """A run continues in the environment it began with, and in no other."""

  def run(self, logdir, env, steps=30, **settings):
    AGENT.train(env, configure(logdir, steps=steps, **settings))

  def task(self, logdir):
    """As a reader of the folder finds it."""
    return agents.saved(logdir).config.task

  @pytest.mark.parametrize('env, task', [
      (make_coloured, 'own_make_coloured'), (Coloured, 'own_Coloured'),
      (Coloured(), 'own_Coloured'), (lambda: Coloured(), 'own_<lambda>'),
      (functools.partial(Coloured, 3), 'own_Coloured(...)'),
      (functools.partial(functools.partial(Coloured, 3), dim=2),
       'own_Coloured(...)'), (Maker(), 'own_Maker(...)'),
      (gymnasium.wrappers.TimeLimit(Coloured(), 9), 'own_Coloured')])
  def test_names(self, tmp_path, env, task):
    self.run(tmp_path, env)
    assert self.task(tmp_path) == task
    self.run(tmp_path, env, 40)

  @pytest.mark.parametrize('env, other', [
      (functools.partial(Coloured, 10), functools.partial(Coloured, 200)),
      (lambda: Coloured(10), lambda: Coloured(200)),
      (make_coloured, lambda: Coloured(200)),
      (Coloured(10), Coloured(200)),
      (lambda: Coloured(200), Coloured)])
  def test_another_environment(self, tmp_path, env, other):
    self.run(tmp_path, env)
    before = sorted(tmp_path.rglob('*.npz'))
    line = refusal(self.run, tmp_path, other, 60)
    assert 'speed differs' in line and 'environment.json' in line
    assert sorted(tmp_path.rglob('*.npz')) == before
    self.run(tmp_path, env, 60)

  @pytest.mark.parametrize('other, words', [
      (functools.partial(Coloured, dim=3),
       'actions are continuous 3, there continuous 2'),
      (functools.partial(Coloured, dark=True), 'observation speed is missing')])
  def test_other_spaces(self, tmp_path, other, words):
    self.run(tmp_path, functools.partial(Coloured))
    assert words in refusal(self.run, tmp_path, other, 40)
    assert words in refusal(AGENT.evaluate, other, tmp_path, 1)

  def test_more_observations(self, tmp_path):
    self.run(tmp_path, functools.partial(Coloured, dark=True))
    line = refusal(self.run, tmp_path, functools.partial(Coloured), 40)
    assert 'observation speed is not known there' in line

  @pytest.mark.parametrize('env, same', [
      (make_coloured, lambda: Coloured()),
      (functools.partial(Coloured, 10), make_coloured),
      (lambda: Coloured(), Coloured(10))])
  def test_names_that_say_nothing(self, tmp_path, env, same):
    """The answers decide, and the run keeps the name it had."""
    self.run(tmp_path, env)
    before = self.task(tmp_path)
    self.run(tmp_path, same, 40)
    assert self.task(tmp_path) == before

  def test_another_name(self, tmp_path):
    self.run(tmp_path, make_coloured)
    line = refusal(self.run, tmp_path, Coloured, 40)
    assert 'pass make_coloured again' in line
    assert "configure(task='own_make_coloured')" in line and '--' not in line
    self.run(tmp_path, Coloured, 40, task='own_make_coloured')
    assert self.task(tmp_path) == 'own_make_coloured'

  def test_other_settings_than_the_run(self, tmp_path):
    self.run(tmp_path, Coloured)
    line = refusal(self.run, tmp_path, Coloured, 40, horizon=7)
    assert 'continue it with configure(horizon=5)' in line
    line = refusal(self.run, tmp_path, Coloured, 40, **{'rssm.deter': 7})
    assert "configure(**{'rssm.deter': 16})" in line

  def test_a_task_that_has_a_name(self, tmp_path, debug_config):
    options = ['--configs', 'debug', '--task', 'dummy_continuous',
               '--envs.worker=inline', '--logdir']
    AGENT.main(['train', *options, str(tmp_path / 'dummy')])
    line = refusal(self.run, tmp_path / 'dummy', Coloured)
    assert 'dreamerv1 train --task dummy_continuous' in line
    self.run(tmp_path / 'own', Coloured)
    line = refusal(AGENT.main, ['train', *options, str(tmp_path / 'own')])
    assert 'from Python by dreamerv1.train(env, config)' in line

  def test_deleting_the_record_allows_it(self, tmp_path):
    self.run(tmp_path, functools.partial(Coloured, 10))
    (tmp_path / 'environment.json').unlink()
    self.run(tmp_path, functools.partial(Coloured, 200), 40)
    refusal(self.run, tmp_path, functools.partial(Coloured, 10), 50)

  def test_a_damaged_record(self, tmp_path):
    self.run(tmp_path, Coloured)
    (tmp_path / 'environment.json').write_text('{"obs":')
    assert 'environment.json is damaged; delete it' in refusal(
        self.run, tmp_path, Coloured, 40)

  def test_an_environment_that_is_no_function_of_its_seed(self, tmp_path):
    """What it answers can't be compared: only names and spaces are."""
    self.run(tmp_path, make_unseeded)
    self.run(tmp_path, make_unseeded, 40)
    assert 'pass make_unseeded again' in refusal(
        self.run, tmp_path, Unseeded, 50)

  def test_workers(self, tmp_path):
    settings = {'envs.worker': 'process'}
    self.run(tmp_path, make_coloured, **settings)
    self.run(tmp_path, make_coloured, 40, **settings)
    recorded = tmp_path / 'environment.json'
    found = json.loads(recorded.read_text())
    found['first']['image'] = 'other'
    recorded.write_text(json.dumps(found))
    assert 'image differs' in refusal(
        self.run, tmp_path, make_coloured, 50, **settings)

  @pytest.mark.parametrize('env, task', [
      (make_coloured, 'own_Coloured'), (lambda: Coloured(), 'own_Coloured'),
      (functools.partial(Coloured, 9), 'own_Coloured(...)'),
      (lambda: Coloured(9), 'own_<lambda>'),
      (make_unseeded, 'own_make_unseeded')])
  def test_evaluations(self, tmp_path, env, task):
    """One in another environment doesn't count as one of the run's."""
    self.run(tmp_path, Coloured)
    same = task == 'own_Coloured'
    with warnings.catch_warnings(record=True) as found:
      warnings.simplefilter('always')
      assert AGENT.evaluate(env, tmp_path, 1)[0]['task'] == task
    told = [x for x in found if 'another environment' in str(x.message)]
    assert len(told) == (not same and env is not make_unseeded)

  def test_an_evaluation_in_another_one_of_the_same_name(self, tmp_path):
    self.run(tmp_path, functools.partial(Coloured, 1))
    with pytest.warns(UserWarning, match='own_Coloured.* .another'):
      line, _ = AGENT.evaluate(functools.partial(Coloured, 2), tmp_path, 1)
    assert line['task'] == 'own_Coloured(...) (another)'
