"""Starts the processes of workers and prints what they print."""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import IO

from dreamer.files import ROOT

SPAWNERS: dict[int, queue.SimpleQueue] = {}


def spawn(
    fd: int, command: Sequence[str],
    environ: Mapping[str, str]) -> subprocess.Popen:
  """Starts a worker that talks over the socket `fd`; returns its Popen.

  command: what `python -m` runs; the socket and the id of this process are
    its last arguments. environ: variables of its environment, beside ours.

  It is started from a thread that lives as long as this process, because
  the kernel ends a worker together with the thread that started it.

  Raises:
    OSError: the system refuses.
  """
  if os.getpid() not in SPAWNERS:  # Threads don't survive a fork.
    jobs: queue.SimpleQueue = queue.SimpleQueue()
    threading.Thread(target=_spawner, args=(jobs,), daemon=True).start()
    SPAWNERS[os.getpid()] = jobs
  answer: queue.SimpleQueue = queue.SimpleQueue()
  SPAWNERS[os.getpid()].put((fd, command, environ, answer))
  result = answer.get()
  if isinstance(result, OSError):
    raise result
  return result


def forward(stream: IO[bytes], tail: deque) -> threading.Thread:
  """Returns a thread that copies lines to standard error and to `tail`."""
  thread = threading.Thread(
      target=_forward, args=(stream, tail), daemon=True)
  thread.start()
  return thread


def _spawner(jobs):
  while True:
    fd, command, environ, answer = jobs.get()
    try:
      answer.put(_start(fd, command, environ))
    except OSError as error:
      answer.put(error)


def _start(fd, command, environ):
  command = [
      sys.executable, '-u', '-m', *command, str(fd), str(os.getpid())]
  return subprocess.Popen(
      command, cwd=ROOT, env={**_environ(), **environ}, pass_fds=[fd],
      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT, start_new_session=True)


def _environ():
  """One thread for each library, as the learner needs the cores.

  LP_NUM_THREADS is that of Mesa's software OpenGL: with one thread, small
  frames are also drawn faster than with several.
  """
  names = ('LP_NUM_THREADS', 'OMP_NUM_THREADS', 'OPENBLAS_NUM_THREADS')
  return {**dict.fromkeys(names, '1'), **os.environ}


def _forward(stream, tail):
  with stream:
    for line in stream:
      try:
        os.write(2, line)  # sys.stderr may be gone at exit.
      except OSError:
        pass
      text = line.decode(errors='replace').strip()
      if text:
        tail.append(text)
