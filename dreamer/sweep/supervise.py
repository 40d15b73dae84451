"""One run of a sweep, on the machine that it was given to.

Ray sends this module to its workers as it stands, so that only the command of
the run needs the project to be there.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import os
import pathlib
import signal
import subprocess
import sys
import time
import typing

PERIOD = 1.0  # s between two looks at a run
GRACE = 600.0  # s that a run has for its checkpoint
LAST = 8  # lines of a failed run that are reported


class Task(typing.NamedTuple):
  """What a run is. argv: after `python`.

  cwd: where it is started, if there is such a folder; path: where its modules
  are. logdir: its folder; log: the file for what it prints; retries: how
  often it is started again after a failure. gpu: whether it may see any.
  """

  name: str
  argv: list[str]
  cwd: str
  path: str
  logdir: str
  log: str
  retries: int
  gpu: bool


class Board:
  """What runs say, and whether they should stop; an actor beside the driver.
  """

  def __init__(self) -> None:
    self._said: dict[str, tuple] = {}
    self._stopping = False

  def post(self, name: str, node: str, progress: str, score: str) -> bool:
    """Notes how far a run is; answers whether it should stop."""
    self._said[name] = node, progress, score
    return self._stopping

  def read(self) -> dict[str, tuple]:
    """{name: (node, line of progress, line of the last score)}"""
    return self._said

  def stop(self) -> None:
    self._stopping = True


def supervise(task: Task, board: typing.Any) -> tuple[str, int, list[str]]:
  """Runs a task until it is finished, stopped or has failed too often.

  board: the actor. When the sweep has gone, so that nobody answers, the run
  ends after a checkpoint. Returns finished, stopped or failed, the number of
  attempts, and the last lines of a failed run.
  """
  import ray  # It runs this function; the driver can look at tasks without.
  node = f'{os.uname().nodename} {ray.get_runtime_context().get_node_id()[:6]}'
  told = _Told(
      lambda *said: board.post.remote(task.name, node, *said).future())
  for attempt in range(1, task.retries + 2):
    if told('starts', '') or not free(task.logdir, told):
      return 'stopped', attempt - 1, []
    code = attempt_once(task, told)
    if code == 0:
      return 'finished', attempt, []
    if told.stopping:
      return 'stopped', attempt, []
  return 'failed', attempt, tail(task.log, LAST)


class _Told:
  """Says how far a run is, and remembers being told to stop.

  It never waits for the answer: Ray would lend the CPU of a task that waits
  to another one.
  """

  def __init__(self, post):
    self._post, self._answer, self.stopping = post, None, False

  def __call__(self, progress, score):
    if self._answer is None or self._answer.done():
      self._read()
      self._answer = self._post(progress, score)
    return self.stopping

  def _read(self):
    try:
      self.stopping |= bool(self._answer and self._answer.result())
    except Exception:  # Whatever Ray raises: nobody waits for this run.
      self.stopping = True


def free(logdir: str, told: typing.Any) -> bool:
  """Waits for a run of before to let go of the folder, at most GRACE.

  told: see `attempt_once`. False: it was told to stop meanwhile.
  """
  end = time.monotonic() + GRACE
  while _locked(logdir) and time.monotonic() < end:
    if told('waits: another process trains in its folder', ''):
      return False
    time.sleep(PERIOD)
  return True


def _locked(logdir):
  """Whether a run holds the lock of its folder, as `dreamer.locks` takes it.

  By hand, because this module comes without the project.
  """
  import fcntl  # Not on Windows, where there is no Ray cluster either.
  try:
    handle = os.open(logdir, os.O_RDONLY)
  except OSError:
    return False
  try:
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except BlockingIOError:
    return True
  except OSError:
    pass
  finally:
    os.close(handle)
  return False


def attempt_once(task: Task, told: typing.Any) -> int:
  """One attempt; returns the exit status.

  told: function that is told (line of progress, line of the last score) each
    PERIOD, and answers whether the run should stop. Where it ends by itself
    or by an exception, `told.stopping` says whether it was to.
  """
  env = dict(os.environ)
  env['PYTHONPATH'] = os.pathsep.join(
      filter(None, (task.path, env.get('PYTHONPATH'))))
  if not task.gpu:
    env['CUDA_VISIBLE_DEVICES'] = ''
  pathlib.Path(task.log).parent.mkdir(parents=True, exist_ok=True)
  with open(task.log, 'ab') as log:
    start = log.tell()
    child = subprocess.Popen(
        [sys.executable, *task.argv], env=env, stdout=log, stderr=log,
        cwd=task.cwd if os.path.isdir(task.cwd) else None,
        stdin=subprocess.DEVNULL, start_new_session=True,
        preexec_fn=_die_with_parent)
  try:
    while child.poll() is None:
      if told(*_progress(task.log, start)):
        break
      time.sleep(PERIOD)
  except BaseException:  # Cancelled by Ray: also then a checkpoint first.
    _end(child)
    raise
  return _end(child) if told.stopping else child.wait()


def _end(child):
  """Asks for a checkpoint and waits for it."""
  with contextlib.suppress(ProcessLookupError):
    child.send_signal(signal.SIGTERM)
  try:
    return child.wait(GRACE)
  except subprocess.TimeoutExpired:
    child.kill()
    return child.wait()


def _die_with_parent():
  """Before the run starts: its worker's death asks it to stop.

  Ray blocks signals in its processes, and what they start inherits that.
  """
  if sys.platform == 'linux':
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
  signal.pthread_sigmask(signal.SIG_SETMASK, ())
  for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(signum, signal.SIG_DFL)


def _progress(log, start):
  """The last lines of progress and of a score that a run has printed."""
  lines = tail(log, 50, start)
  steps = next((x for x in reversed(lines) if '% | ' in x), 'starts')
  score = next((x for x in reversed(lines) if x.startswith('step ')
                and ': score ' in x), '')
  return steps, score


def tail(log: str, amount: int, start: int = 0) -> list[str]:
  """The last lines of a file, of what came after `start` bytes."""
  try:
    with open(log, 'rb') as file:
      size = file.seek(0, os.SEEK_END)
      file.seek(max(start, size - 20_000))
      text = file.read().decode(errors='replace')
  except OSError:
    return []
  lines = text.replace('\r', '\n').split('\n')
  return list(collections.deque(
      (x.strip() for x in lines if x.strip()), amount))
