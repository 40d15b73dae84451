"""How agents of all papers act, here or as a copy in another process."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from dreamer.config.choices import Choices
from dreamer.nn import device, noise
from dreamer.nn.layers import M, Module

DTYPES = Choices('precision', {
    'float32': tf.float32, 'float16': tf.float16, 'bfloat16': tf.bfloat16})

Tensors = dict[str, tf.Tensor]


class Acting:
  """The part of an agent that acts; a learner is a subclass.

  A paper makes `model`, `behaviour` and `explore` (its action noise), and says
  in `modules` what has parameters.

  Args are the Config, the ActionSpace, and, for tests, a noise object that
  replaces every random draw.
  """

  model: Any
  behaviour: Any
  explore: Any
  explorer: Any = None  # a behaviour of its own, for collecting only
  acted = 'counter/acts_train',  # of the state: what collecting changes

  def __init__(self, config: Any, act_space: Any, noise: Any = None):
    self.config = config
    self.act_space = act_space
    self.fixed_noise = noise
    self.dtype = DTYPES[config.precision]
    self._updates: int | None = 0  # so far, if known here; reading waits
    self.modules: list[Module] = []
    self.counters = {key: tf.Variable(0, dtype=tf.int64) for key in (
        'updates', 'acts_train', 'acts_eval', 'reports')}
    self.compiled = device.compiles(config)
    self._policy: Callable = tf.function(
        self.policy_step, autograph=False, jit_compile=self.compiled)

  @property
  def computes(self) -> str:
    """What it computes on, in one line."""
    amount = sum(math.prod(x.shape) for x in self.parameters.values())
    return device.describe(self.config, self.compiled, amount)

  @property
  def obs_keys(self) -> tuple[str, ...]:
    """Names of the observations that are read or predicted."""
    return self.model.obs_keys

  @property
  def learns_ends(self) -> bool:
    """Whether terminations are part of imagination."""
    return self.model.learns_ends

  def policy(
      self, obs: Mapping[str, np.ndarray], state: dict | None = None,
      mode: str = 'train', env_steps: int = 0) -> tuple[np.ndarray, dict]:
    """Actions for a batch of observations.

    Args are obs with the model's inputs and is_first [n], the state that the
    last call returned or None, mode `train` (explores) or `eval`, and the
    environment steps so far. Returns actions [n, A] float32 and the next
    state, a dict of arrays [n, ...].
    """
    if state is None:
      state = self.initial_state(len(obs['is_first']))
    mode, amount = self.explore.now(mode, env_steps, self.updates)
    keys = *self.model.encoder.keys, 'is_first'
    tensors = lambda items, keys: {
        key: tf.convert_to_tensor(items[key]) for key in keys}
    state = self._policy(
        tensors(state, state), tensors(obs, keys), mode,
        tf.constant(amount, tf.float32))
    state = {key: value.numpy() for key, value in state.items()}
    return state['action'], state

  def initial_state(self, rows: int) -> dict[str, np.ndarray]:
    """The state before the first step of n environments."""
    state = self.model.rssm.initial(rows)
    action = np.zeros((rows, self.act_space.dim), np.float32)
    return {'deter': state['deter'].numpy(), 'stoch': state['stoch'].numpy(),
            'action': action}

  def policy_step(self, state: Tensors, obs: Tensors, mode: str,
                  amount: tf.Tensor) -> Tensors:
    """The state after acting, to be traced: deter, stoch, action [n, ...].

    amount: of action noise, a float32 scalar; the others are as in `policy`.
    """
    kind = 'eval' if mode == 'eval' else 'train'
    counter = self.counters[f'acts_{kind}']
    noise = self._noise(f'policy/{kind}', counter)
    counter.assign_add(1)
    model, rows = self._bind(self.model), state['action'].shape[0]
    embed = model.encoder(model.preprocess_obs(obs, noise))
    draw = self._latent_noise(model.rssm, rows, noise, mode)
    post = model.rssm.obs_step(
        state, state['action'], embed, obs['is_first'], draw)
    action = self._act(model, post, noise, mode)
    action = self.explore(action, amount, noise, mode)
    return {'deter': post['deter'], 'stoch': post['stoch'], 'action': action}

  def _latent_noise(self, rssm, rows, noise, mode):
    """What latents are sampled with while acting; None: their modes."""
    del mode
    return rssm.draw(noise, 'latent', [rows])

  def _act(self, model, post, noise, mode):
    """Actions [n, A] for posteriors [n, ...], before exploration."""
    return self._bind(self.behaviour).act(model, post, noise, mode)

  # State

  @property
  def updates(self) -> int:
    """Gradient steps so far."""
    if self._updates is None:
      self._updates = int(self.counters['updates'])
    return self._updates

  @property
  def parameters(self) -> dict[str, tf.Variable]:
    """Every parameter by its name."""
    return {key: value for module in self.modules
            for key, value in module.variables.items()}

  @property
  def statistics(self) -> dict[str, tf.Variable]:
    """Running numbers by name, which a checkpoint holds as well."""
    return {key: value for module in self.modules
            for key, value in module.statistics.items()}

  @property
  def variables(self) -> dict[str, tf.Variable]:
    """Everything that acting reads or changes, by name."""
    return {**self.parameters,
            **{f'norm/{k}': v for k, v in self.statistics.items()},
            **{f'counter/{k}': v for k, v in self.counters.items()}}

  def acting_state(self) -> dict[str, np.ndarray]:
    """Copies of what `policy` reads while collecting, named as in `state`.

    A copy of this agent in another process acts by it; see `take`.
    """
    model, explorer = self.model, self.explorer
    modules = [model.encoder, model.rssm, model.reward, self.behaviour]
    modules += [explorer.actor] if explorer else []
    found = {key: x for part in modules for key, x in part.variables.items()}
    found.update({f'counter/{key}': self.counters[key]
                  for key in ('updates', 'acts_train')})
    return {key: variable.numpy() for key, variable in found.items()}

  def take(self, arrays: Mapping[str, np.ndarray]) -> None:
    """Takes over a part of a state, such as `acting_state` gives."""
    variables = self.variables
    for key, value in arrays.items():
      variables[key].assign(value)
    if 'counter/updates' in arrays:
      self._updates = int(arrays['counter/updates'])

  def only_act(self) -> None:
    """Acting answers sooner from now on.

    Compiled, it needs seconds once; then it takes half of the time where a
    learner has meanwhile filled the caches. So does a call by position: most
    of what a tf.function runs to find its trace is Python.
    """
    self._policy = Direct(self.policy_step)

  def _bind(self, module: M) -> M:
    """The module with its weights in the precision of the matmuls.

    Unrolled steps share one reading of each: a loop reads inside.
    """
    read = tf.convert_to_tensor if self.config.unroll else lambda w: w
    return module.map(lambda w: tf.cast(read(w), self.dtype),
                      lambda w: tf.cast(read(w), tf.float32))

  def _noise(self, name, counter):
    if self.fixed_noise is not None:
      return self.fixed_noise
    return noise.Noise(f'{self.config.seed}/{name}', counter)


class Direct:
  """A compiled `step(state, obs, mode, amount)`, called without detours.

  Traced for each mode; shapes must not change from call to call.
  """

  def __init__(self, step: Callable) -> None:
    self._step = step
    self._traces: dict[str, Callable] = {}

  def __call__(
      self, state: Tensors, obs: Tensors, mode: str,
      amount: tf.Tensor) -> Tensors:
    tensors = [*state.values(), *obs.values(), amount]
    if mode not in self._traces:
      self._traces[mode] = self._trace(state, obs, tensors, mode)
    return self._traces[mode](*tensors)

  def _trace(self, state, obs, tensors, mode):
    def step(*tensors):
      left = iter(tensors)
      read = lambda items: {key: next(left) for key in items}
      return self._step(read(state), read(obs), mode, *left)

    compiled = tf.function(step, autograph=False, jit_compile=True)
    return compiled.get_concrete_function(
        *(tf.TensorSpec(x.shape, x.dtype) for x in tensors))
