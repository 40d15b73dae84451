"""Learning and acting in parallel: what each costs the other.

`measure_pace`: updates per second with and without acting beside them, and
steps per second of a slow environment with and without updates, by turns.
`measure_wall_clock`: that of a shortened run of the preset `laptop`, whose
frames are drawn on the same cores, in lockstep and in parallel with the same
number of updates per step.
"""

from __future__ import annotations

import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import gymnasium
import numpy as np

from dreamer import cli, launch
from dreamer.config import agents
from dreamer.envs import make_envs
from dreamer.log.jsonlines import read_lines
from dreamer.log.logger import Logger
from dreamer.run.actor import Actor
from dreamer.run.driver import Driver
from dreamer.run.parallel import ParallelLoop
from dreamer.run.prefill import RandomPolicy
from dreamer.run.stop import Stop

SECONDS = 0.05  # of a step of the slow environment
NEVER = 10 ** 9
PACE = {  # preset, threads of the learner
    'laptop_1_thread': ('laptop', 1), 'laptop': ('laptop', 0),
    'full': ('paper', 0)}
RATIO = 0.25  # updates per environment step: that of the preset
DMC = ['--configs', 'dmc', 'laptop', '--prefill', '2000',
       '--pretrain_updates', '100', '--eval_every', '0', '--save_every',
       '100000']
BESIDE = ['--parallel', 'true', '--update_ratio.least', f'{RATIO}',
          '--update_ratio.most', f'{RATIO}']


