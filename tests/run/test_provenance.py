"""What a run writes about its evaluations."""

import functools
import json
import math
import subprocess

import pytest

import dreamerv1
from dreamer.config.schema import Section
from dreamer.envs import make_envs
from dreamer.log.logger import Logger
from dreamer.run import arguments, evaluate, provenance, training
from dreamer.run.stop import Stop, Stopped
from tests.support import lines
from tests.support.fakes import FakeAgent, FakeInterface


def train(config, stop=None):
  training.train(config, 'fake', FakeAgent, make_envs, stop or Stop())


class TestRun:

  def test_every_evaluation_is_a_line(self, debug_config):
    config = debug_config(steps=700, eval_every=200, eval_episodes=2, seed=3)
    train(config)
    rows = lines(config.logdir, 'scores.jsonl')
    metrics = {row['step']: row for row in lines(
        config.logdir, 'metrics.jsonl') if 'eval/return' in row}
    assert [row['step'] for row in rows] == [200, 400, 600, 700]
    assert list(metrics) == [200, 400, 600, 700]
    for row in rows:
      same = metrics[row['step']]
      assert len(row['returns']) == 2 and row['lengths'] == [100, 100]
      assert sum(row['returns']) / 2 == pytest.approx(same['eval/return'])
      assert row['agent_steps'] == row['step'] // 2
      assert row['updates'] == same['updates']
      for key, value in provenance.describe(config, 'fake').items():
        assert row[key] == value
      assert row['protocol']['episodes'] == 2

  def test_an_evaluation_afterwards_has_the_same_names(self, debug_config):
    """Of eval.jsonl; `seed` is the run's in both files."""
    config = debug_config(steps=400, seed=7)
    train(config)
    line, _ = evaluate.evaluate_run(
        FakeInterface('fake'), make_envs,
        arguments.evaluation(config.logdir, episodes=1, seed=3))
    scored = lines(config.logdir, 'scores.jsonl')[-1]
    assert set(scored) <= set(line)
    for key in set(scored) - {'returns', 'lengths', 'protocol'}:
      assert line[key] == scored[key], key
    assert (line['seed'], line['eval_seed'], line['step']) == (7, 3, 400)
    assert set(scored['protocol']) <= set(line['protocol'])

  def test_no_evaluations(self, debug_config):
    config = debug_config(eval_every=0)
    train(config)
    assert lines(config.logdir, 'scores.jsonl') == []

  def test_resumed_run_has_each_line_once(self, debug_config):
    whole = debug_config(steps=600, eval_every=100, save_every=150)
    train(whole)
    cut = whole.update({'logdir': whole.logdir + '2'})

    class StopAt(Stop):
      checks = 0

      def check(self):
        self.checks += 1
        if self.checks % 70 == 0:
          raise Stopped(2)

    for _ in range(50):
      try:
        train(cut, StopAt())
        break
      except Stopped:
        pass
    assert lines(cut.logdir, 'scores.jsonl') == lines(
        whole.logdir, 'scores.jsonl')

  def test_lines_after_the_checkpoint_are_moved_away(self, tmp_path):
    with Logger(tmp_path, 100) as logger:
      for step in (10, 20, 30):
        logger.score(step, step, 0, [1.0])
    with Logger(tmp_path, 100, initial=20):
      pass
    assert [x['step'] for x in lines(tmp_path, 'scores.jsonl')] == [10, 20]
    moved = lines(tmp_path, 'scores.after_checkpoint.jsonl')
    assert [x['step'] for x in moved] == [30]

  def test_cut_line_is_reported(self, tmp_path, capsys):
    with Logger(tmp_path, 100) as logger:
      logger.score(10, 10, 0, [1.0, math.nan])
    with open(tmp_path / 'scores.jsonl', 'a') as file:
      file.write('{"step": 20, "ret')
    with Logger(tmp_path, 100, initial=20):
      pass
    assert [x['returns'] for x in lines(tmp_path, 'scores.jsonl')] == [
        [1.0, None]]
    assert 'scores.jsonl: 1 damaged line(s)' in capsys.readouterr().err


