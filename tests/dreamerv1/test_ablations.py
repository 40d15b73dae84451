"""Every preset of DreamerV1 changes what it names, to the bit nothing else.

Two agents of one seed see one batch: with the preset and without. TABLE says
which results differ, which are gone and which are new; all others must be
equal to the bit. Results are the initial weights (init/), losses (loss/),
gradients before clipping (grad/), tensors (tensor/), weights after one update
(step/), loss scales (scale/), the amount of exploration (expl/) and actions
(act/). In these tiny agents the KL is above the free nats.
"""

import collections
import functools
import re

import numpy as np
import pytest

import dreamerv1
from dreamer import envs
from dreamer.config.schema import diff
from dreamer.envs.spaces import ActionSpace, Space
from tests.support import agent_running, agent_tools, run_tools
from tests.support.agent_running import eagerly

# All but `base` and `kind` are regular expressions for whole names:
#   keys    settings that differ from the base
#   differ  results that are there with and without the preset
#   gone    results that the base has only, `new`: that the preset has only
#   may     results that may differ; coarse ones, such as discrete actions
Row = collections.namedtuple(
    'Row', 'keys differ gone new may base kind trace',
    defaults=('', '', '', '', '', (), 'continuous', True))

IMAGINED = 'tensor/(imag_.*|returns|weight)'
REPRESENTATION = (
    'loss/model (grad|step)/encoder/.* '
    # The prior's layers learn from the KL only.
    '(grad|step)/rssm/(img_in|gru|obs_out|obs_dist)/.* '
    'step/decoder/.*')  # by an optimiser of its own
DISCRETE = (
    'task steps action_repeat time_limit prefill train_every eval_every '
    'reward_transform kl.scale horizon expl.(noise|schedule|min)')
SIZES = (
    'steps prefill pretrain_updates train_every train_updates '
    'log_every batch_(size|length) (en|de)coder.depth '
    'rssm.(stoch|deter|hidden) (reward|critic|actor|cpc).(layers|units) '
    'cpc.window_(batch|time) horizon planner.(candidates|iterations|elites) '
    'dmc.(buffer|shadows|multisampling)')

