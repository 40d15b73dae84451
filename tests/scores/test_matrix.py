"""The commands behind tables and figures: complete, and accepted."""

import os
import re
import shlex
import subprocess

import pytest

import dreamerv1
import dreamerv2
import dreamerv3
from dreamer.config import agents
from dreamer.envs.spaces import ActionSpace
from dreamer.errors import UserError
from dreamer.files import ROOT
from dreamer.sweep import estimate, jobs
from scores import __main__, atari, csv_rows, matrix
from tests.support.scores_tools import write_run

AGENTS = {'dreamerv1': dreamerv1, 'dreamerv2': dreamerv2,
          'dreamerv3': dreamerv3}
SCHEMAS = {name: agent.schema() for name, agent in AGENTS.items()}
RATES = {'tflops': 10.0, 'updates_per_second': None, 'steps_per_second': 200.0}


def run(capsys, *argv):
  __main__.main(['matrix', *map(str, argv)])
  lines = capsys.readouterr().out.splitlines()
  return [x for x in lines if not x.startswith('#')], [
      x for x in lines if x.startswith('#')]


def configs(name, seed=0):
  """[(method, Config)] of one seed of each run, from the printed command."""
  for job in matrix.jobs(name):
    if job.seed == seed:
      _, train, agent, *argv = shlex.split(job.command('x'))
      assert train == 'train'
      yield job.method, SCHEMAS[agent].parse(argv)


class TestCommands:

  @pytest.mark.parametrize('name', matrix.EXPERIMENTS)
  def test_training_accepts_each(self, name):
    """The parser of ./run.sh train, and its checks before a start."""
    logdirs, accepted = set(), set()
    for job in matrix.jobs(name):
      words = shlex.split(job.command('runs/a b'))
      assert words[:2] == ['./run.sh', 'train']
      logdirs.add(words[-1])
      # Seeds and the folder are of no interest to the parser: once is enough.
      rest = tuple(words[2:-1])
      where = rest.index('--seed') + 1
      assert int(rest[where]) == job.seed
      rest = (*rest[:where], '0', *rest[where + 1:], 'runs/a b')
      if rest not in accepted:
        config = SCHEMAS[rest[0]].parse(rest[1:])
        AGENTS[rest[0]].validate(config)
        assert (config.task, config.steps) == (job.task, job.steps)
        accepted.add(rest)
    assert len(logdirs) == len(matrix.jobs(name)) > 0

  @pytest.mark.parametrize('name, amount', [
      ('table_g', 20 * 5 * 2), ('k1', 55 * 8), ('table_1', 55 * (8 + 4)),
      ('table_2', 55 * 3 * 7), ('section_3_2', 55 * 3 * 7),
      ('fig4', 4 * 5 * 30), ('fig9', 16 * 5), ('fig10', 20 * 5 * 3),
      ('fig11', 20 * 5 * 3), ('fig12', 20 * 5 * 3), ('released_v1', 100),
      ('dmc_vision', 100), ('humanoid', 10), ('montezuma', 6),
      ('atari_v3', 57 * 5), ('atari100k', 26 * 5), ('dmc_vision_v3', 20 * 5),
      ('dmc_proprio', 18 * 5), ('dmlab', 26 * 5), ('procgen', 16 * 5)])
  def test_amounts(self, name, amount):
    assert len(matrix.jobs(name)) == amount

  @pytest.mark.parametrize('name, source', [
      ('fig4', 'v1_fig4'), ('fig10', 'v1_fig10'), ('fig11', 'v1_fig11'),
      ('fig12', 'v1_fig12')])
  def test_every_published_cell_has_its_runs(self, name, source):
    cells = {(x.task, x.method) for x in csv_rows.published('dreamerv1_figures')
             if x.source == source}
    planned = {(x.task, x.method) for x in matrix.jobs(name)}
    # The longest horizon of walker_walk is not in the figure.
    assert cells <= planned and len(planned - cells) == 3 * (name == 'fig4')

  def test_k1_is_the_55_games(self):
    assert {x.task for x in matrix.jobs('k1')} == set(atari.games())
    assert {x.steps for x in matrix.jobs('k1')} == {200_000_000}


