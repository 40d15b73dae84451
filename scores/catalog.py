"""The published scores by name: which file, how measured, in which bins."""

from __future__ import annotations

import typing
from collections.abc import Iterable

from dreamer.config import agents
from dreamer.config.agents import Published
from dreamer.errors import UserError

from . import binning, csv_rows

FULL = {'buffer': 'full', 'shadows': 'full', 'multisampling': True}
VISION = {
    'returns': 'evaluation', 'mode': 'eval', 'action_repeat': 2,
    'time_limit': 1000, 'suite': FULL}
CONTROL = {**VISION, 'every': 10_000, 'episodes': 1}
ATARI = {
    'returns': 'evaluation', 'mode': 'eval', 'action_repeat': 4,
    'time_limit': 108_000, 'sticky': 0.25, 'actions': 'full',
    'life_loss': 'ignore', 'every': 1_000_000, 'episodes': 10}
DISCRETE = {
    'returns': 'evaluation', 'mode': 'eval', 'action_repeat': 4,
    'time_limit': 108_000, 'sticky': 0.25, 'actions': 'minimal',
    'life_loss': 'end'}
NOT_SAID = ('That the scores are evaluations of 10 episodes a bin is read off '
            'their digits (multiples of 0.1); the release does not say it.')
ARXIV_V2 = ('The released runs are those of arXiv v2 (April 2024), not of the '
            'paper in Nature: preset paper_2024. Their returns are those of '
            'training episodes, means over a twentieth of the budget.')
DIGITISED = 'Read off the figure: errors up to 0.1 return.'


class Source(typing.NamedTuple):
  """Where a named reference comes from.

  episodes: whether its file has single episodes, to be put into bins here; of
    runs that ended nothing is carried forward. more: of a Reference.
  alone: whether the file's other methods are returns of another kind, which are
    another Source.
  """

  file: str
  method: str
  rule: str
  protocol: dict
  agent: str
  presets: tuple = ()
  source: str = ''
  remarks: tuple = ()
  episodes: bool = False
  more: typing.Mapping = {}
  alone: bool = False


def _pixelpoint(agent, method, rule, **protocol):
  """Returns lie between 0 and 100; margin and level are ours."""
  return Source(
      f'{agent}_pixelpoint', method, rule, {**protocol, 'time_limit': 100},
      agent, ('pixelpoint',), '', (
          'The reference is the released program itself, see the source '
          f'v{agent[-1]}_pixelpoint; runs count as having learned from half of '
          f'the highest return on.',), True,
      {'margin': '10', 'learned': 50.0, 'curve': True}, True)


def _dreamerv3(suite, **protocol):
  """Training returns; of a reset no more is said than of other steps."""
  return Source(
      'dreamerv3_released_seeds', 'dreamerv3', f'dreamerv3_{suite}',
      {'returns': 'training', **protocol}, 'dreamerv3', (suite, 'paper_2024'),
      f'v3_{suite}', (ARXIV_V2,))


