"""World model: encoder, RSSM, image, state, reward and discount heads."""

import tensorflow as tf

from dreamer.nn import chunks, dists, nets
from dreamer.nn.layers import Module
from dreamerv1 import contrastive
from dreamerv1.rssm import RSSM

IMAGES = 250  # decoded at a time; bounds the memory


class WorldModel(Module):
  """Learns latents from images, actions and rewards (Section 3, Appendix B).

  Submodules are encode, dynamics, decode, reward and, unless their mode is
  off, pcont: the predicted discount, and cpc: states predicted from images.
  """

  def __init__(self, config, channels, action, init):
    super().__init__('model')
    self.config = config
    self.encode = nets.ConvEncoder(
        'encode', channels, config.encoder.depth, config.encoder.act, init)
    self.dynamics = RSSM(
        'dynamics', config.rssm, self.encode.size, action, init)
    feat = self.dynamics.feat_size
    if config.image_head != 'off':
      self.decode = nets.ConvDecoder(
          'decode', feat, channels, config.decoder.depth, config.decoder.act,
          init)
    if config.cpc.mode != 'off':
      contrastive.check(config)
      self.cpc = contrastive.StateHead(
          'cpc', self.encode.size, feat, config.cpc, init)
    self.reward = nets.ScalarHead('reward', feat, config.reward, init)
    if config.pcont.mode != 'off':
      self.pcont = nets.ScalarHead('pcont', feat, config.pcont, init)

  @property
  def diagnostic_heads(self):
    """Heads trained on stopped features, outside the model loss."""
    modes = {'decode': self.config.image_head, 'pcont': self.config.pcont.mode}
    return [key for key, mode in modes.items() if mode == 'diagnostic']

  def preprocess(self, batch, noise):
    """Images uint8 to centered float32, rewards transformed, pcont labels.

    The label is discount * (1 - terminal), a soft one: 0 or gamma.
    """
    data = dict(batch)
    data['image'] = self.preprocess_image(batch['image'], noise)
    if self.config.reward_transform == 'tanh':
      data['reward'] = tf.tanh(batch['reward'])
    data['pcont'] = self.config.discount * batch['discount']
    return data

  def preprocess_image(self, image, noise):
    image = tf.cast(image, tf.float32)
    if self.config.image_noise:
      return (image + noise.uniform('image', tf.shape(image))) / 256 - 0.5
    return image / 255 - 0.5

  def loss(self, data, noise, unroll=False):
    """Negative evidence bound of preprocessed sequences [B, T, ...].

      t          0       1       2            action(t) led to image(t);
      action   a(0) -> a(1) -> a(2)           the first of an episode is 0
      image    o(0)    o(1)    o(2)
      state    s(0)    s(1)    s(2)           from zeros, no reset inside
      targets  o,r,d   o,r,d   o,r,d          all of the same t

    Returns the losses by name (`model` is their sum, diagnostic heads are
    apart) and the tensors by name, `post` for imagination among them.
    """
    batch, length = data['action'].shape[:2]
    shape = [length, *self.dynamics.noise_shape(batch)]
    draws = {key: noise.normal(key, shape) for key in ('post', 'prior')}
    embed = self.encode(data['image'])  # [B, T, E]
    post, prior = self.dynamics.observe(embed, data['action'], draws, unroll)
    feat = self.dynamics.get_feat(post)  # [B, T, F]
    losses, tensors = self._head_losses(feat, data)
    if self.config.cpc.mode != 'off':
      losses['cpc'] = self._contrastive_loss(embed, feat, tensors)
    losses['kl'], kl = self._kl_loss(post, prior)
    apart = {'image' if x == 'decode' else x for x in self.diagnostic_heads}
    losses['model'] = self.config.kl.scale * losses['kl'] + sum(
        value for key, value in losses.items()
        if key != 'kl' and key not in apart)
    tensors.update(embed=embed, post=post, prior=prior, feat=feat, kl=kl)
    return losses, tensors

  def _kl_loss(self, post, prior):
    """KL(post || prior) with free nats; also the KL of each step [B, T]."""
    kl = self.dynamics.get_dist(post).kl_divergence(
        self.dynamics.get_dist(prior))
    free = self.config.kl.free_nats
    if self.config.kl.free == 'batch_max':
      return tf.maximum(tf.reduce_mean(kl), free), kl
    if self.config.kl.free == 'step_over':
      return tf.reduce_mean(tf.maximum(kl - free, 0)), kl
    return tf.reduce_mean(tf.maximum(kl, free)), kl

  def _head_losses(self, feat, data):
    """Losses of the heads, means over batch and time, and predictions."""
    losses, tensors = {}, {}
    stopped = tf.stop_gradient(feat)
    if self.config.image_head != 'off':
      inputs = stopped if self.config.image_head == 'diagnostic' else feat
      losses['image'], tensors['recon'] = self._image_loss(
          inputs, data['image'])
    pred = tensors['reward_pred'] = self.reward(feat)
    log_prob = dists.unit_normal_log_prob(data['reward'], pred, 0)
    if 'reward_mask' in data:  # 0 where no reward is known
      log_prob *= data['reward_mask']
    losses['reward'] = -tf.reduce_mean(log_prob)
    if self.config.pcont.mode != 'off':
      inputs = stopped if self.config.pcont.mode == 'diagnostic' else feat
      logit = self.pcont(inputs)
      tensors['pcont_pred'] = tf.sigmoid(logit)
      losses['pcont'] = -self.config.pcont.scale * tf.reduce_mean(
          dists.bernoulli_log_prob(data['pcont'], logit))
    return losses, tensors

  def _image_loss(self, feat, image):
    """Mean negative log density of the images, and their predictions."""
    rows = [tf.reshape(feat, [-1, feat.shape[-1]]),
            tf.reshape(image, [-1, *image.shape[-3:]])]
    loss = lambda decode, feat, target: -dists.unit_normal_log_prob(
        target, decode(feat), 3)
    recon = self.decode(rows[0])  # Not computed where nothing uses it.
    return (chunks.mean(loss, self.decode, rows, IMAGES),
            tf.reshape(recon, tf.shape(image)))

  def _contrastive_loss(self, embed, feat, tensors):
    """Minus the mean bound on what images tell about states."""
    mean, std = self.cpc(embed)
    value, positive = contrastive.bound(mean, std, feat, self.config.cpc)
    tensors.update(cpc_mean=mean, cpc_std=std, cpc_positive=positive,
                   cpc_objective=value)
    return -tf.reduce_mean(value)

  def imagined_discount(self, feat):
    """Discount of imagined states [..., F]: gamma, or the head's mean."""
    if self.config.pcont.mode == 'model':
      return tf.sigmoid(self.pcont(feat))
    return tf.fill(tf.shape(feat)[:-1], float(self.config.discount))
