"""Environments in this process, called like those in workers."""

import weakref

from dreamer.envs.workers.remote import HalfCalls, WorkerError


class InlineEnv(HalfCalls):
  """An environment in this process; the work is done by `receive`.

  Args:
    make: Returns the wrapped environment.
    shared: The user's own object, if there is only this one. Whoever resets
      it owns it; the others learn by a WorkerError that their episode is
      lost.
  """

  def __init__(self, make, shared=None):
    self._make = make
    self._env = make()
    self._shared = shared
    self._call = None
    self.obs_space = self._env.obs_space
    self.act_space = self._env.act_space

  def send_reset(self, seed=None):
    self._send('reset', seed)

  def send_step(self, action):
    self._send('step', action)

  def send_replay(self, seed, actions):
    self._send('replay', seed, actions)

  def receive(self):
    """Does what was sent and returns the observation."""
    assert self._call, 'receive() without send'
    (name, *args), self._call = self._call, None
    if self._shared is not None:
      self._own(name)
    return getattr(self._env, name)(*args)

  def restart(self):
    """Makes the environment anew; a user's object is only wrapped anew."""
    self._call = None
    if self._shared is None:
      self._env.close()
    self._env = self._make()

  def close(self):
    if self._shared is None:
      self._env.close()

  def _send(self, *call):
    assert not self._call, 'receive() the last answer first'
    self._call = call

  def _own(self, name):
    if name in ('reset', 'replay'):
      _OWNERS[id(self._shared)] = self
    elif _OWNERS.get(id(self._shared)) is not self:
      raise WorkerError(
          'this episode was cut by an evaluation in the same environment '
          'object; pass a function that makes environments')


_OWNERS = weakref.WeakValueDictionary()
