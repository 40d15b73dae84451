"""Logdirs and runs that tests of scores are made of."""

import functools
import json

from dreamer.config import agents
from dreamer.run import provenance
from scores import __main__, runs

TASK = 'dmc_walker_walk'
TABLE_G = {'dmc_walker_walk': 961.67, 'dmc_cup_catch': 962.48}  # of Dreamer
TABLE_1 = 2.15, 11.33, 0.44, 0.28  # of DreamerV2: gamer median, ...


@functools.cache
def schema(agent='dreamerv1'):
  """Reading YAML is slow."""
  return agents.schema(agent)


def evaluation(config, step, returns):
  """A line of scores.jsonl."""
  return {
      'step': step, 'agent_steps': step // config.action_repeat,
      'updates': 0, 'returns': returns,
      'lengths': [1000] * len(returns),
      **provenance.describe(config, config.agent)}


def write_run(logdir, evaluations, seed=0, agent='dreamerv1', reached=None,
              presets=(), **keys):
  """Makes a logdir with config.yaml, metrics.jsonl and scores.jsonl.

  evaluations: [(env steps, [returns])].
  """
  config = schema(agent).config(
      presets, {'task': TASK, 'seed': seed, **keys})
  logdir.mkdir(parents=True, exist_ok=True)
  config.save(logdir / 'config.yaml')
  lines = [evaluation(config, *x) for x in evaluations]
  write_lines(logdir / 'scores.jsonl', lines)
  last = reached or max([x[0] for x in evaluations], default=0)
  write_lines(logdir / 'metrics.jsonl', [
      {'step': last, 'agent_steps': last // config.action_repeat}])
  return logdir


def write_runs(folder, seeds=3, until=200_000):
  """Makes evaluated logdirs of so many seeds; returns their paths."""
  for seed in range(seeds):
    logdir = write_run(folder / f'seed{seed}', [
        (step, [100.0 + seed]) for step in range(5000, until + 1, 10_000)],
        seed=seed, reached=until)
    write_lines(logdir / 'eval.jsonl', [
        {'policy': policy, 'step': until, 'returns': [base, base + 10]}
        for policy, base in (('trained', 100), ('untrained', 20),
                             ('random', 10))])
  return [folder / f'seed{seed}' for seed in range(seeds)]


def run(*argv):
  """Runs a command of scores in this process."""
  __main__.main(list(map(str, argv)))


def write_lines(path, lines, tail=''):
  path.write_text(''.join(json.dumps(x) + '\n' for x in lines) + tail)


def make_run(task=TASK, seed=0, value=500.0, until=1_000_000, every=10_000,
             method='dreamerv1', config='abc', **more):
  """A Run with one episode per evaluation; value: of each, or f(step)."""
  settings = provenance.protocol(schema().config(overrides={'task': task}))
  if task.startswith('atari'):
    settings.update(
        sticky=0.25, actions='full', life_loss='ignore', action_repeat=4,
        time_limit=108000, every=every)
  score = value if callable(value) else lambda step: value
  evaluations = [(step, [float(score(step))])
                 for step in range(5000, until + 1, every)]
  return runs.Run(
      f'{task}/seed{seed}', task, method, seed, until,
      {**settings, **more}, [], config, [], evaluations, {}, [])
