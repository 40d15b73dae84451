"""World model: encoder, RSSM, decoder, reward and discount heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from dreamer.nn import dists, layers, nets, replicas
from dreamerv1 import contrastive
from dreamerv1.rssm import RSSM, State

Tensors = dict[str, tf.Tensor]


class WorldModel(layers.Module):
  """Learns latents from images, actions and rewards (Section 3, Appendix B).

  Submodules are encoder, rssm, decoder, reward and, if enabled, discount and
  cpc: states predicted from images.
  """

  def __init__(self, config: Any, obs_space: Mapping[str, Any], action: int,
               init: layers.Init):
    super().__init__('model')
    self.config = config
    images = {'image': obs_space['image'].shape[-1]}
    encoder, decoder = config.encoder, config.decoder
    self.encoder = nets.Encoder(
        'encoder', images, {}, init, encoder.act, encoder.depth)
    self.rssm = RSSM('rssm', config.rssm, self.encoder.size, action, init)
    feat = self.rssm.feat_size
    self.decoder = nets.Decoder(
        'decoder', feat, images if decoder.images != 'none' else {}, {}, init,
        decoder.act, decoder.depth)
    if config.cpc.enabled:
      self.cpc = contrastive.StateHead(
          'cpc', self.encoder.size, feat, config.cpc, init)
    self.reward = nets.ScalarHead('reward', feat, config.reward, init)
    if config.discount_head.enabled:
      self.discount = nets.ScalarHead(
          'discount', feat, config.discount_head, init)

  @property
  def obs_keys(self) -> tuple[str, ...]:
    """Names of the observations that are read or predicted."""
    return tuple(dict.fromkeys((*self.encoder.keys, *self.decoder.keys)))

  @property
  def groups(self) -> dict[str, dict[str, tf.Variable]]:
    """Variables by optimiser: diagnostic heads have one each."""
    rest, groups = self.variables, {}
    for head in self.diagnostic_heads:
      groups[head] = getattr(self, head).variables
      rest = {key: x for key, x in rest.items() if key not in groups[head]}
    return {'model': rest, **groups}

  @property
  def diagnostic_heads(self) -> dict[str, str]:
    """Heads whose `gradient` is off: outside the model loss; their losses."""
    config, found = self.config, {}
    if self.decoder.images and not config.decoder.gradient:
      found['decoder'] = 'image'
    if config.discount_head.enabled and not config.discount_head.gradient:
      found['discount'] = 'discount'
    return found

  @property
  def learns_ends(self) -> bool:
    """Whether imagination takes the discount head's prediction."""
    head = self.config.discount_head
    return head.enabled and head.gradient

  def preprocess(self, batch: Tensors, noise: Any) -> Tensors:
    """Images uint8 to centered float32, rewards transformed, labels.

    The discount's label is gamma * discount, a soft one: 0 or gamma.
    """
    data = {**batch, **self.preprocess_obs(batch, noise)}
    transform = {'none': tf.identity, 'tanh': tf.tanh, 'sign': tf.sign}
    data['reward'] = transform[self.config.reward_transform](batch['reward'])
    data['discount'] = self.config.discount * batch['discount']
    return data

  def preprocess_obs(self, obs: Tensors, noise: Any = None) -> Tensors:
    """The observations in use: uint8 to [-.5, .5] float32.

    With `image_noise` and noise the steps between grey levels are filled.
    """
    image = tf.cast(obs['image'], tf.float32)
    if self.config.image_noise and noise is not None:
      image += replicas.draw(noise.coarse, 'image', image.shape, 0)
      return {'image': image / 256 - 0.5}
    return {'image': image / 255 - 0.5}

  def infer(self, data: Tensors, noise: Any,
            unroll: bool = False) -> tuple[tf.Tensor, State, State]:
    """Embeds, posteriors and priors of preprocessed sequences [B, T, ...]."""
    batch, length = data['action'].shape[:2]
    draws = {key: self.rssm.draw(noise, key, [length, batch])
             for key in ('post', 'prior')}
    embed = self.encoder(data)  # [B, T, E]
    post, prior = self.rssm.observe(embed, data['action'], draws, unroll)
    return embed, post, prior

  def loss(self, data: Tensors, noise: Any,
           unroll: bool = False) -> tuple[Tensors, dict[str, Any]]:
    """Negative evidence bound of preprocessed sequences [B, T, ...].

      t          0       1       2            action(t) led to obs(t);
      action   a(0) -> a(1) -> a(2)           the first of an episode is 0
      obs      o(0)    o(1)    o(2)
      state    s(0)    s(1)    s(2)           from zeros, no reset inside
      targets  o,r,d   o,r,d   o,r,d          all of the same t

    Returns the losses by name (before scaling; `model` is the scaled sum of
    those of no diagnostic head) and the tensors by name, `post` for
    imagination among them.
    """
    embed, post, prior = self.infer(data, noise, unroll)
    feat = self.rssm.get_feat(post)  # [B, T, F]
    losses, scales, tensors = self._head_losses(feat, data)
    if self.config.cpc.enabled:
      losses['cpc'], contrasts = self.cpc.loss(embed, feat)
      tensors.update(contrasts)
    losses['kl'], kl = self._kl_loss(post, prior)
    scales['kl'] = self.config.kl.scale
    apart = self.diagnostic_heads.values()
    losses['model'] = sum(
        scales.get(key, 1.0) * value for key, value in losses.items()
        if key not in apart)
    tensors.update(embed=embed, post=post, prior=prior, feat=feat, kl=kl)
    return losses, tensors

  def _kl_loss(self, post, prior):
    """KL(post || prior) with free nats; also the KL of each step [B, T]."""
    get = self.rssm.get_dist
    value = get(post).kl_divergence(get(prior))
    return self._free(value), value

  def _free(self, kl):
    config = self.config.kl
    if config.free_by == 'mean':
      return tf.maximum(replicas.mean(tf.reduce_mean(kl)), config.free)
    if config.free_by == 'element_over':
      return tf.reduce_mean(tf.maximum(kl - config.free, 0))
    return tf.reduce_mean(tf.maximum(kl, config.free))

  def _head_losses(self, feat, data):
    """Losses of the heads, means over batch and time, scales and tensors.

    A head whose `gradient` is off learns from stopped features.
    """
    config, scales = self.config, {}
    seen = lambda head: feat if head.gradient else tf.stop_gradient(feat)
    losses, like = self.decoder.losses(seen(config.decoder), data)
    like['reward'] = dists.unit_normal_log_prob(
        data['reward'], self.reward(feat), 0)
    losses['reward'] = -tf.reduce_mean(like['reward'])
    if config.discount_head.enabled:
      logit = self.discount(seen(config.discount_head))
      like['discount'] = dists.bernoulli_log_prob(data['discount'], logit)
      losses['discount'] = -tf.reduce_mean(like['discount'])
      scales['discount'] = config.discount_head.scale
    return losses, scales, {'like': like}

  def summaries(self, tensors: dict[str, Any]) -> Tensors:
    """Metrics of one update from its tensors."""
    mean, get = tf.reduce_mean, self.rssm.get_dist
    return {'model/kl': mean(tensors['kl']),
            'model/prior_ent': mean(get(tensors['prior']).entropy()),
            'model/post_ent': mean(get(tensors['post']).entropy())}

  def imagined_discount(self, feat: tf.Tensor) -> tf.Tensor:
    """Discounts of imagined states [H, N, F]: gamma, or the head's mean.

    A head that doesn't reach the representation is not used.
    """
    if self.learns_ends:
      return tf.sigmoid(self.discount(feat))
    return tf.fill(tf.shape(feat)[:-1], float(self.config.discount))
