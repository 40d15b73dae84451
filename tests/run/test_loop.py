"""The schedule, resuming and stopping, with an agent of a few numbers."""

import contextlib
import fcntl
import functools
import math
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import sys
import termios
import time
import types
import warnings

import gymnasium
import numpy as np
import pytest

import dreamerv2
from dreamer import npz
from dreamer.config import agents
from dreamer.envs import make_envs
from dreamer.envs.workers.remote import RemoteEnv
from dreamer.errors import UserError
from dreamer.log.jsonlines import read_lines
from dreamer.log.logger import Logger
from dreamer.run import checkpoint, evaluate, resume, training
from dreamer.run.stop import Stop, Stopped
from tests.support import ROOT, strange_envs
from tests.support.fakes import FakeAgent
from tests.support.run_tools import StopAt, metrics, saved
from tests.support.run_tools import run_fake as run
from tests.support.strange_envs import NewStyle

LONG = 250  # s: below the limit of a test, and far above what is needed


def assert_same(a, b):
  (arrays, _), (others, _) = a, b
  assert set(arrays) == set(others)
  for key in arrays:
    np.testing.assert_array_equal(arrays[key], others[key], key)


class TestSchedule:

  @pytest.mark.parametrize('pretrain, first', [(0, 3), (7, 7)])
  def test_updates_per_steps(self, debug_config, pretrain, first):
    config = debug_config(
        steps=700, prefill=200, train_every=100, train_updates=3,
        pretrain_updates=pretrain, eval_every=0)
    run(config)
    # A block before the first policy step, then at 300, 400, 500 and 600.
    arrays, meta = saved(config)
    assert meta['updates'] == first + 4 * 3
    assert meta['env_steps'] == 700
    assert meta['agent_steps'] == 350

  def test_train_every_below_the_action_repeat(self, debug_config):
    config = debug_config(
        steps=300, prefill=200, train_every=1, train_updates=1,
        pretrain_updates=5, eval_every=0)
    run(config)
    # 5, then two at each of the 49 later policy steps.
    assert saved(config)[1]['updates'] == 5 + 2 * 49

  def test_several_environments(self, debug_config):
    config = debug_config(steps=800, eval_every=0, **{'envs.amount': 4})
    run(config)
    arrays, meta = saved(config)
    # 4 environments times 2 steps: prefill ends with their first episodes.
    assert meta['env_steps'] == 800
    assert arrays['replay/names'].shape == (8,)
    assert meta['updates'] == 2 + 2 * 3  # at 400; 500, 600, 700

  def test_prefill_lasts_until_an_episode_has_ended(self, debug_config):
    config = debug_config(steps=200, prefill=0, eval_every=0)
    events = run(config)
    assert len([x for x in events if x[0] == 'train']) == 100 // 2

  def test_order(self, debug_config):
    config = debug_config(steps=410, eval_every=200, train_updates=2)
    events = run(config)
    blocks = []
    for what, updates in events:
      if not blocks or blocks[-1][0] != what or what == 'update':
        blocks.append([what, updates, 0])
      blocks[-1][2] += 1
    assert blocks == [
        # Prefill by the random policy, pretraining, the first evaluation.
        ['update', 0, 1], ['update', 1, 1], ['eval', 2, 50],
        # Steps 200 to 300; then all of a block but its last update, the
        # first step of the environment, and beside it the last update.
        ['train', 2, 50], ['update', 2, 1], ['train', 3, 1],
        ['update', 3, 1], ['train', 4, 49],
        ['eval', 4, 50],
        ['update', 4, 1], ['train', 5, 1], ['update', 5, 1],
        ['train', 6, 4],
        ['eval', 6, 50]]

  def test_environments_step_during_an_update(self, debug_config):
    order = []

    class Recorder:

      def __init__(self, env):
        self.env = env

      def __getattr__(self, name):
        return getattr(self.env, name)

      def send_step(self, action):
        order.append('send')
        self.env.send_step(action)

      def receive(self):
        order.append('receive')
        return self.env.receive()

    class Agent(FakeAgent):

      def train(self, batch, env_steps):
        order.append('update')
        return super().train(batch, env_steps)

    config = debug_config(
        steps=220, train_every=2, train_updates=1, pretrain_updates=1,
        eval_every=0)
    make = lambda *args: [Recorder(env) for env in make_envs(*args)]
    training.train(config, 'fake', Agent, make, Stop())
    learning = order[order.index('update') + 1:]
    assert learning[:3] == ['receive', 'send', 'receive']  # reset, step
    assert learning[3:] == ['send', 'update', 'receive'] * 9

  @pytest.mark.parametrize('eval_every, limit, refused', [
      (40, 60, True), (60, 60, False), (0, 60, False), (90, 1000, True),
      (100, 1000, False)])
  def test_evaluations_that_would_cut_every_episode(
      self, debug_config, eval_every, limit, refused):
    """In one object, whose limit is its own or time_limit (100)."""
    env = gymnasium.wrappers.TimeLimit(NewStyle(length=10 ** 6), limit)
    # As by gymnasium.make:
    env.env.spec = types.SimpleNamespace(max_episode_steps=limit)
    config = debug_config(
        steps=300, eval_every=eval_every, action_repeat=1, batch_length=4)
    def go():
      training.train(
          config, 'fake', FakeAgent,
          functools.partial(make_envs, factory=env), Stop())
    if not refused:
      go()
      assert metrics(config)[-1]['step'] == 300
      return
    with pytest.raises(UserError, match=(
        f'eval_every={eval_every}: .* at least {min(limit, 100)}, ')):
      go()
    assert not (pathlib.Path(config.logdir) / 'metrics.jsonl').exists()

  def test_updates_see_finished_steps_only(self, debug_config, monkeypatch):
    """At an episode's last step its update must not see that episode."""
    seen = []

    class Agent(FakeAgent):

      def train(self, batch, env_steps):
        seen.append(loops[0].replay.episodes)
        return super().train(batch, env_steps)

    loops = []
    before = training.Loop.__init__
    monkeypatch.setattr(
        training.Loop, '__init__', lambda self, *args, **options: (
            loops.append(self), before(self, *args, **options))[0])
    config = debug_config(
        steps=310, train_every=2, train_updates=1, pretrain_updates=1,
        eval_every=0)
    training.train(config, 'fake', Agent, make_envs, Stop())
    # The update due at step 298 runs beside the step to 300.
    assert seen == [2] * 50 + [3] * 5

  def test_evaluations(self, debug_config):
    config = debug_config(steps=700, eval_every=200, eval_episodes=2)
    run(config)
    rows = [x for x in metrics(config) if 'eval/return' in x]
    assert [x['step'] for x in rows] == [200, 400, 600, 700]
    assert all(x['eval/length'] == 100 for x in rows)

  def test_no_evaluations(self, debug_config):
    def make(config, mode, amount):
      assert mode == 'train'
      return make_envs(config, mode, amount)
    config = debug_config(eval_every=0)
    run(config, make=make)
    assert not any('eval/return' in x for x in metrics(config))

  def test_evaluations_and_videos_leave_training_alone(self, debug_config):
    first = debug_config(eval_every=0, video_every=0)
    run(first)
    other = debug_config(
        eval_every=100, video_every=100, logdir=first.logdir + '2')
    run(other)
    keys = [k for k in saved(first)[0] if k.startswith(('agent/w', 'driver'))]
    assert keys
    for key in keys:
      np.testing.assert_array_equal(saved(first)[0][key], saved(other)[0][key])

  def test_videos(self, debug_config):
    config = debug_config(steps=700, eval_every=200, video_every=300)
    run(config)
    found = {x.name for x in (pathlib.Path(config.logdir) / 'videos').iterdir()}
    # Due at 200, 500 and the end; 500 waits for the evaluation at 600.
    assert found == {
        f'{step:012d}_{name}.gif' for step in (200, 600, 700)
        for name in ('policy', 'openloop')}

  def test_lines_carry_all_counts(self, debug_config):
    config = debug_config()
    run(config)
    rows = metrics(config)
    assert [x['step'] for x in rows] == [100, 200, 300, 400, 500, 600]
    assert [x['agent_steps'] for x in rows] == [50, 100, 150, 200, 250, 300]
    assert [x['updates'] for x in rows] == [0, 2, 2, 4, 6, 8]
    assert all(x['train/length'] == 100 for x in rows)
    assert rows[-1]['replay/episodes'] == 6
    assert rows[-1]['envs/dropped'] == 0
    assert 'loss/model' in rows[-1]


