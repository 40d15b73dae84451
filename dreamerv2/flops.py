"""Arithmetic of one update, counted from the config."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dreamer.config import inputs
from dreamer.nn.flops import conv_decoder, conv_encoder, dense, learned, mlp

if TYPE_CHECKING:
  from dreamer.envs.spaces import ActionSpace
  from dreamerv2 import settings


def update_gflop(config: settings.Config, channels: int,
                 act_space: ActionSpace) -> float:
  """GFLOP of the matrix products and convolutions of one update.

  A multiplication with its addition are two. Of a layer's three products
  (forward, gradient of the input, gradient of the weights; all equal in size)
  those count that the losses need: frozen weights have no gradient, images,
  stopped features and start states none of the input, and with reinforce the
  rollout has none at all. For agents that learn from one image. Elementwise
  work, metrics and the optimisers are left out: together about 1 %.
  """
  model = 3 * sum(_observe(config, act_space.dim)) + _pixels(config, channels)
  model += learned(mlp(_feat(config), config.reward), config.reward.gradient)
  if config.discount_head.enabled:
    model += learned(mlp(_feat(config), config.discount_head),
                     config.discount_head.gradient)
  rows = config.batch_size * config.batch_length
  imagined = config.horizon * _imagine(config, act_space)
  return 2 * rows * (model + imagined) / 1e9


def _pixels(config, channels):
  """Products of one image's way in and out."""
  encoder, decoder = config.encoder, config.decoder
  total = learned(conv_encoder(
      channels, encoder.depth, inputs.kernels('encoder', encoder)), False)
  return total + learned(
      conv_decoder(_feat(config), channels, decoder.depth,
                   inputs.kernels('decoder', decoder)), decoder.gradient)


def _observe(config, action):
  rssm = config.rssm
  kernels = inputs.kernels('encoder', config.encoder)
  embed = inputs.embed_size(config.encoder.depth, kernels)
  return _step(config, action) + dense(
      rssm.deter + embed, rssm.hidden, _stats(config))


def _step(config, action):
  rssm = config.rssm
  gru = 3 * rssm.deter * (rssm.hidden + rssm.deter)
  return [*dense(_stoch(config) + action, rssm.hidden), gru,
          *dense(rssm.deter, rssm.hidden, _stats(config))]


def _imagine(config, act_space):
  """Products of one imagined state: rollout, heads, actor, critic."""
  feat, action = _feat(config), act_space.dim
  outs = action * (1 if act_space.discrete else 2)
  kind = config.actor_gradient
  if kind == 'auto':
    kind = 'reinforce' if act_space.discrete else 'dynamics'
  actor = mlp(feat, config.actor, outs)
  total = learned(actor, False)
  total += sum(actor) if kind == 'reinforce' else learned(actor, False)
  heads = [config.reward, config.critic]  # that of the slow critic
  heads += [config.discount_head] if config.discount_head.enabled else []
  passes = 1 if kind == 'reinforce' else 2  # forward, gradient of the input
  total += passes * (sum(_step(config, action)) + sum(
      sum(mlp(feat, head)) for head in heads))
  return total + learned(mlp(feat, config.critic), False)


def _stoch(config):
  classes = config.rssm.classes if config.rssm.latents == 'discrete' else 1
  return config.rssm.stoch * classes


def _stats(config):
  return _stoch(config) * (1 if config.rssm.latents == 'discrete' else 2)


def _feat(config):
  return _stoch(config) + config.rssm.deter
