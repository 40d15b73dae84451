"""The runs behind a table or a figure, as commands."""

from __future__ import annotations

import argparse
import math
import typing
from collections.abc import Sequence

from dreamer.config.rules import nearest
from dreamer.errors import UserError
from dreamer.sweep.jobs import Job, progress
from dreamer.sweep.scripts import script, slurm

from . import atari, csv_rows


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
LEFT_OUT = ('no_layer_norm', 'no_reward_gradients', 'gaussian_latents',
            'no_kl_balancing', 'no_image_gradients')
ABLATIONS = (
    Variant('earlier_version', MIXED),
    *(Variant(x, (*MIXED, x)) for x in (*LEFT_OUT, 'no_reinforce')))
GRADIENTS = (Variant('default'), Variant('mixed', MIXED),
             Variant('reinforce_only', (*MIXED, 'reinforce_only')))


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
  return [row for row in csv_rows.published(name) if row.source == source]


def _figure_9():
  return {row.task: row.env_steps for row in _rows('v1_fig9')
          if row.method == 'dreamer'}


def _figure_4():
  return dict.fromkeys(
      [row.task for row in _rows('v1_fig4')], 5_000_000)


def _games():
  return dict.fromkeys(atari.games(), 200_000_000)


def _third(suite, task, notes=()):
  """The Experiment of a suite of DreamerV3, by its released runs.

  task: the name in training of one of them, with {} for its own.
  """
  def tasks():
    return {task.format(row.task.partition('_')[2]): row.env_steps
            for row in csv_rows.published('dreamerv3_released_seeds')
            if row.source == f'v3_{suite}' and not row.task.startswith(WORDS)}
  return Experiment(
      'dreamerv3', suite, 'paper', (Variant('dreamerv3'),), tasks, 5,
      (CURVES, *notes), reference=f'dreamerv3/{suite}')


ASSUMED_SEEDS = 'The paper does not say how many seeds: {} are assumed.'
PLANNING = 'The hours of planet lack its planning, at every agent step.'
MIXED_NOTE = ('Its "earlier version" and the comparisons "vs mixed" are taken '
              'to be preset mixed_gradients.')
CURVES = ("The paper's own runs are not public; what these are compared with "
          'is made by the code of 2024: --profile curves_2024.')
SMALL_NOTE = ('At a small size; `scores ablations` puts what comes out '
              'beside the paper.')
WORDS = 'dmlab_language_'  # levels whose task is said in words
PROFILES = {
    **{x: (x,) for x in (
        'paper', 'paper_code', 'paper_2024', 'released', 'laptop')},
    'curves_2024': ('paper_2024', 'curves_2024')}
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
        reference='dreamerv2/montezuma'),
    'atari_v3': _third('atari', 'atari_{}'),
    'atari100k': _third('atari100k', 'atari_{}'),
    'dmc_vision_v3': _third('dmc_vision', 'dmc_{}'),
    'dmc_proprio': _third('dmc_proprio', 'dmc_{}'),
    'dmlab': _third('dmlab', 'dmlab_{}', (
        'Levels whose task is said in words are left out.',)),
    'procgen': _third('procgen', 'gym_procgen:procgen-{}-v0'),
    'laptop_ablations_v1': Experiment(
        'dreamerv1', 'dmc', 'laptop', (
            *REPRESENTATIONS, *CONTROL_V1[1:],
            Variant('horizon_3', (), {'horizon': 3}),
            Variant('no_value_horizon_3', ('no_value',), {'horizon': 3})),
        lambda: {'dmc_walker_stand': 30_000}, 3, (SMALL_NOTE,)),
    'laptop_ablations_v2': Experiment(
        'dreamerv2', 'minatar', 'laptop', (*GRADIENTS[:2], *ABLATIONS[1:]),
        lambda: {'minatar_space_invaders': 16_000}, 3, (
            SMALL_NOTE, 'The default is `reinforce_only`: actions are discrete '
            'here, and the entropy is not annealed at this size.')),
    'laptop_ablations_v2_control': Experiment(
        'dreamerv2', 'dmc_vision', 'laptop', (
            *GRADIENTS, *(Variant(x, (x,)) for x in LEFT_OUT)),
        lambda: {'dmc_walker_stand': 16_000}, 3, (
            SMALL_NOTE, 'The default has no REINFORCE on control, and the '
            'variants start from it.'))}


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
  notes = _experiment(args.name).notes
  print('\n'.join(
      slurm(args.name, known, root, rates) if args.format == 'slurm' else
      script(args.name, known, root, rates, notes)))


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
  if profile:
    _check('--profile', [profile], PROFILES)
  if seeds is not None and seeds < 1:
    raise UserError(f'--seeds: {seeds} is not allowed; allowed: 1..')
  return [
      Job(experiment.agent, (_suite(experiment, task), *variant.presets,
                             *PROFILES[profile or experiment.profile]),
          task, seed, steps[task], variant.method, dict(variant.keys))
      for variant in experiment.variants for task in steps
      for seed in range(seeds or variant.seeds or experiment.seeds)
      if (not methods or variant.method in methods)
      and (not tasks or task in tasks)]


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