class Slow(gymnasium.Env):
  """Takes SECONDS for a step, and no core."""

  observation_space = gymnasium.spaces.Box(0, 255, (64, 64, 3), np.uint8)
  action_space = gymnasium.spaces.Box(-1, 1, (6,))

  def reset(
      self, seed: int | None = None,
      options: dict | None = None) -> tuple[np.ndarray, dict]:
    super().reset(seed=seed)
    return self._image(), {}

  def step(
      self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
    time.sleep(SECONDS)
    return self._image(), 0.0, False, False, {}

  def _image(self):
    return self.np_random.integers(0, 256, (64, 64, 3), np.uint8)


def paces() -> list[str]:
  """Names of what `measure_pace` measures, of all agents with these presets."""
  return [f'parallel/{name}/{what}' for name in agents.known()
          for what, (preset, _) in PACE.items()
          # Others grow their replay by the steps of their own environments.
          if {'prefill', 'pretrain_updates'} <= set(
              agents.schema(name).defaults.flat)
          and preset in agents.schema(name).presets]


def wall_clocks() -> list[str]:
  """Names of what `measure_wall_clock` measures, as above."""
  return [f'parallel/{name}/dmc' for name in agents.known()
          if {'dmc', 'laptop'} <= set(agents.schema(name).presets)]


def measure_pace(name: str, quick: bool) -> dict[str, Any]:
  """Runs `pace` in a fresh process."""
  command = launch.command(
      'dreamer.bench.parallel', name, '5' if quick else '20',
      '2' if quick else '5')
  return _child(command)


def pace(name: str, seconds: float, rounds: int) -> dict[str, Any]:
  """Paces by turns: the environment's, the learner's, both at once."""
  _, agent_name, what = name.split('/')
  entry, (preset, threads) = agents.find(agent_name), PACE[what]
  with tempfile.TemporaryDirectory() as logdir:
    config = entry.configure([preset], **{
        'logdir': logdir, 'task': 'own_slow', 'parallel': True,
        'threads': threads, 'prefill': 120, 'time_limit': 60,
        'pretrain_updates': 1, 'eval_every': 0, 'video_every': 0,
        'steps': NEVER, 'log_every': NEVER, 'save_every': NEVER})
    env, other = make_envs(config, 'train', 2, Slow)
    actor = Actor(entry.name, config, env.obs_space, env.act_space)
    agent = entry.make_agent(config, env.obs_space, env.act_space)
    logger = Logger(logdir, NEVER)
    loop = ParallelLoop(
        config, entry.name, agent, [env], [], logger, Stop(), actor=actor)
    try:
      found = _by_turns(loop, other, seconds, rounds)
    finally:
      for part in (actor, env, other, logger):
        part.close()
  result: dict[str, Any] = {'seconds_of_a_step': SECONDS, 'threads': threads}
  for what in ('steps_per_s', 'updates_per_s'):
    shares = [x[f'{what}_beside'] / x[what] for x in found]
    result[f'{what}_share'] = round(statistics.median(shares), 3)
    result[f'{what}_share_max'] = round(max(shares), 3)
  return {**result, **{
      key: round(statistics.median(x[key] for x in found), 3)
      for key in found[0]}}


def _by_turns(loop, env, seconds, rounds):
  collect = _stepper(env, loop.replay.add)
  while loop.replay.episodes < 2:
    collect()
  loop.update()  # traces
  _beside(loop, 1)
  found = []
  for _ in range(rounds):
    learned = _rate(loop.update, seconds)
    stepped = _rate(_stepper(env), seconds)
    steps, updates = _beside(loop, seconds)
    found.append({
        'updates_per_s': learned, 'updates_per_s_beside': updates,
        'steps_per_s': stepped, 'steps_per_s_beside': steps})
  return found


def _stepper(env, add=lambda episode: None):
  """A function that makes a step by random actions; the first is made."""
  driver = Driver(
      [env], env.act_space, 0, 'bench', lambda episode, _: add(episode))
  policy = RandomPolicy(env.act_space, 0)

  def step():
    driver.send(policy)
    driver.receive()

  step()
  return step


def _beside(loop, seconds):
  """Steps and updates per second, both at once."""
  with loop.beside() as acting:
    first = loop.agent_steps
    while loop.agent_steps < first + 2:  # The policy's first call traces.
      loop.learn(acting)
    first = loop.agent_steps
    start = time.perf_counter()
    rate = _rate(lambda: loop.learn(acting), seconds)
    steps = loop.agent_steps - first
    return steps / (time.perf_counter() - start), rate


def _rate(function, seconds):
  """Calls per second."""
  start, calls = time.perf_counter(), 0
  while time.perf_counter() - start < seconds:
    function()
    calls += 1
  return calls / (time.perf_counter() - start)


def measure_wall_clock(name: str, quick: bool) -> dict[str, Any]:
  """Wall clock of the same run in lockstep and in parallel, by turns."""
  agent = name.split('/')[1]
  steps = 4000 if quick else 10000
  found: dict[str, list[float]] = {'lockstep': [], 'parallel': []}
  for _ in range(1 if quick else 2):
    for kind, seconds in found.items():
      with tempfile.TemporaryDirectory() as logdir:
        command = launch.command(
            agent, 'train', *DMC, '--steps', str(steps), '--logdir', logdir,
            *BESIDE * (kind == 'parallel'))
        done = _run(command)
        if done.returncode:
          return {'error': _last(done)}
        rows, _ = read_lines(pathlib.Path(logdir) / 'metrics.jsonl')
      start, *_, end = (x for x in rows if x['updates'] > 100)
      amount = end['updates'] - start['updates']
      seconds.append((end['time'] - start['time']) / amount)
  return {
      'updates_per_step': RATIO, 'steps': steps,
      **{f'{kind}_s_per_update': round(min(x), 4)
         for kind, x in found.items()},
      'share_of_wall_clock': round(
          min(found['parallel']) / min(found['lockstep']), 3)}


def _child(command):
  done = _run(command)
  if done.returncode:
    return {'error': _last(done)}
  return json.loads(done.stdout.splitlines()[-1])


def _run(command):
  return subprocess.run(command, capture_output=True, text=True)


def _last(done):
  return (done.stderr.strip().splitlines() or ['killed'])[-1]


if __name__ == '__main__':
  cli.guard(lambda name, seconds, rounds: print(json.dumps(
      pace(name, float(seconds), int(rounds)))), *sys.argv[1:])
