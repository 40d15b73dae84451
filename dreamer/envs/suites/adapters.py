"""The two interfaces of users' environments, brought to one form.

An adapter has
  interface: its name,
  entries: what observations hold, a list of observations.Entry,
  actions: from the agent's to the environment's,
  reset(seed) -> observation,
  step(action) -> (observation, reward, discount, last),
  frame() -> what render() draws,
  ends: what an end means, in words; known after the first step,
  stacks: whether step() takes actions with a leading axis of 1.
"""

from __future__ import annotations

import inspect
from typing import Any, TypeAlias

import numpy as np

from dreamer.envs import actions, gl, objects, observations, seeding
from dreamer.envs.suites import vector
from dreamer.errors import UserError
from dreamer.processes.failure import describe

# Observation, reward, discount, whether it is the last.
Step: TypeAlias = tuple[Any, float, float, bool]
ENDS = {
    4: 'step() of four values: an end is a termination unless info says '
       'is_terminal, discount or TimeLimit.truncated',
    5: 'terminated and truncated'}


class GymAdapter:
  """gymnasium and gym, with their new and their old `reset` and `step`."""

  def __init__(self, env: Any) -> None:
    self._env = env
    self._one = vector.One(env) if vector.check(env) else None
    space = (self._one or env).observation_space
    self._tuple = _is_tuple(space)
    self.interface = _library(env) + ', num_envs 1' * bool(self._one)
    self.entries = observations.entries(space)
    if self._one:
      self.entries = vector.entries(self.entries, self._one.single)
    self._space = (self._one or env).action_space
    self.actions = actions.from_space(self._space)
    self.stacks = self._one.stacks if self._one else False
    self.ends = 'terminated or done'

  def reset(self, seed: int | None) -> Any:
    """Starts an episode; what the environment draws follows the seed."""
    seed = None if seed is None else int(seed % 2 ** 31)
    inner = objects.ask(self._env, 'unwrapped', self._env)
    if seed is None:
      return self._first(self._env.reset())
    seeding.seed_everything(self._env, seed)
    if _takes(inner.reset, 'seed') and _takes(self._env.reset, 'seed'):
      return self._first(self._env.reset(seed=seed))
    if _takes_one(objects.ask(self._env, 'seed')):
      self._env.seed(seed)
    elif _takes(inner.reset, 'seed'):  # below a wrapper that takes none
      inner.reset(seed=seed)
    return self._first(self._env.reset())

  def step(self, action: np.ndarray) -> Step:
    """Returns observation, reward, discount and whether it is the last."""
    sent = self.actions(action)
    if hasattr(self._space, 'contains') and not self._space.contains(sent):
      raise UserError(
          f'action {np.asarray(sent).tolist()}, made of {self.actions.text}, '
          f'is not in the action space {self._space}')
    result = self._env.step(self._one.action(sent) if self._one else sent)
    amount = len(result) if isinstance(result, (tuple, list)) else 1
    if amount not in ENDS:
      raise UserError(
          f'step() returned {_count(amount)}; return obs, reward, terminated, '
          'truncated, info')
    self.ends = ENDS[amount]
    if self._one:
      result = self._one.result(result)
    return (_new_step if amount == 5 else _old_step)(*result)

  def frame(self, size: int) -> np.ndarray:
    """What it draws. Raises UserError where there is none; says why."""
    del size  # It has its own.
    env, inner = self._env, objects.ask(self._env, 'unwrapped', self._env)
    if not callable(objects.ask(env, 'render')):
      raise UserError('it has no render()')
    old = _takes(inner.render, 'mode', any_name=False)  # Before gym 0.26.
    passes = old and _takes(env.render, 'mode')
    frame = _try(env.render, **{'mode': 'rgb_array'} if passes else {})
    if old and not passes and not isinstance(frame, np.ndarray):
      frame = _try(inner.render, mode='rgb_array')
    frame = vector.frame(frame) if self._one else frame
    if not isinstance(frame, np.ndarray):
      raise UserError(
          f'render() gave {_kind(frame)}; make it with '
          "render_mode='rgb_array'")
    return frame

  def _first(self, result):
    """The observation of what reset returns, with or without an info."""
    pair = isinstance(result, tuple) and len(result) == 2
    if not pair or not isinstance(result[1], (dict, type(None))):
      return result
    # A tuple of two may be the observation itself.
    return result[0] if not self._tuple or isinstance(
        result[0], tuple) else result


