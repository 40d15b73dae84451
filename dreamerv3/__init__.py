"""DreamerV2: Mastering Atari with Discrete World Models, arXiv 2010.02193.

    import dreamerv3
    config = dreamerv3.configure(['laptop'], logdir='runs/mine')
    dreamerv3.train(make_my_env, config)
    dreamerv3.evaluate(make_my_env, 'runs/mine', episodes=10)
"""

import importlib.util
import os.path

if (core := importlib.util.find_spec('dreamer')) and core.origin != (
    os.path.join(os.path.dirname(os.path.dirname(__file__)), 'dreamer',
                 '__init__.py')):
  raise ImportError(
      f'{core.origin or "a folder"} hides the package dreamer, which '
      f'{__name__} is made of; give it another name')

from dreamer.run import replays
from dreamer.run.interface import Interface
from dreamerv3.checks import validate

__all__ = ['configure', 'evaluate', 'main', 'make_agent', 'schema', 'train',
           'validate']


def _load():
  from dreamerv3 import variants  # Imports TensorFlow.
  return variants.make


_interface = Interface('dreamerv3', _load, validate, replays.streams)
NAME = _interface.name
configure = _interface.configure
schema = _interface.schema
make_agent = _interface.make_agent
train = _interface.train
evaluate = _interface.evaluate
main = _interface.main
