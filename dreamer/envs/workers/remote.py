"""The client of an environment in a worker process."""

from __future__ import annotations

import collections.abc
import os
import sys
from typing import Any

import numpy as np

from dreamer import files
from dreamer.config.schema import Section
from dreamer.envs import gl, spaces
from dreamer.processes import nested
from dreamer.processes.client import Client
from dreamer.processes.failure import WorkerError

CLOSING = 30.0  # s that `close` of an environment may take

__all__ = ['HalfCalls', 'RemoteEnv', 'WorkerError']
COMMAND = ('dreamer.envs.workers.worker',)
FLAGS = ('is_first', 'is_last', 'is_terminal')


class HalfCalls:
  """The synchronous interface on top of send_... and receive.

  shared_steps: Where training and evaluation share one environment object:
    the steps after which it ends episodes itself, or infinity; else None.
  place: Where it runs, if that is to be told, or ''.
  """

  shared_steps: float | None = None
  place = ''

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


class RemoteEnv(HalfCalls, Client):
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
    nested.refuse('make_envs', nested.DEEPEST)
    self._config = config
    self._factory = factory
    self._mode = mode
    self._index = index
    self._most_resets = 0  # of one process; 0: any
    super().__init__(
        f'{mode} environment {index} ({factory or config.task})', COMMAND,
        gl.environ())

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

  def _renew(self):
    """Replaces a process that has had as many resets as it may have."""
    if self._most_resets and self._resets >= self._most_resets and (
        self._failure is None):
      self.close()
      self._start()
    self._resets += 1

  def _greet(self):
    self._resets = 0
    self._is_ready = False
    folder = files.here()
    self._write(
        'make', config=_plain(self._config), mode=self._mode,
        index=self._index, factory=self._factory, path=_search_path(),
        folder=folder)

  def _ready(self):
    if not self._is_ready:
      meta = self._answer('spaces')[1]
      obs = {k: spaces.Space.read(v) for k, v in meta['obs'].items()}
      act = spaces.ActionSpace(*meta['act'])
      self._spaces = obs, act
      self._most_resets = meta['resets']
      self._is_ready = True

  @property
  def _closing(self):
    """It may have files to write, unless it hangs in a step."""
    ready = self._is_ready and not self._waiting
    return CLOSING if ready else super()._closing

  def _patience(self):
    key = 'timeout' if self._asked == 'step' and self._is_ready else (
        'reset_timeout')
    return self._config.envs[key], f'envs.{key}'

  def _refusal(self, error, expected):
    if expected == 'spaces':
      self._failure = error
    return error


def _plain(config):
  if isinstance(config, collections.abc.Mapping):
    return {key: _plain(value) for key, value in config.items()}
  return config


def _search_path():
  return [os.path.abspath(entry) for entry in sys.path]
