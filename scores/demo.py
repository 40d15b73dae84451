"""The main job: a small DreamerV1 from pixels, and what it reaches.

Random play is scored first, so that every score of the training stands beside
it and the paper's.
"""

from __future__ import annotations

import argparse
import pathlib

from dreamer import cli
from dreamer.config import agents
from dreamer.config.schema import Config
from dreamer.envs import make_envs
from dreamer.run import evaluate, resume
from dreamer.stats import confidence

from . import references, report
from .__main__ import parse

AGENT, OPTIONS = 'dreamerv1', ['--configs', 'dmc', 'laptop']
# Less than the preset's: minutes on two slow cores, and clearly above chance.
STEPS = 28_000
EPISODES = 10


def main(args: argparse.Namespace) -> None:
  """Trains, evaluates three policies and writes the report."""
  logdir = pathlib.Path(args.logdir)
  run = ['--logdir', str(logdir)]
  agent = agents.find(AGENT)
  longer = agent.schema().parse([*OPTIONS, *run], './run.sh')
  config = longer.update({'steps': (
      steps(longer) if args.steps is None else args.steps)})
  agent.validate(config)
  with resume.locked(config.logdir):
    pass  # What training refuses, before random play is scored.
  told = f'{config.steps:,} of the {longer.steps:,} steps of the preset'
  print(f'Trains for {told}')
  agent.main(
      ['train', *OPTIONS, *run, '--steps', str(config.steps)], beside(config))
  for policy in evaluate.POLICIES[::-1]:
    agent.main(['eval', *run, '--policy', policy])
  print()
  report.main(parse(['report', str(logdir)]))
  for name, what in (
      ('openloop', 'Predictions (truth, model, error)'), ('policy', 'Policy')):
    if videos := sorted((logdir / 'videos').glob(f'*_{name}.gif')):
      print(f'{what}: {videos[-1]}')
  if config.steps < longer.steps:
    again = cli.of_module('scores', 'demo', *run, '--steps', str(longer.steps))
    print(f'These were {told}; all of them, with score and report: {again}')


def steps(config: Config) -> int:
  """STEPS, or as many as the run in this folder was begun with, if more."""
  saved = resume.checkpoints(config.logdir).load()
  given = saved[1]['config'].get('steps', 0) if saved else 0
  return max(min(STEPS, config.steps), int(given))


def beside(config: Config) -> str:
  """What scores are shown with: random play here, the paper's agent."""
  found = f'random play {random_play(config):,.1f}'
  paper = references.paper_of(config.agent, config.task, config.presets)
  if paper:
    found += f', paper {paper.score:,.1f} after {paper.steps:,} steps'
  return found


def random_play(config: Config) -> float:
  """Its mean return here, of the episodes that `eval` scores."""
  env, = make_envs(config, 'eval', 1)
  try:
    policy = evaluate.RandomEpisodes(env.act_space, 0)
    result = evaluate.evaluate(
        policy, [env], env.act_space, 0, 'test', EPISODES)
  finally:
    env.close()
  return confidence(result.returns)[0]
