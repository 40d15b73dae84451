"""DeepMind Control Suite, from pixels and from vectors."""

from __future__ import annotations

import contextlib
import logging
from typing import Any

import numpy as np

from dreamer import cli
from dreamer.config.schema import Section
from dreamer.envs import base, gl, spaces, suggest, wrappers
from dreamer.errors import UserError

# The 20 tasks of the paper (arXiv 1912.01603, figure 10).
TASKS = (
    'acrobot_swingup', 'cartpole_balance', 'cartpole_balance_sparse',
    'cartpole_swingup', 'cartpole_swingup_sparse', 'cheetah_run',
    'cup_catch', 'finger_spin', 'finger_turn_easy', 'finger_turn_hard',
    'hopper_hop', 'hopper_stand', 'pendulum_swingup', 'quadruped_run',
    'quadruped_walk', 'reacher_easy', 'reacher_hard', 'walker_run',
    'walker_stand', 'walker_walk')
SHADOW_MAP = 1024


def make(name: str, config: Section, mode: str) -> base.Env:
  """Makes `<domain>_<task>` with the settings in config.dmc."""
  env = DMC(
      name, config.dmc.camera, config.dmc.buffer, config.dmc.shadows,
      config.dmc.multisampling, base.has_images(config, mode),
      base.image_size(config))
  if config.dmc.normalize_actions == 'all' or env.domain == 'quadruped':
    return wrappers.NormalizeActions(env, env.low, env.high)
  return env


class DMC(base.Env):
  """One task; observations are the image and the proprioceptive vectors.

  The suite's own time limit is off: TimeLimit decides. An episode is a
  function of the seed given to `reset` and of its actions, in any process.

  Args:
    name: `<domain>_<task>`, where `cup` stands for `ball_in_cup`.
    camera: Number of the fixed camera; -1: 0, or 2 for the quadruped.
    buffer: Offscreen buffer, full (640x480) or small (as the image).
    shadows: Shadow maps, full (2048), low (1024) or off.
    multisampling: Whether edges are smoothed by four samples.
    images: Whether it can render; if not, it needs no OpenGL.
    size: Pixels of the image's side.

  Raises:
    UserError: unknown task or camera, no dm_control, no OpenGL.
  """

  def __init__(
      self, name: str, camera: int = -1, buffer: str = 'full',
      shadows: str = 'full', multisampling: bool = True,
      images: bool = True, size: int = spaces.SIZE) -> None:
    with gl.chosen() if images else gl.disabled():
      self.domain, self._env = _load(name)
    spec = self._env.action_spec()
    self.low, self.high = spec.minimum, spec.maximum
    self.act_space = spaces.ActionSpace('continuous', spec.shape[0])
    self.obs_space = {
        'image': spaces.image_space(size),
        **{key: spaces.vector_space(value.shape)
           for key, value in self._env.observation_spec().items()}}
    self._flags = {'shadow': False} if shadows == 'off' else None
    buffers = size if buffer == 'small' else 0
    _set_quality(
        self._env.physics.model, buffers, shadows, multisampling, size)
    self.opengl = images
    self._camera: Any = images and _camera(
        self._env.physics, name, camera, self.domain, size)

  def reset(self, seed: int | None = None) -> dict:
    if seed is not None:
      self._env.task.random.seed(seed % 2 ** 32)
    return base.first(_vectors(self._env.reset()))

  def step(self, action: np.ndarray) -> dict:
    time_step = self._env.step(action)
    return base.following(
        _vectors(time_step), time_step.reward, time_step.discount,
        time_step.last())

  def render(self) -> np.ndarray:
    return self._camera.render(render_flag_overrides=self._flags).copy()


def _load(name):
  suite = _import_suite()
  known = {f'{domain}_{task}': (domain, task)
           for domain, task in suite.ALL_TASKS}
  known['cup_catch'] = known['ball_in_cup_catch']
  if name not in known:
    raise suggest.unknown(
        'task', f'dmc_{name}', [f'dmc_{other}' for other in known])
  domain, task = known[name]
  with _quiet_compiler():
    return domain, suite.load(
        domain, task, {'random': 0, 'time_limit': float('inf')})


def _import_suite():
  try:
    from dm_control import suite  # Only for its tasks, with MUJOCO_GL set.
    return suite
  except ModuleNotFoundError as error:
    raise UserError(
        f'dmc tasks need dm_control, but {error}; pip install -r '
        'requirements.txt') from error
  except Exception as error:  # Whatever the OpenGL bindings throw.
    if gl.remedy(error):
      raise gl.no_gl(gl.BACKENDS) from error
    raise UserError(
        f'dmc tasks: dm_control does not load: {type(error).__name__}: '
        f'{cli.one_line(error)}; pip install -r requirements.txt') from error


def _set_quality(model, buffer, shadows, multisampling, size):
  """Must precede the OpenGL context, which reads the sizes once.

  buffer: pixels of its side; 0: as the model has it, but at least `size`.
  """
  sides = model.vis.global_
  sides.offwidth = buffer or max(size, sides.offwidth)
  sides.offheight = buffer or max(size, sides.offheight)
  if shadows == 'low':
    model.vis.quality.shadowsize = SHADOW_MAP
  elif shadows == 'off':
    model.vis.quality.shadowsize = 0
  if not multisampling:
    model.vis.quality.offsamples = 0


def _camera(physics, name, camera, domain, size):
  # Only for its tasks, with MUJOCO_GL set.
  from dm_control.mujoco import Camera
  if camera == -1:
    camera = 2 if domain == 'quadruped' else 0
  if camera >= physics.model.ncam:
    raise UserError(
        f'dmc.camera={camera}: dmc_{name} has cameras '
        f'0..{physics.model.ncam - 1}; -1 chooses')
  try:
    return Camera(physics, size, size, camera)
  except Exception as error:  # MuJoCo's own are no RuntimeErrors.
    raise gl.no_gl(gl.BACKENDS) from error


def _vectors(time_step):
  return {
      key: spaces.as_vector(value)
      for key, value in time_step.observation.items()}


@contextlib.contextmanager
def _quiet_compiler():
  """Hides the one deprecation that loading the suite's own cheetah logs."""
  def keep(record):
    return 'settotalmass' not in record.getMessage()
  logger = logging.getLogger('absl')
  logger.addFilter(keep)
  try:
    yield
  finally:
    logger.removeFilter(keep)
