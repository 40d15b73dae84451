"""Arithmetic of one update, counted from the config."""


def update_gflop(config, channels, act_space):
  """GFLOP of the matrix products and convolutions of one update.

  A multiplication with its addition are two. Of a layer's three products
  (forward, gradient of the input, gradient of the weights; all equal in size)
  those count that the losses need: frozen weights have no gradient, images,
  stopped features and start states none of the input, and with reinforce the
  rollout has none at all. For agents that learn from one image. Elementwise
  work, metrics and the optimisers are left out: together about 1 %.
  """
  actions, discrete = act_space.dim, act_space.discrete
  model = 3 * sum(_observe(config, actions)) + _pixels(config, channels)
  model += _head(config, config.reward)
  if config.discount_head.enabled:
    model += _head(config, config.discount_head)
  rows = config.batch_size * config.batch_length
  imagined = config.horizon * _imagine(config, actions, discrete)
  return 2 * rows * (model + imagined) / 1e9


def _pixels(config, channels):
  """Products of one image's way in and out."""
  first, *rest = _encoder(config, channels)
  total = 2 * first + 3 * sum(rest)
  first, *rest = _decoder(config, channels)
  return total + (3 if config.decoder.gradient else 2) * first + 3 * sum(rest)


def _encoder(config, channels):
  sizes = [channels] + [config.encoder.depth * 2 ** i for i in range(4)]
  return [16 * pixels ** 2 * sizes[i] * sizes[i + 1]
          for i, pixels in enumerate((31, 14, 6, 2))]


def _decoder(config, channels):
  depth = config.decoder.depth
  sizes = [32 * depth, 4 * depth, 2 * depth, depth, channels]
  layers = enumerate(((1, 5), (5, 5), (13, 6), (30, 6)))
  return [_feat(config) * sizes[0]] + [
      (pixels * kernel) ** 2 * sizes[i] * sizes[i + 1]
      for i, (pixels, kernel) in layers]


def _observe(config, actions):
  rssm = config.rssm
  embed = 32 * config.encoder.depth
  return _step(config, actions) + _dense(
      rssm.deter + embed, rssm.hidden, _stats(config))


def _step(config, actions):
  rssm = config.rssm
  gru = 3 * rssm.deter * (rssm.hidden + rssm.deter)
  return [*_dense(_stoch(config) + actions, rssm.hidden), gru,
          *_dense(rssm.deter, rssm.hidden, _stats(config))]


def _imagine(config, actions, discrete):
  """Products of one imagined state: rollout, heads, actor, critic."""
  kind = config.actor_gradient
  if kind == 'auto':
    kind = 'reinforce' if discrete else 'dynamics'
  first, *rest = _mlp(config, config.actor, actions * (1 if discrete else 2))
  learned = 2 * first + 3 * sum(rest)
  passes = 1 if kind == 'reinforce' else 2  # forward, gradient of the input
  total = learned + (first + sum(rest) if kind == 'reinforce' else learned)
  heads = [config.reward, config.critic]  # that of the slow critic
  heads += [config.discount_head] if config.discount_head.enabled else []
  total += passes * (sum(_step(config, actions)) + sum(
      sum(_mlp(config, head)) for head in heads))
  first, *rest = _mlp(config, config.critic)
  return total + 2 * first + 3 * sum(rest)


def _head(config, head):
  first, *rest = _mlp(config, head)
  return (3 if head.gradient else 2) * first + 3 * sum(rest)


def _mlp(config, head, out=1):
  return _dense(_feat(config), *[head.units] * head.layers, out)


def _stoch(config):
  classes = config.rssm.classes if config.rssm.latents == 'discrete' else 1
  return config.rssm.stoch * classes


def _stats(config):
  return _stoch(config) * (1 if config.rssm.latents == 'discrete' else 2)


def _feat(config):
  return _stoch(config) + config.rssm.deter


def _dense(*sizes):
  return [x * y for x, y in zip(sizes[:-1], sizes[1:], strict=True)]
