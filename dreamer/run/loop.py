"""The schedule, once for all agents: prefill, train, evaluate, log, save.

                prefill          train and collect                      end
  env steps  0 ......... 5000 ........ 6000 ........ 7000 ......... steps
  policy       random     |  agent      |             |               |
  updates                 block         block         block           (none)
  evaluation              yes (0 = never), then every eval_every      yes

So it is with blocks of updates; by a `train_ratio` the agent acts from the
first step on, see `pace`.

The first block comes between prefill and the first policy step, as in the
paper's Algorithm 1; `pretrain_updates`, where it isn't 0, replaces its size,
as in the TF2 release. Later blocks are due every `train_every` steps. What
becomes of an unfinished episode of the prefill says `prefill_end`: the agent
continues it; it is dropped; or it is glued to the next one in the replay.

While the last update of a block runs, the environments make one step:

  environments  |..idle..| step t -> t+1       |..idle..| step ...
  this process  update ... send(a_t) update receive(o_t+1) ...

The update sees what was acted on up to step t only, whichever of the two is
faster, and a_t comes from the weights before it. So a run is a function of
its config, and nothing is in flight where it can stop.
"""

from __future__ import annotations

import math
import pathlib
import signal
from collections.abc import Sequence
from typing import Any

import numpy as np

from dreamer import files
from dreamer.config.schema import Config
from dreamer.errors import UserError
from dreamer.log.logger import Logger
from dreamer.replay.prefetch import Prefetch
from dreamer.run import pace, provenance, replays, resume, units
from dreamer.run.checkpoint import below
from dreamer.run.driver import Driver, unfinished
from dreamer.run.eta import Eta
from dreamer.run.learned import Learned
from dreamer.run.prefill import Glue, RandomPolicy
from dreamer.run.protocols import Agent, Arrays, Env, MakeReplay
from dreamer.run.scoring import Scoring
from dreamer.run.stop import Stop, Stopped
from dreamer.run.when import Every


