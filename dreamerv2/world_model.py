"""World model: encoder, RSSM, decoder, reward and discount heads."""

import tensorflow as tf

from dreamer.errors import UserError
from dreamer.nn import chunks, dists, nets
from dreamer.nn.layers import Module
from dreamerv2.rssm import RSSM

IMAGES = 250  # decoded at a time; bounds the memory
OUT = {'out': 'out/out', 'hidden': 'dense{}'}  # names inside a head


class Encoder(Module):
  """Images [..., 64, 64, C] and vectors [..., V] to embeds [..., E].

  Images are joined along their channels, vectors to one; the embed is the
  output of the convolutions beside that of the dense layers.
  """

  def __init__(self, name, config, images, vectors, init):
    super().__init__(name)
    self.images, self.vectors = images, vectors
    self.size = 0
    if images:
      self.conv = nets.ConvEncoder(
          name, sum(images.values()), config.depth, config.act, init,
          config.norm, [f'conv{i}' for i in range(4)])
      self.size += self.conv.size
    if vectors:
      self.mlp = nets.MLP(
          name, sum(vectors.values()), config.layers, config.units, config.act,
          {}, init, config.norm, 'dense{}', 'densenorm{}')
      self.size += self.mlp.width

  def __call__(self, data):
    outs = []
    if self.images:
      images = [data[key] for key in self.images]
      outs.append(self.conv(tf.concat(images, -1)))
    if self.vectors:
      vectors = [data[key] for key in self.vectors]
      outs.append(self.mlp(tf.concat(vectors, -1)))
    return tf.concat([tf.cast(x, outs[-1].dtype) for x in outs], -1)


class Decoder(Module):
  """Means of images and vectors from features; Normal(mean, 1) all."""

  def __init__(self, name, size_in, config, images, vectors, init):
    super().__init__(name)
    self.images, self.vectors = images, vectors
    if images:
      self.conv = nets.ConvDecoder(
          name, size_in, sum(images.values()), config.depth, config.act, init,
          config.norm, ['convin'] + [f'conv{i}' for i in range(4)])
    if vectors:
      outs = {f'dense_{key}/out': size for key, size in vectors.items()}
      self.mlp = nets.MLP(
          name, size_in, config.layers, config.units, config.act, outs, init,
          config.norm, 'dense{}', 'densenorm{}')

  def image_means(self, feat):
    """Dict of key to means [..., 64, 64, C] of features [..., F]."""
    if not self.images:
      return {}
    x = self.conv(tf.reshape(feat, [-1, feat.shape[-1]]))
    x = tf.reshape(x, tf.concat([tf.shape(feat)[:-1], x.shape[1:]], 0))
    parts = tf.split(x, list(self.images.values()), -1)
    return dict(zip(self.images, parts, strict=True))

  def vector_means(self, feat):
    """Dict of key to means [..., V] of features [..., F]."""
    if not self.vectors:
      return {}
    means = self.mlp(feat)
    means = means if len(self.vectors) > 1 else [means]
    return dict(zip(self.vectors, means, strict=True))


