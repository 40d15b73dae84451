"""The client of an environment in a worker process."""

from __future__ import annotations

import atexit
import collections
import collections.abc
import contextlib
import os
import signal
import socket
import subprocess
import sys
import weakref
from typing import Any

import numpy as np

from dreamer.config.schema import Section
from dreamer.envs import spaces
from dreamer.envs.workers import process, wire
from dreamer.envs.workers.failure import WorkerError
from dreamer.errors import UserError

FLAGS = ('is_first', 'is_last', 'is_terminal')
CLOSE_SECONDS = 2.0
TAIL_LINES = 3


class HalfCalls:
  """The synchronous interface on top of send_... and receive.

  shared_steps: Where training and evaluation share one environment object:
    the steps after which it ends episodes itself, or infinity; else None.
  """

  shared_steps: float | None = None

  def send_reset(self, seed: int | None = None) -> None:
    """Starts an episode; with a seed it depends on nothing before."""
    raise NotImplementedError

  def send_step(self, action: np.ndarray) -> None:
    """Makes one agent step with an action [A]."""
    raise NotImplementedError

  def send_replay(self, seed: int, actions: np.ndarray) -> None:
    """Starts an episode and makes steps with actions [n, A]."""
    raise NotImplementedError

  def receive(self) -> dict[str, Any]:
    """Waits for the observation that was asked for."""
    raise NotImplementedError

  def reset(self, seed: int | None = None) -> dict[str, Any]:
    self.send_reset(seed)
    return self.receive()

  def step(self, action: np.ndarray) -> dict[str, Any]:
    self.send_step(action)
    return self.receive()

  def replay(self, seed: int, actions: np.ndarray) -> dict[str, Any]:
    self.send_replay(seed, actions)
    return self.receive()