TABLE = {
    'paper': Row(),
    'dmc': Row(),
    'reconstruction': Row(),
    # Representation: same losses, but in the model's loss is another sum.
    'contrastive': Row(
        'decoder.gradient cpc.enabled', REPRESENTATION,
        new='.*/cpc(/.*)? tensor/cpc_.* scale/decoder'),
    'reward_only': Row('decoder.gradient', REPRESENTATION, new='scale/decoder'),
    # Behaviour: the model learns the same.
    'no_value': Row(
        'behaviour', 'loss/actor tensor/returns (grad|step)/actor/.*',
        gone='.*/critic(/.*)? tensor/(imag_value|weight)'),
    'planet': Row(
        'behaviour', 'act/.*', gone=f'.*/(actor|critic)(/.*)? {IMAGINED}'),
    # Suites: rewards, their scale against the KL, and the horizon.
    'atari': Row(
        f'{DISCRETE} discount_head.gradient',
        f'loss/(reward|model|actor|critic) {IMAGINED} expl/train '
        'tensor/like/reward '
        '(grad|step)/(encoder|rssm|reward|actor|critic)/.* step/discount/.*',
        gone='scale/discount', may='act/train', kind='discrete'),
    'dmlab': Row(
        DISCRETE,
        f'loss/(reward|model|actor|critic) {IMAGINED} expl/train '
        'tensor/like/reward '
        '(grad|step)/(encoder|rssm|reward|actor|critic)/.*',
        may='act/train', kind='discrete'),
    'own': Row(
        'action_repeat discount_head.gradient',
        f'loss/(model|actor|critic) {IMAGINED} step/discount/.* '
        '(grad|step)/(encoder|actor|critic)/.* '
        '(grad|step)/rssm/(img_in|gru|obs_out|obs_dist)/.*',
        gone='scale/discount'),
    # Profiles: what is called the same starts from the same weights.
    'paper_code': Row(
        'atari.noops prefill_end replay.episodes rssm.(gru|stats) '
        'reward.(layers|units) discount_head.units cpc.(contrast|units) '
        'kl.free_by no_value_returns bootstrap '
        'actor.(layers|units|stats|gradient) critic.units collect',
        'loss/.* tensor/(like/.*|feat|kl) '
        'tensor/(post|prior)/.* tensor/imag_(feat|action|reward|value) '
        'tensor/returns (grad|step)/.* act/.*',
        gone='.*/rssm/(gru|(img|obs)_dist)/(kernel|recurrent_kernel|bias) '
        '.*/actor/out/.*',
        new='.*/rssm/(gru/(gates|candidate)|(img|obs)_dist/(mean|std))/.* '
        '.*/actor/(dense[234]|mean|std)/.* .*/reward/dense2/.*'),
    'released': Row(
        'precision dmc.normalize_actions atari.life_loss pretrain_updates '
        'replay.starts image_noise reward.(layers|units) '
        'discount_head.(enabled|units|gradient|scale) critic.units '
        'actor.(layers|units) kl.free_by collect '
        '(model|actor|critic|diagnostic)_opt.eps',
        'loss/.* tensor/(like/.*|embed|feat|kl) '
        'tensor/(post|prior)/.* tensor/imag_(feat|action|reward|value) '
        'tensor/returns (grad|step)/.* scale/.* act/.*',
        gone='.*/discount(/.*)?',
        new='.*/actor/dense[234]/.* .*/reward/dense2/.*'),
    'pixelpoint': Row(
        'task steps precision time_limit prefill train_(every|updates) '
        'eval_every log_every save_every video_every batch_(size|length) '
        '(en|de)coder.depth rssm.(stoch|deter|hidden|shared_latent_noise) '
        '(reward|discount_head|critic|actor).units kl.free horizon '
        '(model|critic|actor)_opt.lr', trace=False, base=('released',)),
    # What one profile changes in one suite, beside the two by themselves.
    'atari+paper_code': Row(
        'expl.(schedule|min|eval_noise)', 'expl/.*', may='act/.*',
        kind='discrete'),
    'dmlab+paper_code': Row(
        'expl.(schedule|min|eval_noise)', 'expl/.*', may='act/.*',
        kind='discrete'),
    'atari+released': Row(
        'discount_head.enabled',
        f'loss/(model|actor|critic) {IMAGINED} '
        '(grad|step)/(encoder|actor|critic)/.* '
        '(grad|step)/rssm/(img_in|gru|obs_out|obs_dist)/.*',
        new='.*/discount(/.*)?', kind='discrete'),
    'own+released': Row(
        'discount_head.enabled',
        f'loss/(model|actor|critic) {IMAGINED} '
        '(grad|step)/(encoder|actor|critic)/.* '
        '(grad|step)/rssm/(img_in|gru|obs_out|obs_dist)/.*',
        new='.*/discount(/.*)?'),
    'own+laptop': Row(
        'action_repeat discount discount_head.enabled steps train_every '
        'eval_every', trace=False),
    'atari+laptop': Row('task discount_head.enabled', trace=False),
    'dmlab+laptop': Row('task', trace=False),
    # Sizes: no trace, as no array has the same shape.
    'debug': Row(
        f'{SIZES} eval_every time_limit save_every '
        'discount_head.(layers|units) planner.horizon',
        trace=False),
    'laptop': Row(
        f'{SIZES} task action_repeat video_every discount unroll '
        'threads_per_op discount_head.enabled collect '
        '(model|actor|critic)_opt.lr',
        trace=False),
}

HORIZONS = (2, 3, 5, 10, 15, 20, 25, 30, 40, 50)  # Figure 4

schema = dreamerv1.schema()
TINY = {**schema.presets['debug'], **agent_tools.SIZES,
        'kl.free': 0.01, 'loss_scale': 64.0}
SIZE = re.compile(r'.*\.(units|depth|stoch|deter|hidden|candidates)|batch_.*')


def matches(name, patterns):
  return any(re.fullmatch(x, name) for x in patterns.split())


def configs(name):
  """Flat settings without the preset and with it, in full size."""
  row = TABLE[name]
  if '+' not in name:
    return [schema.config(x).flat for x in (row.base, [*row.base, name])]
  one, two = name.split('+')
  return [schema.config([one], schema.presets[two]).flat,
          schema.config([one, two]).flat]


def shrink(flat):
  """Makes everything small that isn't what the settings are about."""
  plain = schema.defaults.flat
  return schema.config(overrides={**flat, **{
      key: value for key, value in TINY.items()
      if SIZE.fullmatch(key) or flat[key] == plain[key]}})