class Loop:
  """One run. All of its state is in `state()`; see the module's diagram.

  make_replay: of the agent's paper, see `dreamer.run.replays`.
  note: what each score is shown with, such as the score of random play.
  """

  note = ''

  def __init__(
      self, config: Config, name: str, agent: Agent, envs: Sequence[Env],
      eval_envs: Sequence[Env], logger: Logger, stop: Stop,
      make_replay: MakeReplay = replays.episodes) -> None:
    self.config, self.name, self.agent = config, name, agent
    self.eval_envs, self.logger, self.stop = eval_envs, logger, stop
    self.act_space = envs[0].act_space
    self.replay = Prefetch(make_replay(
        config, pathlib.Path(config.logdir) / 'episodes', agent,
        (envs[0].obs_space, self.act_space)), agent.put)
    self.stored = tuple(agent.stored)
    self.driver = self._make_driver(envs)
    self.pace = pace.make(config)
    self.random = RandomPolicy(self.act_space, config.seed)
    self.glue = Glue()
    self.checkpoints = resume.checkpoints(config.logdir)
    self.provenance = provenance.describe(config, name)  # of scores
    self.when: dict[str, Any] = {
        **self.pace.when, 'eval': Every(config.eval_every),
        'video': Every(config.video_every), 'log': Every(config.log_every),
        'save': Every(config.save_every)}
    # What is due and not done yet; where the last ones were done.
    self.todo = {'first': 0, 'updates': 0, 'eval': 0, 'video': 0}
    self.done = {'eval': -1, 'video': -1, 'run': -1}
    self.eta = Eta()
    self.learned = Learned(config, logger.means)
    self.scoring = Scoring(self)
    self._warned = False  # that no episode ends
    self._saved_at = -1  # where the newest checkpoint is
    self._return: float | None = None  # of the last episode

  def _make_driver(self, envs):
    driver = Driver(
        envs, self.act_space, self.config.seed, 'train', self._on_episode,
        self.config.envs.restarts, count_resets=self.replay.count_resets)
    if self.replay.streams:
      driver.on_step, driver.on_lost = self._on_step, self.replay.cut
    return driver

  @property
  def agent_steps(self) -> int:
    return self.driver.steps

  @property
  def env_steps(self) -> int:
    return units.env_steps(self.agent_steps, self.config)

  @property
  def counters(self) -> tuple[int, int, int]:
    return self.env_steps, self.agent_steps, self.agent.updates

  @property
  def prefilling(self) -> bool:
    """Whether it is too early for updates."""
    return self.pace.early(self.env_steps, self.replay.ready)

  @property
  def idle(self) -> bool:
    """Whether it is so only for want of something to learn from."""
    return self.pace.idle(self.env_steps, self.replay.ready)

  @property
  def ended(self) -> bool:
    return self.env_steps >= self.config.steps

  # Schedule

  def run(self) -> None:
    """Goes on to config.steps. Raises Stopped after saving."""
    self.done['run'] = -1
    try:
      self._go()
      self.done['run'] = self.env_steps
      self.save()
    except Stopped:
      self.save()
      raise
    finally:
      self.replay.close()
    if self.idle and self.pace.first(1):
      raise UserError(
          f'steps: {self.config.steps} were not enough for one update, '
          f'nothing was learned: {self._why_prefilling()}')

  def _go(self):
    self._between_steps()
    while not self.ended:
      self._step()
      self._between_steps()

  def _between_steps(self):
    """Does what is due at this step, in an order that resuming keeps."""
    self.stop.check()
    if not self.prefilling:
      self._schedule()
      self._updates('first')
    elif self.idle and self.env_steps and self.pace.random:
      self._warn_of_idling()
    wrote = self.scoring.due()
    if self._is_due('log') and self.env_steps and not wrote:
      self.write()
    if self._is_due('save') or self.replay.wants_save:
      self.save()

  def _schedule(self):
    """Notes what has become due."""
    updates = self.pace.due(self.env_steps, self.agent_steps)
    if self.when['first']():
      self._end_prefill()
      self.todo['first'] = self.pace.first(updates)
    else:
      self.todo['updates'] += updates
    for key in ('eval', 'video'):
      self.todo[key] = int(self._is_due(key) or self.todo[key])

  def _warn_of_idling(self):
    """Once, when the prefill could end and there is nothing to learn from."""
    if not self._warned:
      self._warned = True
      files.warn(
          f'the prefill of {self.config.prefill} steps goes on: '
          f'{self._why_prefilling()}')

  def _why_prefilling(self):
    if self.replay.missing():
      return self.replay.missing()
    if self.driver.episodes:
      return (f'{self.config.logdir}/episodes has none of the '
              f'{self.driver.episodes} that have ended; actions are random '
              'until another one has')
    limit, amount = self.config.time_limit, self.config.envs.amount
    return (f'no episode has ended in {self.env_steps} steps; end episodes in '
            f'the environment, or lower time_limit ({limit} steps in each of '
            f'{amount} environment(s))')

  def _end_prefill(self):
    if not self.pace.random or self.config.prefill_end == 'continue':
      return
    left = self.driver.reset()
    for index in left:
      self.replay.cut(index)
    if self.config.prefill_end == 'glue':
      self.glue.keep(left)

  def _is_due(self, key):
    return pace.periods(self.when[key], self.env_steps)

  def _step(self):
    """One step of all environments, beside the last update of a block."""
    if self.prefilling:
      self.driver.send(self.random if self.pace.random else self._policy)
    else:
      self._updates('updates', leave=1)
      self.driver.send(self._policy)
      if self.todo['updates']:
        self._update('updates')
    self.driver.receive()
    self._progress()

  def _policy(self, obs, state):
    return self.agent.policy(obs, state, 'train', self.env_steps)

  def _on_step(self, index, row, action, state):
    self.replay.grow(
        index, row, action, {key: state[key][index] for key in self.stored
                             if key in state})

  def _on_episode(self, episode, index):
    self.replay.add(self.glue(episode, index), index)
    self._return = float(episode['reward'].astype(np.float64).sum())
    length = units.env_steps(len(episode['reward']) - 1, self.config)
    self.logger.means.add(
        {'train/return': self._return, 'train/length': length})

  # Learning

  def _updates(self, key, leave=0):
    """Updates until `leave` of those due are left."""
    while self.todo[key] > leave:
      self._update(key)
      self._progress()
      self.stop.check()

  def _update(self, key):
    # Rows come at each step, so that a batch drawn ahead may be in vain.
    ahead = not self.replay.streams or self.todo[key] > 2
    batch = self.replay.sample(
        self.config.batch_size, self.config.batch_length,
        self.agent.batch_keys, ahead)
    metrics = self.agent.train(batch, self.env_steps)
    if self.stored:
      self.replay.refresh(self.agent.refreshed())
    self.todo[key] -= 1
    self.learned.add(self.env_steps, metrics)

  # Log

  def _progress(self):
    self.eta.add(self.env_steps, self.agent.updates)
    try:
      self.logger.progress(*self.counters, self._return, self._seconds_left())
    except BrokenPipeError:  # Nobody reads: as if asked to stop by that.
      raise Stopped(signal.SIGPIPE) from None

  def _seconds_left(self):
    rest = max(0, self.config.steps - self.env_steps)
    scored = self.eval_envs and self.config.eval_every
    return self.eta.left(
        rest, self._updates_left(rest),
        math.ceil(rest / self.config.eval_every) if scored else 0)

  def _updates_left(self, rest):
    """Those of the rest of the environment steps, and those due."""
    return (self.todo['first'] + self.todo['updates']
            + self.pace.left(rest))

  def write(self) -> None:
    """One line of means since the last one."""
    self.learned.read()
    self.logger.means.add(self.replay.stats(), 'replay')
    self.logger.means.add({'envs/dropped': self.driver.dropped})
    self.logger.write(*self.counters)

  # State

  def save(self) -> None:
    """Writes a checkpoint. Raises UserError; the older ones then stay."""
    meta = dict(zip(
        ('env_steps', 'agent_steps', 'updates'), self.counters, strict=True))
    again = self._saved_at == self.env_steps
    self.checkpoints.save(self.state(), {
        'agent': self.name, 'task': self.config.task, **meta,
        'presets': self.config.presets, 'config': self.config.flat})
    self._saved_at = self.env_steps
    self.replay.saved(again)

  def state(self) -> Arrays:
    """All that the rest of the run depends on, as a dict of arrays."""
    self.learned.read()
    parts = {name: part.state() for name, part in self._parts.items()}
    state = {f'{name}/{key}': value for name, part in parts.items()
             for key, value in part.items()}
    for name in ('todo', 'done'):
      for key, value in getattr(self, name).items():
        state[f'{name}/{key}'] = np.array(value)
    return {**state, 'nonfinite': np.array(self.learned.nonfinite)}

  def restore(self, state: Arrays) -> None:
    """Continues from `state()`, bit for bit."""
    for name, part in self._parts.items():
      inside = below(state, f'{name}/')
      if name == 'replay':
        part.restore(inside, unfinished(below(state, 'driver/')))
      else:
        part.restore(inside)
    for name in ('todo', 'done'):
      for key, value in below(state, f'{name}/').items():
        getattr(self, name)[key] = int(value)
    self.learned.nonfinite = int(state['nonfinite'])
    self._saved_at = self.env_steps

  @property
  def _parts(self):
    """What has a state and a restore of its own, in the order to restore."""
    return {
        'agent': self.agent, 'replay': self.replay, 'driver': self.driver,
        'random': self.random, 'glue': self.glue, 'means': self.logger.means,
        **{f'when/{key}': part for key, part in self.when.items()}}
