"""Tells in a minute whether the `deepmind_lab` at hand is usable.

`python -m dreamer.envs.suites.dmlab check`. What is expected of the module:
README.md in this folder. The module ends its process at many a mistake, so
the checks run in a process of their own.
"""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from dreamer import cli, launch
from dreamer.envs import spaces
from dreamer.envs.suites import dmlab, dmlab_module
from dreamer.errors import UserError
from dreamer.processes.failure import describe

SECONDS = 120.0  # after which a check counts as hanging
FRAMES = 20  # of the episodes that are compared
READY, COMPILED = 'watermaze', 'find_small'  # tasks that the checks play
# Least and most of each number that step() takes.
ACTIONS = (
    ('LOOK_LEFT_RIGHT_PIXELS_PER_FRAME', -512, 512),
    ('LOOK_DOWN_UP_PIXELS_PER_FRAME', -512, 512),
    ('STRAFE_LEFT_RIGHT', -1, 1), ('MOVE_BACK_FORWARD', -1, 1),
    ('FIRE', 0, 1), ('JUMP', 0, 1), ('CROUCH', 0, 1))


def module() -> str:
  """Loads it."""
  loaded = dmlab_module.load(f'dmlab_{READY}')
  where = getattr(loaded, '__file__', None) or 'no file'
  return f'{where}, Python {sys.version.split()[0]}, NumPy {np.__version__}'


def renderer() -> str:
  """Makes one level, without the GPU."""
  start = time.monotonic()
  dmlab.DMLab(READY).close()
  return f'software, {time.monotonic() - start:.1f} s for a level'


def levels() -> str:
  """Makes all levels, and compares what they take and show."""
  lab, missing, other = dmlab_module.load(f'dmlab_{READY}'), [], []
  config = {'width': str(spaces.SIZE), 'height': str(spaces.SIZE),
            'logLevel': 'WARN'}
  for name in dmlab.LEVELS.values():
    try:
      level = lab.Lab(f'{dmlab.FOLDER}/{name}', [dmlab.IMAGE], config=config,
                      renderer='software')
    except RuntimeError as error:
      missing.append(f'{name} ({cli.one_line(error)})')
      continue
    other += [f'{name}: {x}' for x in _other_specs(level)]
    level.close()
  if missing:
    raise UserError(
        f'{len(missing)} of {len(dmlab.LEVELS)} do not load from '
        f'{dmlab.FOLDER}: {"; ".join(missing[:3])}; build it with the levels '
        'of DMLab-30')
  if other:
    raise UserError(f'{"; ".join(other[:3])}; this project does not know '
                    'such a version')
  return f'all {len(dmlab.LEVELS)} of {dmlab.FOLDER}, as expected'


def _other_specs(level):
  """Yields what a level takes or shows otherwise than expected."""
  found = tuple((x['name'], x['min'], x['max']) for x in level.action_spec())
  if found != ACTIONS:
    yield f'step() takes {found}'
  images = [x for x in level.observation_spec() if x['name'] == dmlab.IMAGE]
  shapes = [(tuple(x['shape']), np.dtype(x['dtype'])) for x in images]
  wanted = spaces.IMAGE.shape, np.dtype(np.uint8)
  if shapes != [wanted]:
    yield f'{dmlab.IMAGE} is {shapes or "missing"}'


def seed() -> str:
  """An episode is a function of its seed, whatever came before it."""
  one, two, other = (_episode(dmlab.DMLab(READY), x) for x in (3, 3, 4))
  env = dmlab.DMLab(READY)
  _episode(env, 5, close=False)
  again = _episode(env, 3)
  for found, which in ((two, 'in fresh simulators'), (again, 'after another')):
    if not np.array_equal(one, found):
      raise UserError(
          f'two episodes with one seed differ, {which}: resumed runs and '
          'repeated evaluations would; build the module from its sources as '
          'they are')
  if np.array_equal(one, other):
    raise UserError('episodes with the seeds 3 and 4 are the same')
  return f'{FRAMES} frames are the same in three episodes with one'


