"""Wrappers, from the innermost to the outermost."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dreamer.envs import base
from dreamer.envs.actions import Scaled
from dreamer.errors import UserError


class NormalizeActions(base.Wrapper):
  """Maps [-1, 1] into the bounds low and high, [A] each; see Scaled."""

  def __init__(
      self, env: base.Env, low: np.ndarray, high: np.ndarray) -> None:
    super().__init__(env)
    self._scale = Scaled(np.shape(low), np.float64, low, high)

  def step(self, action: np.ndarray) -> dict:
    return self.env.step(self._scale(action))

  def about(self) -> dict:
    return {**self.env.about(), 'actions': self._scale.text}


class TimeLimit(base.Wrapper):
  """Ends episodes after `limit` environment steps, without terminating."""

  def __init__(self, env: base.Env, limit: int) -> None:
    super().__init__(env)
    self._limit = limit
    self._step = 0

  def reset(self, seed: int | None = None) -> dict:
    self._step = 0
    return self.env.reset(seed)

  def step(self, action: np.ndarray) -> dict:
    self._step += 1
    obs = self.env.step(action)
    if self._step >= self._limit:
      obs['is_last'] = True
    return obs


class ActionRepeat(base.Wrapper):
  """Repeats actions and stops at the end of the episode.

  Rewards are summed, discounts multiplied.
  """

  def __init__(self, env: base.Env, amount: int) -> None:
    super().__init__(env)
    self._amount = amount

  def step(self, action: np.ndarray) -> dict:
    reward, discount = 0.0, np.float32(1)
    for left in reversed(range(self._amount)):
      obs = self.env.step(action)
      reward += obs['reward']
      discount *= obs['discount']
      if obs['is_last']:
        break
      if left == 1:
        self.env.peek()
    return {**obs, 'reward': reward, 'discount': discount}


class Frames(base.Wrapper):
  """Adds the image, rendered once per agent step, and `replay`.

  Args:
    images: Whether to; if not, nothing is ever rendered.
  """

  def __init__(self, env: base.Env, images: bool = True) -> None:
    super().__init__(env)
    self._images = images
    if not images:
      self.obs_space = {
          key: space for key, space in env.obs_space.items()
          if key != 'image'}

  def reset(self, seed: int | None = None) -> dict:
    return self._complete(self.env.reset(seed))

  def step(self, action: np.ndarray) -> dict:
    return self._complete(self.env.step(action))

  def replay(self, seed: int, actions: Sequence[np.ndarray]) -> dict:
    """Resets and repeats actions [n, A]; renders the last two states only.

    The last but one because the picture of an ended game may be that one.

    Raises:
      UserError: the episode ends before its actions do.
    """
    obs = self.env.reset(seed)
    for index, action in enumerate(actions):
      if obs['is_last']:
        raise UserError(
            f'replay: the episode ended after {index} of {len(actions)} '
            'actions; the environment is not a function of its seed')
      if self._images and index == len(actions) - 1:
        self.env.render()
      obs = self.env.step(action)
    return self._complete(obs)

  def about(self) -> dict:
    about = self.env.about()
    if self._images:
      return about
    mapping = about['mapping'] and {**about['mapping'], 'image': None}
    return {**about, 'image': 'none', 'mapping': mapping}

  def _complete(self, obs):
    with np.errstate(over='ignore'):  # Checks tells.
      reward = np.float32(obs['reward'])
    image = {'image': self.env.render()} if self._images else {}
    return {**image, **obs, 'reward': reward}


class Checks(base.Wrapper):
  """Rejects what would silently spoil a run.

  Raises UserError for rewards, vectors or actions that are not finite, and
  for actions or observations of another shape or dtype than announced.

  Args:
    name: Of this environment, in messages.
    task: What `about` calls it.
  """

  def __init__(self, env: Frames, name: str, task: str = '') -> None:
    super().__init__(env)
    self._frames = env
    self._name, self._task = name, task
    self._running = False

  def about(self) -> dict:
    return {**self.env.about(), 'name': self._task}

  def reset(self, seed: int | None = None) -> dict:
    return self._checked(self.env.reset(seed))

  def step(self, action: np.ndarray) -> dict:
    assert self._running, 'step() after the end of an episode; call reset()'
    return self._checked(self.env.step(self._action(action)))

  def replay(self, seed: int, actions: Sequence[np.ndarray]) -> dict:
    checked = [self._action(action) for action in actions]
    return self._checked(self._frames.replay(seed, checked))

  def _action(self, action):
    action = np.asarray(action)
    if action.shape != self.act_space.shape or action.dtype.kind not in 'iuf':
      self._fail(
          f'action of shape {action.shape} and dtype {action.dtype}; pass '
          f'{self.act_space.kind} float32 of shape {self.act_space.shape}')
    action = action.astype(np.float32)
    if not np.isfinite(action).all():
      self._fail(f'action {action.tolist()} is not finite; the policy '
                 'diverged or its input was not finite')
    if self.act_space.discrete and not _one_hot(action):
      self._fail(f'action {action.tolist()} is not one-hot; set one entry '
                 'to 1 and the others to 0')
    return action

  def _checked(self, obs):
    if not np.isfinite(obs['reward']):
      self._fail(f'reward is {obs["reward"]}; it must be finite, '
                 'as float32')
    if not 0 <= obs['discount'] <= 1:
      self._fail(f'discount is {obs["discount"]}; it must be in 0..1')
    for name, space in self.obs_space.items():
      self._entry(name, obs.get(name), space)
    self._running = not obs['is_last']
    return obs

  def _entry(self, name, value, space):
    if value is None:
      self._fail(f'observation {name} is missing')
    shape, dtype = np.shape(value), np.asarray(value).dtype
    if (shape, dtype) != (space.shape, space.dtype):
      self._fail(
          f'observation {name} has shape {shape} and dtype {dtype}; return '
          f'{space.dtype} of shape {space.shape}')
    if dtype.kind == 'f' and not np.isfinite(value).all():
      self._fail(f'observation {name} is not finite')

  def _fail(self, problem):
    raise UserError(f'environment {self._name}: {problem}')


def _one_hot(action):
  return np.count_nonzero(action) == 1 and action.max() == 1
