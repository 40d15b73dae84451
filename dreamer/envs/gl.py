"""Finds an OpenGL that renders without a screen.

`python -m dreamer.envs.gl` prints what was found, or what to install.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from dreamer import files
from dreamer.envs import objects
from dreamer.errors import UserError
from dreamer.files import ROOT

BACKENDS = ('egl', 'osmesa')
INSTALL = (
    'install the system packages libegl1 libegl-mesa0 libgl1-mesa-dri libgl1 '
    '(EGL) or libosmesa6 (OSMesa)')
SCENE = """
<mujoco><worldbody><light pos="0 0 3"/><geom size="1" rgba="1 0 0 1"/>
</worldbody></mujoco>
"""


# What libraries say where no context can be made.
WORDS = (
    'OpenGL', 'EGL', 'OSMesa', 'GLFW', 'glfw', 'gladLoadGL',
    'mjr_makeContext', 'DISPLAY')
SOFTWARE = ('llvmpipe', 'softpipe', 'swrast', 'Software Rasterizer')
DRIVERS = ('swrast_dri', 'kms_swrast_dri', 'libgallium', 'libOSMesa')
OTHERS = ('OpenGL', 'moderngl', 'pyglet')  # packages that draw with it


def choose_gl() -> str:
  """Returns a working backend and leaves it in MUJOCO_GL for children.

  A value that is already there is respected unseen, so the check (half a
  second, in a process of its own) happens once in a tree of processes. Must
  be called before dm_control is imported. Where PYOPENGL_PLATFORM is set, no
  other backend can work.

  Raises:
    UserError: neither EGL nor OSMesa renders; says what to install.
  """
  chosen = os.environ.get('MUJOCO_GL')
  if not chosen:
    platform = os.environ.get('PYOPENGL_PLATFORM')
    chosen = find_gl([platform] if platform in BACKENDS else BACKENDS)
    os.environ['MUJOCO_GL'] = chosen
  return chosen


def prefer_gl() -> str | None:
  """`choose_gl` where nobody knows whether the environment renders with it.

  Where nothing renders, all stays as it is: `remedy` tells when it matters.
  """
  try:
    return choose_gl()
  except UserError:
    return None


def environ() -> dict[str, str]:
  """Variables of a process that draws, beside those of this one.

  PyOpenGL has to use the same platform as MuJoCo, also where it is imported
  first.
  """
  chosen = os.environ.get('MUJOCO_GL')
  if chosen not in BACKENDS or 'PYOPENGL_PLATFORM' in os.environ:
    return {}
  return {'PYOPENGL_PLATFORM': chosen}


def remedy(error: BaseException) -> str:
  """What to add to an error that looks like one of OpenGL, or ''."""
  text = f'{type(error).__module__} {type(error).__name__} {error}'
  if not any(word in text for word in WORDS):
    return ''
  chosen = os.environ.get('MUJOCO_GL')
  if chosen:
    return (f'; with MUJOCO_GL={chosen}: python -m dreamer.envs.gl tells '
            'whether that renders here; it must be set before dm_control is '
            'imported')
  return f'; to render without a screen {INSTALL}'


def draws(env: Any) -> bool:
  """Whether an environment object of a user's is one of MuJoCo's.

  Those of dm_control have its `physics`, those of gymnasium a
  `mujoco_renderer`.
  """
  physics = type(objects.ask(env, 'physics'))
  return 'dm_control' in objects.modules(physics) or objects.has(
      objects.ask(env, 'unwrapped', env), 'mujoco_renderer')


def check_loaded(name: str) -> None:
  """Refuses a process that has loaded software OpenGL, whoever draws.

  Raises:
    UserError: as `check_inline`.
  """
  driver = _software_driver()
  if driver:
    raise UserError(f'environment {name}: {_way(driver)}')


def check_inline(name: str, certain: bool) -> None:
  """Refuses software OpenGL in the process that will import TensorFlow.

  name: of the environment. certain: whether it renders with OpenGL; if not,
  and a package for it is loaded, there is a warning, as it may.

  Raises:
    UserError: the process would crash; names the way out.
  """
  if not certain and not any(x in sys.modules for x in OTHERS):
    return
  backend = prefer_gl()
  renderer = backend and renderer_name(backend)
  if not renderer:
    if certain:
      raise no_gl(BACKENDS)
    return
  if not any(word in renderer for word in SOFTWARE):
    return
  if certain:
    raise UserError(f'environment {name}: {_way(renderer)}')
  files.warn(
      f'environment {name}: if it renders with OpenGL: {_way(renderer)}')


def _way(what):
  return (f'software OpenGL ({what}) and TensorFlow crash in one process; '
          'pass a function that can be imported by name, from a module of its '
          'own, and set envs.worker=process')


def _software_driver():
  """A driver that draws in software, if this process has loaded one.

  With MUJOCO_GL=egl importing dm_control does that, before anything renders.
  """
  try:
    with open('/proc/self/maps', encoding='utf-8') as file:
      names = {line.split('/')[-1].strip() for line in file if '.so' in line}
  except OSError:
    return None
  found = [x for x in names if x.startswith(DRIVERS)]
  return min(found, default=None)


@contextlib.contextmanager
def chosen() -> Iterator[str]:
  """`choose_gl` as a block, the counterpart of `disabled`."""
  yield choose_gl()


@contextlib.contextmanager
def disabled() -> Iterator[None]:
  """If dm_control is first imported here, this process loads no OpenGL.

  Then nothing in it can render later on either.
  """
  before = os.environ.get('MUJOCO_GL')
  os.environ['MUJOCO_GL'] = 'disabled'
  try:
    yield
  finally:
    del os.environ['MUJOCO_GL']
    if before is not None:
      os.environ['MUJOCO_GL'] = before


def find_gl(names: Sequence[str]) -> str:
  """Returns the first backend that renders a small scene."""
  for name in names:
    if renderer_name(name):
      return name
  raise no_gl(names)


def no_gl(names: Sequence[str]) -> UserError:
  """The one line for a machine where nothing renders."""
  if os.environ.get('MUJOCO_GL'):
    name = os.environ['MUJOCO_GL']
    return UserError(
        f'MUJOCO_GL={name} does not render here; unset it to choose among '
        f'{", ".join(BACKENDS)}, or {INSTALL}')
  return UserError(
      f'no OpenGL renders here (tried {", ".join(names)}); {INSTALL}')


def renderer_name(backend: str) -> str | None:
  """What draws a small scene with it, in a process of its own, or None."""
  environ = {**os.environ, 'MUJOCO_GL': backend}
  environ.pop('PYOPENGL_PLATFORM', None)
  command = [sys.executable, '-m', 'dreamer.envs.gl', '--probe']
  try:
    result = subprocess.run(
        command, cwd=ROOT, env=environ, timeout=180,  # on a machine at work
        stdin=subprocess.DEVNULL, capture_output=True)
  except subprocess.TimeoutExpired:
    return None
  _, found, name = result.stdout.decode(errors='replace').partition('renders')
  return name.strip() if found and result.returncode == 0 else None


def _probe():
  """Renders the scene; leaves at once, as drivers may crash at exit."""
  import mujoco  # Only in the probe's process.
  from OpenGL import GL  # Only in the probe's process.
  model = mujoco.MjModel.from_xml_string(SCENE)
  model.vis.global_.offwidth = model.vis.global_.offheight = 16
  data = mujoco.MjData(model)
  mujoco.mj_forward(model, data)
  renderer = mujoco.Renderer(model, 16, 16)
  renderer.update_scene(data)
  if renderer.render().std() > 0:
    name = GL.glGetString(GL.GL_RENDERER) or b'unnamed'
    os.write(1, b'renders ' + name)
  os._exit(0)


def main(argv: list[str]) -> None:
  if argv == ['--probe']:
    _probe()
  chosen = os.environ.get('MUJOCO_GL')
  try:
    print(find_gl([chosen] if chosen else BACKENDS))
  except UserError as error:
    print(f'error: {error}', file=sys.stderr)
    sys.exit(2)


if __name__ == '__main__':
  main(sys.argv[1:])
