"""DreamerV2: Mastering Atari with Discrete World Models, arXiv 2010.02193.

    import dreamerv2
    config = dreamerv2.configure(['laptop'], logdir='runs/mine')
    dreamerv2.train(make_my_env, config)
    dreamerv2.evaluate(make_my_env, 'runs/mine', episodes=10)
"""

import importlib

NAME = 'dreamerv2'
CONFIGS = 'configs/dreamerv2.yaml'


def configure(presets=(), **overrides):
  """Returns the Config of presets, left to right, and overrides.

  Overrides are nested, `rssm={'deter': 16}`, or dotted, `**{'rssm.deter':
  16}`. Raises ConfigError.
  """
  return schema().config(presets, overrides)


def schema():
  """Defaults, presets and allowed values of every key."""
  from dreamer.config.schema import Schema
  return Schema.load(CONFIGS)


def make_agent(config, obs_space, act_space):
  """Returns the Agent; imports and sets up TensorFlow."""
  from dreamer.nn import device
  device.setup(config)
  from dreamerv2.agent import Agent
  return Agent(config, obs_space, act_space)


def evaluate(env, logdir, **options):
  """Evaluates a run of `dreamerv2.train(env, config)`.

  Options are episodes, policy, seed, amount and video; see
  dreamer.run.evaluate.evaluate_run. Returns a dict with returns, mean, low,
  high and how they were measured, and the Result with the video.
  """
  import functools

  from dreamer.envs import make_envs
  from dreamer.run.evaluate import evaluate_run
  return evaluate_run(
      schema(), NAME, make_agent, functools.partial(make_envs, factory=env),
      logdir, **options)


def __getattr__(name):
  # `dreamerv2.train` is a module that can be called: train(env, config).
  if name == 'train':
    return importlib.import_module('dreamerv2.train')
  raise AttributeError(f'module dreamerv2 has no attribute {name}')
