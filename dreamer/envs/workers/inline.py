"""Environments in this process, called like those in workers."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from dreamer import files
from dreamer.envs import gl, objects
from dreamer.envs.base import Env
from dreamer.envs.workers.remote import HalfCalls
from dreamer.errors import UserError
from dreamer.processes.failure import WorkerError, describe


class InlineEnv(HalfCalls):
  """An environment in this process; the work is done by `receive`.

  What it raises is a WorkerError, as of one in a worker.

  Args:
    make: Returns the wrapped environment.
    name: For messages.
    shared: The user's own object, if there is only this one. Whoever resets
      it owns it; the others learn by a WorkerError that their episode is
      lost.
    why: Why it is here and not in a worker, or ''.
  """

  def __init__(
      self, make: Callable[[], Env], name: str,
      shared: Any | None = None, why: str = '') -> None:
    self._make = make
    self._name = name
    self._shared = shared
    self.place = 'in this process' + f' ({why})' * bool(why)
    self._call: tuple | None = None
    self._env: Env | None = None
    env = self._open()
    if shared is not None:
      self.shared_steps = own_limit(shared)
    self.obs_space = env.obs_space
    self.act_space = env.act_space
    self.opengl = env.opengl

  def send_reset(self, seed: int | None = None) -> None:
    self._send('reset', seed)

  def send_step(self, action: np.ndarray) -> None:
    self._send('step', action)

  def send_replay(self, seed: int, actions: np.ndarray) -> None:
    self._send('replay', seed, actions)

  def receive(self) -> dict[str, Any]:
    """Does what was sent and returns the observation."""
    assert self._call, 'receive() without send'
    (name, *args), self._call = self._call, None
    if self._env is None:
      raise WorkerError(f'{self._name} is closed; restart() it')
    if self._shared is not None:
      self._own(name)
    return self._guarded(getattr(self._env, name), *args)

  def about(self) -> dict:
    """What to tell about the environment; see dreamer.envs.base.Env."""
    assert self._env is not None, 'closed'
    return self._env.about()

  def restart(self) -> None:
    """Makes the environment anew; a user's object is only wrapped anew."""
    self.close()
    self._open()

  def close(self) -> None:
    """A failure of the environment's own `close` is only reported."""
    env, self._env, self._call = self._env, None, None
    if env is None or self._shared is not None:
      return
    try:
      env.close()
    except Exception as error:  # Whatever it raises: it is over.
      text, _ = describe(error, gl.remedy)
      files.warn(f'{self._name}: close() failed: {text}')

  def _open(self):
    self._env = self._guarded(self._make)
    return self._env

  def _guarded(self, function, *args):
    try:
      return function(*args)
    except UserError:
      raise
    except (Exception, SystemExit) as error:
      text, place = describe(error, gl.remedy)
      raise WorkerError(f'{self._name}: {text}', place) from error

  def _send(self, *call):
    assert not self._call, 'receive() the last answer first'
    self._call = call

  def _own(self, name):
    if name in ('reset', 'replay'):
      _OWNERS[id(self._shared)] = self
    elif _OWNERS.get(id(self._shared)) is not self:
      raise WorkerError(
          'this episode was cut by an evaluation in the same environment '
          'object; pass a function that makes environments', 'evaluation')


def own_limit(env: Any) -> float:
  """Steps after which an object ends its episodes; infinity: not known."""
  limits = (
      objects.ask(objects.ask(env, 'spec'), 'max_episode_steps'),
      objects.ask(env, '_step_limit'))  # of dm_control
  return min([x for x in limits if isinstance(x, (int, float))] or [math.inf])


_OWNERS: weakref.WeakValueDictionary[int, InlineEnv] = (
    weakref.WeakValueDictionary())
