"""World model: encoder, RSSM, decoder, reward and discount heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from dreamer.nn import layers, nets, replicas, returns
from dreamerv2.rssm import RSSM, State

if TYPE_CHECKING:
  from dreamer.envs.spaces import Space
  from dreamerv2 import settings

Tensors = dict[str, tf.Tensor]


class WorldModel(layers.Module):
  """Learns latents from images, vectors, actions and rewards (Section 2.1).

  Submodules are encoder, rssm, decoder, reward and, if enabled, discount.
  """

  rssm_class: type[RSSM] = RSSM

  def __init__(self, config: settings.Config,
               obs_space: Mapping[str, Space], action: int,
               init: layers.Init):
    super().__init__('model')
    self.config = config
    self.encoder = nets.make_encoder(config.encoder, obs_space, init)
    self.rssm = self.rssm_class(
        'rssm', config.rssm, self.encoder.size, action, init)
    feat = self.rssm.feat_size
    self.decoder = nets.make_decoder(config.decoder, feat, obs_space, init)
    self._make_heads(feat, init)

  def _make_heads(self, feat, init):
    config = self.config
    self.reward = nets.ScalarHead('reward', feat, config.reward, init)
    if config.discount_head.enabled:
      self.discount: nets.ScalarHead = nets.BinaryHead(
          'discount', feat, config.discount_head, init)

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
    transform = returns.TRANSFORMS[self.config.reward_transform]
    data['reward'] = transform(batch['reward'])
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
    tensors = {'embed': embed, 'post': post, 'prior': prior, 'feat': feat}
    losses, found = self._head_losses(tensors, data)
    losses['kl'], kl = self.kl_loss(post, prior)
    losses['model'] = self._total(losses)
    return losses, {**tensors, **found, 'kl': kl}

  def kl_loss(self, post: State,
              prior: State) -> tuple[tf.Tensor, tf.Tensor]:
    """Balanced KL (Algorithm 2); also the KL of each step [B, T].

      balance * KL(sg(post) || prior) + (1 - balance) * KL(post || sg(prior))
    """
    return self._balanced(post, prior, 1 - self.config.kl.balance)

  def _balanced(self, left, right, share):
    """share KL(left || sg(right)) + (1 - share) KL(sg(left) || right)."""
    get = self.rssm.get_dist
    stop = lambda state: {k: tf.stop_gradient(v) for k, v in state.items()}
    value = get(left).kl_divergence(get(stop(right)))
    other = get(stop(left)).kl_divergence(get(right))
    loss = share * self._free(value) + (1 - share) * self._free(other)
    return loss, value

  def _free(self, kl):
    """Mean of the KL [B, T], at least the free nats."""
    mean = replicas.mean(tf.reduce_mean(kl))
    return tf.maximum(mean, self.config.kl.free)

  def _head_losses(self, tensors, data):
    """Losses of the heads, means over batch and time, and tensors by name.

    A head whose `gradient` is off learns from stopped features.
    """
    config, feat = self.config, tensors['feat']
    seen = lambda head: feat if head.gradient else tf.stop_gradient(feat)
    losses, like = self.decoder.losses(seen(config.decoder), data)
    like['reward'] = self.reward.log_prob(
        seen(config.reward), data['reward'])
    losses['reward'] = -tf.reduce_mean(like['reward'])
    if config.discount_head.enabled:
      like['discount'] = self.discount.log_prob(
          seen(config.discount_head), data['discount'])
      losses['discount'] = -tf.reduce_mean(like['discount'])
    return losses, {'like': like}

  def _total(self, losses):
    """The scaled sum of losses."""
    config = self.config
    scales = {'reward': config.reward.scale, 'kl': config.kl.scale,
              'discount': config.discount_head.scale}
    return sum(scales.get(key, 1.0) * x for key, x in losses.items())

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
    if not self.learns_ends:
      return tf.fill(tf.shape(feat)[:-1], float(self.config.discount))
    known = self.config.discount * (1.0 - tf.cast(is_terminal, tf.float32))
    return tf.concat([known[None], self.discount.mean(feat[1:])], 0)
