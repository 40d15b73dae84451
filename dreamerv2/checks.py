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
    _schedules(config)
    _offset(config)
    _layers(config)
  else:
    obs_space, act_space = spaces
    for name in ('encoder', 'decoder'):
      inputs.choose(name, config[name], obs_space)
    _dist(config, act_space)
    checks.shares(config, act_space)
    _loss(config, obs_space)


def _schedules(config):
  for key in ('actor_mix', 'actor_entropy'):
    if config[key].kind != 'constant' and not config[key].duration:
      raise UserError(
          f'{key}.duration: 0 leaves no time for kind {config[key].kind}; '
          'give environment steps, or set kind constant')


def _offset(config):
  if config.expl.offset >= config.batch_length:
    raise UserError(
        f'expl.offset: {config.expl.offset} is not below batch_length '
        f'{config.batch_length}; lower it')


def _layers(config):
  """Kernels fit the image, and all sizes are numbers."""
  for name in ('encoder', 'decoder'):
    inputs.kernels(name, config[name])
    inputs.widths(name, config[name])


def _dist(config, act_space):
  """The actor's distribution is one over such actions."""
  dist = config.actor.dist
  if dist != 'auto' and (dist == 'onehot') != act_space.discrete:
    kind, fit = ('discrete', 'onehot') if act_space.discrete else (
        'continuous', 'trunc_normal or tanh_normal')
    raise UserError(
        f'actor.dist: {dist} for {kind} actions; choose auto, {fit}')


def _loss(config, obs_space):
  """An explorer by model loss needs one that the model has."""
  images, _ = inputs.choose('decoder', config.decoder, obs_space)
  losses = ['kl', *images, 'reward']
  losses += ['discount'] if config.discount_head.enabled else []
  if config.expl.kind == 'model_loss' and config.expl.loss not in losses:
    raise UserError(
        f'expl.loss: {config.expl.loss} is no loss of this model; it has '
        f'{", ".join(losses)}')
