"""Contrastive estimation: states predicted from images (Section 4, eq. 12)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from dreamer.config.choices import Choices
from dreamer.nn import dists, layers, nets
from dreamerv1.world_model import WorldModel

if TYPE_CHECKING:
  from dreamerv1 import settings


class ContrastiveModel(WorldModel):
  """Predicts states from images, beside or in place of images from states."""

  def _make_heads(self, feat, init):
    self.cpc = StateHead(
        'cpc', self.encoder.size, feat, self.config.cpc, init)
    super()._make_heads(feat, init)

  def _head_losses(self, tensors, data):
    losses, found = super()._head_losses(tensors, data)
    losses['cpc'], contrasts = self.cpc.loss(tensors['embed'], tensors['feat'])
    return losses, {**found, **contrasts}


class StateHead(nets.MLP):
  """Normal over features F, predicted from the embed of the same step."""

  def __init__(self, name: str, size_in: int, size_out: int,
               config: settings.Cpc, init: layers.Init):
    outs = {'mean': size_out, 'std': size_out}
    super().__init__(
        name, size_in, [config.units] * config.layers, config.act, outs, init)
    self.config = config

  def __call__(self, embed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Embeds [..., E] to mean and standard deviation [..., F], float32."""
    mean, raw = super().__call__(embed)
    shift = dists.softplus_inverse(self.config.init_std)
    return mean, tf.nn.softplus(raw + shift) + self.config.min_std

  def loss(self, embed: tf.Tensor,
           feat: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """Minus the mean bound on embeds and features [B, T, ...], and tensors."""
    mean, std = self(embed)
    value, positive = bound(mean, std, feat, self.config)
    return -tf.reduce_mean(value), {
        'cpc_mean': mean, 'cpc_std': std, 'cpc_positive': positive,
        'cpc_objective': value}


def bound(mean: tf.Tensor, std: tf.Tensor, feat: tf.Tensor,
          config: settings.Cpc) -> list[tf.Tensor]:
  """Noise contrastive bound on what images tell about states, in nats.

    bound(b, t) = ln q(s(b, t) | o(b, t)) - ln sum over contrasts

  config.contrast names the contrasts; shifts wrap around, and the pair itself
  is always among them, so the bound is never above 0.

    observations  q(s | o') for all o' of the batch                 (eq. 12)
    states        q(s' | o) for all s' of the batch
    window        q(s' | o), s' within shifts of rows and of time       (TF1)
    batch, time   q(s' | o), s' of the same time, of the same row       (TF1)

  All args are [B, T, F]; returns the bound and ln q(s | o), [B, T] each.
  """
  shape = feat.shape[:2]
  flat = [tf.reshape(x, [-1, x.shape[-1]]) for x in (mean, std, feat)]
  scores = _log_probs(*flat)  # [observations, states]
  positive = tf.linalg.diag_part(scores)
  if config.contrast == 'observations':
    scores = tf.transpose(scores)
  elif config.contrast != 'states':
    others = _others(shape[0], shape[1], config)
    scores = tf.gather(scores, others, batch_dims=1)
  value = positive - tf.reduce_logsumexp(scores, -1)
  return [tf.reshape(tf.cast(x, tf.float32), shape)
          for x in (value, positive)]


def _log_probs(mean, std, feat):
  """Log density of each state under each prediction, [N, N] float64.

  Differences of squares, as products of matrices: float32 would lose what
  tells states apart where predictions are narrow.
  """
  mean, std, feat = (tf.cast(x, tf.float64) for x in (mean, std, feat))
  scale = 1 / std ** 2
  squares = tf.reduce_sum(mean ** 2 * scale, -1, keepdims=True) + tf.matmul(
      scale, feat ** 2, transpose_b=True) - 2 * tf.matmul(
          mean * scale, feat, transpose_b=True)
  constant = 2 * tf.reduce_sum(tf.math.log(std), -1, keepdims=True) + (
      feat.shape[-1] * np.log(2 * np.pi))
  return -0.5 * (squares + constant)


def _others(batch, length, config):
  """Row numbers b * T + t of each row's contrasts, [B * T, K]."""
  rows, times = Choices('cpc.contrast', {
      'batch': (range(batch), [0]), 'time': ([0], range(length)),
      'window': (_around(config.window_batch), _around(config.window_time)),
  })[config.contrast]
  assert len(rows) <= batch and len(times) <= length  # none twice
  shifts = np.array([[i, j] for i in rows for j in times])
  b, t = np.divmod(np.arange(batch * length)[:, None], length)
  return (b - shifts[:, 0]) % batch * length + (t - shifts[:, 1]) % length


def _around(amount):
  return range(-(amount // 2), amount - amount // 2)
