"""Recurrent state space model with discrete latents (arXiv 2010.02193)."""

import tensorflow as tf

from dreamer.nn import dists, layers


def _sigmoid2(x):
  return 2 * tf.sigmoid(x / 2)


STD_ACTS = {'sigmoid2': _sigmoid2, 'softplus': tf.nn.softplus,
            'sigmoid': tf.sigmoid}


class RSSM(layers.Module):
  """Latent dynamics: deter [B, D] by a GRU, stoch [B, S, C] one-hot.

  States are dicts of float32 deter, stoch and logit; with Gaussian latents of
  deter, stoch, mean, std, where stoch is [B, S]. The action given at time t
  is the one that led to observation t.

    stoch(t-1), action(t) -> img_in -> GRU(deter(t-1)) -> deter(t)
    deter(t)           -> img_out -> img_dist -> prior of stoch(t)
    deter(t), embed(t) -> obs_out -> obs_dist -> posterior of stoch(t)

  Where an episode starts (is_first), the state and the action before it are
  zeros.
  """

  def __init__(self, name, config, embed, action, init):
    super().__init__(name)
    self.config = config
    self.act = layers.ACTS[config.act]
    self.discrete = config.latents == 'discrete'
    deter, hidden = config.deter, config.hidden
    self.stoch_size = config.stoch * (config.classes if self.discrete else 1)
    stats = self.stoch_size * (1 if self.discrete else 2)
    dense = lambda kind, *sizes: layers.Dense(f'{name}/{kind}', *sizes, init)
    self.img_in = dense('img_in', self.stoch_size + action, hidden)
    self.gru = layers.NormGRU(
        f'{name}/gru', hidden, deter, init, config.gru_norm)
    self.img_out = dense('img_out_0', deter, hidden)
    self.img_dist = dense('img_dist_0', hidden, stats)
    self.obs_out = dense('obs_out', deter + embed, hidden)
    self.obs_dist = dense('obs_dist', hidden, stats)
    if config.norm == 'layer':
      self.norms = [
          layers.LayerNorm(f'{name}/{kind}', hidden)
          for kind in ('img_in_norm', 'img_out_norm_0', 'obs_out_norm')]

  @property
  def feat_size(self):
    return self.stoch_size + self.config.deter

  @property
  def stoch_shape(self):
    """Shape of one latent, and of its noise."""
    shape = [self.config.stoch]
    return shape + [self.config.classes] if self.discrete else shape

  def initial(self, batch):
    shapes = {'deter': [self.config.deter], 'stoch': self.stoch_shape}
    for key in ['logit'] if self.discrete else ['mean', 'std']:
      shapes[key] = self.stoch_shape
    return {key: tf.zeros([batch, *shape]) for key, shape in shapes.items()}

  def get_feat(self, state):
    return tf.concat([self.flat(state['stoch']), state['deter']], -1)

  def flat(self, stoch):
    """Latents [..., S, C] as [..., S C]; Gaussian ones are flat already."""
    if not self.discrete:
      return stoch
    lead = tf.shape(stoch)[:-2]
    flat = tf.reshape(stoch, tf.concat([lead, [self.stoch_size]], 0))
    flat.set_shape(stoch.shape[:-2] + [self.stoch_size])
    return flat

  def get_dist(self, state):
    if self.discrete:
      return dists.categorical(state['logit'])
    return dists.normal(state['mean'], state['std'])

  def draw(self, noise, name, lead):
    """Noise of latents [*lead, S, (C)] of the kind that sampling takes."""
    kind = noise.gumbel if self.discrete else noise.normal
    return kind(name, [*lead, *self.stoch_shape])

  def observe(self, embed, action, is_first, noise, unroll=False):
    """Filters sequences from the zero state.

    Args are embed [B, T, E], action [B, T, A], is_first [B, T] and noise, a
    dict of draws `post` and `prior` [T, B, S, (C)]. Returns posterior and
    prior, with [B, T, ...] entries. What doesn't depend on the recurrence is
    computed for all steps at once, before or after it.
    """
    swap = lambda x: tf.transpose(x, [1, 0, *range(2, x.shape.rank)])
    keep = 1.0 - tf.cast(swap(is_first), tf.float32)[..., None]  # [T, B, 1]
    action = self._action_part(swap(action) * keep)
    embed = self._embed_part(swap(embed))

    def step(prev, inputs):
      action, embed, keep, noise = inputs
      deter = self._deter(self._masked(prev, keep), action)
      return self._post(deter, embed, noise)

    post = layers.scan(
        step, (action, embed, keep, noise['post']),
        self.initial(action.shape[1]), unroll)  # [T, B, ...]
    prior = self._prior(post['deter'], noise['prior'])
    return ({key: swap(value) for key, value in post.items()},
            {key: swap(value) for key, value in prior.items()})

  def imagine(self, policy, start, noise, unroll=False):
    """Rolls out `policy(feat, noise) -> action` from start states [N, ...].

      state(0) = start             action(0) = 0
      action(h) ~ policy(state(h - 1)), state(h) = after action(h)

    Noise is a dict of draws with leading axis H: `prior` [H, N, S, (C)] and
    `policy`. Returns states and actions, time first: [H + 1, N, ...].
    """
    first = {key: start[key] for key in ('deter', 'stoch')}
    first['action'] = tf.zeros(
        [start['deter'].shape[0], noise['policy'].shape[-1]])

    def step(prev, noise):
      model = self.map(tf.stop_gradient)
      action = policy(tf.stop_gradient(self.get_feat(prev)), noise['policy'])
      state = model.img_step(prev, action, noise['prior'])
      return {'deter': state['deter'], 'stoch': state['stoch'],
              'action': action}

    states = layers.scan(step, noise, first, unroll)
    states = {key: tf.concat([first[key][None], value], 0)
              for key, value in states.items()}
    actions = states.pop('action')
    return states, actions

  def stats(self, deter):
    """Prior statistics for deter [..., D]: logit, or mean and std."""
    x = self._norm(self.img_out(deter), 1)
    return self._stats(self.img_dist(self.act(x)))

  def img_step(self, prev, action, noise=None):
    """One step without observation: the prior state, all [B, ...].

    Without noise the latent is the mode.
    """
    deter = self._deter(prev, self._action_part(action))
    return self._prior(deter, noise)

  def obs_step(self, prev, action, embed, is_first, noise=None):
    """One step with the embed [B, E] of what followed `action`: posterior."""
    keep = 1.0 - tf.cast(is_first, tf.float32)[:, None]
    deter = self._deter(
        self._masked(prev, keep), self._action_part(action * keep))
    return self._post(deter, self._embed_part(embed), noise)

  def open_loop(self, start, action, noise):
    """Predicts without observations: action [T, B, A] to priors [T, B, ...]."""
    step = lambda prev, xs: self.img_step(prev, *xs)
    return layers.scan(step, (action, noise), start)

  def _masked(self, state, keep):
    """Deter and stoch, zeros where keep [B, 1] is 0."""
    wide = keep[..., None] if self.discrete else keep
    return {'deter': state['deter'] * keep, 'stoch': state['stoch'] * wide}

  def _action_part(self, action):
    return layers.matmul(action, self.img_in.split(self.stoch_size)[1])

  def _embed_part(self, embed):
    return layers.matmul(embed, self.obs_out.split(self.config.deter)[1])

  def _norm(self, x, index):
    return self.norms[index](x) if self.config.norm == 'layer' else x

  def _deter(self, prev, action_part):
    rows = self.img_in.split(self.stoch_size)[0]
    x = layers.matmul(self.flat(prev['stoch']), rows)
    x = self._norm(x + action_part + self.img_in.w['bias'], 0)
    return self.gru(self.act(x), prev['deter'])

  def _post(self, deter, embed_part, noise):
    rows = self.obs_out.split(self.config.deter)[0]
    x = layers.matmul(deter, rows) + embed_part + self.obs_out.w['bias']
    stats = self._stats(self.obs_dist(self.act(self._norm(x, 2))))
    return {'deter': deter, 'stoch': self._sample(stats, noise), **stats}

  def _prior(self, deter, noise):
    stats = self.stats(deter)
    return {'deter': deter, 'stoch': self._sample(stats, noise), **stats}

  def _stats(self, x):
    """Outputs of the last layer to float32 logit, or mean and std."""
    x = tf.cast(x, tf.float32)
    if self.discrete:
      shape = tf.concat([tf.shape(x)[:-1], self.stoch_shape], 0)
      logit = tf.reshape(x, shape)
      logit.set_shape(x.shape[:-1] + self.stoch_shape)
      return {'logit': logit}
    mean, raw = tf.split(x, 2, -1)
    std = STD_ACTS[self.config.std_act](raw) + self.config.min_std
    return {'mean': mean, 'std': std}

  def _sample(self, stats, noise):
    """Straight-through or reparameterised; the mode without noise."""
    if self.discrete:
      dist = dists.OneHot(stats['logit'])
      return dist.mode() if noise is None else dist.sample(noise)
    mean = stats['mean']
    return mean if noise is None else mean + stats['std'] * noise