class TestSettings:
  """What a preset is to change is changed, and little else."""

  def test_table_g(self):
    for method, config in configs('table_g'):
      assert config['lambda'] == 0.95 and config.bootstrap == 'second_last'
      assert config.steps == 5_000_000 and config.action_repeat == 2
      assert config.behaviour == {
          'dreamer': 'actor_critic', 'planet': 'planner'}[method]

  def test_figure_4(self):
    for method, config in configs('fig4'):
      kind, horizon = method.split('_horizon_')
      expected = config.planner.horizon if kind == 'planet' else config.horizon
      assert expected == int(horizon)
      assert config.behaviour == {
          'dreamer': 'actor_critic', 'no_value': 'no_value',
          'planet': 'planner'}[kind]

  def test_figure_9(self):
    tasks = dict.fromkeys(c.task for _, c in configs('fig9'))
    assert len([x for x in tasks if x.startswith('atari_')]) == 14
    assert {'dmlab_collect', 'dmlab_watermaze'} <= set(tasks)
    for _, config in configs('fig9'):
      assert config.action_repeat == 4 and config.horizon == 10
      assert config.reward_transform == 'tanh'
      assert config.discount_head.enabled
      assert config.discount_head.gradient == config.task.startswith('atari')

  def test_figure_11(self):
    heads = {method: (config.decoder.gradient, config.cpc.enabled)
             for method, config in configs('fig11')}
    assert heads == {
        'reconstruction': (True, False),
        'contrastive': (False, True),
        'reward_only': (False, False)}

  def test_figure_12(self):
    repeats = {m: c.action_repeat for m, c in configs('fig12')}
    assert repeats == {'repeat_1': 1, 'repeat_2': 2, 'repeat_4': 4}

  def test_table_2(self):
    found = {m: c for m, c in configs('table_2') if c.task == 'atari_pong'}
    base = found.pop('earlier_version').flat
    assert base['actor_gradient'] == 'both'
    changed = {
        method: {k: v for k, v in config.flat.items()
                 if v != base[k] and k != 'logdir'}
        for method, config in found.items()}
    assert changed == {
        'no_layer_norm': {'rssm.gru_norm': False},
        'no_reward_gradients': {'reward.gradient': False},
        'gaussian_latents': {'rssm.latents': 'gaussian'},
        'no_kl_balancing': {'kl.balance': 0.5},
        'no_reinforce': {'actor_gradient': 'dynamics'},
        'no_image_gradients': {'decoder.gradient': False}}

  def test_other_profile(self):
    job = matrix.jobs('table_g', profile='released')[0]
    assert jobs.config_of(job).kl.free_by == 'mean'
    job = matrix.jobs('k1', profile='released')[0]
    assert jobs.config_of(job).batch_size == 16
    job = matrix.jobs('atari100k', profile='curves_2024')[0]
    assert job.presets == ('atari100k', 'paper_2024', 'curves_2024')
    config = jobs.config_of(job)
    assert (config.train_ratio, config.time_limit) == (256, 100_000)
    assert config.atari.actions == 'full'


