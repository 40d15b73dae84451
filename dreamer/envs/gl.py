"""Finds an OpenGL that renders without a screen.

`python -m dreamer.envs.gl` prints what was found, or what to install.
"""

import contextlib
import os
import subprocess
import sys

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


def choose_gl():
  """Returns a working backend and leaves it in MUJOCO_GL for children.

  A value that is already there is respected unseen, so the check (half a
  second, in a process of its own) happens once in a tree of processes. Must
  be called before dm_control is imported.

  Raises:
    UserError: neither EGL nor OSMesa renders; says what to install.
  """
  chosen = os.environ.get('MUJOCO_GL')
  if not chosen:
    chosen = find_gl(BACKENDS)
    os.environ['MUJOCO_GL'] = chosen
  return chosen


@contextlib.contextmanager
def chosen():
  """`choose_gl` as a block, the counterpart of `disabled`."""
  yield choose_gl()


@contextlib.contextmanager
def disabled():
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


def find_gl(names):
  """Returns the first backend that renders a small scene."""
  for name in names:
    if _renders(name):
      return name
  raise no_gl(names)


def no_gl(names):
  """The one line for a machine where nothing renders."""
  if os.environ.get('MUJOCO_GL'):
    name = os.environ['MUJOCO_GL']
    return UserError(
        f'MUJOCO_GL={name} does not render here; unset it to choose among '
        f'{", ".join(BACKENDS)}, or {INSTALL}')
  return UserError(
      f'no OpenGL renders here (tried {", ".join(names)}); {INSTALL}')


def _renders(name):
  environ = {**os.environ, 'MUJOCO_GL': name}
  environ.pop('PYOPENGL_PLATFORM', None)
  command = [sys.executable, '-m', 'dreamer.envs.gl', '--probe']
  try:
    result = subprocess.run(
        command, cwd=ROOT, env=environ, timeout=60,
        stdin=subprocess.DEVNULL, capture_output=True)
  except subprocess.TimeoutExpired:
    return False
  return result.returncode == 0 and b'renders' in result.stdout


def _probe():
  """Renders the scene; leaves at once, as drivers may crash at exit."""
  import mujoco
  model = mujoco.MjModel.from_xml_string(SCENE)
  model.vis.global_.offwidth = model.vis.global_.offheight = 16
  data = mujoco.MjData(model)
  mujoco.mj_forward(model, data)
  renderer = mujoco.Renderer(model, 16, 16)
  renderer.update_scene(data)
  renders = renderer.render().std() > 0
  os.write(1, b'renders' if renders else b'')
  os._exit(0)


def main(argv):
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
