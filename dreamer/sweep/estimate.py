"""Hours, disk and updates of a run, before it starts.

Estimates from two assumptions that options replace: the arithmetic of updates
at TFLOPS, and agent steps at STEPS_PER_SECOND (acting, environment and
rendering, while no update runs). Neither was measured.
"""

from __future__ import annotations

import math
import typing

from dreamer.config import agents
from dreamer.envs.base import image_size
from dreamer.envs.spaces import ActionSpace
from dreamer.replay.stored import Packed
from dreamer.run import pace, units
from dreamer.sweep.jobs import Job, config_of

TFLOPS = 10.0  # sustained
STEPS_PER_SECOND = 200.0
ROW_EXTRA = 200  # bytes of an agent step beside its image: actions, names, zip
CAPACITIES = 'capacity', 'capacity_agent_steps'  # of a replay
CHECKPOINTS = 0.6  # GB: the last two of a large agent


class Estimate(typing.NamedTuple):
  """Of one run: hours (None: not known), GB on disk, updates."""

  hours: float | None
  disk: float
  updates: int


def estimate(job: Job, rates: dict) -> Estimate:
  """Returns the Estimate of a whole run.

  Hours are known where updates per second are given, or where the agent's
  entry counts the arithmetic of one.
  """
  config = config_of(job)
  agent_steps = units.agent_steps(config.steps, config)
  learning = max(0, config.steps - config.flat.get('prefill', 0))
  plan = pace.make(config)
  updates = plan.first(0) + plan.left(learning)
  speed = rates['updates_per_second'] or _speed(job, config, rates['tflops'])
  seconds = speed and updates / speed + agent_steps / rates['steps_per_second']
  kept = [config.flat.get(f'replay.{key}') or math.inf for key in CAPACITIES]
  rows = min(agent_steps, *kept) * _row(job, config)
  return Estimate(seconds and seconds / 3600, rows / 1e9 + CHECKPOINTS, updates)


def _row(job, config):
  """Bytes of an agent step on disk."""
  sees = config.flat.get('images', 'all') == 'all'
  image = image_size(config) ** 2 * _channels(job, config) if sees else 0
  stored = Packed(agents.find(job.agent).stored(config))
  return image + ROW_EXTRA + stored.size


def _speed(job, config, tflops):
  """Updates per second; None: nothing counts them. Six actions are taken."""
  flops = agents.find(job.agent).flops
  kind = 'continuous' if job.task.startswith('dmc_') else 'discrete'
  return flops and 1000 * tflops / flops(
      config, _channels(job, config), ActionSpace(kind, 6))


def _channels(job, config):
  gray = config.flat.get('atari.color') == 'gray'
  return 1 if gray and job.task.startswith('atari_') else 3