class TestPrefillEnd:
  """Episodes of 50 steps; the prefill ends 15 steps into the second one."""

  def lengths(self, config):
    folder = pathlib.Path(config.logdir, 'episodes')
    return [int(x.stem.split('-')[2]) for x in sorted(folder.glob('*.npz'))]

  @pytest.mark.parametrize('end, expected', [
      ('continue', [51, 51, 51, 51]), ('drop', [51, 51, 51, 51]),
      ('glue', [51, 16 + 51, 51, 51])])
  def test_what_is_stored(self, debug_config, end, expected):
    config = debug_config(
        steps=430, prefill=130, prefill_end=end, eval_every=0)
    events = run(config)
    assert self.lengths(config) == expected
    arrays, meta = saved(config)
    assert meta['env_steps'] == 430 and len(events) == 150 + meta['updates']
    # After 'continue' the last episode has begun 30 steps ago, else not yet.
    rows = len(arrays.get('driver/env0/rows/reward', ()))
    assert rows == (16 if end == 'continue' else 0)
    assert all(x.get('train/length', 100) == 100 for x in metrics(config))

  def test_several_environments(self, debug_config):
    config = debug_config(
        steps=700, prefill=260, prefill_end='glue', eval_every=0,
        **{'envs.amount': 2})
    run(config)
    assert self.lengths(config) == [51, 51, 67, 67, 51, 51]

  def test_at_the_end_of_an_episode_nothing_is_unfinished(self, debug_config):
    stores = []
    for end in ('continue', 'drop', 'glue'):
      config = debug_config(
          steps=400, prefill=200, prefill_end=end, eval_every=0)
      config = config.update({'logdir': f'{config.logdir}_{end}'})
      run(config)
      stores.append(saved(config))
    assert_same(stores[0], stores[1])
    assert_same(stores[0], stores[2])


