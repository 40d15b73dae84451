"""Recurrent state space model with Gaussian latents (arXiv 1912.01603)."""

import tensorflow as tf

from dreamer.nn import dists, layers


class RSSM(layers.Module):
  """Latent dynamics: deter [B, D] by a GRU, stoch [B, S] Gaussian.

  States are dicts of float32 deter, stoch, mean, std. The action given at
  time t is the one that led to observation t.

    stoch(t-1), action(t) -> img1 -> GRU(deter(t-1)) -> deter(t)
    deter(t)           -> img2 -> img3 -> prior mean, std of stoch(t)
    deter(t), embed(t) -> obs1 -> obs2 -> posterior mean, std of stoch(t)
  """

  def __init__(self, name, config, embed, action, init):
    super().__init__(name)
    self.config = config
    self.act = layers.ACTS[config.act]
    deter, stoch, hidden = config.deter, config.stoch, config.hidden
    self.img1 = layers.Dense(
        f'{name}/img1', stoch + action, hidden, init, config.act)
    self.gru = layers.GRUS[config.gru](f'{name}/gru', hidden, deter, init)
    self.img2 = layers.Dense(f'{name}/img2', deter, hidden, init, config.act)
    self.img_stats = self._stats_layers('img', 'img3', hidden, init)
    self.obs1 = layers.Dense(
        f'{name}/obs1', deter + embed, hidden, init, config.act)
    self.obs_stats = self._stats_layers('obs', 'obs2', hidden, init)

  @property
  def feat_size(self):
    return self.config.stoch + self.config.deter

  def _stats_layers(self, kind, joint, hidden, init):
    stoch = self.config.stoch
    if self.config.stats == 'joint':
      return [layers.Dense(f'{self.name}/{joint}', hidden, 2 * stoch, init)]
    return [layers.Dense(f'{self.name}/{kind}_{key}', hidden, stoch, init)
            for key in ('mean', 'std')]

  def _stats(self, stats, hidden):
    """Hidden [..., hidden] to mean and std [..., S], float32."""
    outs = tf.concat([layer(hidden) for layer in stats], -1)
    mean, raw = tf.split(tf.cast(outs, tf.float32), 2, -1)
    return mean, tf.nn.softplus(raw) + self.config.min_std

  def noise_shape(self, batch):
    """Shape of one step's latent noise."""
    rows = 1 if self.config.shared_latent_noise else batch
    return [rows, self.config.stoch]

  def initial(self, batch):
    sizes = {'deter': self.config.deter, 'stoch': self.config.stoch,
             'mean': self.config.stoch, 'std': self.config.stoch}
    return {key: tf.zeros([batch, size]) for key, size in sizes.items()}

  @staticmethod
  def get_feat(state):
    return tf.concat([state['stoch'], state['deter']], -1)  # [..., F]

  @staticmethod
  def get_dist(state):
    return dists.normal(state['mean'], state['std'])

  def observe(self, embed, action, noise, unroll=False):
    """Filters sequences from the zero state.

    Args are embed [B, T, E], action [B, T, A] and noise, a dict of normal
    draws `post` and `prior` [T, B or 1, S]. Returns posterior and prior, with
    [B, T, ...] entries. What doesn't depend on the recurrence is computed
    for all steps at once, before or after it.
    """
    swap = lambda x: tf.transpose(x, [1, 0, *range(2, x.shape.rank)])
    action, embed = self._action_part(swap(action)), self._embed_part(
        swap(embed))
    first = self.initial(action.shape[1])

    def step(prev, inputs):
      action, embed, noise = inputs
      deter = self._deter(prev, action)
      mean, std = self._post_stats(deter, embed)
      return {'deter': deter, 'stoch': mean + std * noise,
              'mean': mean, 'std': std}

    post = layers.scan(
        step, (action, embed, noise['post']), first, unroll)  # [T, B, ...]
    prior = self._prior(post['deter'], noise['prior'])
    return ({key: swap(value) for key, value in post.items()},
            {key: swap(value) for key, value in prior.items()})

  def imagine(self, policy, start, noise, unroll=False):
    """Rolls out `policy(feat, noise) -> action` from start states [N, ...].

      action(0) ~ policy(start)   action(1) ~ policy(state(0))
      state(0)  = after action(0) state(1)  = after action(1)   ... state(H-1)

    Noise is a dict of draws with leading axis H: `prior` [H, N or 1, S] and
    `policy`. Returns states and actions, time first: [H, N, ...]; the start
    is not among them.
    """
    first = {**start, 'action': tf.zeros(
        [start['deter'].shape[0], noise['policy'].shape[-1]])}

    def step(prev, noise):
      model = self.map(tf.stop_gradient)
      action = policy(tf.stop_gradient(self.get_feat(prev)), noise['policy'])
      return {**model.img_step(prev, action, noise['prior']),
              'action': action}

    states = layers.scan(step, noise, first, unroll)
    actions = states.pop('action')
    return states, actions

  def img_step(self, prev, action, noise):
    """One step without observation: the prior state, all [B, ...]."""
    deter = self._deter(prev, self._action_part(action))
    return self._prior(deter, noise)

  def obs_step(self, prev, action, embed, noise):
    """One step with the embed [B, E] of what followed `action`: posterior."""
    deter = self._deter(prev, self._action_part(action))
    mean, std = self._post_stats(deter, self._embed_part(embed))
    return {'deter': deter, 'stoch': mean + std * noise,
            'mean': mean, 'std': std}

  def open_loop(self, start, action, noise):
    """Predicts without observations: action [T, B, A] to priors [T, B, ...]."""
    step = lambda prev, xs: self.img_step(prev, *xs)
    return layers.scan(step, (action, noise), start)

  def _action_part(self, action):
    return layers.matmul(action, self.img1.split(self.config.stoch)[1])

  def _embed_part(self, embed):
    return layers.matmul(embed, self.obs1.split(self.config.deter)[1])

  def _deter(self, prev, action_part):
    rows = self.img1.split(self.config.stoch)[0]
    x = layers.matmul(prev['stoch'], rows) + action_part + self.img1.w['bias']
    return self.gru(self.act(x), prev['deter'])

  def _post_stats(self, deter, embed_part):
    rows = self.obs1.split(self.config.deter)[0]
    x = layers.matmul(deter, rows) + embed_part + self.obs1.w['bias']
    return self._stats(self.obs_stats, self.act(x))

  def _prior(self, deter, noise):
    mean, std = self._stats(self.img_stats, self.img2(deter))
    return {'deter': deter, 'stoch': mean + std * noise,
            'mean': mean, 'std': std}