@functools.cache
def trace(kind, items):
  """Results of an agent with these settings, as dict of name to array."""
  from dreamerv1 import variants  # TensorFlow with it.
  config = shrink(dict(items))
  def make():
    return variants.make_agent(
        config, {'image': Space((64, 64, 3), np.uint8)},
        ActionSpace(kind, agent_tools.ACTIONS))
  with eagerly():
    out = agent_running.learn(make(), agent_tools.make_batch(kind))
    out.update(agent_tools.act(make()))
  amounts = {mode: exploration(config).now(mode, 1000, 50000)[1]
             for mode in ('train', 'eval')}
  return {**out, **{f'expl/{mode}': np.array(x)
                    for mode, x in amounts.items()}}


def exploration(config, kind='continuous'):
  from dreamerv1 import explore, variants  # TensorFlow with it.
  return variants.choose(explore.Exploration, config)(
      config, ActionSpace(kind, agent_tools.ACTIONS))


def same(one, two):
  return one.shape == two.shape and np.array_equal(one, two)


@pytest.mark.parametrize('name', TABLE)
def test_settings(name):
  """The preset changes these keys, and no others."""
  one, two = configs(name)
  changed = {key for key in one if one[key] != two[key]}
  row = TABLE[name]
  assert changed == {key for key in one if matches(key, row.keys)}
  used = [x for x in row.keys.split() if any(
      re.fullmatch(x, key) for key in changed)]
  assert used == row.keys.split()


@pytest.mark.parametrize('name', [
    name for name, row in TABLE.items() if row.trace])
def test_results(name):
  row, (one, two) = TABLE[name], configs(name)
  if one == two:
    return  # The same settings are the same run.
  base, other = (trace(row.kind, tuple(x.items())) for x in (one, two))
  assert set(base) - set(other) == {x for x in base if matches(x, row.gone)}
  assert set(other) - set(base) == {
      x for x in other if matches(x, row.new) and x not in base}
  both = [x for x in base if x in other and not matches(x, row.may)]
  found = {x for x in both if not same(base[x], other[x])}
  expected = {x for x in both if matches(x, row.differ)}
  if 'scale/' not in row.differ:
    expected = {x for x in expected if not x.startswith('scale/')}
  assert found - expected == set(), 'differ, but are not in the table'
  assert expected - found == set(), 'do not differ'
  for patterns in (row.differ, row.gone, row.new):
    for pattern in patterns.split():
      assert any(re.fullmatch(pattern, x) for x in {*base, *other}), pattern


def test_table_is_complete():
  assert set(TABLE) == set(schema.presets)


def test_combined_presets_are_the_same_in_any_order():
  """An ablation and a profile don't overrule each other."""
  for ablation in ('contrastive', 'reward_only', 'no_value', 'planet'):
    for profile in ('paper_code', 'released', 'laptop'):
      assert schema.config([ablation, profile]) == schema.config(
          [profile, ablation]), (ablation, profile)


# Discrete tasks


FIGURE_9 = (
    'boxing', 'chopper_command', 'double_dunk', 'fishing_derby', 'ice_hockey',
    'kangaroo', 'krull', 'kung_fu_master', 'ms_pacman', 'name_this_game',
    'pong', 'tutankham', 'up_n_down', 'zaxxon')


def test_tasks_of_the_figure_exist():
  assert {f'atari_{game}' for game in FIGURE_9} | {
      'dmlab_collect', 'dmlab_watermaze'} <= set(envs.task_list())
  for suite in ('atari', 'dmlab'):
    assert schema.config([suite]).task in envs.task_list()


@pytest.mark.parametrize('presets, updates, amount', [
    (['atari'], 0, 0.4), (['atari'], 100000, 0.25), (['atari'], 200000, 0.1),
    (['dmlab'], 300000, 0.1), (['atari', 'released'], 100000, 0.25),
    (['atari', 'paper_code'], 75000, 0.25),
    (['dmlab', 'paper_code'], 150000, 0.1),
    (['atari', 'paper_code'], 300000, 0.1)])
def test_epsilon_falls_with_the_updates(presets, updates, amount):
  explore = exploration(schema.config(presets), 'discrete')
  found = [explore.now('train', steps, updates)[1]
           for steps in (0, 10 ** 7)]
  np.testing.assert_allclose(found, amount, rtol=1e-5)


def test_gradient_and_discount_of_discrete_tasks():
  for presets, gradient, head in (
      (['atari'], 'straight_through', (True, True)),
      (['atari', 'paper_code'], 'score', (True, True)),
      (['atari', 'released'], 'straight_through', (True, True)),
      (['dmlab'], 'straight_through', (True, False)),
      (['dmlab', 'paper_code'], 'score', (True, False)),
      (['dmlab', 'released'], 'straight_through', (False, True))):
    config = schema.config(presets)
    found = config.discount_head.enabled, config.discount_head.gradient
    assert (config.actor.gradient, found) == (gradient, head)
    assert config.horizon == 10 and config.kl.scale == 0.1
    assert config.reward_transform == 'tanh' and config.action_repeat == 4


