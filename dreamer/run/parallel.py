"""Acting beside learning; see `loop` for what a run does otherwise.

  learner   update  update  update  episodes, log  update  save  update ...
                |weights                                      ^what is in flight
  acting     step   step   step ...   steps and finished episodes, in order

Prefill and first block of updates are as in `Loop`. From then on a thread
steps the environments by a policy that another process computes (`actor`),
and this one makes updates. Neither waits for the other, but for what
`update_ratio` says. What happens in the environments arrives here as a row of
messages, and is read between two updates: the run's counts are those of the
messages read, so replay, log, evaluations and checkpoints have one view of
it. A checkpoint holds what was in flight at one message; the environments go
on meanwhile. While the agent is evaluated, the environments go on as well,
and no update is made.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from dreamer.config.schema import Config
from dreamer.run import pace, units
from dreamer.run.actor import Actor
from dreamer.run.driver import Driver
from dreamer.run.loop import Loop
from dreamer.run.protocols import Arrays

UNREAD = 10 ** 9  # bytes of episodes that wait to be read, before acting waits
TICK = 0.2  # seconds between looks at whether somebody asked to stop


class Step(NamedTuple):
  """All environments have made a step."""

  steps: int  # agent steps


class Ended(NamedTuple):
  """An episode has ended."""

  arrays: Arrays
  slot: int  # number of its environment


class Row(NamedTuple):
  """A row was acted on, see Driver."""

  slot: int
  row: Arrays
  action: np.ndarray
  state: Arrays


class Lost(NamedTuple):
  """The unfinished episode of an environment will not go on."""

  slot: int


class InFlight(NamedTuple):
  """What a checkpoint needs of acting, as it is after the messages so far."""

  driver: Arrays
  agent: Arrays  # a part of its state

  def state(self) -> Arrays:
    return self.driver


class Ratio:
  """Updates per environment step, bounded to within one update."""

  def __init__(self, config: Config) -> None:
    self.least, self.most = config.update_ratio.least, config.update_ratio.most
    usual = pace.make(config).per_step
    self._learns = bool(usual or self.least or self.most)
    if 'train_ratio' in config and not (self.least or self.most):
      # It is kept where nothing else is asked for.
      self.least = self.most = usual

  def may_act(self, steps: int, updates: int) -> bool:
    return updates + 1 >= self.least * steps

  def may_learn(self, steps: int, updates: int) -> bool:
    return self._learns and (not self.most or updates <= self.most * steps)


class Acting:
  """The thread that steps the environments, until `steps` of them.

    with acting:
      acting.updated(n)      # how many updates there are now
      acting.messages()      # what has happened since
      acting.ask()           # for an InFlight among the messages

  Its end waits for the step that is being made; then one InFlight is the
  last message. `messages` raises what made the thread fail.
  """

  def __init__(
      self, driver: Driver, actor: Actor, config: Config) -> None:
    self._driver, self._actor, self._config = driver, actor, config
    self._ratio = Ratio(config)
    self._first = driver.steps
    self._updates = 0
    self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
    self._unread = 0  # bytes
    self._changed = threading.Condition()
    self._asked = self._ending = False
    self._error: BaseException | None = None
    self._thread = threading.Thread(target=self._run, name='acting')

  def updated(self, updates: int) -> None:
    """Tells how many updates were made since acting began."""
    with self._changed:
      self._updates = updates
      self._changed.notify()

  def ask(self) -> None:
    """Wants an InFlight, soon."""
    with self._changed:
      self._asked = True
      self._changed.notify()

  def messages(self, wait: float = 0.0) -> Iterator[Any]:
    """Those that are unread; waits for the first one, for some seconds."""
    with contextlib.suppress(queue.Empty):
      message = self._queue.get(wait > 0, wait or None)
      while True:
        if isinstance(message, (Row, Ended)):
          with self._changed:
            self._unread -= _size(message)
            self._changed.notify()
        yield message
        message = self._queue.get_nowait()
    if self._error:
      raise self._error

  def __enter__(self) -> Acting:
    driver = self._driver
    self._before = driver.on_episode, driver.on_step, driver.on_lost
    driver.on_episode = lambda *args: self._put(Ended(*args))
    if driver.on_step:
      driver.on_step = lambda *args: self._put(Row(*args))
      driver.on_lost = lambda index: self._queue.put(Lost(index))
    self._thread.start()
    return self

  def __exit__(self, *error: object) -> None:
    with self._changed:
      self._ending = True
      self._changed.notify()
    self._thread.join()
    driver = self._driver
    driver.on_episode, driver.on_step, driver.on_lost = self._before

  def _run(self):
    try:
      self._actor.refresh()
      while self._wait_for_turn():
        self._driver.send(self._policy)
        self._actor.refresh()  # beside the environments
        self._driver.receive()
        self._queue.put(Step(self._driver.steps))
      self._answer()
    except BaseException as error:  # for whoever reads the messages
      self._error = error

  def _wait_for_turn(self):
    """False when there is nothing more to do."""
    while True:
      if self._asked:
        self._answer()
      with self._changed:
        if self._ending or self._steps >= self._config.steps:
          return False
        if self._may_act:
          return True
        if not self._asked:
          self._changed.wait()

  @property
  def _may_act(self):
    since = self._steps - units.env_steps(
        self._first, self._config)
    return self._unread < UNREAD and self._ratio.may_act(since, self._updates)

  @property
  def _steps(self):
    return units.env_steps(self._driver.steps, self._config)

  def _policy(self, obs, state):
    return self._actor(obs, state, self._steps)

  def _put(self, message):
    with self._changed:
      self._unread += _size(message)
    self._queue.put(message)

  def _answer(self):
    self._asked = False
    self._queue.put(InFlight(self._driver.state(), self._actor.counters()))


class ParallelLoop(Loop):
  """A run whose environments don't wait for its updates, nor these for them.

  actor: the process that acts.
  """

  def __init__(self, *args: Any, actor: Actor, **kwargs: Any) -> None:
    super().__init__(*args, **kwargs)
    self.actor = actor
    self._ratio = Ratio(self.config)
    self._acting: Acting | None = None
    self._seen = 0  # agent steps of the messages read, while acting
    self._saves = False  # when an InFlight arrives
    self._in_flight: InFlight | None = None
    self._began = 0  # env steps when acting did
    self._made = 0  # updates since then

  @property
  def agent_steps(self) -> int:
    return self._seen if self._acting else super().agent_steps

  def save(self) -> None:
    """Writes a checkpoint; while acting, when what is in flight arrives."""
    if self._acting:
      self._saves = True
      self._acting.ask()
    else:
      super().save()

  def _go(self):
    self._between_steps()
    while not self.ended and self.prefilling:
      self._step()
      self._between_steps()
    if not self.ended:
      with self.beside() as acting:
        while not self.ended:
          self.learn(acting)
          self._between_steps()

  def _schedule(self):
    super()._schedule()
    self.todo['updates'] = 0  # Updates are not due: they are made.

  @contextlib.contextmanager
  def beside(self) -> Iterator[Acting]:
    """Acting goes on while this lasts."""
    self.actor.wait()
    self._seen = self.driver.steps
    self._began, self._made = self.env_steps, 0
    self.actor.offer(self.agent.acting_state())
    self._acting = acting = Acting(self.driver, self.actor, self.config)
    try:
      with acting:
        yield acting
    finally:
      # What is read now belongs to this run, whatever ended it.
      for message in acting.messages():
        self._take(message)
      self._acting = None

  def update(self) -> None:
    """One update of the agent."""
    self.todo['updates'] = 1
    self._update('updates')
    self._made += 1

  def learn(self, acting: Acting) -> None:
    """An update if there may be one, and what has happened meanwhile."""
    may_learn = self._ratio.may_learn(
        self.env_steps - self._began, self._made)
    if may_learn:
      self.update()
      acting.updated(self._made)
      if self._made % self.config.sync_updates == 0:
        self._sync()
    for message in acting.messages(0.0 if may_learn else TICK):
      self._take(message)
      if self._saves and isinstance(message, InFlight):
        self._save(message)
    self._progress()

  def _updates_left(self, rest):
    return 0  # Nobody knows: its steps tell how long it takes.

  def _sync(self):
    state = self.agent.acting_state()
    self.actor.offer({
        key: x for key, x in state.items() if key not in self.agent.acted})

  def _take(self, message):
    if isinstance(message, Step):
      self._seen = message.steps
    elif isinstance(message, Row):
      self._on_step(*message)
    elif isinstance(message, Lost):
      self.replay.cut(message.slot)
    elif isinstance(message, Ended):
      self._on_episode(*message)
    else:
      self.agent.take(message.agent)

  def _save(self, in_flight):
    self._saves = False
    self._in_flight = in_flight
    super().save()
    self._in_flight = None

  @property
  def _parts(self):
    parts = super()._parts
    return {**parts, 'driver': self._in_flight} if self._in_flight else parts


def describe(config: Config) -> str:
  """What a run says at its start about acting beside learning."""
  ratio = Ratio(config)
  lockstep = pace.make(config).per_step
  bounds = [f'{name} {value:g}' for name, value in (
      ('at least', ratio.least), ('at most', ratio.most)) if value]
  return (
      f'parallel: acting in a process of its own, with new weights every '
      f'{config.sync_updates} updates; updates per environment step: '
      f'{" and ".join(bounds) or "as they come"} (if '
      f'both waited it would be {lockstep:g}); two such runs of one seed '
      'differ, and a resumed one is not the same to the bit')


def _size(message):
  arrays = message.arrays if isinstance(message, Ended) else message.row
  return sum(np.asarray(x).nbytes for x in arrays.values())
