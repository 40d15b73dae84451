"""Recurrent state space model with Gaussian latents (arXiv 1912.01603)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from dreamer.nn import dists, layers, recurrent, replicas

if TYPE_CHECKING:
  from dreamerv1 import settings

State = dict[str, tf.Tensor]


class RSSM(layers.Module):
  """Latent dynamics: deter [B, D] by a GRU, stoch [B, S] Gaussian.

  States are dicts of float32 deter, stoch, mean and std. The action given at
  time t is the one that led to observation t.

    stoch(t-1), action(t) -> img_in -> GRU(deter(t-1)) -> deter(t)
    deter(t)           -> img_out -> img_dist -> prior of stoch(t)
    deter(t), embed(t) -> obs_out -> obs_dist -> posterior of stoch(t)

  Where an episode starts (is_first), the state and the action before it are
  zeros; sequences to learn from start there or amid one episode.
  """

  STATS: tuple[str, ...] = ('mean', 'std')  # of a latent's distribution
  gru_class: Any = recurrent.GRU

  def __init__(self, name: str, config: settings.Rssm, embed: int, action: int,
               init: layers.Init):
    super().__init__(name)
    self.config = config
    deter, hidden = config.deter, config.hidden
    stats, style = len(self.STATS) * self.stoch_size, layers.style(config)
    self.img_in = layers.SplitDense(
        f'{name}/img_in', self.stoch_size, action, hidden, init, **style)
    self.gru = self.gru_class(f'{name}/gru', hidden, deter, init)
    self.img_out = layers.Dense(
        f'{name}/img_out', deter, hidden, init, **style)
    self.img_dist = layers.Dense(f'{name}/img_dist', hidden, stats, init)
    self.obs_out = layers.SplitDense(
        f'{name}/obs_out', deter, embed, hidden, init, **style)
    self.obs_dist = layers.Dense(f'{name}/obs_dist', hidden, stats, init)

  @property
  def stoch_shape(self) -> list[int]:
    """That of one latent, and of its noise."""
    return [self.config.stoch]

  @property
  def stoch_size(self) -> int:
    return math.prod(self.stoch_shape)

  @property
  def feat_size(self) -> int:
    return self.stoch_size + self.config.deter

  def initial(self, batch: int) -> State:
    """The state before the first step: zeros."""
    shapes = {'deter': [self.config.deter], 'stoch': self.stoch_shape}
    for key in self.STATS:
      shapes[key] = self.stoch_shape
    return {key: tf.zeros([batch, *shape]) for key, shape in shapes.items()}

  def get_feat(self, state: State) -> tf.Tensor:
    """What heads see: features [..., F]."""
    return tf.concat([state['stoch'], state['deter']], -1)

  def get_dist(self, state: State) -> Any:
    """The distribution of the latent."""
    return dists.Normals(state['mean'], state['std'])

  def draw(self, noise: Any, name: str, lead: Sequence[int]) -> tf.Tensor:
    """Noise of latents [*lead, S] of the kind that sampling takes."""
    return replicas.draw(
        noise.normal, name, [*lead, *self.stoch_shape], len(lead) - 1)

  def observe(
      self, embed: tf.Tensor, action: tf.Tensor,
      noise: Mapping[str, tf.Tensor],
      unroll: bool = False) -> tuple[State, State]:
    """Filters sequences from the zero state.

    Args are embed [B, T, E], action [B, T, A] and noise, a dict of draws
    `post` and `prior` [T, B, S]. Returns posterior and prior, with
    [B, T, ...] entries. What doesn't depend on the recurrence is computed
    for all steps at once, before or after it.
    """
    swap = lambda x: tf.transpose(x, [1, 0, *range(2, x.shape.rank)])
    action = self.img_in.ahead(swap(action))
    embed = self.obs_out.ahead(swap(embed))

    def step(prev, inputs):
      action, embed, noise = inputs
      return self.posterior(self._deter(prev, action), embed, noise)

    post = layers.scan(
        step, (action, embed, noise['post']),
        self.initial(action.shape[1]), unroll)  # [T, B, ...]
    prior = self.prior(post['deter'], noise['prior'])
    return ({key: swap(value) for key, value in post.items()},
            {key: swap(value) for key, value in prior.items()})

  def imagine(
      self, policy: Callable, start: State, noise: Mapping[str, tf.Tensor],
      unroll: bool = False) -> tuple[State, tf.Tensor]:
    """Rolls out `policy(feat, noise) -> action` from start states [N, ...].

      action(0) ~ policy(start)   action(1) ~ policy(state(0))
      state(0)  = after action(0) state(1)  = after action(1)   ... state(H-1)

    Noise is a dict of draws with leading axis H: `prior` [H, N, S] and
    `policy`. Returns states and actions, time first: [H, N, ...]; the start
    is not among them.
    """
    first = {key: start[key] for key in ('deter', 'stoch')}
    first['action'] = tf.zeros(
        [start['deter'].shape[0], noise['policy'].shape[-1]])

    frozen = layers.frozen(self, unroll)

    def step(prev, noise):
      model = frozen()
      action = policy(tf.stop_gradient(self.get_feat(prev)), noise['policy'])
      state = model.img_step(prev, action, noise['prior'])
      return {'deter': state['deter'], 'stoch': state['stoch'],
              'action': action}

    states = layers.scan(step, noise, first, unroll)
    actions = states.pop('action')
    return states, actions

  def img_step(self, prev: State, action: tf.Tensor,
               noise: tf.Tensor | None = None) -> State:
    """One step without observation: the prior state, all [B, ...].

    Without noise the latent is the mode.
    """
    deter = self._deter(prev, self.img_in.ahead(action))
    return self.prior(deter, noise)

  def obs_step(self, prev: State, action: tf.Tensor, embed: tf.Tensor,
               is_first: tf.Tensor, noise: tf.Tensor | None = None) -> State:
    """One step with the embed [B, E] of what followed `action`: posterior."""
    keep = 1.0 - tf.cast(is_first, tf.float32)[:, None]
    action = self.img_in.ahead(action * keep)
    deter = self._deter(self._masked(prev, keep), action)
    return self.posterior(deter, self.obs_out.ahead(embed), noise)

  def open_loop(self, start: State, action: tf.Tensor,
                noise: tf.Tensor) -> State:
    """Predicts without observations: action [T, B, A] to priors [T, B, ...]."""
    step = lambda prev, xs: self.img_step(prev, *xs)
    return layers.scan(step, (action, noise), start)

  def _masked(self, state, keep):
    """Deter and stoch, zeros where keep [B, 1] is 0."""
    return {'deter': state['deter'] * keep,
            'stoch': state['stoch'] * keep}

  def _deter(self, prev, action):
    return self.gru(self.img_in(prev['stoch'], action), prev['deter'])

  def posterior(self, deter: tf.Tensor, embed: tf.Tensor,
                noise: tf.Tensor | None) -> State:
    """State of deter [..., D] and the embed, ahead of `obs_out`."""
    stats = self._stats(self.obs_dist, self.obs_out(deter, embed))
    return {'deter': deter, 'stoch': self._sample(stats, noise), **stats}

  def prior(self, deter: tf.Tensor, noise: tf.Tensor | None) -> State:
    """State of deter [..., D] alone; without noise the mode."""
    stats = self.stats(deter)
    return {'deter': deter, 'stoch': self._sample(stats, noise), **stats}

  def stats(self, deter: tf.Tensor) -> State:
    """Prior statistics for deter [..., D]: mean and std."""
    return self._stats(self.img_dist, self.img_out(deter))

  def _stats(self, dist, x):
    """Hidden [..., hidden] to float32 mean and std."""
    mean, raw = tf.split(tf.cast(dist(x), tf.float32), 2, -1)
    return {'mean': mean, 'std': tf.nn.softplus(raw) + self.config.min_std}

  def _sample(self, stats, noise):
    """Reparameterised; the mode without noise."""
    mean = stats['mean']
    return mean if noise is None else mean + stats['std'] * noise
