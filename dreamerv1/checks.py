"""Which settings fit each other and the environment. Without TensorFlow."""

from __future__ import annotations

from dreamer.config import inputs
from dreamer.config.schema import Config
from dreamer.errors import UserError
from dreamer.run import checks


def validate(config: Config, spaces: checks.Spaces | None = None) -> None:
  """Raises UserError for settings that contradict each other.

  spaces: of observations and actions; if given, for settings that contradict
    these, instead.
  """
  if spaces is None:
    checks.schedule(config)
    checks.devices(config)
    _window(config)
    _contrasts(config)
    _elites(config)
  else:
    obs_space, act_space = spaces
    _image(obs_space)
    _discrete(config, act_space)
    checks.shares(config, act_space)


def _window(config):
  """A window of contrasts has to lie in the batch."""
  if not config.cpc.enabled or config.cpc.contrast != 'window':
    return
  for key, most in (('batch', 'batch_size'), ('time', 'batch_length')):
    amount = config.cpc[f'window_{key}']
    if amount > config[most]:
      raise UserError(
          f'cpc.window_{key}: {amount} is more than {most} {config[most]}; '
          'lower it')


def _contrasts(config):
  """They are with all rows of a batch."""
  if config.cpc.enabled and config.devices > 1:
    raise UserError(
        f'devices: {config.devices} would share the rows that the contrastive '
        'objective (cpc.enabled) compares with each other; use 1')


def _elites(config):
  planner = config.planner
  if config.behaviour == 'planner' and planner.elites > planner.candidates:
    raise UserError(
        f'planner.elites: {planner.elites} of {planner.candidates} '
        'planner.candidates; lower it')


def _image(obs_space):
  if 'image' not in obs_space:
    raise UserError(
        f'observations {sorted(obs_space)}: DreamerV1 learns from `image`; '
        'give the environment an image of shape [64, 64, C]')
  inputs.check_image('image', obs_space['image'].shape)


def _discrete(config, act_space):
  """What is not for discrete actions."""
  if not act_space.discrete:
    return
  if config.behaviour == 'planner':
    raise UserError(
        'behaviour: planner with discrete actions; it searches continuous '
        'ones, use actor_critic or no_value')
  if config.expl.kind == 'gaussian':
    raise UserError(
        'expl.kind: gaussian with discrete actions; use epsilon or auto')
