"""World model: encoder, RSSM, decoder, reward and discount heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from dreamer.config import inputs
from dreamer.nn import dists, layers, nets, replicas
from dreamerv2.rssm import RSSM, State

Tensors = dict[str, tf.Tensor]


class WorldModel(layers.Module):
  """Learns latents from images, vectors, actions and rewards (Section 2.1).

  Submodules are encoder, rssm, decoder, reward and, if enabled, discount.
  """

  def __init__(self, config: Any, obs_space: Mapping[str, Any], action: int,
               init: layers.Init):
    super().__init__('model')
    self.config = config
    encoder, decoder = config.encoder, config.decoder
    self.encoder = nets.Encoder(
        'encoder', *inputs.choose('encoder', encoder, obs_space), init,
        encoder.act, encoder.depth, encoder.norm,
        inputs.widths('encoder', encoder), inputs.kernels('encoder', encoder))
    self.rssm = RSSM('rssm', config.rssm, self.encoder.size, action, init)
    feat = self.rssm.feat_size
    self.decoder = nets.Decoder(
        'decoder', feat, *inputs.choose('decoder', decoder, obs_space), init,
        decoder.act, decoder.depth, decoder.norm,
        inputs.widths('decoder', decoder), inputs.kernels('decoder', decoder))
    self.reward = nets.ScalarHead(
        'reward', feat, config.reward, init, config.reward.norm)
    if config.discount_head.enabled:
      self.discount = nets.ScalarHead(
          'discount', feat, config.discount_head, init,
          config.discount_head.norm)

  @property
  def obs_keys(self) -> tuple[str, ...]:
    """Names of the observations that are read or predicted."""
    return tuple(dict.fromkeys((*self.encoder.keys, *self.decoder.keys)))

  @property
  def groups(self) -> dict[str, dict[str, tf.Variable]]:
    """Variables by optimiser."""
    return {'model': self.variables}

  @property
  def learns_ends(self) -> bool:
    """Whether imagination takes the discount head's prediction."""
    return self.config.discount_head.enabled

  def preprocess(self, batch: Tensors, noise: Any) -> Tensors:
    """Images uint8 to centered float32, rewards transformed, labels.

    The discount's label is gamma * (1 - is_terminal), a soft one.
    """
    data = {**batch, **self.preprocess_obs(batch, noise)}
    transform = {'none': tf.identity, 'tanh': tf.tanh, 'sign': tf.sign}
    data['reward'] = transform[self.config.reward_transform](batch['reward'])
    data['discount'] = self.config.discount * (
        1.0 - tf.cast(batch['is_terminal'], tf.float32))
    return data

  def preprocess_obs(self, obs: Tensors, noise: Any = None) -> Tensors:
    """The observations in use: uint8 to [-.5, .5], all float32.

    While acting, what is only predicted need not be there. No noise is used.
    """
    del noise
    found = {}
    for key in self.obs_keys:
      if key not in obs:
        continue
      value = tf.cast(obs[key], tf.float32)
      found[key] = value / 255 - 0.5 if obs[key].dtype == tf.uint8 else value
    return found

  def infer(self, data: Tensors, noise: Any,
            unroll: bool = False) -> tuple[tf.Tensor, State, State]:
    """Embeds, posteriors and priors of preprocessed sequences [B, T, ...]."""
    batch, length = data['action'].shape[:2]
    draws = {key: self.rssm.draw(noise, key, [length, batch])
             for key in ('post', 'prior')}
    embed = self.encoder(data)  # [B, T, E]
    post, prior = self.rssm.observe(
        embed, data['action'], data['is_first'], draws, unroll)
    return embed, post, prior

  def loss(self, data: Tensors, noise: Any,
           unroll: bool = False) -> tuple[Tensors, dict[str, Any]]:
    """Negative evidence bound of preprocessed sequences [B, T, ...].

      t          0       1       2            action(t) led to obs(t);
      action   a(0) -> a(1) -> a(2)           is_first resets before it
      obs      o(0)    o(1)    o(2)
      state    s(0)    s(1)    s(2)
      targets  o,r,d   o,r,d   o,r,d          all of the same t

    Returns the losses by name (before scaling; `model` is the scaled sum)
    and the tensors by name, `post` for imagination among them.
    """
    embed, post, prior = self.infer(data, noise, unroll)
    feat = self.rssm.get_feat(post)  # [B, T, F]
    losses, scales, tensors = self._head_losses(feat, data)
    losses['kl'], kl = self._kl_loss(post, prior)
    scales['kl'] = self.config.kl.scale
    losses['model'] = sum(
        scales.get(key, 1.0) * value for key, value in losses.items())
    tensors.update(embed=embed, post=post, prior=prior, feat=feat, kl=kl)
    return losses, tensors

  def _kl_loss(self, post, prior):
    """Balanced KL (Algorithm 2) with free nats; also KL of each step [B, T].

      balance * KL(sg(post) || prior) + (1 - balance) * KL(post || sg(prior))

    `forward` exchanges posterior and prior in both terms, and their shares.
    """
    config, get = self.config.kl, self.rssm.get_dist
    left, right = (prior, post) if config.forward else (post, prior)
    share = config.balance if config.forward else 1 - config.balance
    stop = lambda state: {k: tf.stop_gradient(v) for k, v in state.items()}
    value = get(left).kl_divergence(get(stop(right)))
    if config.balance == 0.5:  # As released: plain, and free by element.
      plain = get(left).kl_divergence(get(right))
      return tf.reduce_mean(tf.maximum(plain, config.free)), plain
    other = get(stop(left)).kl_divergence(get(right))
    sides = [self._free(value), self._free(other)]
    return share * sides[0] + (1 - share) * sides[1], value

  def _free(self, kl):
    config = self.config.kl
    if config.free_by == 'mean':
      return tf.maximum(replicas.mean(tf.reduce_mean(kl)), config.free)
    return tf.reduce_mean(tf.maximum(kl, config.free))

  def _head_losses(self, feat, data):
    """Losses of the heads, means over batch and time, scales and tensors.

    A head whose `gradient` is off learns from stopped features.
    """
    config, scales = self.config, {}
    seen = lambda head: feat if head.gradient else tf.stop_gradient(feat)
    losses, like = self.decoder.losses(seen(config.decoder), data)
    like['reward'] = dists.unit_normal_log_prob(
        data['reward'], self.reward(seen(config.reward)), 0)
    losses['reward'] = -tf.reduce_mean(like['reward'])
    scales['reward'] = config.reward.scale
    if config.discount_head.enabled:
      out = self.discount(seen(config.discount_head))
      like['discount'] = dists.bernoulli_log_prob(data['discount'], out) if (
          config.discount_head.dist == 'binary') else (
              dists.unit_normal_log_prob(data['discount'], out, 0))
      losses['discount'] = -tf.reduce_mean(like['discount'])
      scales['discount'] = config.discount_head.scale
    return losses, scales, {'like': like}

  def summaries(self, tensors: dict[str, Any]) -> Tensors:
    """Metrics of one update from its tensors."""
    mean, get = tf.reduce_mean, self.rssm.get_dist
    return {'model/kl': mean(tensors['kl']),
            'model/prior_ent': mean(get(tensors['prior']).entropy()),
            'model/post_ent': mean(get(tensors['post']).entropy())}

  def imagined_discount(
      self, feat: tf.Tensor, is_terminal: tf.Tensor) -> tf.Tensor:
    """Discounts of imagined states [H + 1, N, F]: gamma, or the head's mean.

    What follows the start states is known: gamma * (1 - is_terminal [N]).
    """
    gamma = self.config.discount
    if not self.learns_ends:
      return tf.fill(tf.shape(feat)[:-1], float(gamma))
    known = gamma * (1.0 - tf.cast(is_terminal, tf.float32))
    out = self.discount(feat[1:])
    binary = self.config.discount_head.dist == 'binary'
    return tf.concat([known[None], tf.sigmoid(out) if binary else out], 0)