class RemoteEnv(HalfCalls):
  """An environment in a worker process.

  The constructor returns at once, so that several workers start together;
  the first use waits. Errors appear in `receive` and in the spaces.

  Args:
    config: The settings; envs.timeout limits the wait for an answer to a
      step, envs.reset_timeout that for the first one and after a reset.
    mode: train or eval.
    index: Number among the environments of this mode.
    factory: `module:function` that makes a user's environment, or None.

  Raises:
    UserError: what the environment itself raised, with the same text.
    WorkerError: the environment raised anything else, or the worker crashed
      (with its last words) or hangs.
  """

  def __init__(
      self, config: Section, mode: str = 'train', index: int = 0,
      factory: str | None = None) -> None:
    self._config = config
    self._factory = factory
    self._mode = mode
    self._index = index
    self._name = f'{mode} environment {index} ({factory or config.task})'
    self._process: subprocess.Popen | None = None
    self._waiting = False
    self._most_resets = 0  # of one process; 0: any
    self.owner = os.getpid()
    self._start()

  @property
  def obs_space(self) -> dict[str, spaces.Space]:
    self._ready()
    return self._spaces[0]

  @property
  def act_space(self) -> spaces.ActionSpace:
    self._ready()
    return self._spaces[1]

  def send_reset(self, seed: int | None = None) -> None:
    self._renew()
    self._send('reset', seed=None if seed is None else int(seed))

  def send_step(self, action: np.ndarray) -> None:
    self._send('step', {'action': action})

  def send_replay(self, seed: int, actions: np.ndarray) -> None:
    actions = np.asarray(actions, np.float32)
    self._renew()
    self._send('replay', {'actions': actions}, seed=int(seed))

  def receive(self) -> dict[str, Any]:
    assert self._waiting, 'receive() without send'
    self._waiting = False
    self._ready()
    arrays = self._answer('obs')[0]
    flags = {key: bool(arrays[key]) for key in FLAGS}
    scalars = {key: arrays[key][()] for key in ('reward', 'discount')}
    return {**arrays, **scalars, **flags}

  def about(self) -> dict:
    """What to tell about the environment; see dreamer.envs.base.Env."""
    self._ready()
    self._send('about')
    self._waiting = False
    return self._answer('about')[1]['about']

  @property
  def pid(self) -> int:
    assert self._process, f'{self._name} is closed'
    return self._process.pid

  def restart(self) -> None:
    """Replaces the worker by a fresh one."""
    self._kill()
    self._start()

  def close(self) -> None:
    """Lets the environment close itself; kills it if it takes long."""
    if self._process is None:
      return
    self._ask_to_close()
    self._finish()

  def _renew(self):
    """Replaces a process that has had as many resets as it may have."""
    if self._most_resets and self._resets >= self._most_resets and (
        self._failure is None):
      self.close()
      self._start()
    self._resets += 1

  def _start(self):
    self._waiting = False
    self._resets = 0
    self._is_ready = False
    self._failure: UserError | None = None
    self._tail: collections.deque[str] = collections.deque(maxlen=TAIL_LINES)
    self._socket, theirs = socket.socketpair()
    with theirs:
      try:
        self._process = started = process.spawn(theirs.fileno())
      except OSError as error:
        self._failure = WorkerError(f'{self._name} cannot start: {error}')
        raise self._failure from error
    assert started.stdout
    self._printer = process.forward(started.stdout, self._tail)
    self._remember()
    self._write(
        'make', config=_plain(self._config), mode=self._mode,
        index=self._index, factory=self._factory, path=_search_path(),
        folder=os.getcwd())

  def _remember(self):
    """For the end of this process."""
    _LIVE.add(self)
    atexit.unregister(_close_all)
    atexit.register(_close_all)

  def _ready(self):
    if not self._is_ready:
      meta = self._answer('spaces')[1]
      obs = {k: spaces.Space.read(v) for k, v in meta['obs'].items()}
      act = spaces.ActionSpace(*meta['act'])
      self._spaces = obs, act
      self._most_resets = meta['resets']
      self._is_ready = True

  def _send(self, kind, arrays=None, **meta):
    assert not self._waiting, 'receive() the last answer first'
    self._waiting = True
    self._write(kind, arrays, **meta)

  def _write(self, kind, arrays=None, **meta):
    if self._failure is not None:
      return  # receive() tells.
    try:
      self._socket.settimeout(self._config.envs.timeout)
      self._asked = kind
      wire.send(self._socket, kind, arrays, **meta)
    except OSError:
      pass  # It is gone or stuck: so will be the answer.

  def _answer(self, expected):
    """Returns (arrays, meta) of the next answer."""
    if self._failure is not None:
      raise self._failure
    key = 'timeout' if self._asked == 'step' and self._is_ready else (
        'reset_timeout')
    seconds = self._config.envs[key]
    try:
      kind, arrays, meta = wire.receive(self._socket, seconds)
    except EOFError:
      raise self._fail(self._crash()) from None
    except TimeoutError:
      raise self._fail(
          f'{self._name} gave no answer for {seconds:g} seconds; if it is '
          f'only slow, raise envs.{key}') from None
    if kind == 'failure':
      raise self._fail(
          f'{self._name}: {meta["text"]}', meta['place'], self._finish)
    if kind == 'error':
      error = UserError(meta['text'])
      if expected == 'spaces':
        self._failure = error
      raise error
    assert kind == expected, (kind, expected)
    return arrays, meta

  def _fail(self, text, place=None, end=None):
    (end or self._kill)()
    self._failure = WorkerError(text, place)
    return self._failure

  def _crash(self):
    assert self._process
    code: int | str = 'unknown'
    with contextlib.suppress(subprocess.TimeoutExpired):
      code = self._process.wait(CLOSE_SECONDS)
    self._printer.join(1.0)
    words = ' | '.join(self._tail) or 'it printed nothing'
    how = f'signal {-code}' if isinstance(code, int) and code < 0 else (
        f'status {code}')
    return f'{self._name} ended with {how}; last output: {words}'

  def _ask_to_close(self):
    self._write('close')

  def _finish(self):
    assert self._process
    with contextlib.suppress(subprocess.TimeoutExpired):
      self._process.wait(CLOSE_SECONDS)
    self._kill()

  def _kill(self):
    if self._process is None:
      return
    if self._process.poll() is None:
      with contextlib.suppress(ProcessLookupError):
        os.killpg(self._process.pid, signal.SIGKILL)  # It leads its group.
    self._process.wait()
    self._socket.close()
    self._process = None
    self._failure = WorkerError(f'{self._name} is closed; restart() it')
    _LIVE.discard(self)


_LIVE: weakref.WeakSet[RemoteEnv] = weakref.WeakSet()


def _close_all():
  """At exit; a forked child leaves its parent's workers alone."""
  live = [env for env in _LIVE if env.owner == os.getpid()]
  for env in live:
    env._ask_to_close()
  for env in live:
    env._finish()


def _plain(config):
  if isinstance(config, collections.abc.Mapping):
    return {key: _plain(value) for key, value in config.items()}
  return config


def _search_path():
  return [os.path.abspath(entry) for entry in sys.path]