class TestEstimates:

  def test_control_by_hand(self):
    """5e6 steps at repeat 2: 2.5e6 images of 12 288 bytes, 5e5 updates."""
    job = matrix.jobs('table_g')[0]
    cost = estimate.estimate(job, {**RATES, 'updates_per_second': 10.0})
    assert cost.updates == 100 + 4995 * 100
    assert cost.hours == pytest.approx((499_600 / 10 + 2.5e6 / 200) / 3600)
    assert 31 < cost.disk < 33

  def test_atari_keeps_two_million_steps(self):
    job = matrix.jobs('k1')[0]
    cost = estimate.estimate(job, RATES)
    assert cost.updates == 1 + (200_000_000 - 200_000) // 16
    assert 8.2 < cost.disk < 9.5

  def test_streams_keep_latents_and_no_image_that_is_not_seen(self):
    """12 288 bytes an image, 4 * 8192 + 32 the latents of DreamerV3."""
    disk = lambda name, **keys: estimate.estimate(
        matrix.jobs(name)[0]._replace(**keys), RATES).disk - 0.6
    seen = disk('dmc_vision_v3')
    assert seen == pytest.approx((12_288 + 200 + 4 * 8192 + 32) / 1e3)
    bare = disk('dmc_vision_v3', keys={'replay.context': 0})
    assert bare == pytest.approx(12.488)
    assert disk('dmc_proprio') == pytest.approx((200 + 4 * 512 + 32) / 2e3)

  def test_arithmetic(self):
    """Of a full-size update about 800 GFLOP, half the rate twice the time."""
    job = matrix.jobs('table_g')[0]
    config = jobs.config_of(job)
    space = ActionSpace('continuous', 6)
    assert 600 < dreamerv1.entry.flops(config, 3, space) < 1000
    slow, fast = (estimate.estimate(
        job, {**RATES, 'tflops': x, 'steps_per_second': 1e9}).hours
        for x in (5.0, 10.0))
    assert slow == pytest.approx(2 * fast, rel=1e-3)

  @pytest.mark.parametrize('agent', agents.known())
  def test_every_agent_has_one(self, agent):
    """Blocks of updates, or as many as each step asks for."""
    schema = agents.schema(agent)
    job = jobs.Job(agent, ('debug',), schema.defaults.task, 0, 5000, 'x', {})
    cost = estimate.estimate(job, RATES)
    assert cost.updates > 10 and cost.hours > 0 and cost.disk > 0

  def test_of_an_agent_that_counts_none(self, monkeypatch, capsys):
    """What is missing is a line that says what to write."""
    monkeypatch.setattr(dreamerv2.entry, 'flops', None)
    _, comments = run(capsys, 'humanoid')
    text = 'unknown hours (write `flops` of the entry, or give --updates-per'
    assert text in comments[1] and 'GB of disk' in comments[1]
    assert text in comments[-1] and 'updates,' in comments[-1]
    _, comments = run(capsys, 'humanoid', '--updates-per-second', '3')
    assert 'unknown' not in '\n'.join(comments)

  @pytest.mark.parametrize('option', [
      '--tflops', '--updates-per-second', '--steps-per-second'])
  def test_bad_rates(self, capsys, option):
    for value in ('0', '-1', 'nan', 'inf'):
      with pytest.raises(UserError, match=f'{option}: .* is not allowed'):
        run(capsys, 'humanoid', option, value)


