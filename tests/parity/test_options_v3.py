"""Every option of DreamerV3's release trains here, or is refused.

As test_options.py; what it computes, the cases of test_v3.py compare.
"""

import functools
import itertools

import pytest

from dreamer.errors import UserError
from tests.parity import cases, v3
from tests.support import GOLDEN, agent_running, quick
from tests.support.agent_running import eagerly

pytestmark = pytest.mark.usefixtures('eager')

# Images, vectors, whole numbers, actions of both kinds; vectors alone.
MIXED, CONTINUOUS = 'v3_mixed_small', 'v3_dmc_proprio_small'
DISCRETE, IMAGES = 'v3_norms_small', 'v3_strided_small'
NETWORKS = ('enc.simple', 'dec.simple', 'dyn.rssm', 'rewhead', 'conhead',
            'policy', 'value')
ACTS = ('silu relu relu2 relu6 elu celu selu gelu leaky_relu mish swish '
        'softplus soft_sign squareplus sigmoid log_sigmoid tanh hard_tanh '
        'hard_sigmoid hard_silu hard_swish sparse_plus sparse_sigmoid softmax '
        'log_softmax none').split()
INITS = ('trunc_normal trunc_normal_in trunc_normal_out trunc_normal_avg '
         'normal normal_in normal_out normal_avg uniform uniform_in '
         'uniform_out uniform_avg normed normed_in normed_out normed_avg '
         'normed_none zeros_in').split()


def spread(kind, values):
  """(case, settings): all values of a network's key, one to a network."""
  for start in range(0, len(values), len(NETWORKS)):
    part = itertools.cycle(values[start:start + len(NETWORKS)])
    yield CONTINUOUS, {
        f'{name}.{kind}': next(part) for name in NETWORKS}


def each(name, key, *values):
  return [(name, {key: value}) for value in values]


OPT = {'opt.warmup': 0, 'opt.anneal': 3}
TAKEN = [
    *spread('act', ACTS), *spread('winit', INITS),
    *spread('norm', ['rms', 'layer', 'none', 'rms1em8', 'layer1em3']),
    (MIXED, {f'{name}.norm': 'layer' for name in NETWORKS}),
    *each(CONTINUOUS, 'dyn.rssm.absolute', True),
    *each(CONTINUOUS, 'dyn.rssm.unimix', 0.0, 1.0),
    *each(CONTINUOUS, 'dyn.rssm.blocks', 1, 16),
    *each(CONTINUOUS, 'dyn.rssm.free_nats', 0.0),
    (CONTINUOUS, {'dyn.rssm.dynlayers': 0, 'dyn.rssm.imglayers': 0,
                  'dyn.rssm.obslayers': 0, 'rewhead.layers': 0}),
    (CONTINUOUS, {'dyn.rssm.dynlayers': 2, 'dyn.rssm.imglayers': 3,
                  'dyn.rssm.obslayers': 2, 'conhead.layers': 2}),
    *each(MIXED, 'enc.simple.symlog', False),
    (MIXED, {'enc.simple.outer': True, 'dec.simple.outer': True,
             'dec.simple.strided': True, 'dec.simple.bspace': 4}),
    (IMAGES, {'enc.simple.strided': False, 'enc.simple.kernel': 4,
              'enc.simple.mults': [1, 2, 3], 'dec.simple.kernel': 3,
              'dec.simple.outscale': 0.5}),
    *each(CONTINUOUS, 'rewhead.output', 'mse', 'symlog_mse', 'huber'),
    *each(CONTINUOUS, 'value.output', 'mse', 'symlog_mse', 'huber'),
    *each(CONTINUOUS, 'policy_dist_cont', 'normal_logstd'),
    (CONTINUOUS, {'value.bins': 32, 'rewhead.bins': 2}),
    *each(DISCRETE, 'imag_last', 2, 6),
    *each(DISCRETE, 'imag_length', 1),
    *each(DISCRETE, 'contdisc', False),
    *each(CONTINUOUS, 'ac_grads', True),
    (CONTINUOUS, {'ac_grads': True, 'imag_last': 2, 'contdisc': False}),
    (CONTINUOUS, {'reward_grad': False, 'repval_grad': False}),
    *each(CONTINUOUS, 'repval_loss', False),
    (CONTINUOUS, {'imag_loss.slowtar': True, 'repl_loss.slowtar': True}),
    (CONTINUOUS, {'imag_loss.slowreg': 0.0, 'repl_loss.slowreg': 0.0}),
    (CONTINUOUS, {'slowvalue.every': 3, 'slowvalue.rate': 1.0}),
    *((CONTINUOUS, {
        f'{norm}.impl': impl, f'{norm}.debias': False,
        f'{norm}.perclo': 20.0, f'{norm}.perchi': 70.0})
      for norm in ('retnorm', 'valnorm', 'advnorm')
      for impl in ('none', 'perc', 'meanstd')),
    (DISCRETE, {**OPT, 'opt.schedule': 'linear', 'opt.wd': 0.1}),
    (DISCRETE, {**OPT, 'opt.schedule': 'cosine', 'opt.agc': 0.0}),
    (DISCRETE, {'opt.eps': 1e-3, 'opt.beta1': 0.5, 'opt.nesterov': True}),
    *each(DISCRETE, 'opt.momentum', False),  # nothing reads it
    *each(DISCRETE, 'policy.unimix', 0.0),  # as above
    *each(DISCRETE, 'loss_scales.rep', 0.0),
    *each(DISCRETE, 'report_gradnorms', True),
]