class WorldModel(Module):
  """Learns latents from images, vectors, actions and rewards (Section 2.1).

  Submodules are encoder, rssm, decoder, reward and, if enabled, discount.
  """

  def __init__(self, config, obs_space, action, init):
    super().__init__('wm')
    self.config = config
    images, vectors = inputs('encoder', config.encoder, obs_space)
    self.encoder = Encoder(
        'wm/encoder', config.encoder, images, vectors, init)
    self.rssm = RSSM('wm/rssm', config.rssm, self.encoder.size, action, init)
    feat = self.rssm.feat_size
    self.decoder = Decoder(
        'wm/heads/decoder', feat, config.decoder,
        *inputs('decoder', config.decoder, obs_space), init)
    self.reward = nets.ScalarHead(
        'wm/heads/reward', feat, config.reward, init, norm=config.reward.norm,
        **OUT)
    if config.discount_head.enabled:
      self.discount = nets.ScalarHead(
          'wm/heads/discount', feat, config.discount_head, init,
          norm=config.discount_head.norm, **OUT)

  @property
  def obs_keys(self):
    """Names of the observations that are read or predicted."""
    parts = (self.encoder.images, self.encoder.vectors, self.decoder.images,
             self.decoder.vectors)
    return tuple(dict.fromkeys(key for part in parts for key in part))

  def preprocess(self, batch):
    """Images uint8 to centered float32, rewards transformed, labels.

    The discount's label is gamma * (1 - is_terminal), a soft one.
    """
    data = {**batch, **self.preprocess_obs(batch)}
    transform = {'none': tf.identity, 'tanh': tf.tanh, 'sign': tf.sign}
    data['reward'] = transform[self.config.reward_transform](batch['reward'])
    data['discount'] = self.config.discount * (
        1.0 - tf.cast(batch['is_terminal'], tf.float32))
    return data

  def preprocess_obs(self, obs):
    """The observations in use: uint8 to [-.5, .5], all float32.

    While acting, what is only predicted need not be there.
    """
    found = {}
    for key in self.obs_keys:
      if key not in obs:
        continue
      value = tf.cast(obs[key], tf.float32)
      found[key] = value / 255 - 0.5 if obs[key].dtype == tf.uint8 else value
    return found

  def loss(self, data, noise, unroll=False):
    """Negative evidence bound of preprocessed sequences [B, T, ...].

      t          0       1       2            action(t) led to obs(t);
      action   a(0) -> a(1) -> a(2)           is_first resets before it
      obs      o(0)    o(1)    o(2)
      state    s(0)    s(1)    s(2)
      targets  o,r,d   o,r,d   o,r,d          all of the same t

    Returns the losses by name (before scaling; `model` is their scaled sum)
    and the tensors by name, `post` for imagination among them.
    """
    batch, length = data['action'].shape[:2]
    draws = {key: self.rssm.draw(noise, key, [length, batch])
             for key in ('post', 'prior')}
    embed = self.encoder(data)  # [B, T, E]
    post, prior = self.rssm.observe(
        embed, data['action'], data['is_first'], draws, unroll)
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
    if self.config.kl.free_by == 'mean':
      return tf.maximum(tf.reduce_mean(kl), self.config.kl.free)
    return tf.reduce_mean(tf.maximum(kl, self.config.kl.free))

  def _head_losses(self, feat, data):
    """Losses of the heads, means over batch and time, and their scales.

    A head whose `gradient` is off learns from stopped features.
    """
    config, losses, scales, like = self.config, {}, {}, {}
    inputs = lambda head: feat if head.gradient else tf.stop_gradient(feat)
    self._decoder_losses(inputs(config.decoder), data, losses, like)
    like['reward'] = dists.unit_normal_log_prob(
        data['reward'], self.reward(inputs(config.reward)), 0)
    scales['reward'] = config.reward.scale
    if config.discount_head.enabled:
      logit = self.discount(inputs(config.discount_head))
      like['discount'] = dists.bernoulli_log_prob(data['discount'], logit)
      scales['discount'] = config.discount_head.scale
    for key in ('reward', 'discount'):
      if key in like:
        losses[key] = -tf.reduce_mean(like[key])
    return losses, scales, {'like': like}

  def _decoder_losses(self, feat, data, losses, like):
    """Adds the losses of images and vectors, and log densities [B, T].

    A single image is decoded in chunks; its densities one by one are then
    another computation, left out of the graph unless something reads them.
    """
    means = {**self.decoder.image_means(feat), **self.decoder.vector_means(
        feat)}
    for key, mean in means.items():
      dims = 3 if key in self.decoder.images else 1
      like[key] = dists.unit_normal_log_prob(data[key], mean, dims)
      losses[key] = -tf.reduce_mean(like[key])
    if len(self.decoder.images) == 1:
      key, = self.decoder.images
      losses[key] = self._chunked_image_loss(feat, data[key])

  def _chunked_image_loss(self, feat, image):
    rows = [tf.reshape(feat, [-1, feat.shape[-1]]),
            tf.reshape(image, [-1, *image.shape[-3:]])]
    loss = lambda decode, feat, target: -dists.unit_normal_log_prob(
        target, decode(feat), 3)
    return chunks.mean(loss, self.decoder.conv, rows, IMAGES)

  def imagined_discount(self, feat, is_terminal):
    """Discounts of imagined states [H + 1, N, F]: gamma, or the head's mean.

    What follows the start states is known: gamma * (1 - is_terminal [N]).
    """
    gamma = self.config.discount
    if not self.config.discount_head.enabled:
      return tf.fill(tf.shape(feat)[:-1], float(gamma))
    known = gamma * (1.0 - tf.cast(is_terminal, tf.float32))
    return tf.concat([known[None], tf.sigmoid(self.discount(feat[1:]))], 0)


def inputs(name, config, obs_space):
  """Sizes of the images and vectors that encoder or decoder use.

  Returns dicts of key to channels and of key to length. Raises UserError for
  names that the environment doesn't have, or that have another shape.
  """
  images = {key: space.shape[-1] for key, space in obs_space.items()
            if len(space.shape) == 3}
  vectors = {key: space.shape[0] for key, space in obs_space.items()
             if len(space.shape) == 1}
  found = (_choose(f'{name}.images', config.images, images),
           _choose(f'{name}.vectors', config.vectors, vectors))
  for key in found[0]:
    shape = tuple(obs_space[key].shape)
    if shape[:2] != (64, 64):
      raise UserError(
          f'{key}: shape {shape}; the networks need (64, 64, C), resize it')
  if not found[0] and not found[1]:
    raise UserError(
        f'{name}.images, {name}.vectors: nothing is named; the environment '
        f'has {", ".join(obs_space)}')
  return found


def _choose(key, names, known):
  """Those of `known` that a comma-separated list names."""
  if names in ('all', 'none'):
    return dict(known) if names == 'all' else {}
  chosen = [name.strip() for name in names.split(',')]
  for name in chosen:
    if name not in known:
      raise UserError(
          f'{key}: the environment has no {name!r} of this kind; it has '
          f'{", ".join(known) or "none"}; allowed are names, all, none')
  return {name: known[name] for name in chosen}
