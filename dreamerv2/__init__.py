"""DreamerV2: Mastering Atari with Discrete World Models, arXiv 2010.02193.

    import dreamerv2
    config = dreamerv2.configure(['laptop'], logdir='runs/mine')
    dreamerv2.train(make_my_env, config)
    dreamerv2.evaluate(make_my_env, 'runs/mine', episodes=10)
"""

import importlib.util
import os.path

if (core := importlib.util.find_spec('dreamer')) and core.origin != (
    os.path.join(os.path.dirname(os.path.dirname(__file__)), 'dreamer',
                 '__init__.py')):
  raise ImportError(
      f'{core.origin or "a folder"} hides the package dreamer, which '
      f'{__name__} is made of; give it another name')

from dreamer.config.agents import Published, Size
from dreamer.run.interface import Interface
from dreamerv2.checks import validate
from dreamerv2.flops import update_gflop

__all__ = ['configure', 'entry', 'evaluate', 'main', 'make_agent', 'schema',
           'train', 'validate']


def _load():
  from dreamerv2.variants import make_agent  # Imports TensorFlow.
  return make_agent


CONTROL, GAMES = (3, 'continuous', 6), (1, 'discrete', 18)  # as in Size
entry = Interface(
    'dreamerv2', _load, validate, title='DreamerV2', flops=update_gflop,
    losses=('kl', 'model', 'actor', 'critic', 'expl_heads', 'expl_actor',
            'expl_critic'),
    sizes={'atari_16x50': Size(['atari'], {'batch_size': 16}, *GAMES),
           'atari_50x50': Size(['atari'], {}, *GAMES),
           'dmc_vision': Size(['dmc_vision'], {'batch_size': 16}, *CONTROL),
           'laptop_atari': Size(['atari', 'laptop'], {}, *GAMES),
           'laptop_dmc': Size(['dmc_vision', 'laptop'], {}, *CONTROL)},
    published=(
        Published('dmc_', None, preset='dmc_proprio'),  # from vectors
        Published('dmc_humanoid_walk', 'dreamerv2/humanoid'),
        Published('dmc_', 'dreamerv2/dmc_vision'),
        Published('atari_', 'dreamerv2/table_k1')))
configure = entry.configure
schema = entry.schema
make_agent = entry.make_agent
train = entry.train
evaluate = entry.evaluate
main = entry.main
