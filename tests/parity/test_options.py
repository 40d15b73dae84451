"""Every value of an option of a release trains here, or is refused.

What is refused stands with its reason in configs/README.md.
"""

import functools

import pytest

from dreamer.errors import UserError
from tests.parity import cases, v1, v2
from tests.parity.references import find_reference
from tests.support import GOLDEN, ROOT, agent_running, quick
from tests.support.agent_running import eagerly

pytestmark = pytest.mark.usefixtures('eager')

OPTIMIZERS = 'model_opt.opt actor_opt.opt critic_opt.opt expl_opt.opt'
ACTS_V2 = ('encoder.act decoder.act rssm.act reward_head.act '
           'discount_head.act actor.act critic.act expl_head.act')
NORMS = ACTS_V2.replace('.act', '.norm')
DISCRETE, CONTINUOUS = 'v2_atari_small', 'v2_dmc_vision_small_kl_below'
EXPLORING = 'v2_plan2explore_small'

# Case whose batch is learned from, keys set together, values, source.
TAKEN = [
    # danijar/dreamer: dreamer.py, define_config, _build_model, _exploration
    ('v1_dmc_small', 'dense_act cnn_act', 'elu relu swish leaky_relu',
     'dreamer.py, acts'),
    ('v1_dmc_small', 'clip_rewards', 'none tanh', 'dreamer.py, preprocess'),
    ('v1_dmc_small', 'pcont', [False, True], 'dreamer.py, _train'),
    ('v1_dmc_small', 'dataset_balance', [False, True], 'tools.py'),
    ('v1_dmc_small', 'grad_clip', [0.0, 100.0], 'tools.py, Adam'),
    ('v1_dmc_small', 'expl', 'additive_gaussian completely_random '
     'epsilon_greedy', 'dreamer.py, _exploration'),
    ('v1_dmc_small', 'action_dist', 'tanh_normal', 'models.py'),
    ('v1_atari_small', 'action_dist', 'onehot', 'models.py'),
    ('v1_atari_small', 'expl', 'completely_random epsilon_greedy',
     'dreamer.py, _exploration'),
    # google-research/dreamer: scripts/configs.py
    ('tf1_dreamer_small', 'activation', 'relu elu tanh swish softplus none',
     'configs.py, ACTIVATIONS'),
    ('tf1_dreamer_small', 'clip_rewards', [False, 'sign', 'tanh'],
     'numpy_episodes.py, episode_reader'),
    ('tf1_discrete_pcont_small', 'action_head_dist',
     'onehot_score onehot_straight', 'basic.py, feed_forward'),
    ('tf1_dreamer_small', 'action_head_dist', 'tanh_normal_tanh',
     'basic.py, feed_forward'),
    ('tf1_dreamer_small', 'action_lr value_lr model_lr default_lr', [1e-3],
     'configs.py, _loss_functions'),
    ('tf1_dreamer_small', 'value_layers action_layers reward_layers '
     'pcont_layers', [3], 'configs.py, _model_components'),
    ('tf1_dreamer_small', 'optimizer_epsilon', [1e-3],
     'configs.py, _loss_functions'),
    ('tf1_contrastive_window_small', 'cpc_contrast', 'window batch time',
     'utility.py, compute_cpc_loss'),
    # danijar/dreamerv2: configs.yaml, and the functions that read it
    (DISCRETE, ACTS_V2, 'none elu relu relu6 leaky_relu selu gelu silu swish '
     'mish softplus softsign sigmoid tanh softmax log_softmax identity',
     'nets.py, get_act: tf.nn'),
    (DISCRETE, NORMS, 'none layer', 'nets.py, NormLayer'),
    (DISCRETE, OPTIMIZERS, 'adam nadam adamax sgd momentum',
     'tfutils.py, Optimizer'),
    (DISCRETE, 'model_opt.clip', [0, 100], 'tfutils.py, Optimizer'),
    (DISCRETE, 'clip_rewards', 'identity sign tanh', 'agent.py, preprocess'),
    (DISCRETE, 'discount_head.dist', 'binary mse', 'nets.py, DistLayer'),
    (DISCRETE, 'reward_head.dist critic.dist expl_head.dist', 'mse',
     'nets.py, DistLayer'),
    (DISCRETE, 'actor.dist', 'auto onehot', 'nets.py, DistLayer'),
    (CONTINUOUS, 'actor.dist', 'auto trunc_normal tanh_normal',
     'nets.py, DistLayer'),
    (DISCRETE, 'actor_grad', 'auto dynamics reinforce both',
     'agent.py, actor_loss'),
    (CONTINUOUS, 'actor_grad', 'auto dynamics reinforce both',
     'agent.py, actor_loss'),
    (DISCRETE, 'rssm.discrete', [0, 5], 'nets.py, EnsembleRSSM'),
    ('v2_gaussian_small', 'rssm.std_act', 'softplus sigmoid sigmoid2',
     'nets.py, _suff_stats_layer'),
    (DISCRETE, 'encoder.cnn_kernels', [[4, 4, 4, 4], [8, 6, 4], [3] * 5],
     'nets.py, Encoder'),
    (DISCRETE, 'decoder.cnn_kernels', [[5, 5, 6, 6], [3, 3, 3, 3, 4]],
     'nets.py, Decoder'),
    ('v2_dmc_proprio_small', 'encoder.mlp_layers decoder.mlp_layers',
     [[16, 16], [16, 8, 4], [16]], 'nets.py, Encoder'),
    (DISCRETE, 'actor.layers reward_head.layers', [0, 3], 'nets.py, MLP'),
    (DISCRETE, 'grad_heads', [[], ['decoder'], ['reward', 'discount'],
                              ['decoder', 'reward', 'discount']],
     'agent.py, WorldModel'),
    (DISCRETE, 'kl.balance', [0.5, 0.8], 'nets.py, kl_loss'),
    (DISCRETE, 'kl.forward', [False, True], 'nets.py, kl_loss'),
    (DISCRETE, 'kl.free_avg', [False, True], 'nets.py, kl_loss'),
    (DISCRETE, 'slow_target', [False, True], 'agent.py, ActorCritic'),
    (DISCRETE, 'slow_target_fraction', [0.5, 1], 'agent.py, ActorCritic'),
    (DISCRETE, 'reward_norm.momentum', [0.0, 0.9, 1.0],
     'other.py, StreamNorm'),
    (DISCRETE, 'actor_ent', ['1e-3', 'linear(1,0,10)', 'warmup(10,1)',
                             'exp(1,0,10)'], 'other.py, schedule'),
    (EXPLORING, 'expl_behavior', 'greedy Plan2Explore ModelLoss Random',
     'expl.py'),
    (EXPLORING, 'disag_target', 'embed stoch deter feat', 'expl.py'),
    (EXPLORING, 'disag_log', [False, True], 'expl.py'),
    (EXPLORING, 'disag_action_cond', [False, True], 'expl.py'),
    (EXPLORING, 'disag_offset', [0, 1], 'expl.py'),
    (EXPLORING, 'expl_extr_scale', [0.0, 1.0], 'expl.py'),
]