class TestAgent:

  def test_gets_the_arrays_it_asks_for_and_the_steps(self, debug_config):
    seen = []

    class Agent(FakeAgent):
      batch_keys = 'image', 'action', 'is_first'

      def train(self, batch, env_steps):
        seen.append((tuple(batch), env_steps))
        return super().train(batch, env_steps)

      def report(self, batch):
        seen.append((tuple(batch), 'report'))
        return super().report(batch)

    config = debug_config(steps=320, pretrain_updates=1, train_updates=2)
    training.train(config, 'fake', Agent, make_envs, Stop())
    assert {keys for keys, _ in seen} == {Agent.batch_keys}
    # At 200 before the first policy step; of two at 300 the last one beside
    # the next step of the environment.
    assert [step for _, step in seen] == [200, 'report', 300, 300, 'report']


class TestResume:

  @pytest.fixture
  def config(self, debug_config):
    # Blocks of 3 updates, and a last step between saves and evaluations.
    return debug_config(
        steps=450, train_updates=3, video_every=200, save_every=70,
        eval_every=150, time_limit=90, eval_episodes=2,
        **{'envs.amount': 2})

  @pytest.fixture
  def whole(self, config):
    other = config.update({'logdir': config.logdir + '_whole'})
    run(other)
    return other

  @pytest.mark.parametrize('first, growth', [(1, 1), (2, 7), (90, 1)])
  def test_stopping_changes_nothing(self, config, whole, first, growth):
    """Stops come at steps, within blocks of updates and in evaluations."""
    checks, stops = first, 0
    while checks < 1000:
      try:
        run(config, StopAt(checks))
        break
      except Stopped:
        stops += 1
        # An evaluation starts anew each time: it needs more checks once.
        checks += growth
    assert stops > 2
    assert_same(saved(config), saved(whole))
    assert metrics(config) == metrics(whole)

  def test_raising_steps_continues_as_one_run(self, config, whole):
    for steps in (100, 180, 290, 450):
      run(config.update({'steps': steps}))
    assert_same(saved(config), saved(whole))

  @pytest.mark.parametrize('settings', [
      {}, {'eval_every': 50}, {'log_every': 20}, {'video_every': 30}])
  def test_continuing_at_the_end_writes_no_second_line(self, config, settings):
    """Whatever has become due meanwhile completes the line that is there."""
    config = config.update({'eval_every': 0, 'video_every': 0, 'steps': 300})
    run(config)
    before = metrics(config)
    assert before[-1]['step'] == 300 and 'eval/return' not in before[-1]
    run(config.update({'steps': 304, **settings}))
    after = metrics(config)
    steps = [row['step'] for row in after]
    assert steps == sorted(set(steps)) and steps[-1] == 304
    assert after[:len(before) - 1] == before[:-1]
    assert set(before[-1]) <= set(after[len(before) - 1])
    if 'eval_every' in settings:
      assert 'eval/return' in after[len(before) - 1]

  def test_killed_between_the_last_line_and_the_last_checkpoint(self, config):
    """A save that is due there is before that of the end."""
    class Killed(Exception):
      pass

    config = config.update({'save_every': 20, 'steps': 420})
    with pytest.MonkeyPatch.context() as patch:
      before = checkpoint.Checkpoints.save

      def save(self, arrays, meta):
        if arrays['done/run'] >= 0:
          raise Killed
        return before(self, arrays, meta)

      patch.setattr(checkpoint.Checkpoints, 'save', save)
      with pytest.raises(Killed):
        run(config)
    assert saved(config)[1]['env_steps'] == 420
    expected = metrics(config)
    assert expected[-1]['step'] == 420
    scores = pathlib.Path(config.logdir, 'scores.jsonl').read_text()
    run(config)
    assert metrics(config) == expected
    assert pathlib.Path(config.logdir, 'scores.jsonl').read_text() == scores

  def test_finished_runs_do_nothing(self, config, whole, capsys):
    rows = metrics(whole)
    assert run(whole) == []
    assert 'raise --steps' in capsys.readouterr().err
    assert metrics(whole) == rows

  def test_after_a_crash(self, config, whole):
    """What was written after the checkpoint is not counted twice."""
    class Crash(Exception):
      pass

    class Agent(FakeAgent):

      def train(self, batch, env_steps):
        if self.updates == 6:
          raise Crash
        return super().train(batch, env_steps)

    with pytest.raises(Crash):
      training.train(config, 'fake', Agent, make_envs, Stop())
    run(config)
    assert_same(saved(config), saved(whole))
    assert metrics(config) == metrics(whole)

  def test_another_agent(self, config, whole):
    with pytest.raises(UserError, match='holds a run of fake, not dreamerv1'):
      run(whole, name='dreamerv1')

  @pytest.mark.parametrize('key, value, old', [
      ('task', 'dummy_discrete', 'dummy_continuous'),
      ('rssm.deter', 17, '16'), ('image_noise', False, 'true'),
      ('seed', 3, '0')])
  def test_other_settings(self, whole, key, value, old):
    with pytest.raises(UserError) as e:
      run(whole.update({key: value, 'steps': 500}))
    assert str(e.value).startswith(f'{key}: ')
    assert f'--{key} {old} ' in str(e.value)

  def test_harmless_settings(self, whole):
    before = saved(whole)[1]['env_steps']
    run(whole.update({
        'steps': 500, 'log_every': 7, 'eval_every': 90, 'save_every': 33,
        'threads': 3, 'envs.timeout': 33.0, 'replay.memory_gb': 0.001}))
    assert saved(whole)[1]['env_steps'] == 500 > before

  def test_a_folder_with_other_things(self, config):
    folder = pathlib.Path(config.logdir)
    folder.mkdir()
    (folder / 'thesis.tex').write_text('')
    with pytest.raises(UserError, match='holds thesis.tex'):
      run(config)
    assert [x.name for x in folder.iterdir()] == ['thesis.tex']

  def test_a_wrong_task_can_be_mended_in_the_same_folder(self, config):
    with pytest.raises(UserError, match='dummy_continuos'):
      run(config.update({'task': 'dummy_continuos'}))
    run(config)

  def test_a_damaged_checkpoint_is_replaced_by_the_one_before(
      self, config, whole):
    paths = sorted(pathlib.Path(whole.logdir, 'checkpoints').glob('*.npz'))
    assert len(paths) == 2
    content = bytearray(paths[-1].read_bytes())
    content[len(content) // 2] ^= 255
    paths[-1].write_bytes(content)
    expected = saved(run_copy(config))
    run(whole)
    assert_same(saved(whole), expected)

  def test_after_a_crash_before_the_second_checkpoint(self, config, whole):
    """That of step 0 knows no episodes: those on disk aren't stored twice."""
    class Crash(Exception):
      pass

    class Agent(FakeAgent):

      def train(self, batch, env_steps):
        raise Crash

    slow = config.update({'save_every': 1000})
    with pytest.raises(Crash):
      training.train(slow, 'fake', Agent, make_envs, Stop())
    episodes = pathlib.Path(config.logdir, 'episodes')
    assert saved(slow)[1]['env_steps'] == 0 and list(episodes.glob('*.npz'))
    with pytest.raises(UserError, match='seed: the run in .* has 0'):
      run(slow.update({'seed': 1}))
    with pytest.raises(UserError, match='holds a run of fake, not other'):
      run(slow, name='other')
    run(config)
    assert_same(saved(config), saved(whole))
    assert list((episodes / 'after_checkpoint').iterdir())

  def test_two_at_once_in_one_folder(self, config):
    refused = []

    class Agent(FakeAgent):

      def train(self, batch, env_steps):
        with pytest.raises(UserError, match='another process trains in'):
          run(config)
        refused.append(env_steps)
        return super().train(batch, env_steps)

    training.train(
        config.update({'steps': 300}), 'fake', Agent, make_envs, Stop())
    assert refused

  def test_a_setting_that_is_younger_than_the_run(self, config):
    schema = config.schema
    old = {k: v for k, v in config.flat.items() if k != 'discount'}
    meta = {'agent': 'fake', 'config': old}
    resume.check_meta(meta, config, 'fake')
    default = schema.defaults.discount
    with pytest.raises(
        UserError, match=f'discount: the run .* has {default}, this command'):
      resume.check_meta(meta, config.update({'discount': 0.5}), 'fake')

  def test_a_setting_that_is_gone(self, config):
    meta = {'agent': 'fake', 'config': {**config.flat, 'old.key': 3}}
    with pytest.raises(UserError, match='another version of fake.* old.key'):
      resume.check_meta(meta, config, 'fake')

  def test_a_loaded_run_knows_its_origin(self, whole):
    """Of a checkpoint that is older than `presets`: not known."""
    load = lambda: resume.load_run(whole.schema, whole.logdir, 'fake')[0]
    assert load().presets == whole.presets == ('debug',)
    arrays, meta = resume.checkpoints(whole.logdir).load()
    del meta['presets']
    resume.checkpoints(whole.logdir).save(arrays, meta)
    assert load().presets is None and load() == whole
    assert agents.saved(whole.logdir).presets == ('debug',)

  def test_no_usable_checkpoint(self, whole):
    """Though somebody evaluated it."""
    folder = pathlib.Path(whole.logdir)
    for path in (folder / 'checkpoints').glob('*.npz'):
      path.write_bytes(b'')
    (folder / 'eval.jsonl').write_text('')
    with pytest.raises(UserError, match='without a usable checkpoint'), (
        pytest.warns(UserWarning, match='there is no other one')):
      run(whole)

  @pytest.mark.parametrize('line, words', [
      ('foo: [', 'no valid YAML'), ('batch_size: -3', 'batch_size is -3 there'),
      ('nonsense: 3', 'nonsense is no key of the run')])
  def test_an_edited_config_is_not_that_of_the_run(self, whole, line, words):
    path = pathlib.Path(whole.logdir, 'config.yaml')
    rest = [x for x in path.read_text().splitlines()
            if x.partition(':')[0] != line.partition(':')[0]]
    path.write_text('\n'.join([*rest, line]) + '\n')
    with pytest.warns(UserWarning, match=words):
      loaded, *_ = resume.load_run(whole.schema, whole.logdir, 'fake')
    assert loaded == whole
    with pytest.warns(UserWarning, match=words):
      run(whole)
    assert line not in path.read_text()
    assert line in (path.parent / 'edited' / path.name).read_text()

  def test_a_config_with_keys_younger_than_the_run(self, whole, recwarn):
    """As newer code writes it before its first checkpoint."""
    store = resume.checkpoints(whole.logdir)
    arrays, meta = store.load()
    del meta['config']['threads_per_op'], meta['config']['image_key']
    store.save(arrays, meta)
    resume.load_run(whole.schema, whole.logdir, 'fake')
    assert not [x for x in recwarn if 'settings count' in str(x.message)]


def run_copy(config):
  run(config)
  return config


class TestErrors:

  def test_losses_that_stay_nan(self, debug_config):
    config = debug_config(train_updates=6)
    with pytest.raises(UserError, match='loss/model: not finite in 10 upd'):
      run(config, nan_from=5)

  def test_the_optimiser_is_that_of_the_loss(self, debug_config):
    class Agent(FakeAgent):

      def train(self, batch, env_steps):
        return {**super().train(batch, env_steps), 'loss/actor': math.nan}

    with pytest.raises(UserError, match='lower actor_opt.lr or actor_opt.clip'):
      training.train(debug_config(train_updates=6), 'fake', Agent, make_envs,
                     Stop())

  @pytest.mark.parametrize('scale, ends', [(2.0, False), (1.0, True)])
  def test_float16_may_overflow(self, debug_config, scale, ends):
    """While the loss scale can fall; not at its least value."""
    class Agent(FakeAgent):

      def train(self, batch, env_steps):
        metrics = super().train(batch, env_steps)
        bad = self.updates > 5
        return {**metrics, 'loss_scale/model': scale,
                'grad_norm/model': math.inf if bad else 1.0}

    config = debug_config(train_updates=6, precision='float16')
    with (pytest.raises(UserError, match='grad_norm/model: not finite in 10')
          if ends else contextlib.nullcontext()):
      training.train(config, 'fake', Agent, make_envs, Stop())

  def test_single_nans_are_left_out_of_means(self, debug_config):
    config = debug_config(steps=400, train_updates=4)

    class Agent(FakeAgent):

      def train(self, batch, env_steps):
        metrics = super().train(batch, env_steps)
        bad = self.updates % 2
        return {**metrics, 'loss/model': math.nan if bad else 2.0}

    training.train(config, 'fake', Agent, make_envs, Stop())
    assert [x['loss/model'] for x in metrics(config) if 'loss/model' in x] == [
        2.0, 2.0]

  def test_disk_full(self, debug_config, monkeypatch):
    """The last good checkpoint stays, and workers end."""
    config = debug_config(**{'envs.worker': 'process'})
    opened = []
    before = npz.write

    def make(*args):
      opened.extend(make_envs(*args))
      return opened[-1:]

    def write(path, arrays):
      if path.parent.name == 'checkpoints' and '400' in path.name:
        raise UserError(f'disk full: {path} was not written')
      before(path, arrays)

    monkeypatch.setattr(checkpoint.npz, 'write', write)
    with pytest.raises(UserError, match='disk full'):
      run(config, make=make)
    assert saved(config)[1]['env_steps'] == 200
    assert len(opened) == 2
    assert all(isinstance(x, RemoteEnv) for x in opened)
    assert all(x.closed for x in opened)
    monkeypatch.undo()
    run(config)
    assert saved(config)[1]['env_steps'] == 600


class TestIdle:
  """A run that learns nothing says so: before, at once, and at its end."""

  def test_as_many_steps_as_the_prefill(self, debug_config):
    config = debug_config(steps=200)
    run(config)
    assert saved(config)[1]['updates'] == 2

  def test_no_episode_ends(self, debug_config, capsys):
    config = debug_config(steps=400, time_limit=450, eval_every=0)
    with pytest.raises(UserError) as info:
      run(config)
    for text in ('steps: 400', 'no episode has ended', 'time_limit (450'):
      assert text in str(info.value)
    err = capsys.readouterr().err
    assert err.count('warning: the prefill of 200 steps goes on') == 1
    assert err.index('the prefill of 200') < err.index('100% | 400/400')
    # It can be continued, and then learns.
    run(config.update({'steps': 460}))
    assert saved(config)[1]['updates'] > 0

  def test_the_episodes_of_a_checkpoint_are_gone(self, debug_config, capsys):
    config = debug_config(steps=400)
    run(config)
    shutil.rmtree(pathlib.Path(config.logdir) / 'episodes')
    run(config.update({'steps': 600}))
    err = capsys.readouterr().err
    assert 'episodes has none of the 4 that have ended; actions are' in err
    assert 'min_length' not in err

  def test_episodes_too_short_to_be_stored(self, tmp_path, capsys):
    """They last 5 steps, whatever the time limit is."""
    config = dreamerv2.configure(['debug'], **{
        'task': 'own_short', 'logdir': str(tmp_path), 'steps': 80,
        'prefill': 40, 'time_limit': 60, 'envs.worker': 'inline',
        'action_repeat': 1, 'batch_length': 10, 'eval_every': 0,
        'replay.min_length': 10})
    make = functools.partial(make_envs, factory=strange_envs.new_style)
    with pytest.raises(UserError, match='none of 16 finished .*min_length'):
      run(config, make=make)
    assert 'none of 8 finished episode(s) is' in capsys.readouterr().err

  def test_no_updates_that_were_wished_for(self, debug_config):
    config = debug_config(steps=300, train_updates=0, pretrain_updates=0)
    run(config)
    assert saved(config)[1]['updates'] == 0


class TestClosing:

  @pytest.mark.parametrize('worker', ['inline', 'process'])
  def test_a_close_that_raises_fails_no_finished_run(
      self, debug_config, tmp_path, worker):
    config = debug_config(batch_length=3, time_limit=10, prefill=20, steps=40,
                          **{'envs.worker': worker, 'task': 'own_close'})
    with warnings.catch_warnings(record=True) as told:
      warnings.simplefilter('always')
      run(config, make=functools.partial(
          make_envs, factory=strange_envs.fails_in_close))
    assert saved(config)[1]['env_steps'] == 40
    if worker == 'inline':
      assert any('display is gone' in str(x.message) for x in told)


class Killed(BaseException):
  """Nothing is saved after it."""


@pytest.mark.parametrize('after', [False, True])
@pytest.mark.parametrize('number', [1, 3, 4, 5])
def test_killed_beside_a_checkpoint(debug_config, monkeypatch, number, after):
  """Right before or after one is written: each line is there once."""
  config = debug_config(
      steps=440, save_every=100, log_every=50, eval_every=110, prefill=200)
  real, count = checkpoint.Checkpoints.save, iter(range(1, 100))

  def save(self, *args):
    if next(count) != number:
      return real(self, *args)
    if after:
      real(self, *args)
    raise Killed

  with monkeypatch.context() as patch:
    patch.setattr(checkpoint.Checkpoints, 'save', save)
    with pytest.raises(Killed):
      run(config)
  run(config)
  folder = pathlib.Path(config.logdir)
  assert [x['step'] for x in metrics(config)][-1] == 440
  for name in ('metrics', 'scores'):
    rows, _ = read_lines(folder / f'{name}.jsonl')
    found = [x['step'] for x in rows]
    assert found == sorted(set(found)), name


class TestPipe:

  def test_a_pipe_that_closes_stops_with_a_checkpoint(
      self, debug_config, monkeypatch):
    """As a signal does; the run continues with the same bits."""
    config = debug_config(steps=330)
    whole = config.update({'logdir': config.logdir + '_whole'})
    run(whole)
    reader, writer = os.pipe()
    with open(writer, 'w') as closed, monkeypatch.context() as patch:
      patch.setattr(sys, 'stderr', closed)
      # Whoever reads goes away when the first lines have come.
      open_ends, right = [reader], Logger.progress
      patch.setattr(Logger, 'progress', lambda *args: [
          *map(os.close, open_ends), open_ends.clear(), right(*args)])
      with pytest.raises((Stopped, BrokenPipeError)):
        run(config)
      patch.undo()
      with pytest.raises(BrokenPipeError):
        closed.flush()
      os.dup2(os.open(os.devnull, os.O_WRONLY), closed.fileno())
    assert 0 < saved(config)[1]['env_steps'] < 330
    run(config)
    assert_same(saved(config), saved(whole))


@pytest.mark.usefixtures('hangups')
class TestSignals:

  @pytest.mark.parametrize('signum, code', [
      (signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
  def test_the_first_signal_saves(self, tmp_path, signum, code):
    argv = self.command(tmp_path)
    process = self.start(argv)
    self.wait_for_updates(tmp_path)
    process.send_signal(signum)
    _, err = process.communicate(timeout=LONG)
    assert process.returncode == code
    assert 'Traceback' not in err
    assert err.splitlines()[-1].startswith(
        'Stopped, with a checkpoint; to continue: python -m fake train ')
    words = shlex.split(err.splitlines()[-1].split('continue: ')[1])
    assert words[-len(argv[4:]):] == argv[4:]
    arrays, meta = resume.checkpoints(tmp_path / 'run').load()
    assert meta['updates'] > 0
    # In the middle of a block of a thousand.
    assert arrays['todo/updates'] + arrays['todo/first'] > 0

  def test_the_second_signal_ends_at_once(self, tmp_path):
    process = self.start(self.command(tmp_path, '--envs.worker', 'process'))
    self.wait_for_updates(tmp_path)
    workers = children(process.pid)
    assert workers
    os.kill(process.pid, signal.SIGSTOP)  # Both come before it can answer.
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    os.kill(process.pid, signal.SIGCONT)
    _, err = process.communicate(timeout=LONG)
    assert process.returncode in (130, 143)
    assert 'Traceback' not in err
    end = time.monotonic() + LONG
    while any(map(alive, workers)) and time.monotonic() < end:
      time.sleep(0.05)
    assert not any(map(alive, workers))

  def test_a_lost_terminal(self, tmp_path):
    """Its SIGHUPs come from the shell and the kernel; it can't be written to.
    """
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        self.command(tmp_path), cwd=ROOT, stdin=theirs, stdout=theirs,
        stderr=theirs, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0))
    os.close(theirs)
    self.wait_for_updates(tmp_path)
    os.close(ours)  # The kernel sends the first one.
    process.send_signal(signal.SIGHUP)
    assert process.wait(LONG) == 129
    assert resume.checkpoints(tmp_path / 'run').load()[1]['updates'] > 0

  def test_nohup(self, tmp_path):
    """Who has said that a hang-up is to be ignored is obeyed."""
    process = self.start(['nohup', *self.command(tmp_path)])
    self.wait_for_updates(tmp_path)
    process.send_signal(signal.SIGHUP)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=LONG)
    assert process.returncode == 143

  def test_a_deleted_folder(self, tmp_path):
    (tmp_path / 'gone').mkdir()
    code = (
        'import os, runpy, sys; os.rmdir(os.getcwd()); '
        f'sys.path.insert(0, {str(ROOT)!r}); '
        "sys.argv = ['x', 'train', '--configs', 'debug', '--task', "
        f"'dummy_continuous', '--logdir', {str(tmp_path / 'run')!r}]; "
        "runpy.run_module('dreamerv1', run_name='__main__')")
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=tmp_path / 'gone', text=True,
        capture_output=True)
    assert done.returncode == 2 and done.stderr.count('\n') == 1
    assert 'error: the folder you are in was deleted' in done.stderr

  def command(self, tmp_path, *more):
    return [
        sys.executable, '-m', 'tests.support.fakes', 'train', '--configs',
        'debug', '--task', 'dummy_continuous', '--logdir',
        str(tmp_path / 'run'), '--envs.worker', 'inline',
        '--pretrain_updates', '1000', *more]

  def start(self, argv):
    return subprocess.Popen(
        argv, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True)

  def wait_for_updates(self, tmp_path):
    """Until prefill has ended: its 200 steps are two episodes."""
    end = time.monotonic() + LONG
    while len(list(tmp_path.glob('run/episodes/*.npz'))) < 2:
      assert time.monotonic() < end
      time.sleep(0.05)
    time.sleep(0.3)


