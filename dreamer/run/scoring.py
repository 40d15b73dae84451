"""Scores and videos of a run, when they are due and at its end."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any, Protocol

from dreamer.config.schema import Config
from dreamer.envs.spaces import ActionSpace
from dreamer.log.logger import Logger
from dreamer.replay.prefetch import Prefetch
from dreamer.run import units
from dreamer.run.eta import Eta
from dreamer.run.evaluate import evaluate, told
from dreamer.run.protocols import Agent, Env
from dreamer.run.stop import Stop, Stopped


class Run(Protocol):
  """What is read of a Loop, see there."""

  config: Config
  agent: Agent
  eval_envs: Sequence[Env]
  act_space: ActionSpace
  replay: Prefetch
  logger: Logger
  stop: Stop
  eta: Eta
  note: str
  provenance: dict[str, Any]
  todo: dict[str, int]
  done: dict[str, int]

  @property
  def env_steps(self) -> int: ...

  @property
  def counters(self) -> tuple[int, int, int]: ...

  @property
  def prefilling(self) -> bool: ...

  @property
  def ended(self) -> bool: ...

  def write(self) -> None: ...


class Scoring:
  """Evaluates the agent of a loop, and draws what it predicts."""

  def __init__(self, loop: Run) -> None:
    self._loop = loop

  def due(self) -> bool:
    """Scores and videos, if due or at the end; is a line written?"""
    loop = self._loop
    found = self._when_due()
    if loop.ended:
      try:
        found = self._missing() or found
      except Stopped:
        if found:
          loop.write()
        raise
    if found:
      loop.write()
    return found

  def _when_due(self):
    """Scores when due; videos with the first score after they are due."""
    loop = self._loop
    if loop.done['eval'] == loop.env_steps:
      loop.todo['eval'] = 0  # It was done here when the run had ended.
    if not loop.todo['eval'] and (loop.eval_envs or not loop.todo['video']):
      return False
    if loop.todo['eval']:
      self._evaluate(loop.todo['video'] or loop.ended)
      loop.todo['eval'] = 0
      loop.done['eval'] = loop.env_steps
    if loop.todo['video']:
      self._open_loop()
      loop.todo['video'] = 0
      loop.done['video'] = loop.env_steps
    return True

  def _missing(self):
    """What the last step lacks of a score and videos.

    The agent goes back to where it was: raising `steps` later continues as
    if the run had not ended here.
    """
    loop = self._loop
    score = loop.eval_envs and loop.done['eval'] != loop.env_steps
    video = not loop.prefilling and loop.done['video'] != loop.env_steps
    before = loop.agent.state()
    try:
      if score:
        self._evaluate(video=True)
        loop.done['eval'] = loop.env_steps
      if video:
        self._open_loop()
        loop.done['video'] = loop.env_steps
    finally:
      loop.agent.restore(before)
    return bool(score or video)

  def _evaluate(self, video):
    """Scores the agent in eval mode; seeds depend on the step only.

    If asked to stop, the agent goes back to where it was, so that a resumed
    run evaluates as if it had not stopped.
    """
    loop = self._loop

    def policy(obs, state, numbers):
      loop.stop.check()
      return loop.agent.policy(obs, state, 'eval', loop.env_steps)

    before = loop.agent.state()
    try:
      with loop.eta.evaluation():
        result = evaluate(
            policy, loop.eval_envs, loop.act_space, loop.config.seed,
            f'eval{loop.env_steps}', loop.config.eval_episodes, video,
            loop.config.envs.restarts)
    except Stopped:
      loop.agent.restore(before)
      raise
    lengths = [units.env_steps(x, loop.config) for x in result.lengths]
    for score, length in zip(result.returns, lengths, strict=True):
      loop.logger.means.add({'eval/return': score, 'eval/length': length})
    loop.logger.score(
        *loop.counters, result.returns, lengths=lengths, **loop.provenance)
    with contextlib.suppress(BrokenPipeError):  # Found by `_progress`.
      loop.logger.info(f'step {loop.env_steps:,}: {told(result.returns)}'
                       f'{loop.note and f"; {loop.note}"}')
    if result.video is not None:
      loop.logger.video('policy', result.video)

  def _open_loop(self):
    """Pictures of predictions; leaves the order of later batches alone."""
    loop = self._loop
    batch = loop.replay.peek(
        min(loop.config.batch_size, 6), loop.config.batch_length,
        loop.agent.batch_keys)
    for name, video in loop.agent.report(batch).items():
      loop.logger.video(
          name, video, labels=('truth', 'model', 'error'))