# The same for what is refused; each key with its value stands in README.
REFUSED = [
    ('v1_dmc_small', 'action_dist', 'onehot'),
    ('v1_atari_small', 'action_dist', 'tanh_normal'),
    ('tf1_dreamer_small', 'action_head_dist',
     'normal deterministic binary trunc_normal tanh_normal'),
    (DISCRETE, 'reward_head.dist',
     'normal binary onehot tanh_normal trunc_normal'),
    (DISCRETE, 'critic.dist',
     'normal binary onehot tanh_normal trunc_normal'),
    (EXPLORING, 'expl_head.dist',
     'normal binary onehot tanh_normal trunc_normal'),
    (DISCRETE, 'discount_head.dist',
     'normal onehot tanh_normal trunc_normal'),
    (DISCRETE, 'actor.dist', 'normal mse binary trunc_normal tanh_normal'),
    (CONTINUOUS, 'actor.dist', 'normal mse binary onehot'),
    (DISCRETE, 'actor.act', 'crelu'),
    (DISCRETE, 'rssm.ensemble', [2]),
    (DISCRETE, 'actor_ent', ['horizon(10,20,10)']),
    (EXPLORING, 'expl_model_loss', 'embed feat post prior likes'),
]


def rows(table):
  """(case, keys, value) of each value."""
  return [(name, keys.split(), value) for name, keys, values, *_ in table
          for value in (values.split() if isinstance(values, str) else values)]


def label(value):
  return '-'.join(value) if isinstance(value, list) and all(
      isinstance(x, str) for x in value) else str(value)


@functools.cache
def case_of(name):
  return (cases.read_json(GOLDEN / name / 'case.json'),
          cases.read_npz(GOLDEN / name / 'batch.npz'))


def make(name, keys, value):
  """The agent of a case in which the keys have the value, and a batch."""
  case, batch = case_of(name)
  settings = dict.fromkeys(keys, value)
  if name.startswith('v2'):
    case = {**case, 'overrides': {**case['overrides'], **settings}}
    return v2.make_agent(case, batch), batch
  own = {key: case[key] for key in settings if key in case}
  case = {**case, **{key: settings[key] for key in own},
          'config': {**case['config'], **settings}}
  agent = v1.make_agent(case, find_reference(case))
  return agent, v1.read_batch(GOLDEN / name / 'batch.npz')[0]


@pytest.mark.parametrize(
    'name, keys, value', quick.every(6, rows(TAKEN)), ids=label)
def test_option_trains(name, keys, value):
  with eagerly(), v2.half_std():
    agent, batch = make(name, keys, value)
    agent_running.check_trains(agent, batch)


@pytest.mark.parametrize('name, keys, value', rows(REFUSED), ids=label)
def test_option_is_refused(name, keys, value):
  with pytest.raises(UserError) as info:
    make(name, keys, value)
  text = str(info.value)
  assert str(value) in text and '\n' not in text
  readme = (ROOT / 'configs' / 'README.md').read_text()
  section = readme.split('## Options of the releases')[1].split('\n## ')[0]
  reasons = [line for line in section.splitlines()
             if f'`{keys[0]}`' in line or f'`{keys[0]}' in line]
  word = str(value).partition('(')[0]
  assert any(f'`{word}`' in line or 'all but' in line or 'above 1' in line
             for line in reasons), reasons
