"""Trains DreamerV1.

    python -m dreamerv1.train --configs dmc --task dmc_walker_walk --logdir DIR

or, for an environment of your own, `dreamerv1.train(env, config)`: this
module can be called like its function `train`.
"""

import functools
import sys
import types

import dreamerv1
from dreamer import cli
from dreamer.envs import make_envs
from dreamer.run import training
from dreamer.run.evaluate import OWN
from dreamer.run.stop import Stop, Stopped


def main(argv=None):
  """Trains, or continues, what the command line describes."""
  argv = sys.argv[1:] if argv is None else argv
  training.main(
      dreamerv1.schema(), dreamerv1.NAME, dreamerv1.make_agent, make_envs,
      argv)


def train(env, config):
  """Trains in a user's environment, or continues in config.logdir.

  env: a gym, gymnasium or dm_env object, or a function without arguments
    that makes one (needed for several environments and for OpenGL; one that
    can be imported by name runs in worker processes).
  config: from `dreamerv1.configure`; its `task` is not used.
  Raises UserError, and KeyboardInterrupt after saving a checkpoint.
  """
  name = getattr(env, '__name__', type(env).__name__)
  config = config.update({'task': f'{OWN}{name}'})
  try:
    with Stop() as stop:
      training.train(
          config, dreamerv1.NAME, dreamerv1.make_agent,
          functools.partial(make_envs, factory=env), stop)
  except Stopped as e:
    raise KeyboardInterrupt(f'{e}, after a checkpoint') from None


class _Callable(types.ModuleType):

  def __call__(self, env, config):
    return train(env, config)


sys.modules[__name__].__class__ = _Callable

if __name__ == '__main__':
  cli.guard(main)
