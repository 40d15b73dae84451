"""What a run is made of, as types: agents, environments, what makes them."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np

from dreamer.config.schema import Config, Schema
from dreamer.envs.spaces import ActionSpace, Space
from dreamer.replay.base import Base
from dreamer.replay.stored import Stored

Arrays: TypeAlias = dict[str, np.ndarray]
ObsSpace: TypeAlias = Mapping[str, Space]
# Given observations and its own last state, returns actions [n, A] and state.
Policy: TypeAlias = Callable[[Arrays, Any], tuple[Any, Any]]
# The same, also given which episode each environment plays.
EvalPolicy: TypeAlias = Callable[[Arrays, Any, list[int]], tuple[Any, Any]]


class Env(Protocol):
  """An environment with half calls, as `dreamer.envs.make_envs` gives them."""

  @property
  def obs_space(self) -> ObsSpace: ...

  @property
  def act_space(self) -> ActionSpace: ...

  def about(self) -> dict: ...

  def reset(self, seed: int | None = None) -> dict: ...

  def send_reset(self, seed: int | None = None) -> None: ...

  def send_step(self, action: np.ndarray) -> None: ...

  def send_replay(self, seed: int, actions: np.ndarray) -> None: ...

  def receive(self) -> dict: ...

  def step(self, action: np.ndarray) -> dict: ...

  def restart(self) -> None: ...

  def close(self) -> None: ...


class Agent(Protocol):
  """What learns and acts; its state is a flat dict of arrays.

  batch_keys: the arrays that it learns from; obs_keys: the observations among
  them. learns_ends: whether ends are part of what it imagines. updates: so
  far. put: moves a batch to where `train` takes it, called beside an update.
  acting_state: the part of the state that `policy` reads in training; acted:
  the names in it that `policy` itself changes; take: takes back a part of a
  state; only_act: of a copy that will never learn. stored: the arrays of the
  state that `policy` returned which the replay keeps with each row; after each
  update it replaces them by those of `refreshed`, [B, T, ...] by name, for the
  last T rows of the batch's sequences. compiled: whether XLA
  compiles it at its first calls; computes: what it computes on, for people.
  """

  @property
  def batch_keys(self) -> Sequence[str]: ...

  @property
  def obs_keys(self) -> Sequence[str]: ...

  @property
  def learns_ends(self) -> bool: ...

  @property
  def updates(self) -> int: ...

  @property
  def compiled(self) -> bool: ...

  @property
  def computes(self) -> str: ...

  @property
  def acted(self) -> Sequence[str]: ...

  def put(self, batch: Arrays) -> Any: ...

  def train(self, batch: Any, env_steps: int = 0) -> Mapping[str, Any]: ...

  def policy(
      self, obs: Arrays, state: Any = None, mode: str = 'train',
      env_steps: int = 0) -> tuple[Any, Any]: ...

  @property
  def stored(self) -> Mapping[str, Stored]: ...

  def refreshed(self) -> Mapping[str, Any]: ...

  def report(self, batch: Arrays) -> Mapping[str, np.ndarray]: ...

  def state(self) -> Arrays: ...

  def restore(self, state: Arrays) -> None: ...

  def only_act(self) -> None: ...

  def acting_state(self) -> Arrays: ...

  def take(self, arrays: Arrays) -> None: ...


MakeAgent: TypeAlias = Callable[[Config, ObsSpace, ActionSpace], Agent]
# Given config, folder, agent, and the spaces of observations and actions.
MakeReplay: TypeAlias = Callable[
    [Config, pathlib.Path, Agent, tuple[ObsSpace, ActionSpace]], Base]
# Given config, mode (train or eval) and how many.
MakeEnvs: TypeAlias = Callable[[Config, str, int], Sequence[Env]]


class Named(Protocol):
  """An agent by its name, before it is made: `dreamer.run.interface`."""

  name: str
  module: str  # what `python -m` runs

  @property
  def replay(self) -> MakeReplay: ...

  @property
  def validate(self) -> Callable[..., None]: ...

  def schema(self) -> Schema: ...

  def make_agent(
      self, config: Config, obs_space: ObsSpace, act_space: ActionSpace
  ) -> Agent: ...
