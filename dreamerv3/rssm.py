"""Recurrent state space model of blocks, latents mixed (arXiv 2301.04104)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from dreamer.nn import blocks, dists, layers, nets, replicas

if TYPE_CHECKING:
  from dreamerv3 import settings

State = dict[str, tf.Tensor]


class RSSM(layers.Module):
  """Latent dynamics: deter [B, D] by a GRU, stoch [B, S, C] one-hot.

  States are dicts of float32 deter, stoch and logit. The action given at
  time t is the one that led to observation t.

    deter(t-1), stoch(t-1), action(t) -> three layers -> inputs of all blocks
    deter(t-1), inputs -> GRU of blocks -> deter(t)
    deter(t)           -> img -> prior of stoch(t)
    deter(t), embed(t) -> obs -> posterior of stoch(t)

  Where an episode starts (is_first), the state and the action before it are
  zeros, also amid a sequence.
  """

  STATS: tuple[str, ...] = ('logit',)  # of a latent's distribution

  def __init__(self, name: str, config: settings.Rssm, embed: int, action: int,
               init: layers.ByFan):
    super().__init__(name)
    self.config, init = config, init.like(config)
    deter, hidden, style = config.deter, config.hidden, layers.style(config)
    dense = lambda key, size: layers.Dense(
        f'{name}/{key}', size, hidden, init, **style)
    self.deter_in = dense('deter_in', deter)
    self.stoch_in = dense('stoch_in', self.stoch_size)
    self.action_in = dense('action_in', action)
    self.gru = blocks.BlockDiagonalGRU(
        f'{name}/gru', [hidden] * 3, deter, config.blocks, config.gru_layers,
        init, **style)
    out = init.scaled(config.outscale)
    self.img = nets.MLP(
        f'{name}/img', deter, [hidden] * config.img_layers,
        outs={'out': self.stoch_size}, init=init, outs_init=out, **style)
    self.obs = nets.SplitMLP(
        f'{name}/obs', self.obs_deter, embed, [hidden] * config.obs_layers,
        self.stoch_size, init, outs_init=out, **style)

  @property
  def stoch_shape(self) -> list[int]:
    """That of one latent, and of its noise."""
    return [self.config.stoch, self.config.classes]

  @property
  def stoch_size(self) -> int:
    return math.prod(self.stoch_shape)

  @property
  def feat_size(self) -> int:
    return self.config.deter + self.stoch_size

  @property
  def obs_deter(self) -> int:
    """How many numbers of deter the posterior sees."""
    return self.config.deter

  def initial(self, batch: int) -> State:
    """The state before the first step: zeros."""
    shapes = {'deter': [self.config.deter], 'stoch': self.stoch_shape}
    for key in self.STATS:
      shapes[key] = self.stoch_shape
    return {key: tf.zeros([batch, *shape]) for key, shape in shapes.items()}

  def get_feat(self, state: State) -> tf.Tensor:
    """What heads see: features [..., F]."""
    return tf.concat([state['deter'], self.flat(state['stoch'])], -1)

  def flat(self, stoch: tf.Tensor) -> tf.Tensor:
    """Latents [..., S, C] as [..., S C]."""
    lead = tf.shape(stoch)[:-2]
    flat = tf.reshape(stoch, tf.concat([lead, [self.stoch_size]], 0))
    flat.set_shape(stoch.shape[:-2] + [self.stoch_size])
    return flat

  def get_dist(self, state: State) -> Any:
    """The distribution of the latent, some of it uniform."""
    return dists.OneHots(state['logit'], self.config.unimix)

  def draw(self, noise: Any, name: str, lead: Sequence[int]) -> tf.Tensor:
    """Noise of latents [*lead, S, C] of the kind that sampling takes."""
    return replicas.draw(
        noise.gumbel, name, [*lead, *self.stoch_shape], len(lead) - 1)

  def observe(
      self, embed: tf.Tensor, action: tf.Tensor, is_first: tf.Tensor,
      start: State, noise: Mapping[str, tf.Tensor],
      unroll: bool = False) -> tuple[State, State]:
    """Filters sequences from start states [B, ...].

    Args are embed [B, T, E], action [B, T, A], is_first [B, T] and noise, a
    dict of draws `post` [T, B, S, C]. Returns posterior and prior, with
    [B, T, ...] entries; of the prior no sample. What doesn't depend on the
    recurrence is computed for all steps at once, before or after it.
    """
    swap = lambda x: tf.transpose(x, [1, 0, *range(2, x.shape.rank)])
    # Cast first: oneDNN warns of transposed booleans on CPUs without AVX-512.
    keep = 1.0 - swap(tf.cast(is_first, tf.float32))[..., None]  # [T, B, 1]
    action = self._ahead(swap(action) * keep)
    embed = self.obs.ahead(swap(embed))

    def step(prev, inputs):
      action, embed, keep, noise = inputs
      deter = self._deter(self._masked(prev, keep), action)
      return self.posterior(deter, embed, noise)

    first = {**self.initial(action.shape[1]), **start}
    post = layers.scan(
        step, (action, embed, keep, noise['post']), first, unroll)
    post = {key: swap(value) for key, value in post.items()}  # [B, T, ...]
    return post, {'deter': post['deter'], **self.stats(post['deter'])}

  def imagine(
      self, policy: Callable, start: State, noise: Mapping[str, tf.Tensor],
      unroll: bool = False) -> tuple[State, tf.Tensor]:
    """Rolls out `policy(feat, noise) -> action` from start states [N, ...].

      action(0) ~ policy(start)   action(1) ~ policy(state(0))
      state(0)  = after action(0) state(1)  = after action(1)   ... state(H-1)

    Noise is a dict of draws with leading axis H: `prior` [H, N, S, C] and
    `policy`. Returns states and actions, time first: [H, N, ...]; the start
    is not among them. Nothing is differentiated here.
    """
    first = {key: tf.stop_gradient(start[key]) for key in ('deter', 'stoch')}
    first['action'] = tf.zeros(
        [start['deter'].shape[0], noise['policy'].shape[-1]])
    model = self.map(tf.stop_gradient)

    def step(prev, noise):
      action = policy(self.get_feat(prev), noise['policy'])
      state = model.img_step(prev, action, noise['prior'])
      return {'deter': state['deter'], 'stoch': state['stoch'],
              'action': action}

    states = layers.scan(step, noise, first, unroll)
    states = {key: tf.stop_gradient(x) for key, x in states.items()}
    actions = states.pop('action')
    return states, actions

  def img_step(self, prev: State, action: tf.Tensor,
               noise: tf.Tensor | None = None) -> State:
    """One step without observation: the prior state, all [B, ...].

    Without noise the latent is the mode.
    """
    deter = self._deter(prev, self._ahead(action))
    return self.prior(deter, noise)

  def obs_step(self, prev: State, action: tf.Tensor, embed: tf.Tensor,
               is_first: tf.Tensor, noise: tf.Tensor | None = None) -> State:
    """One step with the embed [B, E] of what followed `action`: posterior."""
    keep = 1.0 - tf.cast(is_first, tf.float32)[:, None]
    action = self._ahead(action * keep)
    deter = self._deter(self._masked(prev, keep), action)
    return self.posterior(deter, self.obs.ahead(embed), noise)

  def open_loop(self, start: State, action: tf.Tensor,
                noise: tf.Tensor) -> State:
    """Predicts without observations: action [T, B, A] to priors [T, B, ...]."""
    step = lambda prev, xs: self.img_step(prev, *xs)
    return layers.scan(step, (action, noise), start)

  def _masked(self, state, keep):
    """Deter and stoch, zeros where keep [B, 1] is 0."""
    return {'deter': state['deter'] * keep,
            'stoch': state['stoch'] * keep[..., None]}

  def _ahead(self, action):
    """What actions [..., A], brought into [-1, 1], add to the GRU's blocks."""
    action = action / tf.maximum(1.0, tf.abs(tf.stop_gradient(action)))
    return self.gru.ahead(2, self.action_in(action))

  def _deter(self, prev, action):
    stoch = self.flat(prev['stoch'])
    inputs = [self.deter_in(prev['deter']), self.stoch_in(stoch), None]
    return self.gru(prev['deter'], inputs, action)

  def posterior(self, deter: tf.Tensor, embed: tf.Tensor,
                noise: tf.Tensor | None) -> State:
    """State of deter [..., D] and the embed, ahead of `obs`."""
    stats = self._stats(self.obs(deter[..., :self.obs_deter], embed))
    return {'deter': deter, 'stoch': self._sample(stats, noise), **stats}

  def prior(self, deter: tf.Tensor, noise: tf.Tensor | None) -> State:
    """State of deter [..., D] alone; without noise the mode."""
    stats = self.stats(deter)
    return {'deter': deter, 'stoch': self._sample(stats, noise), **stats}

  def stats(self, deter: tf.Tensor) -> State:
    """Prior statistics for deter [..., D]: logit."""
    return self._stats(self.img(deter))

  def _stats(self, x):
    """Outputs [..., S C] to float32 logit."""
    x = tf.cast(x, tf.float32)
    shape = tf.concat([tf.shape(x)[:-1], self.stoch_shape], 0)
    logit = tf.reshape(x, shape)
    logit.set_shape(x.shape[:-1] + self.stoch_shape)
    return {'logit': logit}

  def _sample(self, stats, noise):
    """Straight-through; the mode without noise."""
    dist = self.get_dist(stats)
    return dist.mode() if noise is None else dist.sample(noise)