class TestDescribe:

  def test_control(self):
    config = dreamerv1.configure(['released'], task='dmc_cup_catch', seed=4)
    row = provenance.describe(config, 'dreamerv1')
    assert {k: row[k] for k in ('agent', 'task', 'seed', 'presets')} == {
        'agent': 'dreamerv1', 'task': 'dmc_cup_catch', 'seed': 4,
        'presets': ['released']}
    found = row['protocol']
    assert found['action_repeat'] == 2 and found['time_limit'] == 1000
    assert found['mode'] == 'eval' and found['returns'] == 'evaluation'
    assert found['collect'] == 'sample' and found['noise'] == 0
    assert found['sticky'] is None and found['life_loss'] is None
    assert found['suite'] == config.dmc.flat
    assert json.loads(json.dumps(row)) == row

  def test_another_suite_has_no_settings_of_control(self):
    config = dreamerv1.configure(task='gym_Pendulum-v1')
    assert provenance.protocol(config)['suite'] == {}

  def test_presets_that_hold(self):
    configure = lambda presets=(), **keys: dreamerv1.schema().config(
        presets, keys)
    assert provenance.presets(configure()) == []
    assert provenance.presets(configure(['dmc', 'paper'])) == []
    laptop = configure(['dmc', 'laptop'], steps=7, task='dmc_walker_run')
    assert provenance.presets(laptop) == ['laptop']
    assert 'laptop' not in provenance.presets(laptop.update({'horizon': 9}))
    assert provenance.presets(configure(['paper_code'])) == ['paper_code']

  def test_own_environments(self):
    schema = dreamerv1.schema()
    for config in (dreamerv1.configure(),
                   schema.config(overrides={'task': 'gym_A-v0'})):
      assert provenance.presets(config) == ['own']
    other = {**schema.presets['own'], 'task': 'crafter_reward'}
    assert provenance.presets(schema.config(overrides=other)) == []

  def test_joint_presets(self):
    """`released` holds although a suite takes some of its values back."""
    import dreamerv2  # For this test only.
    schema = dreamerv2.schema()
    for names in (['dmc_vision', 'released'], ['released'], ['dmc_vision'],
                  ['montezuma'], ['gaussian_latents', 'released'],
                  ['laptop'], ['dmc_vision', 'laptop'], ['humanoid'],
                  ['minatar', 'laptop']):
      config = schema.config(names)
      assert set(provenance.presets(config)) == set(names)
    assert provenance.presets(schema.config(['atari', 'laptop'])) == ['laptop']

  def test_a_size_keeps_the_task_of_its_suite(self):
    for suite in ('dmc', 'atari', 'dmlab'):
      config = dreamerv1.schema().config([suite, 'laptop'])
      assert config.task.startswith(suite)
      assert {suite, 'laptop'} - set(provenance.presets(config)) <= {'dmc'}

  def test_hash(self):
    hash_of = provenance.config_hash
    base = dreamerv1.schema().config()
    for key, value in (('seed', 5), ('logdir', 'x'), ('steps', 9)):
      assert hash_of(base.update({key: value})) == hash_of(base)
    for key, value in (
        ('task', 'dmc_cup_catch'), ('kl.scale', 2.0), ('action_repeat', 4)):
      assert hash_of(base.update({key: value})) != hash_of(base)
    assert len(hash_of(base)) == 12

  def test_hash_counts_what_differs_from_the_defaults(self):
    """So a key that a version has more makes no other experiment."""
    schema = dreamerv1.schema()
    config = schema.config(['laptop'])
    older = Section({key: value for key, value in config.flat.items()
                     if key not in ('jit', 'planner.elites')})
    hash_of = provenance.config_hash
    assert hash_of(older, schema) != hash_of(config)  # elites: 20 for 100
    assert hash_of(older, schema) == hash_of(
        config.update({'planner.elites': 100}))
    assert hash_of(config.update({'jit': 'on'})) != hash_of(config)
    assert hash_of(config.update({'seed': 3})) == hash_of(config)


class TestCommit:

  @pytest.fixture
  def repository(self, tmp_path, monkeypatch):
    """A repository with one commit, in which the code would lie."""
    provenance.commit.cache_clear()
    monkeypatch.setattr(provenance, 'ROOT', tmp_path)
    git = functools.partial(
        subprocess.run, cwd=tmp_path, check=True, capture_output=True)
    git(['git', 'init'])
    (tmp_path / 'file').write_text('1')
    git(['git', 'add', 'file'])
    git(['git', '-c', 'user.name=a', '-c', 'user.email=b', 'commit', '-m', 'x'])
    yield tmp_path
    provenance.commit.cache_clear()

  def test_clean_and_dirty(self, repository):
    clean = provenance.commit()
    assert len(clean) == 12 and int(clean, 16) >= 0
    (repository / 'file').write_text('2')
    provenance.commit.cache_clear()
    assert provenance.commit() == f'{clean}-dirty'

  def test_inside_another_repository(self, repository, monkeypatch):
    (repository / 'copy').mkdir()
    monkeypatch.setattr(provenance, 'ROOT', repository / 'copy')
    assert provenance.commit() is None

  def test_without_git(self, repository, monkeypatch):
    monkeypatch.setenv('PATH', '')
    assert provenance.commit() is None