# What stops the release as well, or is a constant of no use; the word that
# the refusal has beside key and value.
REFUSED = [
    (CONTINUOUS, 'dyn.typ', 'gru', 'rssm'),
    (CONTINUOUS, 'enc.typ', 'resnet', 'simple'),
    (CONTINUOUS, 'dec.typ', 'resnet', 'simple'),
    *((CONTINUOUS, f'{name}.norm', 'batch', 'rms') for name in NETWORKS),
    *((CONTINUOUS, f'{name}.act', 'glu', 'silu') for name in NETWORKS),
    (CONTINUOUS, 'policy.act', 'swiglu', 'silu'),
    (CONTINUOUS, 'policy.act', 'standardize', 'silu'),
    (CONTINUOUS, 'policy.act', 'identity', 'none'),
    (CONTINUOUS, 'policy.winit', 'glorot', 'trunc_normal_in'),
    (CONTINUOUS, 'policy.winit', 'trunc_normal_none', 'trunc_normal_in'),
    *((CONTINUOUS, f'{head}.output', kind, 'symexp_twohot')
      for head in ('rewhead', 'value') for kind in (
          'binary', 'categorical', 'onehot', 'bounded_normal',
          'normal_logstd')),
    *((CONTINUOUS, 'conhead.output', kind, 'binary') for kind in (
        'categorical', 'mse', 'symexp_twohot')),
    *((DISCRETE, 'policy_dist_disc', kind, 'categorical') for kind in (
        'onehot', 'binary', 'mse')),
    *((CONTINUOUS, 'policy_dist_cont', kind, 'bounded_normal') for kind in (
        'mse', 'huber', 'categorical', 'onehot')),
    (CONTINUOUS, 'dyn.rssm.blocks', 3, 'divisor'),
    (MIXED, 'dec.simple.bspace', 3, 'divisor'),
    (MIXED, 'dec.simple.bspace', 0, '1..'),
    (MIXED, 'enc.simple.mults', [2] * 7, 'halve images 7 times'),
    (CONTINUOUS, 'opt.schedule', 'exp', 'cosine'),
    (CONTINUOUS, 'opt.schedule', 'linear', 'opt.anneal'),
    (CONTINUOUS, 'retnorm.impl', 'std', 'mean_std'),
    (CONTINUOUS, 'imag_last', 99, 'batch_length'),
    (CONTINUOUS, 'imag_last', 1, 'replay_critic'),
    (CONTINUOUS, 'slowvalue.rate', 1.5, '1'),
]


@functools.cache
def case_of(name):
  return cases.read_json(GOLDEN / name / 'case.json')


def make(name, settings):
  """The agent of a case with other settings, and a batch."""
  case = case_of(name)
  settings = {f'agent.{key}': value for key, value in settings.items()}
  case = {**case, 'resolved_config': {**case['resolved_config'], **settings}}
  agent = v3.make_agent(case, None)
  return agent, v3.read_batch(GOLDEN / name, case, agent.batch_keys)


def label(value):
  if isinstance(value, dict):
    return '-'.join(f'{key}={x}' for key, x in value.items())[:80]
  return str(value)


@pytest.mark.parametrize(
    'name, settings', quick.every(6, TAKEN), ids=label)
def test_option_trains(name, settings):
  with eagerly():
    agent, batch = make(name, settings)
    agent_running.check_trains(agent, batch)


@pytest.mark.parametrize('name, key, value, word', REFUSED, ids=label)
def test_option_is_refused(name, key, value, word):
  with pytest.raises(UserError) as info:
    make(name, {key: value})
  text = str(info.value)
  assert word in text and '\n' not in text
