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
    checks.devices(config)
    checks.schedule(config)
    _batches(config)
    _layers(config)
    _norms(config)
    _schedule(config)
    _starts(config)
  else:
    obs_space, _ = spaces
    for name in ('encoder', 'decoder'):
      inputs.halved(name, config[name], obs_space)


def _batches(config):
  if config.devices > 1 and config.replay.consec > 1:
    raise UserError(
        f'replay.consec: {config.replay.consec} keeps the states in which '
        'sequences end, of which each device would have its own rows and a '
        f'checkpoint those of one; use 1, or devices 1 instead of '
        f'{config.devices}')


def _layers(config):
  """Blocks divide what they are blocks of, and all multiples are numbers."""
  for name in ('encoder', 'decoder'):
    inputs.multiples(name, config[name])
  rssm, decoder = config.rssm, config.decoder
  last = decoder.depth * inputs.multiples('decoder', decoder)[-1]
  for key, blocks, what, size in (
      ('rssm.blocks', rssm.blocks, 'rssm.deter', rssm.deter),
      ('decoder.blocks', decoder.blocks, 'rssm.deter', rssm.deter),
      ('decoder.blocks', decoder.blocks, 'channels of the first map', last)):
    if size % blocks:
      raise UserError(
          f'{key}: {blocks} do not divide {what}, {size}, evenly; use a '
          'divisor of it')


def _norms(config):
  for key in ('return_norm', 'value_norm', 'advantage_norm'):
    norm = config[key]
    if norm.kind != 'none' and norm.debias and not norm.rate:
      raise UserError(
          f'{key}.rate: 0.0 takes nothing in, which {key}.debias would divide '
          'by; raise it')
    if norm.kind == 'percentiles' and norm.low >= norm.high:
      raise UserError(
          f'{key}.low: {norm.low} is not below {key}.high {norm.high}; lower '
          'it')
  if config.actor.min_std > config.actor.max_std:
    raise UserError(
        f'actor.min_std: {config.actor.min_std} is more than actor.max_std '
        f'{config.actor.max_std}; lower it')


def _schedule(config):
  opt = config.opt
  if opt.kind == 'adam' and opt.decay:
    raise UserError(
        f'opt.decay: {opt.decay} is for opt.kind laprop, in which it is times '
        'lr; use 0')
  for key in ('beta1', 'beta2'):
    if opt[key] == 1:
      raise UserError(f'opt.{key}: 1.0 would never forget what the first '
                      'update found; lower it')
  if opt.schedule != 'constant' and opt.anneal <= opt.warmup:
    raise UserError(
        f'opt.anneal: {opt.anneal} updates leave no time for schedule '
        f'{opt.schedule} after opt.warmup {opt.warmup}; raise it, or set '
        'schedule constant')


def _starts(config):
  if config.last_starts > config.batch_length:
    raise UserError(
        f'last_starts: {config.last_starts} is more than batch_length '
        f'{config.batch_length}; lower it')
  if config.last_starts == 1 and config.replay_critic.enabled:
    raise UserError(
        'last_starts: 1 leaves replay_critic no state that another follows; '
        'use 2 or more, 0 for all, or replay_critic.enabled false')
