"""Arithmetic of one update, counted from the config."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dreamer.config import inputs
from dreamer.nn.flops import conv_decoder, conv_encoder, dense, learned, mlp

if TYPE_CHECKING:
  from dreamer.envs.spaces import ActionSpace
  from dreamerv1 import settings


def update_gflop(config: settings.Config, channels: int,
                 act_space: ActionSpace) -> float:
  """GFLOP of the matrix products and convolutions of one update.

  A multiplication with its addition are two. Of a layer's three products
  (forward, gradient of the input, gradient of the weights; all equal in size)
  those count that the losses need: frozen weights have no gradient, images,
  stopped features and start states none of the input. Elementwise work,
  metrics and the optimisers are left out: together about 1 %.
  """
  model = 3 * sum(_observe(config, act_space.dim)) + _pixels(config, channels)
  model += learned(mlp(_feat(config), config.reward))
  if config.discount_head.enabled:
    model += learned(mlp(_feat(config), config.discount_head),
                     config.discount_head.gradient)
  if config.cpc.enabled:
    model += _contrast(config)
  rows = config.batch_size * config.batch_length
  imagined = 0
  if config.behaviour != 'planner':
    starts = config.batch_size * (
        config.batch_length - _learns_ends(config))
    imagined = starts * config.horizon * _imagine(config, act_space)
  return 2 * (rows * model + imagined) / 1e9


def _pixels(config, channels):
  """Products of one image's way in and out."""
  total = learned(conv_encoder(channels, config.encoder.depth), False)
  if config.decoder.images != 'none':
    total += learned(
        conv_decoder(_feat(config), channels, config.decoder.depth),
        config.decoder.gradient)
  return total


def _observe(config, action):
  rssm = config.rssm
  embed = inputs.embed_size(config.encoder.depth)
  return _step(config, action) + dense(
      rssm.deter + embed, rssm.hidden, 2 * rssm.stoch)


def _step(config, action):
  rssm = config.rssm
  gru = 3 * rssm.deter * (rssm.hidden + rssm.deter)
  return [*dense(rssm.stoch + action, rssm.hidden), gru,
          *dense(rssm.deter, rssm.hidden, 2 * rssm.stoch)]


def _imagine(config, act_space):
  """Products of one imagined state: rollout, heads, actor, critic."""
  feat, action = _feat(config), act_space.dim
  outs = action * (1 if act_space.discrete else 2)
  total = learned(mlp(feat, config.actor, outs), False)
  total += 2 * sum(_step(config, action)) + 2 * sum(mlp(feat, config.reward))
  if _learns_ends(config):
    total += 2 * sum(mlp(feat, config.discount_head))
  if config.behaviour == 'actor_critic':
    first, *rest = mlp(feat, config.critic)  # guides the actor, and learns
    total += 3 * first + 4 * sum(rest)
  return total


def _contrast(config):
  """Products of one image: its head, and its row of all pairs."""
  pairs = 2 * config.batch_size * config.batch_length * _feat(config)
  embed = inputs.embed_size(config.encoder.depth)
  return 3 * (sum(mlp(embed, config.cpc, 2 * _feat(config))) + pairs)


def _learns_ends(config):
  return config.discount_head.enabled and config.discount_head.gradient


def _feat(config):
  return config.rssm.stoch + config.rssm.deter
