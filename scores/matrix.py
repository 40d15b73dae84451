"""The runs behind a table or a figure, as commands.

Hours and disk are estimates from two assumptions that options replace: the
arithmetic of updates at TFLOPS, and agent steps at STEPS_PER_SECOND (acting,
environment and rendering, while no update runs). Neither was measured.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import math
import pathlib
import shlex
import types
import typing
from collections.abc import Sequence

from dreamer.config import agents
from dreamer.config.rules import nearest
from dreamer.config.schema import Config
from dreamer.errors import UserError
from dreamer.files import ROOT
from dreamer.log.tables import number

from . import atari, form
from .folders import Folder

TFLOPS = 10.0  # sustained
STEPS_PER_SECOND = 200.0
ROW_EXTRA = 200  # bytes of an agent step beside its image: actions, names, zip
CHECKPOINTS = 0.6  # GB: the last two of a large agent


class Job(typing.NamedTuple):
  """One run. keys: settings beside presets, task, seed, steps and logdir.

  options: of a command line, before them.
  """

  agent: str
  presets: tuple
  task: str
  seed: int
  steps: int
  method: str
  keys: dict
  options: tuple = ()

  @property
  def folder(self) -> str:
    return f'{self.method}/{self.task}/seed{self.seed}'

  def argv(self, root: str) -> list[str]:
    """Returns the command behind `./run.sh train`."""
    keys = {'task': self.task, 'seed': self.seed, 'steps': self.steps,
            **self.keys, 'logdir': str(pathlib.Path(root) / self.folder)}
    options = [x for key, value in keys.items() for x in (
        f'--{key}', str(value))]
    presets = ['--configs', *self.presets] if self.presets else []
    return [self.agent, *presets, *self.options, *options]

  def command(self, root: str) -> str:
    return shlex.join(['./run.sh', 'train', *self.argv(root)])


class Estimate(typing.NamedTuple):
  """Of one run: hours, GB on disk, updates."""

  hours: float
  disk: float
  updates: int


class Variant(typing.NamedTuple):
  """One row of a table: presets after the suite's, settings, seeds if other.
  """

  method: str
  presets: tuple = ()
  keys: typing.Mapping = {}
  seeds: int | None = None


HORIZONS = (2, 3, 5, 10, 15, 20, 25, 30, 40, 50)
CONTROL_V1 = (Variant('dreamer'), Variant('no_value', ('no_value',)),
              Variant('planet', ('planet',)))
REPRESENTATIONS = tuple(
    Variant(x, (x,)) for x in ('reconstruction', 'contrastive', 'reward_only'))
MIXED = ('mixed_gradients',)
ABLATIONS = (
    Variant('earlier_version', MIXED),
    *(Variant(x, (*MIXED, x)) for x in (
        'no_layer_norm', 'no_reward_gradients', 'gaussian_latents',
        'no_kl_balancing', 'no_reinforce', 'no_image_gradients')))


class Experiment(typing.NamedTuple):
  """What a table or figure consists of.

  tasks: function that returns {task: environment steps}. notes: what the
  papers leave open, and what is not run here. reference: what its runs are
  compared with; see `compare --help`.
  """

  agent: str
  suite: str | None
  profile: str
  variants: tuple
  tasks: typing.Callable
  seeds: int
  notes: tuple = ()
  reference: str | None = None


def _control(steps):
  return lambda: {row.task: steps for row in _rows('v1_table_g')
                  if row.method == 'dreamer' and row.task != 'dmc_mean'}


def _rows(source):
  name = {'v1_table_g': 'dreamerv1_table_g'}.get(source, 'dreamerv1_figures')
  return [row for row in form.published(name) if row.source == source]


def _figure_9():
  return {row.task: row.env_steps for row in _rows('v1_fig9')
          if row.method == 'dreamer'}


def _figure_4():
  return dict.fromkeys(
      [row.task for row in _rows('v1_fig4')], 5_000_000)


def _games():
  return dict.fromkeys(atari.games(), 200_000_000)


ASSUMED_SEEDS = 'The paper does not say how many seeds: {} are assumed.'
PLANNING = 'The hours of planet lack its planning, at every agent step.'
MIXED_NOTE = ('Its "earlier version" and the comparisons "vs mixed" are taken '
              'to be preset mixed_gradients.')
EXPERIMENTS = {
    'table_g': Experiment(
        'dreamerv1', 'dmc', 'paper_code',
        (CONTROL_V1[0], CONTROL_V1[2]), _control(5_000_000), 5,
        ("A3C and D4PG are other projects' agents.", PLANNING),
        reference='dreamerv1/table_g'),
    'fig4': Experiment(
        'dreamerv1', 'dmc', 'paper_code', tuple(
            Variant(f'{x.method}_horizon_{h}', x.presets, {
                'planner.horizon' if x.method == 'planet' else 'horizon': h})
            for x in CONTROL_V1 for h in HORIZONS), _figure_4, 5,
        ('The figure does not say after how many steps: 5e6 are assumed.',
         ASSUMED_SEEDS.format(5), PLANNING)),
    'fig9': Experiment(
        'dreamerv1', None, 'paper_code', (Variant('dreamer'),), _figure_9, 5,
        ('Each task ends where its curve does in the figure.',
         ASSUMED_SEEDS.format(5),
         "DQN, Rainbow, SimPLe and IMPALA are other projects' agents."),
        reference='dreamerv1/fig9'),
    'fig10': Experiment(
        'dreamerv1', 'dmc', 'paper_code', CONTROL_V1, _control(5_000_000), 5,
        (ASSUMED_SEEDS.format(5), PLANNING),
        reference='dreamerv1/fig10'),
    'fig11': Experiment(
        'dreamerv1', 'dmc', 'paper_code', REPRESENTATIONS,
        _control(4_000_000), 5, (ASSUMED_SEEDS.format(5),),
        reference='dreamerv1/fig11'),
    'fig12': Experiment(
        'dreamerv1', 'dmc', 'paper_code', tuple(
            Variant(f'repeat_{x}', (), {'action_repeat': x})
            for x in (1, 2, 4)), _control(1_000_000), 5,
        (ASSUMED_SEEDS.format(5),),
        reference='dreamerv1/fig12'),
    'released_v1': Experiment(
        'dreamerv1', 'dmc', 'released', (Variant('dreamer'),),
        _control(5_000_000), 5,
        reference='dreamerv1/released'),
    'k1': Experiment(
        'dreamerv2', 'atari', 'paper', (Variant('dreamerv2'),), _games, 8,
        ("DQN, C51, Rainbow and IQN are other projects' agents.",),
        reference='dreamerv2/table_k1'),
    'table_1': Experiment(
        'dreamerv2', 'atari', 'paper', (
            Variant('dreamerv2'), Variant('schedules', MIXED, seeds=4)),
        _games, 8),
    'table_2': Experiment(
        'dreamerv2', 'atari', 'paper', ABLATIONS, _games, 3,
        (ASSUMED_SEEDS.format(3), MIXED_NOTE)),
    'section_3_2': Experiment(
        'dreamerv2', 'atari', 'paper', (
            ABLATIONS[0], *ABLATIONS[2:],
            Variant('reinforce_only', (*MIXED, 'reinforce_only'))),
        _games, 3, (ASSUMED_SEEDS.format(3), MIXED_NOTE)),
    'dmc_vision': Experiment(
        'dreamerv2', 'dmc_vision', 'paper', (Variant('dreamerv2'),),
        _control(2_000_000), 5,
        reference='dreamerv2/dmc_vision'),
    'humanoid': Experiment(
        'dreamerv2', 'humanoid', 'paper', (Variant('dreamerv2'),),
        lambda: {'dmc_humanoid_walk': 42_000_000}, 10,
        reference='dreamerv2/humanoid'),
    'montezuma': Experiment(
        'dreamerv2', 'atari', 'paper', (
            Variant('montezuma', ('montezuma',)),),
        lambda: {'atari_montezuma_revenge': 200_000_000}, 6,
        reference='dreamerv2/montezuma')}


def main(args: argparse.Namespace) -> None:
  """Prints the commands, as a shell script with estimates in comments."""
  found = jobs(args.name, args.seeds, args.tasks, args.methods, args.profile)
  root = args.missing or args.logdir or f'runs/{args.name}'
  states = [progress(job, root) if args.missing else 0 for job in found]
  rates = {'tflops': args.tflops, 'updates_per_second':
           args.updates_per_second, 'steps_per_second': args.steps_per_second}
  for key, value in rates.items():
    if value is not None and not 0 < value < math.inf:
      raise UserError(f'--{key.replace("_", "-")}: {value} is not allowed; '
                      'allowed: above 0')
  known = list(zip(found, states, strict=True))
  lines = script(args.name, known, root, rates)
  print('\n'.join(
      slurm(args.name, lines, root) if args.format == 'slurm' else lines))


def jobs(
    name: str, seeds: int | None = None, tasks: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    profile: str | None = None) -> list[Job]:
  """Returns the Jobs of a table or figure."""
  experiment = _experiment(name)
  known = {x.method: x for x in experiment.variants}
  steps = experiment.tasks()
  _check('--methods', methods, known)
  _check('--tasks', tasks, steps)
  if seeds is not None and seeds < 1:
    raise UserError(f'--seeds: {seeds} is not allowed; allowed: 1..')
  return [
      Job(experiment.agent, (_suite(experiment, task), *variant.presets,
                             profile or experiment.profile),
          task, seed, steps[task], variant.method, dict(variant.keys))
      for variant in experiment.variants for task in steps
      for seed in range(seeds or variant.seeds or experiment.seeds)
      if (not methods or variant.method in methods)
      and (not tasks or task in tasks)]


def script(name: str, found: Sequence[tuple[Job, int]], root: str,
           rates: dict) -> list[str]:
  """Returns the lines of a shell script.

  found: [(Job, environment steps it has already)]; finished ones are left
  out. rates: tflops, updates_per_second, steps_per_second.
  """
  missing = [(job, steps) for job, steps in found if steps < job.steps]
  estimates = [estimate(job, rates) for job, _ in missing]
  lines = [
      f'# {name}: {len(missing)} runs'
      + (f' of {len(found)}; the others are finished in {root}'
         if len(missing) < len(found) else ''),
      f'# about {number(sum(x.hours for x in estimates), 0)} hours on one '
      f'device and {number(sum(x.disk for x in estimates), 0)} GB of disk',
      f'# assumed, not measured: {_assumed(rates)}']
  lines += [f'# {note}' for note in _experiment(name).notes]
  before = None
  for (job, steps), cost in zip(missing, estimates, strict=True):
    if (job.method, job.task) != before:
      before = job.method, job.task
      lines.append(
          f'# {job.method} {job.task}: {cost.hours:,.1f} hours, '
          f'{cost.updates:,} updates, {cost.disk:,.1f} GB each')
    if steps:
      lines.append(f'# seed {job.seed} goes on at {steps:,} of {job.steps:,}')
    lines.append(job.command(root))
  return lines


def slurm(name: str, lines: Sequence[str], root: str) -> list[str]:
  """Returns a job array of the commands in `script`'s lines.

  Submitted again, it goes on: runs continue from their checkpoints, and those
  that are finished end at once. Two minutes before its limit a run is asked
  to stop, which it does after a checkpoint.
  """
  commands = [line for line in lines if not line.startswith('#')]
  if not commands:
    raise UserError(f'{name}: no run is missing, there is nothing to submit')
  logs = pathlib.Path(root).resolve() / 'slurm'
  return [
      '#!/usr/bin/env bash', *lines[:3],
      f'# mkdir -p {shlex.quote(str(logs))} && sbatch this file; again to go '
      'on with what is unfinished',
      f'#SBATCH --job-name={name}', f'#SBATCH --array=0-{len(commands) - 1}',
      '#SBATCH --cpus-per-task=4', '#SBATCH --gpus=1',
      '#SBATCH --time=24:00:00', '#SBATCH --signal=B:INT@120',
      f'#SBATCH --output={str(logs)}/%a.log', 'commands=(',
      *(f'  {shlex.quote(command)}' for command in commands), ')',
      f'cd {shlex.quote(str(ROOT))} || exit',
      # exec: the signal reaches the run itself.
      'eval "exec ${commands[SLURM_ARRAY_TASK_ID]}"']


def estimate(job: Job, rates: dict) -> Estimate:
  """Returns the Estimate of a whole run."""
  config = config_of(job)
  agent_steps = config.steps / config.action_repeat
  learning = max(0, config.steps - config.prefill)
  updates = (config.pretrain_updates or config.train_updates) + int(
      learning // config.train_every * config.train_updates)
  speed = rates['updates_per_second'] or (
      1000 * rates['tflops'] / _gflop(job, config))
  seconds = updates / speed + agent_steps / rates['steps_per_second']
  kept = config.flat.get('replay.capacity_agent_steps') or math.inf
  rows = min(agent_steps, kept) * (_channels(job, config) * 4096 + ROW_EXTRA)
  return Estimate(seconds / 3600, rows / 1e9 + CHECKPOINTS, updates)


def config_of(job: Job) -> Config:
  """Returns the Config that the training command makes of a Job."""
  return _schema(job.agent).parse(job.argv('runs')[1:])


def progress(job: Job, root: str) -> int:
  """Returns the environment steps that a run has done.

  Raises UserError where its folder holds another run.
  """
  logdir = pathlib.Path(root) / job.folder
  if not (logdir / 'config.yaml').exists():
    return 0
  folder = Folder(logdir)
  for key in ('agent', 'task', 'seed'):
    if getattr(folder, key) != getattr(job, key):
      raise UserError(
          f'{logdir}: holds a run of {key} {getattr(folder, key)}, not '
          f'{getattr(job, key)}; move it away')
  return folder.reached


def _experiment(name):
  if name not in EXPERIMENTS:
    raise UserError(
        f'unknown table or figure {name!r}; allowed: {", ".join(EXPERIMENTS)}')
  return EXPERIMENTS[name]


def _check(option, wanted, known):
  for name in wanted or ():
    if name not in known:
      raise UserError(
          f'{option}: {name!r} is not allowed{nearest(name, known)}; allowed: '
          f'{", ".join(known)}')


def _suite(experiment, task):
  return experiment.suite or task.split('_')[0]


@functools.cache
def _schema(agent):
  return agents.schema(agent)


def _gflop(job, config):
  """GFLOP of one update, counted from the config; six actions are taken."""
  flops = importlib.import_module(f'{job.agent}.flops')
  space = types.SimpleNamespace(
      dim=6, discrete=not job.task.startswith('dmc_'))
  return flops.update_gflop(config, _channels(job, config), space)


def _channels(job, config):
  gray = config.flat.get('atari.color') == 'gray'
  return 1 if gray and job.task.startswith('atari_') else 3


def _assumed(rates):
  speed = (f'{rates["updates_per_second"]:g} updates per second'
           if rates['updates_per_second'] else
           f'updates at {rates["tflops"]:g} TFLOP/s')
  return (f'{speed}, {rates["steps_per_second"]:g} agent steps per second; '
          'see --help')