def cache() -> str:
  """Compiles a map, and takes it from the folder the second time."""
  if not shutil.which('zip'):
    raise UserError('maps are compiled with the program zip, which is not on '
                    'the PATH; install the system package zip')
  times = []
  with tempfile.TemporaryDirectory(prefix='check_dmlab_') as folder:
    frames = []
    for _ in range(2):
      start = time.monotonic()
      env = dmlab.DMLab(COMPILED, level_cache=folder)
      frames.append(_episode(env, 3)[1:])
      times.append(time.monotonic() - start)
      files = sorted(path.name for path in pathlib.Path(folder).iterdir())
      if len(files) != 1:
        raise UserError(
            f'a map was compiled and {len(files)} are in dmlab.level_cache: '
            'the module does not ask for it; it works without, and slower')
  if not np.array_equal(*frames):
    raise UserError('a map from dmlab.level_cache is another one')
  return f'{times[0]:.1f} s with a map to compile, {times[1]:.1f} s without'


def _episode(env, number, close=True):
  """Images and rewards of its first frames, as one array [FRAMES + 1, ...]."""
  env.reset(number)
  found = [env.render().astype(np.float64)]
  for index in range(FRAMES):
    action = np.eye(env.act_space.dim, dtype=np.float32)[
        index % env.act_space.dim]
    obs = env.step(action)
    found.append(env.render() + obs['reward'])
  if close:
    env.close()
  return np.stack(found)


CHECKS: tuple[Callable[[], str], ...] = (module, renderer, levels, seed, cache)


# Processes


def main() -> None:
  """Prints a line for each check; exits with 1 where one has failed."""
  done: dict[str, bool] = {}
  with tempfile.TemporaryFile('w+', errors='replace') as said:
    process, lines = _start(said)
    with lines:
      while line := _next(lines, process):
        done[line['name']] = line['ok']
        _show(line)
    process.wait()
    left = [x.__name__ for x in CHECKS if x.__name__ not in done]
    if left and all(done.values()):
      done[left[0]] = False
      _show({'name': left[0], 'ok': False, 'text': _end(process, said)})
  failed = [name for name, ok in done.items() if not ok]
  print('deepmind_lab is usable' if not failed else
        f'deepmind_lab is not usable as it is: {", ".join(failed)}')
  sys.exit(int(bool(failed)))


def _start(said):
  """The process of the checks, and a file of what it reports.

  It searches where this one does: the module may lie in this folder.
  """
  reads, writes = os.pipe()
  python, *rest = launch.command(__name__, str(writes))
  process = subprocess.Popen(
      [python, '-u', *rest], pass_fds=[writes], stdin=subprocess.DEVNULL,
      stdout=said, stderr=subprocess.STDOUT)
  os.close(writes)
  return process, open(reads, encoding='utf-8')


def _next(lines, process):
  """The next report, or None at the end; a hanging check is ended."""
  timer = threading.Timer(SECONDS, process.kill)
  timer.start()
  try:
    text = lines.readline()
  finally:
    timer.cancel()
  return json.loads(text) if text else None


def _show(line):
  print(f'{"ok" if line["ok"] else "FAILED":8}{line["name"]}: {line["text"]}',
        flush=True)


def _end(process, said):
  """Why there is no answer."""
  said.seek(0)
  words = ' | '.join(said.read().split('\n')[-4:-1]) or 'it printed nothing'
  code = process.returncode
  how = f'signal {-code}' if code < 0 else f'status {code}'
  if code == -signal.SIGKILL:
    how += f' (it may have had no answer for {SECONDS:g} seconds)'
  return f'the process ended with {how}; last output: {words}'


def _run(handle: int) -> None:
  """All checks, in this process; a line of JSON for each."""
  for check in CHECKS:
    ok, text = _outcome(check)
    line = {'name': check.__name__, 'ok': ok, 'text': text}
    os.write(handle, (json.dumps(line) + '\n').encode())
    if not ok and check in (module, renderer):  # Nothing else can do better.
      break


def _outcome(check) -> tuple[bool, str]:
  try:
    return True, check()
  except UserError as error:
    return False, cli.one_line(error)
  except Exception as error:  # Of the module: any.
    return False, describe(error)[0]


def command(argv: list[str]) -> Any:
  """The command line of `python -m dreamer.envs.suites.dmlab`."""
  parser = cli.Parser(
      prog='python -m dreamer.envs.suites.dmlab',
      description='check: tells in a minute whether the deepmind_lab at hand '
      'is usable; dreamer/envs/suites/README.md says what is expected of it')
  parser.add_argument('command', choices=['check'])
  parser.parse_args(argv)
  main()


if __name__ == '__main__':
  _run(int(sys.argv[1]))
