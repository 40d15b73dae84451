"""The two interfaces of users' environments, brought to one form.

An adapter has
  observations: dict of name -> (shape, dtype),
  actions: (kind, shape or amount, low, high),
  reset(seed) -> dict of observations,
  step(action) -> (dict of observations, reward, discount, last),
  frame() -> rendered image or None.
"""

import inspect

import numpy as np

from dreamer.errors import UserError


class GymAdapter:
  """gymnasium and gym, with their new and their old `reset` and `step`."""

  def __init__(self, env):
    self._env = env
    self.observations = _flat_spaces(env.observation_space)
    self.actions = _gym_actions(env.action_space)
    self._start = getattr(env.action_space, 'start', 0)
    self._dtype = getattr(env.action_space, 'dtype', None)

  def reset(self, seed):
    seed = None if seed is None else int(seed % 2 ** 31)
    inner = getattr(self._env, 'unwrapped', self._env)
    if seed is not None and _takes_seed(inner.reset) and (
        _takes_seed(self._env.reset)):
      result = self._env.reset(seed=seed)
    else:
      if seed is not None:
        self._seed(inner, seed)
      result = self._env.reset()
    is_new = isinstance(result, tuple) and len(result) == 2 and (
        isinstance(result[1], dict))
    return _flat(result[0] if is_new else result)

  def _seed(self, inner, seed):
    """For environments, or wrappers, whose reset takes no seed."""
    if hasattr(self._env, 'seed'):
      self._env.seed(seed)
    elif _takes_seed(inner.reset):
      inner.reset(seed=seed)

  def step(self, action):
    if self.actions[0] == 'discrete':
      action = int(action) + int(self._start)
    else:
      action = np.asarray(action, self._dtype)
    result = self._env.step(action)
    if len(result) == 5:
      obs, reward, terminated, truncated, _ = result
    elif len(result) == 4:
      obs, reward, done, info = result
      truncated = done and bool(info.get('TimeLimit.truncated', False))
      terminated = done and not truncated
    else:
      raise UserError(
          f'step() returned {len(result)} values; return obs, reward, '
          'terminated, truncated, info')
    last = bool(terminated) or bool(truncated)
    return _flat(obs), _scalar(reward), 0.0 if terminated else 1.0, last

  def frame(self):
    try:
      frame = self._env.render()
    except TypeError:  # Before gym 0.26 the mode was an argument.
      frame = None
    if not isinstance(frame, np.ndarray):
      try:
        frame = self._env.render(mode='rgb_array')
      except TypeError:
        return None
    return frame


class DmAdapter:
  """dm_env, where a dm_control task is seeded through its generator."""

  def __init__(self, env):
    self._env = env
    self.observations = _flat_specs(env.observation_spec())
    self.actions = _dm_actions(env.action_spec())
    self._spec = env.action_spec()

  def reset(self, seed):
    random = getattr(getattr(self._env, 'task', None), 'random', None)
    if seed is not None and hasattr(random, 'seed'):
      random.seed(seed % 2 ** 32)
    return _flat(self._env.reset().observation)

  def step(self, action):
    if self.actions[0] == 'discrete':
      action = int(action) + int(self._spec.minimum)
    result = self._env.step(np.asarray(action, self._spec.dtype))
    discount = 1.0 if result.discount is None else float(result.discount)
    obs = _flat(result.observation)
    return obs, _scalar(result.reward), discount, result.last()

  def frame(self):
    physics = getattr(self._env, 'physics', None)
    if physics is None:
      return None
    return physics.render(64, 64, camera_id=0)


def adapt(env):
  """Chooses by the methods the object has.

  Raises:
    UserError: it is neither a gym nor a dm_env environment.
  """
  if hasattr(env, 'action_spec') and hasattr(env, 'observation_spec'):
    return DmAdapter(env)
  if hasattr(env, 'action_space') and hasattr(env, 'observation_space'):
    return GymAdapter(env)
  raise UserError(
      f'environment {type(env).__name__}: not a gym, gymnasium or dm_env '
      'object; it needs action_space and observation_space, or their specs')


def _gym_actions(space):
  if hasattr(space, 'n') and not getattr(space, 'shape', ()):
    return 'discrete', int(space.n), None, None
  if hasattr(space, 'low') and np.dtype(space.dtype).kind == 'f':
    return 'continuous', tuple(space.shape), space.low, space.high
  raise UserError(
      f'action space {space}: must be Box of floats or Discrete')


def _dm_actions(spec):
  if hasattr(spec, 'num_values'):
    return 'discrete', int(spec.num_values), None, None
  whole = np.dtype(getattr(spec, 'dtype', object)).kind in 'iu'
  if hasattr(spec, 'minimum') and whole and spec.shape == ():
    amount = int(spec.maximum) - int(spec.minimum) + 1
    return 'discrete', amount, None, None
  if hasattr(spec, 'shape') and np.dtype(spec.dtype).kind == 'f':
    low = np.broadcast_to(getattr(spec, 'minimum', -np.inf), spec.shape)
    high = np.broadcast_to(getattr(spec, 'maximum', np.inf), spec.shape)
    return 'continuous', tuple(spec.shape), low, high
  raise UserError(
      f'action spec {spec}: must be a float array, or one whole number')


def _flat_spaces(space, prefix=''):
  """Nested Dict spaces -> dict of 'outer/inner' -> (shape, dtype)."""
  if hasattr(space, 'spaces') and isinstance(space.spaces, dict):
    return {
        key: value for name, inner in space.spaces.items()
        for key, value in _flat_spaces(inner, f'{prefix}{name}/').items()}
  name = prefix[:-1] or 'observation'
  kind = getattr(space, 'dtype', None)
  if kind is None or np.dtype(kind).kind not in 'biuf':
    return {}
  return {name: (tuple(space.shape), np.dtype(kind))}


def _flat_specs(spec, prefix=''):
  if isinstance(spec, dict):
    return {
        key: value for name, inner in spec.items()
        for key, value in _flat_specs(inner, f'{prefix}{name}/').items()}
  return _flat_spaces(spec, prefix)


def _flat(obs, prefix=''):
  if isinstance(obs, dict):
    return {
        key: value for name, inner in obs.items()
        for key, value in _flat(inner, f'{prefix}{name}/').items()}
  return {prefix[:-1] or 'observation': obs}


def _scalar(reward):
  reward = np.asarray(0.0 if reward is None else reward)
  if reward.size != 1:
    raise UserError(
        f'reward of shape {reward.shape}; return one number per step')
  return float(reward.reshape(()))


def _takes_seed(function):
  parameters = inspect.signature(function).parameters
  return 'seed' in parameters or any(
      p.kind == p.VAR_KEYWORD for p in parameters.values())
