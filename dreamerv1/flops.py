"""Arithmetic of one update, counted from the config."""


def update_gflop(config, channels, act_space):
  """GFLOP of the matrix products and convolutions of one update.

  A multiplication with its addition are two. Of a layer's three products
  (forward, gradient of the input, gradient of the weights; all equal in size)
  those count that the losses need: frozen weights have no gradient, images,
  stopped features and start states none of the input. Elementwise work,
  metrics and the optimisers are left out: together about 1 %.
  """
  actions = act_space.dim
  model = 3 * sum(_observe(config, actions)) + _pixels(config, channels)
  model += _head(config, 'reward')
  if config.cpc.mode != 'off':
    model += _contrast(config)
  if config.pcont.mode != 'off':
    model += _head(config, 'pcont', config.pcont.mode == 'diagnostic')
  rows = config.batch_size * config.batch_length
  imagined = 0
  if config.behaviour != 'planner':
    starts = config.batch_size * (
        config.batch_length - (config.pcont.mode == 'model'))
    imagined = starts * config.horizon * _imagine(config, act_space)
  return 2 * (rows * model + imagined) / 1e9


def _pixels(config, channels):
  """Products of one image's way in and out."""
  first, *rest = _encoder(config, channels)
  total = 2 * first + 3 * sum(rest)
  if config.image_head != 'off':
    first, *rest = _decoder(config, channels)
    total += (2 if config.image_head == 'diagnostic' else 3) * first
    total += 3 * sum(rest)
  return total


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
      rssm.deter + embed, rssm.hidden, 2 * rssm.stoch)


def _step(config, actions):
  rssm = config.rssm
  gru = 3 * rssm.deter * (rssm.hidden + rssm.deter)
  return [*_dense(rssm.stoch + actions, rssm.hidden), gru,
          *_dense(rssm.deter, rssm.hidden, 2 * rssm.stoch)]


def _imagine(config, act_space):
  """Products of one imagined state: rollout, heads, actor, value."""
  actions = act_space.dim
  outs = actions if act_space.discrete else 2 * actions
  first, *rest = _mlp(config, 'actor', outs)
  total = 2 * first + 3 * sum(rest) + 2 * sum(_step(config, actions))
  total += 2 * sum(_mlp(config, 'reward'))
  if config.pcont.mode == 'model':
    total += 2 * sum(_mlp(config, 'pcont'))
  if config.behaviour == 'actor_critic':
    first, *rest = _mlp(config, 'value')  # guides the actor, and learns
    total += 3 * first + 4 * sum(rest)
  return total


def _contrast(config):
  """Products of one image: its head, and its row of all pairs."""
  pairs = 2 * config.batch_size * config.batch_length * _feat(config)
  sizes = [32 * config.encoder.depth, *[config.cpc.units] * config.cpc.layers]
  return 3 * (sum(_dense(*sizes, 2 * _feat(config))) + pairs)


def _head(config, name, stopped=False):
  first, *rest = _mlp(config, name)
  return (2 if stopped else 3) * first + 3 * sum(rest)


def _mlp(config, name, out=1):
  head = config[name]
  return _dense(_feat(config), *[head.units] * head.layers, out)


def _feat(config):
  return config.rssm.stoch + config.rssm.deter


def _dense(*sizes):
  return [x * y for x, y in zip(sizes[:-1], sizes[1:], strict=True)]
