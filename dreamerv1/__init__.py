"""DreamerV1: Dream to Control, arXiv 1912.01603.

    import dreamerv1
    config = dreamerv1.configure(['laptop'], logdir='runs/mine')
    dreamerv1.train(make_my_env, config)
    dreamerv1.evaluate(make_my_env, 'runs/mine', episodes=10)
"""

from dreamer.run.interface import Interface
from dreamerv1.checks import validate

__all__ = ['configure', 'evaluate', 'main', 'make_agent', 'schema', 'train',
           'validate']


def _load():
  from dreamerv1.agent import Agent  # Imports TensorFlow.
  return Agent


_interface = Interface('dreamerv1', _load, validate)
NAME = _interface.name
configure = _interface.configure
schema = _interface.schema
make_agent = _interface.make_agent
train = _interface.train
evaluate = _interface.evaluate
main = _interface.main
