"""Arithmetic of one update, counted from the config."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dreamer.config import inputs
from dreamer.nn.flops import dense, learned, mlp, same_decoder, same_encoder

if TYPE_CHECKING:
  from dreamer.envs.spaces import ActionSpace
  from dreamerv3 import settings


def update_gflop(config: settings.Config, channels: int,
                 act_space: ActionSpace) -> float:
  """GFLOP of the matrix products and convolutions of one update.

  A multiplication with its addition are two. Of a layer's three products
  (forward, gradient of the input, gradient of the weights; all equal in size)
  those count that the losses need: frozen weights have no gradient, images,
  stopped features and start states none of the input, and the rollout has
  none at all. For agents that learn from one image. Elementwise
  work, metrics and the optimisers are left out: together about 1 %.
  """
  model = 3 * sum(_observe(config, act_space.dim)) + _pixels(config, channels)
  for head, out in ((config.reward, config.reward.bins),
                    (config.discount_head, 1)):
    model += learned(mlp(_feat(config), head, out), head.gradient)
  critic = mlp(_feat(config), config.critic, config.critic.bins)
  model += learned(critic, config.replay_critic.gradient) + sum(critic)
  rows = config.batch_size * config.batch_length
  starts = config.batch_size * (config.last_starts or config.batch_length)
  imagined = config.horizon * _imagine(config, act_space)
  return 2 * (rows * model + starts * imagined) / 1e9


def _pixels(config, channels):
  """Products of one image's way in and out."""
  encoder, decoder, side = config.encoder, config.decoder, config.image_size
  products = same_decoder(
      decoder, config.rssm.deter, _stoch(config), channels, side)
  return learned(same_encoder(encoder, channels, side), False) + learned(
      products, decoder.gradient)


def _observe(config, action):
  rssm, encoder = config.rssm, config.encoder
  small = config.image_size // 2 ** (len(
      inputs.multiples('encoder', encoder)) - encoder.outer)
  embed = small ** 2 * encoder.depth * inputs.multiples('encoder', encoder)[-1]
  deter = 0 if rssm.absolute else rssm.deter
  return _step(config, action) + dense(
      deter + embed, *[rssm.hidden] * rssm.obs_layers, _stoch(config))


def _step(config, action):
  """One step of the recurrence, and the prior."""
  rssm = config.rssm
  inner = [rssm.deter ** 2 // rssm.blocks] * rssm.gru_layers
  products = [
      rssm.deter * rssm.hidden, _stoch(config) * rssm.hidden,
      action * rssm.hidden, *inner, 3 * rssm.deter ** 2 // rssm.blocks,
      3 * rssm.hidden * (rssm.deter if rssm.gru_layers else 3 * rssm.deter)]
  return products + dense(
      rssm.deter, *[rssm.hidden] * rssm.img_layers, _stoch(config))


def _imagine(config, act_space):
  """Products of one imagined state: rollout, heads, actor, critic."""
  feat, outs = _feat(config), sum(
      space.dim * (1 if space.discrete else 2)
      for space in act_space.parts.values())
  actor = mlp(feat, config.actor, outs)
  critic = mlp(feat, config.critic, config.critic.bins)
  total = sum(actor) + learned(actor, False)
  total += sum(_step(config, act_space.dim))
  total += sum(mlp(feat, config.reward, config.reward.bins))
  total += sum(mlp(feat, config.discount_head))
  return total + 2 * sum(critic) + learned(critic, False)


def _stoch(config):
  return config.rssm.stoch * config.rssm.classes


def _feat(config):
  return config.rssm.deter + _stoch(config)
