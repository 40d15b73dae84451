"""World model: encoder, RSSM, decoder, reward and discount heads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from dreamer.nn import codec, heads, layers
from dreamerv3.rssm import RSSM, State

if TYPE_CHECKING:
  from dreamer.envs.spaces import Space
  from dreamerv3 import settings

Tensors = dict[str, tf.Tensor]


class WorldModel(layers.Module):
  """Learns latents from images, vectors, actions and rewards.

  Submodules are encoder, rssm, decoder, reward and discount ("World model
  learning").
  """

  rssm_class: type[RSSM] = RSSM

  def __init__(self, config: settings.Config,
               obs_space: Mapping[str, Space], action: int,
               init: layers.ByFan):
    super().__init__('model')
    self.config, self.obs_space = config, dict(obs_space)
    self.encoder = codec.Encoder('encoder', config.encoder, obs_space, init)
    self.rssm = self.rssm_class(
        'rssm', config.rssm, self.encoder.size, action, init)
    deter, stoch = config.rssm.deter, self.rssm.stoch_size
    self.decoder = codec.Decoder(
        'decoder', config.decoder, deter, stoch, obs_space, init)
    self._make_heads(self.rssm.feat_size, init)

  def _make_heads(self, feat, init):
    config = self.config
    self.reward = heads.Head('reward', feat, config.reward, init)
    self.discount = heads.Head('discount', feat, config.discount_head, init)

  @property
  def obs_keys(self) -> tuple[str, ...]:
    """Names of the observations that are read or predicted."""
    return tuple(dict.fromkeys((*self.encoder.keys, *self.decoder.keys)))

  @property
  def context_keys(self) -> tuple[str, ...]:
    """Names of what the replay tells of the rows before the trained ones."""
    stored = ('deter', 'stoch') if self.config.replay.context else ()
    return tuple(f'stored/{key}' for key in stored)

  @property
  def groups(self) -> dict[str, dict[str, tf.Variable]]:
    """Variables by optimiser."""
    return {'all': self.variables}

  @property
  def learns_ends(self) -> bool:
    """Whether imagination takes the discount head's prediction."""
    return True

  @property
  def gamma(self) -> float:
    """What imagined discounts are multiplied with."""
    return 1 - 1 / self.config.discount_horizon

  def preprocess(self, batch: Tensors, noise: Any) -> Tensors:
    """The trained rows of a batch [B, K + T, ...], and what comes before.

      row      K-1    K    K+1 ...       action(row) was chosen after
      obs            o(0)  o(1)          obs(row); it leads to obs(row + 1)
      action   a(0)  a(1)  a(2)          here: the one that led to obs(t)
      start    s(-1)                     stored: deter, stoch, [B, 1, ...]

    Adds the labels of the discount head, 1 - is_terminal.
    """
    length = batch['action'].shape[1] - self.config.replay.context
    data = {key: value[:, -length:] for key, value in batch.items()
            if key not in self.context_keys}
    data.update(self.preprocess_obs(data, noise))
    start = self._start(batch)
    data.update({f'start/{key}': x[:, None] for key, x in start.items()})
    data['action'] = self._led(batch, length)
    data['discount'] = 1.0 - tf.cast(data['is_terminal'], tf.float32)
    return data

  def _start(self, batch):
    """The state before the first trained row: that of the context."""
    zeros = self.rssm.initial(batch['action'].shape[0])
    stored = {key.removeprefix('stored/'): batch[key][:, -1]
              for key in self.context_keys if key.startswith('stored/')}
    return {key: stored.get(key, zeros[key]) for key in ('deter', 'stoch')}

  def _led(self, batch, length):
    """Actions [B, T, A] that led to the trained rows; unknown ones are 0."""
    action = batch['action']
    before = tf.concat([tf.zeros_like(action[:, :1]), action[:, :-1]], 1)
    return before[:, -length:]

  def preprocess_obs(self, obs: Tensors, noise: Any = None) -> Tensors:
    """The observations in use: uint8 to [-.5, .5], all float32.

    While acting, what is only predicted need not be there. No noise is used.
    """
    del noise
    return codec.flatten({key: obs[key] for key in self.obs_keys
                          if key in obs}, self.obs_space)

  def infer(self, data: Tensors, noise: Any,
            unroll: bool = False) -> tuple[tf.Tensor, State, State]:
    """Embeds, posteriors and priors of preprocessed sequences [B, T, ...]."""
    batch, length = data['action'].shape[:2]
    draws = {'post': self.rssm.draw(noise, 'post', [length, batch])}
    start = {key: data[f'start/{key}'][:, 0] for key in ('deter', 'stoch')}
    embed = self.encoder(data)  # [B, T, E]
    post, prior = self.rssm.observe(
        embed, data['action'], data['is_first'], start, draws, unroll)
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
    parts, kl = self.kl_loss(post, prior)
    losses.update({key: tf.reduce_mean(x) for key, x in parts.items()})
    losses['model'] = self._total(losses)
    return losses, {**tensors, **found, **parts, 'kl': kl}

  def kl_loss(self, post: State,
              prior: State) -> tuple[Tensors, tf.Tensor]:
    """Both sides of the KL, each at least the free nats; and the KL. [B, T]

      dynamics        KL(sg(post) || prior)
      representation  KL(post || sg(prior))
    """
    get = self.rssm.get_dist
    stop = lambda state: {k: tf.stop_gradient(v) for k, v in state.items()}
    value = get(stop(post)).kl_divergence(get(prior))
    other = get(post).kl_divergence(get(stop(prior)))
    return {'dynamics': self._free(value),
            'representation': self._free(other)}, value

  def _free(self, kl):
    """The KL [B, T], at least the free nats."""
    return tf.maximum(kl, self.config.kl.free)

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
    like['discount'] = self.discount.log_prob(
        seen(config.discount_head), data['discount'])
    losses['discount'] = -tf.reduce_mean(like['discount'])
    return losses, {'like': like}

  def _total(self, losses):
    """The scaled sum of all losses of the model."""
    config = self.config
    scales = {'dynamics': config.kl.dynamics,
              'representation': config.kl.representation,
              'reward': config.reward.scale,
              'discount': config.discount_head.scale}
    return sum(scales.get(key, config.decoder.scale) * value
               for key, value in losses.items())

  def summaries(self, tensors: dict[str, Any]) -> Tensors:
    """Metrics of one update from its tensors."""
    mean, get = tf.reduce_mean, self.rssm.get_dist
    return {'model/kl': mean(tensors['kl']),
            'model/prior_ent': mean(get(tensors['prior']).entropy()),
            'model/post_ent': mean(get(tensors['post']).entropy())}

  def imagined_discount(self, feat: tf.Tensor) -> tf.Tensor:
    """Discounts of imagined states [H + 1, N, F]: gamma times the head's.

    Also that of the start states is predicted.
    """
    return self.gamma * self.discount.mean(feat)