class DmAdapter:
  """dm_env; whatever generators the environment and its task have."""

  def __init__(self, env: Any) -> None:
    self._env = env
    self._spec = env.action_spec()
    self.interface = 'dm_env'
    self.entries = observations.entries(env.observation_spec())
    if vector.check(env):
      self.interface += ', num_envs 1'
      self.entries = vector.entries(self.entries)
    self.actions = actions.from_spec(self._spec)
    self.stacks = False
    self.ends = 'the last step, a termination where its discount is 0'

  def reset(self, seed: int | None) -> Any:
    """Starts an episode; what the environment draws follows the seed."""
    if seed is not None:
      seeding.seed_everything(self._env, int(seed))
    return self._env.reset().observation

  def step(self, action: np.ndarray) -> Step:
    """Returns observation, reward, discount and whether it is the last."""
    sent = np.asarray(self.actions(action))
    if hasattr(self._spec, 'validate'):
      self._validate(sent)
    result = self._env.step(sent)
    discount = 1.0 if result.discount is None else (
        number('discount', result.discount))
    return (result.observation, number('reward', result.reward), discount,
            bool(result.last()))

  def frame(self, size: int) -> np.ndarray:
    """uint8 [S, S, 3]. Raises UserError where there is none; says why."""
    physics = objects.ask(self._env, 'physics')
    if physics is None:
      raise UserError('it has no physics to render')
    return _try(physics.render, size, size, camera_id=0)

  def _validate(self, action):
    try:
      self._spec.validate(action)
    except ValueError as error:
      raise UserError(
          f'action {action.tolist()}, made of {self.actions.text}, is not in '
          f'{self._spec}: {error}') from error


def adapt(env: Any) -> GymAdapter | DmAdapter:
  """Chooses by the methods the object has.

  Raises:
    UserError: it is neither a gym nor a dm_env environment, or several.
  """
  vector.check(env)
  # Those of gym around one of dm_env may show its specs as well.
  if hasattr(env, 'action_space') and hasattr(env, 'observation_space'):
    return GymAdapter(env)
  if hasattr(env, 'action_spec') and hasattr(env, 'observation_spec'):
    return DmAdapter(env)
  raise UserError(
      'not a gym, gymnasium or dm_env object; it needs action_space and '
      'observation_space, or their specs')


def number(name: str, value: object) -> float:
  """One number, also as an array of one.

  Raises UserError for anything else, such as rewards of several agents.
  """
  array = _array(value)
  if array.size != 1 or array.dtype.kind not in 'biuf':
    raise UserError(f'{name} is {_kind(value)}; return one number per step')
  return float(array.reshape(()))


def flag(name: str, value: object) -> bool:
  """True or False, also as 0 and 1 and as an array of one.

  Raises UserError for anything else, such as flags of several agents.
  """
  array = _array(value)
  if array.size != 1 or array.dtype.kind not in 'biuf' or (
      array.reshape(()) not in (0, 1)):
    raise UserError(
        f'{name} is {_kind(value)}; return True or False, for one agent')
  return bool(array.reshape(()))


def _new_step(obs, reward, terminated, truncated, info):
  del info
  terminated = flag('terminated', terminated)
  last = flag('truncated', truncated) or terminated
  return obs, number('reward', reward), 0.0 if terminated else 1.0, last


def _old_step(obs, reward, done, info):
  """With the three ways in which info tells what an end means.

  is_terminal as danijar/dreamerv2 reads it, discount as danijar/dreamer,
  TimeLimit.truncated as gym's wrapper writes it.
  """
  info = {} if info is None else info
  if not isinstance(info, dict):
    raise UserError(f'info is {_kind(info)}; return a dict')
  last = flag('done', done)
  discount = 0.0 if last else 1.0
  if 'is_terminal' in info:
    discount = 1.0 - flag("info['is_terminal']", info['is_terminal'])
  elif info.get('discount') is not None:
    discount = number("info['discount']", info['discount'])
  elif last and flag(
      "info['TimeLimit.truncated']", info.get('TimeLimit.truncated', False)):
    discount = 1.0
  if discount == 0 and not last:
    raise UserError(
        'info says that the episode has terminated, done is False; return '
        'done=True there')
  return obs, number('reward', reward), discount, last


def _try(function, *args, **kwargs):
  """Calls what draws; what it raises is told with its place."""
  try:
    return function(*args, **kwargs)
  except NotImplementedError as error:
    raise UserError('render() is not implemented') from error
  except Exception as error:
    text, _ = describe(error, gl.remedy)
    raise UserError(f'render() failed: {text}') from error


def _array(value):
  try:
    return np.asarray(value)
  except ValueError:  # rows of several lengths
    return np.asarray(None)


def _kind(value):
  if value is None or isinstance(value, (bool, int, float, str)):
    return repr(value)[:40]
  if isinstance(value, dict):
    return f'a dict of {", ".join(map(str, value)) or "nothing"}'
  if isinstance(value, np.ndarray):
    return f'an array of shape {value.shape} and dtype {value.dtype}'
  return f'a {type(value).__name__}'


def _count(amount):
  return '1 value' if amount == 1 else f'{amount} values'


def _is_tuple(space):
  return any(kind.__name__ == 'Tuple' for kind in type(space).__mro__)


def _library(env):
  inner = objects.ask(env, 'unwrapped', env)
  names = [kind.__module__.split('.')[0] for kind in type(inner).__mro__]
  return next((x for x in ('gymnasium', 'gym') if x in names), 'gym-like')


def _takes_one(function):
  """Whether it is a function of one argument: gym3's seed() takes none."""
  if not callable(function):
    return False
  try:
    inspect.signature(function).bind(0)
  except TypeError:
    return False
  except ValueError:  # It doesn't tell.
    return True
  return True


def _takes(function, name, any_name=True):
  """Whether a function takes an argument by this name."""
  try:
    parameters = inspect.signature(function).parameters
  except (TypeError, ValueError):
    return False
  return name in parameters or any_name and any(
      p.kind == p.VAR_KEYWORD for p in parameters.values())
