"""DreamerV1: Dream to Control, arXiv 1912.01603.

    import dreamerv1
    config = dreamerv1.configure(['laptop'], logdir='runs/mine')
    dreamerv1.train(make_my_env, config)
    dreamerv1.evaluate(make_my_env, 'runs/mine', episodes=10)
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
from dreamerv1.checks import validate
from dreamerv1.flops import update_gflop

__all__ = ['configure', 'entry', 'evaluate', 'main', 'make_agent', 'schema',
           'train', 'validate']


def _load():
  from dreamerv1.variants import make_agent  # Imports TensorFlow.
  return make_agent


IMAGES = 3, 'continuous', 6  # channels of the image, kind and number of actions
entry = Interface(
    'dreamerv1', _load, validate, title='DreamerV1', flops=update_gflop,
    losses=('kl', 'model', 'actor', 'critic', 'cpc'),
    sizes={'full': Size(['dmc'], {}, *IMAGES),
           'laptop': Size(['dmc', 'laptop'], {}, *IMAGES)},
    published=(
        Published('dmc_', 'dreamerv1/table_g', 'planet', 'planet'),
        Published('dmc_', 'dreamerv1/table_g'),
        Published('atari_', 'dreamerv1/fig9'),
        Published('dmlab_', 'dreamerv1/fig9')))
configure = entry.configure
schema = entry.schema
make_agent = entry.make_agent
train = entry.train
evaluate = entry.evaluate
main = entry.main