def children(pid):
  text = pathlib.Path(f'/proc/{pid}/task').glob('*/children')
  return [int(x) for path in text for x in path.read_text().split()]


def alive(pid):
  try:
    state = pathlib.Path(f'/proc/{pid}/stat').read_text().rsplit(')')[1]
  except OSError:
    return False
  return state.split()[0] != 'Z'


class TestEvaluate:

  def test_exact_numbers_without_bias(self, debug_config):
    """Environment 0 has shorter episodes, and still runs only its share."""
    config = debug_config()
    envs = [
        *make_envs(config.update({'time_limit': 10}), 'eval', 1),
        *make_envs(config.update({'time_limit': 40}), 'eval', 1)]
    agent = FakeAgent(config, None, envs[0].act_space)
    result = evaluate.evaluate(
        lambda obs, state, _: agent.policy(obs, state, 'eval'), envs,
        envs[0].act_space, 0, 'test', 5, video=True)
    assert result.lengths == [5, 20, 5, 20, 5]
    assert len(result.returns) == 5
    assert result.video.shape == (6, 64, 64, 3)

  def test_fewer_episodes_than_environments(self, debug_config):
    envs = make_envs(debug_config(), 'eval', 3)
    agent = FakeAgent(None, None, envs[0].act_space)
    result = evaluate.evaluate(
        lambda obs, state, _: agent.policy(obs, state, 'eval'), envs,
        envs[0].act_space, 0, 'test', 1)
    assert len(result.returns) == 1
    assert result.video is None

  def test_episodes_do_not_depend_on_the_number_of_environments(
      self, debug_config):
    """Neither their beginning nor the actions of the random policy."""
    def run(amount, seed=3, episodes=5):
      envs = make_envs(debug_config(time_limit=30), 'eval', amount)
      random = evaluate.RandomEpisodes(envs[0].act_space, seed)
      return evaluate.evaluate(
          random, envs, envs[0].act_space, seed, 'test', episodes).returns

    alone = run(1)
    assert len(set(alone)) == 5
    assert run(2) == run(3) == run(5) == alone
    assert run(2, episodes=3) == alone[:3]
    assert run(1, seed=4) != alone