SOURCES = {
    'dreamerv1/pixelpoint': _pixelpoint(
        'dreamerv1', 'dreamer', 'pixelpoint', returns='evaluation',
        mode='eval', action_repeat=2, every=500, episodes=1),
    'dreamerv1/pixelpoint_training': _pixelpoint(
        'dreamerv1', 'dreamer_training', 'pixelpoint_training',
        returns='training', action_repeat=2),
    'dreamerv2/pixelpoint': _pixelpoint(
        'dreamerv2', 'dreamerv2', 'pixelpoint_discrete', returns='evaluation',
        mode='eval', action_repeat=1, every=250, episodes=1),
    'dreamerv2/pixelpoint_training': _pixelpoint(
        'dreamerv2', 'dreamerv2_training', 'pixelpoint_discrete_training',
        returns='training', action_repeat=1),
    'dreamerv1/table_g': Source(
        'dreamerv1_table_g', 'dreamer', 'table_g', CONTROL, 'dreamerv1',
        ('paper_code',)),
    'dreamerv1/released': Source(
        'dreamerv1_released_seeds', 'dreamer', 'dreamerv1_released', CONTROL,
        'dreamerv1', ('released',)),
    'dreamerv1/fig9': Source(
        'dreamerv1_figures', 'dreamer', 'atari', DISCRETE, 'dreamerv1',
        ('paper_code',), 'v1_fig9', (DIGITISED,)),
    'dreamerv1/fig10': Source(
        'dreamerv1_figures', 'dreamer', 'figures_10_11', CONTROL, 'dreamerv1',
        ('paper_code',), 'v1_fig10', (DIGITISED,)),
    'dreamerv1/fig11': Source(
        'dreamerv1_figures', 'reconstruction', 'figures_10_11', CONTROL,
        'dreamerv1', ('paper_code',), 'v1_fig11', (DIGITISED,)),
    'dreamerv1/fig12': Source(
        'dreamerv1_figures', 'repeat_2', 'figure_12',
        {**CONTROL, 'action_repeat': None}, 'dreamerv1', ('paper_code',),
        'v1_fig12', (DIGITISED,)),
    'dreamerv2/table_k1': Source(
        'dreamerv2_table_k1', 'dreamerv2', 'atari', ATARI, 'dreamerv2', (),
        'v2_table_k1', (NOT_SAID,)),
    'dreamerv2/released': Source(
        'dreamerv2_released_seeds', 'dreamerv2', 'atari', ATARI, 'dreamerv2',
        (), '', (NOT_SAID,)),
    'dreamerv2/dmc_vision': Source(
        'dreamerv2_dmc_vision_curves', 'dreamerv2', 'dmc_vision', VISION,
        'dreamerv2', ('dmc_vision',)),
    'dreamerv2/humanoid': Source(
        'dreamerv2_humanoid_montezuma', 'dreamerv2', '1000000', VISION,
        'dreamerv2', ('humanoid',), '',
        ("The width of the release's bins is not known: 1e6 is taken.",)),
    'dreamerv2/montezuma': Source(
        'dreamerv2_humanoid_montezuma', 'montezuma', 'atari', ATARI,
        'dreamerv2', ('montezuma',), '', (NOT_SAID,)),
    'dreamerv3/atari': _dreamerv3(
        'atari', action_repeat=4, time_limit=108_000, sticky=0.25,
        actions='full'),
    'dreamerv3/atari100k': _dreamerv3(
        'atari100k', action_repeat=4, time_limit=100_000, sticky=0.0,
        actions='full'),
    'dreamerv3/dmc_vision': _dreamerv3(
        'dmc_vision', action_repeat=2, time_limit=1000),
    'dreamerv3/dmc_proprio': _dreamerv3(
        'dmc_proprio', action_repeat=2, time_limit=1000),
    'dreamerv3/dmlab': _dreamerv3('dmlab', action_repeat=4),
    'dreamerv3/procgen': _dreamerv3('procgen', action_repeat=1),
    'dreamerv3/minecraft': _dreamerv3('minecraft', action_repeat=1)}
TRAINING = {name: f'{name}_training' for name in SOURCES
            if f'{name}_training' in SOURCES}  # of the same runs


def published(agent: str, task: str,
              presets: Iterable[str] | None = None) -> Published | None:
  """Returns which scores an agent's entry shows beside a run of a task.

  presets: that hold; None: whichever. None where there are none, or where
  the agent can't be found here.
  """
  try:
    found = agents.find(agent).published
  except UserError:
    return None
  task = csv_rows.task_name(task)
  return next((x for x in found if task.startswith(x.tasks) and (
      x.preset is None or presets is not None and x.preset in presets)), None)


def default_rule(task: str, agent: str) -> binning.Rule:
  """Returns the rule of the paper that has the task.

  Of other tasks that of its control suite, or else Table G's.
  """
  if task.startswith('dummy_pixelpoint'):
    return binning.RULES[task.removeprefix('dummy_')]
  if task.startswith('atari_') and not published(agent, task):
    return binning.RULES['atari']
  found = published(agent, task) or published(agent, 'dmc_')
  if found and found.reference:
    return binning.rule(SOURCES[found.reference].rule)
  return binning.RULES['table_g']
