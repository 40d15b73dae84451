"""A copy of an agent that acts in a process of its own, on the CPU.

    learner                       acting thread           acting process
    offer(weights)  ..keeps..>    refresh()  --weights-->  take them
                                  (obs, state)  ----obs->  policy
                                  act in the environments  <-action--

One thread asks and waits for each answer, so no two messages are under way;
`offer` is for any thread and never waits. The process computes with a thread
and float32, whatever the learner does: small batches gain nothing by more,
and the learner keeps its devices.
"""

from __future__ import annotations

import collections
import functools
import os
import socket
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from dreamer.config.schema import Config
from dreamer.envs.spaces import ActionSpace, Space
from dreamer.processes import server
from dreamer.processes.client import Client
from dreamer.run.checkpoint import below
from dreamer.run.protocols import Arrays, Named, ObsSpace

COMMAND = 'act'


class Actor(Client):
  """The acting process; what it is asked for.

  The constructor returns at once; `wait` until it can act.

  module: of the agent, which `python -m` runs.
  config: envs.timeout and envs.reset_timeout limit the wait for it as for an
    environment.
  Raises WorkerError where it crashes or hangs.
  """

  def __init__(
      self, module: str, config: Config, obs_space: ObsSpace,
      act_space: ActionSpace) -> None:
    self._config = config
    self._spaces = obs_space, act_space
    self._keys: list[str] = []  # of the observations that it reads
    self._offered: collections.deque[Arrays] = collections.deque(maxlen=1)
    super().__init__('the acting process', (module, COMMAND), {
        'CUDA_VISIBLE_DEVICES': '-1', 'PYTHONPATH': _search_path()})

  def wait(self) -> None:
    """Returns when it is there. Raises UserError if that fails."""
    if not self._keys:
      self._keys = self._answer('made')[1]['keys']

  def __call__(
      self, obs: Arrays, state: Arrays | None,
      env_steps: int) -> tuple[np.ndarray, Arrays]:
    """As the agent's `policy`, in training."""
    arrays = {f'obs/{key}': obs[key] for key in self._keys}
    arrays.update({f'state/{k}': v for k, v in (state or {}).items()})
    found = self._ask('act', 'acted', arrays, env_steps=env_steps)
    return found['action'], below(found, 'state/')

  def offer(self, arrays: Arrays) -> None:
    """Keeps weights until `refresh`; newer ones replace them."""
    self._offered.append(arrays)

  def refresh(self) -> None:
    """Hands over what was offered last, if anything new was."""
    if self._offered:
      self._ask('weights', 'taken', self._offered.popleft())

  def counters(self) -> Arrays:
    """What acting has changed: a part of the agent's state."""
    return self._ask('counters', 'counted')

  def _ask(self, kind, expected, arrays=None, **meta):
    self._send(kind, arrays, **meta)
    self._waiting = False
    return self._answer(expected)[0]

  def _greet(self):
    obs_space, act_space = self._spaces
    self._write(
        'make', config=self._config.flat,
        obs={key: space.describe() for key, space in obs_space.items()},
        act=[act_space.kind, act_space.dim])

  def _patience(self):
    key = 'timeout' if self._asked != 'make' else 'reset_timeout'
    return self._config.envs[key], f'envs.{key}'


def _search_path():
  """Where this process finds modules, the agent's package among them."""
  return os.pathsep.join(os.path.abspath(entry) for entry in sys.path)


class ActorServer(server.Server):
  """The process itself: makes the agent, and acts."""

  def __init__(self, named: Named, sock: socket.socket) -> None:
    super().__init__(sock)
    self._named = named
    self._agent: Any = None

  def on_make(
      self, arrays: Arrays, config: dict, obs: dict,
      act: list) -> server.Reply:
    known = self._named.schema().complete(config)
    spaces = {key: Space.read(value) for key, value in obs.items()}
    self._agent = self._named.make_agent(
        known.update({
            'threads': 1, 'threads_per_op': 1, 'devices': 1,
            'precision': 'float32'}), spaces,
        ActionSpace(*act))
    self._agent.only_act()
    self.ready = True
    return 'made', {}, {'keys': ['is_first', *self._agent.obs_keys]}

  def on_weights(self, arrays: Arrays) -> server.Reply:
    self._agent.take(arrays)
    return 'taken', {}, {}

  def on_act(self, arrays: Arrays, env_steps: int) -> server.Reply:
    action, state = self._agent.policy(
        below(arrays, 'obs/'), below(arrays, 'state/') or None, 'train',
        env_steps)
    return 'acted', {
        'action': action, **{f'state/{k}': v for k, v in state.items()}}, {}

  def on_counters(self, arrays: Arrays) -> server.Reply:
    state = self._agent.acting_state()
    return 'counted', {key: state[key] for key in self._agent.acted}, {}


def main(named: Named, argv: Sequence[str]) -> None:
  """The process that an `Actor` starts."""
  server.run(functools.partial(ActorServer, named), argv)
