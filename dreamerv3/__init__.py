"""DreamerV3: Mastering diverse control tasks, Nature 640 (2025), 647-653.

The same paper is arXiv 2301.04104v2; see configs/dreamerv3.yaml.

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

from dreamer.config.agents import Published, Size
from dreamer.run import replays
from dreamer.run.interface import Interface
from dreamerv3.checks import validate
from dreamerv3.flops import update_gflop
from dreamerv3.stored import stored

__all__ = ['configure', 'entry', 'evaluate', 'main', 'make_agent', 'schema',
           'train', 'validate']


def _load():
  from dreamerv3.variants import make_agent  # Imports TensorFlow.
  return make_agent


CONTROL, GAMES = (3, 'continuous', 6), (1, 'discrete', 18)  # as in Size
entry = Interface(
    'dreamerv3', _load, validate, title='DreamerV3', flops=update_gflop,
    losses=('reward', 'discount', 'dynamics', 'representation', 'model',
            'actor', 'critic', 'replay_critic', 'behaviour', 'total'),
    sizes={'size1m': Size(['dmc_vision', 'size1m'], {}, *CONTROL),
           'size12m': Size(['dmc_vision', 'size12m'], {}, *CONTROL),
           'size12m_atari': Size(['atari', 'size12m'], {}, *GAMES),
           'laptop_dmc': Size(['dmc_vision', 'laptop'], {}, *CONTROL),
           'laptop_minatar': Size(['minatar', 'laptop'], {}, *GAMES)},
    published=(
        Published('dmc_', 'dreamerv3/dmc_proprio', preset='dmc_proprio'),
        Published('dmc_', 'dreamerv3/dmc_vision'),
        Published('atari_', 'dreamerv3/atari100k', preset='atari100k'),
        Published('atari_', 'dreamerv3/atari'),
        Published('dmlab_', 'dreamerv3/dmlab'),
        Published('procgen_', 'dreamerv3/procgen')),
    replay=replays.streams, stored=stored)
configure = entry.configure
schema = entry.schema
make_agent = entry.make_agent
train = entry.train
evaluate = entry.evaluate
main = entry.main