# Sweeps


@pytest.mark.parametrize('horizon', HORIZONS)
def test_every_horizon_is_one_key(horizon):
  config = schema.parse(
      ['--configs', 'dmc', '--horizon', str(horizon), '--logdir', 'x'])
  changed = {key for key, _, _ in diff(schema.defaults, config)}
  assert config.horizon == horizon
  assert changed <= {'horizon', 'logdir'}


@pytest.mark.parametrize('horizon', [2, 20])
def test_horizon_changes_the_behaviour_only(horizon):
  plain = schema.defaults.flat
  base = trace('continuous', tuple(plain.items()))
  other = trace('continuous', tuple({**plain, 'horizon': horizon}.items()))
  assert set(base) == set(other)
  found = {x for x in base if not same(base[x], other[x])}
  assert found == {x for x in base if matches(
      x, f'loss/(actor|critic) {IMAGINED} (grad|step)/(actor|critic)/.*')}
  assert other['tensor/imag_feat'].shape[0] == horizon
  assert other['tensor/returns'].shape[0] == horizon - 1


@pytest.mark.parametrize('repeat', [1, 2, 4])
def test_counts_do_not_depend_on_the_action_repeat(debug_config, repeat):
  """They are environment steps; what stands for them changes."""
  config = debug_config(
      action_repeat=repeat, steps=800, time_limit=100, prefill=200,
      pretrain_updates=5, train_every=100, train_updates=3, eval_every=300,
      log_every=400, save_every=400, video_every=0)
  events = [what for what, _ in run_tools.run_fake(config)]
  arrays, meta = run_tools.saved(config)
  assert meta['env_steps'] == 800
  assert meta['agent_steps'] == 800 // repeat
  # After prefill, and at 300, 400, ..., 700.
  assert events.count('update') == meta['updates'] == 5 + 5 * 3
  assert events.count('train') == 600 // repeat
  assert events.count('eval') == 3 * 100 // repeat
  rows = run_tools.metrics(config)
  scores = [row for row in rows if 'eval/return' in row]
  assert [row['step'] for row in scores] == [200, 500, 800]
  assert all(row['eval/length'] == 100 for row in scores)
  assert {row['step'] for row in rows} == {200, 400, 500, 800}
  assert all(row['agent_steps'] == row['step'] // repeat for row in rows)
  lengths = [int(x.split(b'-')[-1].split(b'.')[0])
             for x in arrays['replay/names']]
  assert lengths == [100 // repeat + 1] * 8


def test_action_repeat_is_one_key():
  for repeat in (1, 2, 4):
    config = schema.parse(['--action_repeat', str(repeat), '--logdir', 'x'])
    changed = {key for key, _, _ in diff(schema.defaults, config)}
    assert config.action_repeat == repeat
    assert changed <= {'action_repeat', 'logdir'}


# Whole runs: learn, act, evaluate, draw pictures, stop, go on


@pytest.mark.parametrize('settings', [
    {'behaviour': 'planner'},
    pytest.param({'cpc.enabled': True, 'decoder.images': 'none'},
                 marks=pytest.mark.slow),
    pytest.param({'decoder.images': 'none'}, marks=pytest.mark.slow)],
    ids=['planet', 'contrastive', 'reward_only'])
def test_run_continues_with_the_same_bits(settings, tmp_path):
  settings = {
      **settings, 'prefill': 16, 'pretrain_updates': 1, 'train_every': 4,
      'train_updates': 1, 'time_limit': 8, 'eval_every': 1000,
      'batch_size': 2, 'batch_length': 4, 'horizon': 3}
  run = functools.partial(
      run_tools.run_agent, task='dummy_continuous', **settings)
  with eagerly():
    whole = run(tmp_path / 'whole', steps=30)
    _, meta = run(tmp_path / 'parts', steps=26)  # amid an episode
    parts = run(tmp_path / 'parts', steps=30)
  assert 0 < meta['updates'] < whole[1]['updates']
  run_tools.assert_same_bits(whole, parts)
  pictures = list((tmp_path / 'whole').rglob('*openloop*'))
  assert bool(pictures) == (settings.get('decoder.images') != 'none')