class TestMain:

  def test_prints_a_script(self, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    commands, comments = run(
        capsys, 'fig12', '--tasks', 'dmc_cup_catch', '--methods', 'repeat_4',
        '--seeds', 2, '--logdir', 'my runs')
    assert commands == [
        './run.sh train dreamerv1 --configs dmc paper_code --task '
        f'dmc_cup_catch --seed {seed} --steps 1000000 --action_repeat 4 '
        f"--logdir 'my runs/repeat_4/dmc_cup_catch/seed{seed}'"
        for seed in (0, 1)]
    assert comments[0] == '# fig12: 2 runs'
    assert 'assumed, not measured: updates at 10 TFLOP/s' in comments[2]
    assert any('hours' in x and 'GB of disk' in x for x in comments)

  def test_elsewhere_than_in_the_checkout(self, tmp_path, monkeypatch, capsys):
    """Its lines can be run where they are printed, and everywhere."""
    monkeypatch.chdir(tmp_path)
    for argv, folder in (([], 'runs/humanoid'), (['--logdir', 'a'], 'a')):
      commands, _ = run(capsys, 'humanoid', '--seeds', '1', *argv)
      words = shlex.split(commands[0])
      assert words[0] == f'{ROOT}/run.sh'
      assert words[-1] == (
          f'{tmp_path}/{folder}/dreamerv2/dmc_humanoid_walk/seed0')

  def slurm(self, folder, capsys, *argv):
    """The script, with a checkout whose run.sh prints its arguments."""
    __main__.main(['matrix', *map(str, argv), '--format', 'slurm'])
    text = capsys.readouterr().out
    assert text.startswith('#!/usr/bin/env bash\n')
    for name in ('checkout/run.sh', 'bin/sbatch'):
      path = folder / name
      path.parent.mkdir()
      path.write_text('#!/bin/sh\nfor x; do echo "$x"; done; pwd >&2\n')
      path.chmod(0o755)
    script = folder / 'a script'
    script.write_text(text.replace(f'{ROOT}/', f'{folder}/checkout/'))
    options = dict(re.findall(r'^#SBATCH --([\w-]+)=(.*)$', text, re.M))
    return script, options

  def bash(self, script, *argv, **env):
    path = f'{script.parent}/bin:{os.environ["PATH"]}'
    here = script.parent / 'bin'  # where VENV and PYTHONPATH count from
    done = subprocess.run(
        ['bash', script, *argv], env={'PATH': path, **env}, text=True,
        cwd=here, capture_output=True, check=True)
    assert set(done.stderr.splitlines()) == {str(here)}
    return done.stdout.splitlines()

  def test_slurm(self, tmp_path, capsys):
    """Task 1 of the array runs the second command, where it was submitted."""
    script, options = self.slurm(
        tmp_path, capsys, 'table_g', '--tasks', 'dmc_walker_run', '--methods',
        'dreamer', '--logdir', tmp_path / 'a 50% b')
    assert options['array'] == '0-4' and options['signal'] == 'B:INT@120'
    assert shlex.split(options['output']) == [
        f'{tmp_path}/a 50%% b/slurm/%A_%a.log']
    argv = self.bash(script, SLURM_ARRAY_TASK_ID='1')
    assert argv[:2] == ['train', 'dreamerv1']
    assert argv[argv.index('--seed') + 1] == '1'
    assert argv[-1] == f'{tmp_path}/a 50% b/dreamer/dmc_walker_run/seed1'
    assert self.bash(script) == ['--array=0-4', str(script), '0']
    assert (tmp_path / 'a 50% b' / 'slurm').is_dir()

  def test_slurm_counts_from_here(self, tmp_path, monkeypatch, capsys):
    """Where it is submitted and where a job runs are other folders."""
    (tmp_path / 'my study').mkdir()
    monkeypatch.chdir(tmp_path / 'my study')
    script, options = self.slurm(tmp_path, capsys, 'humanoid', '--seeds', 1)
    root = tmp_path / 'my study' / 'runs' / 'humanoid'
    assert shlex.split(options['output']) == [f'{root}/slurm/%A_%a.log']
    argv = self.bash(script, '0', SLURM_ARRAY_TASK_ID='0')
    assert argv[-1] == f'{root}/dreamerv2/dmc_humanoid_walk/seed0'

  def test_slurm_in_several_arrays(self, tmp_path, capsys):
    """A cluster takes 1000 tasks of an array; all runs are in one of them."""
    script, options = self.slurm(
        tmp_path, capsys, 'table_2', '--logdir', tmp_path / 'x')
    wanted = [job.folder for job in matrix.jobs('table_2')]
    assert len(wanted) == 1155 and 'array' not in options
    submitted = self.bash(script)
    assert submitted == [
        '--array=0-999', str(script), '0', '--array=0-154', str(script), '1000']
    for start, task in ((0, 0), (0, 999), (1000, 0), (1000, 154)):
      argv = self.bash(script, str(start), SLURM_ARRAY_TASK_ID=str(task))
      assert argv[-1] == f'{tmp_path}/x/{wanted[start + task]}'

  def test_missing(self, tmp_path, capsys):
    argv = ['humanoid', '--missing', tmp_path, '--seeds', 3]
    assert len(run(capsys, *argv)[0]) == 3
    folder = tmp_path / 'dreamerv2' / 'dmc_humanoid_walk'
    settings = jobs.config_of(matrix.jobs('humanoid')[0]).flat
    del settings['logdir']
    for seed, steps in ((0, 42_000_000), (2, 1_000_000)):
      write_run(folder / f'seed{seed}', [(steps, [1.0])], agent='dreamerv2',
                **{**settings, 'seed': seed})
    commands, comments = run(capsys, *argv)
    assert ['--seed 1' in commands[0], '--seed 2' in commands[1]] == [True] * 2
    assert comments[0] == (
        f'# humanoid: 2 runs of 3; the others are finished in {tmp_path}')
    assert '# seed 2 goes on at 1,000,000 of 42,000,000' in comments
    assert f'--logdir {folder}/seed1' in commands[0]

  def test_missing_finds_another_run(self, tmp_path, capsys):
    folder = tmp_path / 'dreamerv2' / 'dmc_humanoid_walk'
    write_run(folder / 'seed0', [(10, [1.0])], task='dmc_cup_catch',
              agent='dreamerv2')
    with pytest.raises(UserError, match='holds a run of task dmc_cup_catch'):
      run(capsys, 'humanoid', '--missing', tmp_path)

  @pytest.mark.parametrize('argv, wanted', [
      (['table_h'], "unknown table or figure 'table_h'; allowed: table_g"),
      (['k1', '--tasks', 'atari_x'], "--tasks: 'atari_x' is not allowed"),
      (['k1', '--methods', 'sac'], "--methods: 'sac' is not allowed"),
      (['table_g', '--tasks', 'walker_walk'], 'did you mean dmc_walker_walk'),
      (['k1', '--seeds', '0'], '--seeds: 0 is not allowed')])
  def test_bad(self, capsys, argv, wanted):
    with pytest.raises(UserError, match=wanted):
      run(capsys, *argv)
