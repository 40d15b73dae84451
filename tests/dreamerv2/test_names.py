"""An observation may be called anything and is never taken for another."""

import numpy as np
import pytest

import dreamerv2
from dreamer.envs import base
from dreamer.envs.spaces import IMAGE, vector_space
from tests.parity.v1 import eagerly
from tests.support import agent_tools_v2 as tools

LOSSES = dreamerv2.entry.losses
NAMES = [base.inside(name, LOSSES) for name in (
    *base.RESERVED, *LOSSES, 'speed')]
SPACES = {'image': IMAGE, **{name: vector_space((2,)) for name in NAMES}}
READ = {f'{part}.{kind}': 'all' for part in ('encoder', 'decoder')
        for kind in ('images', 'vectors')}


@pytest.fixture(scope='module')
def agent():
  return tools.make_agent(
      'continuous', spaces=SPACES, **READ,
      **{'expl.kind': 'plan2explore'})


@pytest.fixture(scope='module')
def metrics(agent):
  with eagerly():
    return agent.train(tools.make_batch('continuous', spaces=SPACES))


def test_every_name_has_a_loss_of_its_own(metrics):
  for name in ('image', *NAMES, 'reward', 'discount', 'kl', 'model', 'actor'):
    assert np.isfinite(metrics[f'loss/{name}'])
  values = [float(metrics[f'loss/{name}']) for name in NAMES]
  assert len(set(values)) == len(NAMES)


def test_our_own_losses_are_reserved(metrics):
  """Else an observation could take the name of one."""
  ours = {key.partition('/')[2] for key in metrics if key.startswith('loss/')}
  assert ours - set(NAMES) <= {*base.RESERVED, *LOSSES}


def test_what_is_learned_from_is_reserved(agent):
  assert set(agent.batch_keys) - set(NAMES) <= set(base.RESERVED)


def test_own_environment_reads_all():
  config = tools.schema().config(['debug'], {'task': 'own_x'})
  from dreamerv2 import variants  # TensorFlow with it.
  agent = variants.make_agent(
      config, {'image': IMAGE, 'goal': vector_space((2,))},
      tools.ActionSpace('discrete', 2))
  assert agent.obs_keys == ('image', 'goal') and agent.learns_ends
