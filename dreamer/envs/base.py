"""The interface of an environment, inside and outside of its wrappers."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from dreamer.config.schema import Section
from dreamer.envs import spaces

# What observations, replayed arrays and lists of names in the config call
# something else than an observation. An agent's losses are too.
RESERVED = (
    'image', 'action', 'reward', 'discount', 'is_first', 'is_last',
    'is_terminal', 'all', 'none')
LOSSES = 'reserved'  # key of an environment's config: names with commas
PREFIX = 'obs/'


def inside(name: str, losses: Collection[str] = ()) -> str:
  """What an observation of somebody else's environment is called inside.

  By its own name, but with a prefix where that means something else here or
  among the losses of the agent; no two names become one.
  """
  taken = name in (*RESERVED, *losses) or name.startswith(PREFIX)
  return f'{PREFIX}{name}' if taken else name


class Env:
  """A simulator before it is wrapped.

  `reset` and `step` return everything but the image, so that frames nobody
  sees (action repeat, replay) are never rendered; `render` returns the image
  of the present state. Rewards are Python floats here. The outer wrappers
  (`Frames`, `Checks`) complete this to the interface that agents see, which
  adds `image` to the observations, unless `images` is off, and
  `replay(seed, actions)`.

  Attributes:
    obs_space: dict of name -> Space, `image` included.
    act_space: ActionSpace.
    opengl: Whether `render` draws with OpenGL; None: nobody knows.
    resets_per_process: Resets after which a process should end that has
      this environment, as the simulator leaves something behind; 0: any.
  """

  obs_space: dict[str, spaces.Space]
  act_space: spaces.ActionSpace
  opengl: bool | None = False
  resets_per_process = 0

  def reset(self, seed: int | None = None) -> dict:
    """Starts an episode; with a seed it depends on nothing before."""
    raise NotImplementedError

  def step(self, action: np.ndarray) -> dict:
    """Advances by one environment step."""
    raise NotImplementedError

  def peek(self) -> None:
    """Called before the last step of a repeat, for images of two frames."""

  def render(self) -> np.ndarray:
    """Returns the image of the present state, uint8 [S, S, C]."""
    raise NotImplementedError

  def close(self) -> None:
    """Frees what the simulator holds."""

  def about(self) -> dict:
    """What to tell about it at the start of a run, for JSON.

    Keys: name; interface; image: where it comes from; vectors: dict of name
    to size; left_out: dict of name to the reason; actions: how they are
    mapped; ends: what counts as a termination; repeats: how often it repeats
    an action itself, at least and at most; mapping: of a user's environment,
    what becomes of its observations and actions, see suites.mapping.
    """
    vectors = {key: str(space.shape[0]) for key, space in
               self.obs_space.items() if key != 'image'}
    shape = getattr(self.obs_space.get('image'), 'shape', ())
    return {
        'name': type(self).__name__, 'interface': 'built in',
        'image': 'x'.join(map(str, shape)) or 'none',
        'vectors': vectors, 'left_out': {},
        'actions': f'{self.act_space.dim} ' + (
            'choices, one-hot' if self.act_space.discrete else
            'numbers in [-1, 1]'),
        'ends': 'its own', 'repeats': [1, 1], 'mapping': None}


class Wrapper(Env):
  """Passes everything on to the environment inside."""

  def __init__(self, env: Env) -> None:
    self.env = env
    self.obs_space = env.obs_space
    self.act_space = env.act_space
    self.opengl = env.opengl
    self.resets_per_process = env.resets_per_process

  def reset(self, seed: int | None = None) -> dict:
    return self.env.reset(seed)

  def step(self, action: np.ndarray) -> dict:
    return self.env.step(action)

  def peek(self) -> None:
    self.env.peek()

  def render(self) -> np.ndarray:
    return self.env.render()

  def close(self) -> None:
    self.env.close()

  def about(self) -> dict:
    return self.env.about()


def has_images(config: Section, mode: str) -> bool:
  """Whether environments of this mode render, by config.images.

  An agent that can't do without images has no such key.
  """
  images = config.get('images', 'all')
  return images == 'all' or images == mode == 'eval'


def image_size(config: Section) -> int:
  """Pixels of an image's side, by config.image_size.

  An agent whose networks take one size only has no such key.
  """
  return config.get('image_size', spaces.SIZE)


def first(vectors: dict) -> dict:
  """The observation that a reset returns, without image."""
  return _entry(vectors, 0.0, 1.0, True, False, False)


def following(
    vectors: dict, reward: float, discount: float = 1.0,
    last: bool = False) -> dict:
  """The observation that a step returns, without image.

  An episode that ends with discount 0 has terminated; with any other
  discount it was only cut.
  """
  terminal = bool(last) and float(discount) == 0.0
  return _entry(vectors, reward, discount, False, bool(last), terminal)


def _entry(vectors, reward, discount, is_first, is_last, is_terminal):
  return {
      **vectors,
      'reward': float(reward),
      'discount': np.float32(discount),
      'is_first': is_first,
      'is_last': is_last,
      'is_terminal': is_terminal,
  }
