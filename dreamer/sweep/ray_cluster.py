"""Ray on this machine, or a cluster of it: started, reached, or why not."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import Any

from dreamer import cpus
from dreamer.cli import one_line
from dreamer.errors import UserError
from dreamer.sweep import supervise

STORE = 100 * 2 ** 20  # bytes: Ray's store, through which nothing large goes
LOGS = 50 * 2 ** 20  # bytes: of its processes
SHARED = '/dev/shm'
# Of the paths of sockets: what the system allows, and what Ray adds.
LONGEST = 107 if sys.platform == 'linux' else 103
ADDED = '/ray/session_2000-01-01_00-00-00_000000_0000000/sockets/plasma_store'


@contextlib.contextmanager
def cluster(folder: str, address: str | None = None) -> Iterator[Any]:
  """Ray, connected to a cluster or started here for as long as this lasts.

  folder: without modules. Ray's processes search in it for them, as they
  would otherwise in the folder in which the sweep is started. Raises
  UserError where it is not installed, can't start, or nobody answers.
  """
  os.environ.setdefault('RAY_USAGE_STATS_ENABLED', '0')
  # Else it hides GPUs by itself only in some cases; each run is told.
  os.environ.setdefault('RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO', '0')
  try:
    import ray  # Only for sweeps; an extra.
  except ImportError:
    raise UserError(
        'sweep: Ray is not installed; run ./run.sh setup, or pip install '
        "'dreamer-reproduced[cluster]'") from None
  with _inside(folder), _without_hangup():
    _connect(ray, address) if address else _start(ray)
  ray.cloudpickle.register_pickle_by_value(supervise)
  try:
    yield ray
  finally:
    # What it raises while it ends its processes changes no result.
    with contextlib.suppress(Exception, SystemExit):
      ray.shutdown()


def _connect(ray, address):
  try:
    _reach(address)
    ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
  except (Exception, SystemExit) as e:
    raise UserError(
        f'--address: no Ray cluster to use at {address}: {_said(e)}; start '
        'one with `ray start --head`, or leave --address out to use this '
        'machine') from None


def _reach(address):
  """Asks HOST:PORT itself: Ray tries for a minute and ends the process."""
  host, _, port = address.rpartition(':')
  if host and port.isdigit() and '://' not in address:
    socket.create_connection((host, int(port)), timeout=10).close()


def _start(ray):
  name, folder = _temporary()
  _check_temporary(name, folder)
  # Its own, of this sweep alone: Ray would write one into the home folder.
  if not any(x.startswith('RAY_AUTH_') for x in os.environ):
    os.environ['RAY_AUTH_TOKEN'] = secrets.token_hex(32)
  os.environ.setdefault('RAY_OBJECT_STORE_ALLOW_SLOW_STORAGE', '1')
  try:
    ray.init('local', num_cpus=cpus.allowed(), include_dashboard=False,
             object_store_memory=STORE, log_to_driver=False,
             logging_level=logging.ERROR)
  except (Exception, SystemExit) as e:
    raise UserError(
        f'sweep: Ray does not start on this machine: {_said(e)}; '
        f'{_remedy(e, name, folder)}') from None


def _temporary():
  """The variable that names the folder of Ray's files, and the folder."""
  for name in ('RAY_TMPDIR', 'TMPDIR'):
    if os.environ.get(name):
      return name, os.path.abspath(os.environ[name])
  return 'TMPDIR', '/tmp'


def _check_temporary(name, folder):
  """Refuses a folder that Ray can't use; it would say so by riddles."""
  other = 'set RAY_TMPDIR to another folder'
  length = len(os.fsencode(folder + ADDED))
  if length > LONGEST:
    raise UserError(
        f'{name}: {folder} is too long for Ray: the paths of its sockets '
        f'there would have {length} bytes, the system allows {LONGEST}; set '
        'RAY_TMPDIR to a shorter one, as in RAY_TMPDIR=/tmp ./run.sh sweep')
  below = os.path.join(folder, 'ray')
  where = below if os.path.isdir(below) else folder
  try:
    with tempfile.TemporaryFile(dir=where):
      pass
    free = shutil.disk_usage(where).free
    needed = LOGS + STORE * (_shared_memory() < STORE)
  except OSError as e:
    raise UserError(
        f'{name}: Ray can not write into {where}: {e.strerror}; {other}'
    ) from None
  if free < needed:
    raise UserError(
        f'{name}: {where} has only {free >> 20} MB left, and Ray needs '
        f'{needed >> 20}; free some, or {other}')


def _shared_memory():
  """Bytes that are free; Ray's store lies in files where they are too few."""
  try:
    return shutil.disk_usage(SHARED).free
  except OSError:
    return 0


def _remedy(error, name, folder):
  """What to do about a start that failed."""
  text = str(error)
  home = os.path.expanduser('~')
  if SHARED in text:
    return (f'{SHARED} has to be there and writable: in a container, start '
            'that with --shm-size=1g')
  if len(home) > 1 and home in text:
    return f'HOME={home} can not be used: set HOME to a folder of yours'
  return (f'what its processes said is in {folder}/ray/session_latest/logs; '
          f'its files lie in {name}={folder}, RAY_TMPDIR names another place')


def _said(error):
  return one_line(error)[:300] or type(error).__name__


@contextlib.contextmanager
def _inside(folder):
  """Ray adds the current folder to the search path of its processes."""
  before = os.getcwd()
  os.chdir(folder)
  try:
    yield
  finally:
    os.chdir(before)


@contextlib.contextmanager
def _without_hangup():
  """Ray's processes survive a terminal that goes: the sweep ends them.

  It does so once its runs have written their checkpoints.
  """
  if threading.current_thread() is not threading.main_thread():
    yield
    return
  before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
  try:
    yield
  finally:
    signal.signal(signal.SIGHUP, before)
