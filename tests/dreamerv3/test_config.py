"""Every setting of the DreamerV3 agent does what it says: one row each."""

import functools

import numpy as np
import pytest

import dreamerv3
from tests.support import agent_running, quick
from tests.support import agent_tools_v3 as tools
from tests.support.agent_running import eagerly
from tests.support.config_tools import (
  check_effect,
  names_in_sources,
  parts,
  recorded_reads,
)

# Beside settings, a row's base may have a kind of actions.
MIXED = {'kind': 'mixed'}
VECTORS = {f'{name}.{kind}': value for name in ('encoder', 'decoder')
           for kind, value in (('images', 'none'), ('vectors', 'all'))}
LIVE = {**VECTORS, 'reward.outscale': 1.0, 'critic.outscale': 1.0}  # not all 0
CONTINUOUS = {'kind': 'continuous', **VECTORS}
ALL = {f'{name}.vectors': 'all' for name in ('encoder', 'decoder')}
NORMS = {'return_norm': {}, 'value_norm': {'value_norm.kind': 'percentiles'},
         'advantage_norm': {'advantage_norm.kind': 'percentiles'}}

CONV = 'encoder/conv2/kernel'
IMAGE = 'init/decoder/conv2/kernel'
FEAT, LOSSES = 'tensor/feat', 'tensor/feat loss/reward loss/discount'
ACTOR, CRITIC = 'loss/actor', 'loss/critic'
STEP = 'opt/rssm/obs/dense1/kernel'

# Key, other value, settings of both agents, what must differ, what must not.
TABLE = [
    ('seed', 1, VECTORS, 'init/actor/dense1/kernel', 'init/actor/dense1/bias'),
    ('precision', 'bfloat16', VECTORS, 'tensor/embed',
     'init/rssm/obs/dense1/kernel scale/all'),
    ('precision', 'float16', VECTORS, 'tensor/embed scale/all', ''),
    ('loss_scale', 64, {**VECTORS, 'precision': 'float16'}, 'scale/all', ''),
    ('limits_end', True, VECTORS, 'loss/discount', FEAT),
    ('replay.context', 0, VECTORS, FEAT, 'tensor/embed'),
    ('replay.consec', 2, VECTORS, 'norm/carry/deter', LOSSES),
    ('batch_size', 4, {**VECTORS, 'replay.consec': 2}, 'norm/carry/deter', ''),
    ('batch_length', 6, {**VECTORS, 'last_starts': 6}, '', LOSSES),
    # Encoder and decoder
    ('encoder.images', 'none', ALL, f'init/{CONV} tensor/embed',
     'init/encoder/dense1/kernel'),
    ('encoder.vectors', 'all', {}, 'init/encoder/dense1/kernel tensor/embed',
     f'init/{CONV}'),
    ('encoder.depth', 3, {}, f'init/{CONV} init/rssm/obs/dense1/kernel', IMAGE),
    ('encoder.multiples', '1,2,3', {}, 'init/encoder/conv3/kernel '
     'init/rssm/obs/dense1/kernel', f'init/{CONV} {IMAGE}'),
    ('encoder.kernel', 3, {}, f'init/{CONV}', IMAGE),
    ('encoder.outer', True, {}, 'init/rssm/obs/dense1/kernel tensor/embed',
     f'init/{CONV} {IMAGE}'),
    ('encoder.layers', 2, VECTORS, 'init/encoder/dense2/kernel',
     'init/decoder/dense1/kernel'),
    ('encoder.units', 9, VECTORS, 'init/encoder/dense1/kernel '
     'init/rssm/obs/dense1/kernel', 'init/decoder/dense1/kernel'),
    ('encoder.act', 'tanh', {}, 'tensor/embed', f'init/{CONV}'),
    ('encoder.norm', 'none', ALL, 'init/encoder/conv1/norm/gamma '
     'init/encoder/dense1/norm/gamma tensor/embed', f'init/{CONV}'),
    ('encoder.norm', 'layer', VECTORS, 'init/encoder/dense1/norm/beta '
     'tensor/embed', 'init/encoder/dense1/norm/gamma'),
    ('encoder.norm_eps', 0.1, VECTORS, 'tensor/embed',
     'init/encoder/dense1/kernel'),
    ('encoder.init', 'normal_out', ALL, f'init/{CONV} '
     'init/encoder/dense1/kernel', IMAGE),
    ('encoder.down', 'pool', {}, 'tensor/embed', f'init/{CONV}'),
    ('encoder.symlog', False, VECTORS, 'tensor/embed', ''),
    ('decoder.images', 'none', ALL, f'{IMAGE} loss/image',
     f'loss/speed loss/level {FEAT}'),
    ('decoder.vectors', 'all', {}, 'loss/speed loss/level loss/model',
     f'loss/image {FEAT}'),
    ('decoder.depth', 4, {}, IMAGE, f'init/{CONV}'),
    ('decoder.multiples', '1,2,3', {'decoder.depth': 4},
     'init/decoder/conv1/kernel', f'init/{CONV}'),
    ('decoder.kernel', 3, {}, IMAGE, f'init/{CONV}'),
    ('decoder.outer', True, {}, 'init/decoder/deter_in/kernel loss/image',
     f'init/{CONV}'),
    ('decoder.layers', 2, VECTORS, 'init/decoder/dense2/kernel', FEAT),
    ('decoder.units', 9, ALL, 'init/decoder/dense1/kernel '
     'init/decoder/stoch_in/kernel', IMAGE),
    ('decoder.act', 'tanh', ALL, 'loss/image loss/speed', FEAT),
    ('decoder.norm', 'none', ALL, 'init/decoder/map_norm/gamma '
     'loss/image loss/speed', FEAT),
    ('decoder.norm_eps', 0.1, ALL, 'loss/image loss/speed', FEAT),
    ('decoder.init', 'normal_out', ALL, f'{IMAGE} '
     'init/decoder/dense1/kernel', f'init/{CONV}'),
    ('decoder.up', 'repeat', {}, 'loss/image', f'{IMAGE} {FEAT}'),
    ('decoder.blocks', 4, {}, 'init/decoder/deter_in/kernel', IMAGE),
    ('decoder.outscale', 0.5, ALL, 'init/decoder/out/speed/kernel '
     'init/decoder/conv3/kernel', IMAGE),
    ('decoder.squares', 1.0, ALL, 'loss/image loss/speed',
     f'loss/level {FEAT}'),
    ('decoder.scale', 2.0, VECTORS, 'loss/model',
     'loss/speed loss/level loss/behaviour'),
    ('decoder.gradient', False, VECTORS, 'grad/rssm/obs/dense1/kernel',
     'loss/model grad/decoder/dense1/kernel'),
    # RSSM
    ('rssm.stoch', 5, VECTORS, 'init/rssm/obs/out/kernel', ''),
    ('rssm.classes', 6, VECTORS, 'init/rssm/obs/out/kernel', ''),
    ('rssm.deter', 12, VECTORS, 'init/rssm/gru/gates/kernel', ''),
    ('rssm.hidden', 9, VECTORS, 'init/rssm/img/dense1/kernel',
     'init/actor/dense1/kernel'),
    ('rssm.blocks', 4, VECTORS, 'init/rssm/gru/gates/kernel',
     'init/rssm/img/dense1/kernel'),
    ('rssm.gru_layers', 2, VECTORS, f'init/rssm/gru/hidden2/kernel {FEAT}',
     'init/rssm/gru/hidden1/kernel'),
    ('rssm.gru_layers', 0, VECTORS, f'init/rssm/gru/hidden1/kernel {FEAT}',
     'init/rssm/img/dense1/kernel'),
    ('rssm.img_layers', 1, VECTORS, 'init/rssm/img/dense2/kernel '
     'tensor/prior/logit', FEAT),
    ('rssm.obs_layers', 2, VECTORS, f'init/rssm/obs/dense2/kernel {FEAT}',
     'init/rssm/img/dense1/kernel'),
    ('rssm.obs_layers', 0, VECTORS, f'init/rssm/obs/dense1/kernel {FEAT}',
     'init/rssm/img/dense1/kernel'),
    ('rssm.absolute', True, VECTORS, 'init/rssm/obs/dense1/kernel '
     'tensor/post/logit', 'init/rssm/img/dense1/kernel'),
    ('rssm.unimix', 0.5, VECTORS, 'tensor/kl', 'tensor/embed'),
    ('rssm.act', 'tanh', VECTORS, FEAT, 'tensor/embed'),
    ('rssm.norm', 'none', VECTORS, f'init/rssm/obs/dense1/norm/gamma {FEAT}',
     'tensor/embed'),
    ('rssm.norm_eps', 0.1, VECTORS, FEAT, 'tensor/embed'),
    ('rssm.init', 'normal_out', VECTORS, 'init/rssm/img/dense1/kernel',
     'init/actor/dense1/kernel'),
    ('rssm.outscale', 0.5, VECTORS, 'init/rssm/img/out/kernel '
     'init/rssm/obs/out/kernel', 'init/rssm/img/dense1/kernel'),
    ('kl.dynamics', 0.5, VECTORS, 'loss/model', 'loss/dynamics'),
    ('kl.representation', 0.5, VECTORS, 'loss/model', 'loss/representation'),
    ('kl.free', 2.0, VECTORS, 'loss/dynamics loss/representation',
     'tensor/kl'),
    # Behaviour
    ('horizon', 4, VECTORS, f'tensor/returns {ACTOR}', 'loss/model'),
    ('discount_horizon', 20, {**VECTORS, 'critic.outscale': 1.0},
     f'tensor/returns {CRITIC} loss/replay_critic', LOSSES),
    ('discount_horizon', 20, {
        **VECTORS, 'discount_head.label': 'discounted'}, 'loss/discount',
     'loss/reward'),
    ('lambda', 0.5, {**VECTORS, 'critic.outscale': 1.0},
     'tensor/returns', LOSSES),
    ('last_starts', 2, VECTORS, 'tensor/returns loss/replay_critic', LOSSES),
    ('start_discount', 'replayed', VECTORS, 'tensor/weight', LOSSES),
    ('start_gradients', True, LIVE, 'grad/rssm/obs/dense1/kernel',
     'loss/total'),
    ('actor.scale', 2.0, VECTORS, 'loss/behaviour', ACTOR),
    ('actor.unimix', 0.5, VECTORS, 'tensor/policy_entropy/action', LOSSES),
    ('actor.dist', 'normal_logstd', CONTINUOUS,
     'tensor/policy_entropy/action', LOSSES),
    ('actor.min_std', 0.5, CONTINUOUS, 'tensor/policy_entropy/action',
     LOSSES),
    ('actor.max_std', 2.0, CONTINUOUS, 'tensor/policy_entropy/action',
     LOSSES),
    ('actor_entropy', 0.1, VECTORS, ACTOR, f'{CRITIC} {LOSSES}'),
    ('critic.slow_scale', 0.5, VECTORS, CRITIC, 'loss/replay_critic'),
    ('replay_critic.slow_scale', 0.5, VECTORS, 'loss/replay_critic', CRITIC),
    ('replay_critic.enabled', False, VECTORS, 'loss/replay_critic '
     'loss/behaviour', f'{CRITIC} {ACTOR}'),
    ('replay_critic.scale', 0.5, VECTORS, 'loss/behaviour',
     'loss/replay_critic'),
    ('replay_critic.lambda', 0.5, VECTORS, 'tensor/replay_returns',
     'tensor/returns'),
    ('replay_critic.gradient', False, {**VECTORS, 'critic.outscale': 1.0},
     'grad/rssm/obs/dense1/kernel', 'loss/total grad/critic/dense1/kernel'),
    ('slow_critic.every_updates', 2, VECTORS, '', LOSSES),
    ('slow_critic.fraction', 0.5, VECTORS, 'step/slow_critic/out/bias',
     'step/critic/out/bias'),
    ('slow_critic.targets', True, VECTORS, '', LOSSES),
    ('advantage_norm.kind', 'mean_std', LIVE,
     f'{ACTOR} norm/advantage_norm/mean', f'{CRITIC} {LOSSES}'),
    ('value_norm.kind', 'mean_std', LIVE,
     f'{CRITIC} tensor/returns norm/value_norm/mean', LOSSES),
    ('return_norm.kind', 'none', VECTORS, 'norm/return_norm/low', LOSSES),
    # Optimiser
    ('opt.kind', 'adam', {**VECTORS, 'opt.eps': 1.0}, STEP, ''),
    ('opt.lr', 1e-2, VECTORS, STEP, ''),
    ('opt.eps', 1.0, VECTORS, STEP, ''),
    ('opt.beta1', 0.5, {**VECTORS, 'opt.nesterov': True}, STEP, ''),
    ('opt.beta2', 0.5, VECTORS, '', STEP),
    ('opt.clip', 1e-4, {**VECTORS, 'opt.eps': 1.0}, STEP, ''),
    ('opt.nesterov', True, VECTORS, STEP, ''),
    ('opt.decay', 0.5, VECTORS, STEP, 'opt/rssm/obs/dense1/bias'),
    ('opt.warmup', 10, VECTORS, STEP, ''),
    ('opt.schedule', 'linear', {**VECTORS, 'opt.anneal': 10}, '', STEP),
    ('opt.anneal', 10, {**VECTORS, 'opt.schedule': 'cosine'}, '', STEP),
]

HEADS = {'reward': 'loss/reward', 'discount_head': 'loss/discount',
         'actor': 'tensor/policy_entropy/action', 'critic': 'loss/critic'}
for section, loss in HEADS.items():
  name = section.removesuffix('_head')
  base = {**VECTORS, f'{section}.outscale': 1.0}
  other = HEADS['discount_head' if section != 'discount_head' else 'reward']
  TABLE += [
      (f'{section}.layers', 2, {**base, f'{section}.layers': 1},
       f'init/{name}/dense2/kernel {loss}', other),
      (f'{section}.units', 9, base, f'init/{name}/dense1/kernel', other),
      (f'{section}.act', 'tanh', base, loss, other),
      (f'{section}.norm', 'none', base,
       f'init/{name}/dense1/norm/gamma {loss}', other),
      (f'{section}.norm_eps', 0.1, base, loss, other),
      (f'{section}.init', 'normal_out', base, f'init/{name}/dense1/kernel',
       other),
      (f'{section}.outscale', 0.5, VECTORS, f'init/{name}/out/kernel' if (
          name != 'actor') else 'init/actor/action/logits/kernel',
       f'init/{name}/dense1/kernel {other}')]
  if section != 'actor':
    TABLE.append((f'{section}.scale', 2.0, VECTORS, 'loss/total', loss))
  if section in ('reward', 'critic'):
    TABLE += [
        (f'{section}.dist', 'mse', base, f'init/{name}/out/kernel {loss}',
         other),
        (f'{section}.dist', 'huber', {**base, f'{section}.dist': 'mse'}, loss,
         other),
        (f'{section}.bins', 32, base, f'init/{name}/out/kernel {loss}', other),
        (f'{section}.strict', False, {**base, f'{section}.bins': 4}, '',
         other)]
  if section in ('reward', 'discount_head'):
    TABLE.append((f'{section}.gradient', False, base,
                  'grad/rssm/obs/dense1/kernel', f'{loss} loss/total'))
TABLE.append(('discount_head.label', 'discounted', VECTORS,
              'loss/discount tensor/imag_discount', 'loss/reward'))
for section, base in NORMS.items():
  where = f'norm/{section}/low norm/{section}/high'
  base = {**VECTORS, **base, 'critic.outscale': 1.0, 'reward.outscale': 1.0,
          f'{section}.debias': False}
  TABLE += [
      (f'{section}.rate', 0.5, base, where, LOSSES),
      (f'{section}.limit', 1e9, {**base, f'{section}.rate': 0.5},
       ACTOR if section != 'value_norm' else CRITIC, LOSSES),
      (f'{section}.low', 50.0, base, f'norm/{section}/low',
       f'norm/{section}/high {LOSSES}'),
      (f'{section}.high', 50.0, base, f'norm/{section}/high',
       f'norm/{section}/low {LOSSES}'),
      (f'{section}.debias', True, base, f'norm/{section}/weight', LOSSES)]


def run(settings, names):
  """What an agent with these settings computes; only what `names` need."""
  found = {}
  for part in parts(names, ('grad', 'step')):
    found.update(_run(tuple(sorted(settings.items())), part))
  return found


@functools.cache
def _run(items, part):
  settings = dict(items)
  kind = settings.pop('kind', 'discrete')
  with eagerly():
    agent = tools.make_agent(kind, **settings)
    if part == 'initial':
      return agent_running.initial(agent)
    if part == 'optimise':
      return agent_running.optimise(agent)
    batch = _batch(kind, agent.config)
    work = {'look': agent_running.look, 'learn': agent_running.learn}[part]
    return work(agent, batch)


def _batch(kind, config):
  """The same trained rows, with what comes before them or without."""
  batch = tools.make_batch(
      kind, rows=config.batch_size, length=tools.LENGTH)
  if config.replay.context:
    return batch
  return {key: x if key == 'consec' else x[:, 1:] for key, x in batch.items()
          if not key.startswith('stored/')}


@pytest.mark.parametrize(
    'key, value, base, differs, equal', quick.every(6, TABLE),
    ids=[f'{row[0]}-{row[1]}-{i}' for i, row in enumerate(TABLE)])
def test_effect(key, value, base, differs, equal):
  differs, equal = differs.split(), equal.split()
  one = run({k: v for k, v in base.items() if (k, v) != (key, value)},
            differs + equal)
  two = run({**base, key: value}, differs + equal)
  check_effect(one, two, differs, equal)


@pytest.mark.slow
def test_what_shows_later():
  """Some keys have no effect on the first update, or on one alone."""
  def after(**settings):
    with eagerly():
      agent = tools.make_agent(**{**VECTORS, 'opt.lr': 1e-2, **settings})
      batch = tools.make_batch()
      batch = {key: batch[key] for key in agent.batch_keys}
      for _ in range(2):
        agent.train(batch)
      return {key: x for key, x in agent.state().items()
              if key.startswith('slow_critic/')}

  for base, others in (
      ({}, {'slow_critic.every_updates': 2, 'opt.beta2': 0.5,
            'slow_critic.targets': True}),
      ({'opt.schedule': 'linear', 'opt.anneal': 10},
       {'opt.anneal': 5, 'opt.schedule': 'cosine'})):
    one = after(**base)
    for key, value in others.items():
      two = after(**{**base, key: value})
      assert any(not np.array_equal(one[x], two[x]) for x in one), key


@pytest.mark.parametrize('base', [VECTORS, {**MIXED, **VECTORS}])
def test_unrolled_loops_compute_the_same(base):
  one, two = (run({**base, **extra}, ['grad/']) for extra in (
      {}, {'unroll': True}))
  for name in one:
    np.testing.assert_allclose(
        one[name], two[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_every_key_is_read(monkeypatch):
  """What the agent reads has a row above; the other keys: only speed."""
  with eagerly(), recorded_reads(monkeypatch) as keys:
    for settings in ({**ALL, 'precision': 'float16'}, {
        **VECTORS, 'kind': 'mixed', 'last_starts': 2, 'replay.consec': 2,
        'value_norm.kind': 'percentiles',
        'advantage_norm.kind': 'percentiles'}):
      kind = settings.pop('kind', 'discrete')
      agent = tools.make_agent(kind, **settings)
      tools.act(agent)
      agent_running.learn(agent, tools.make_batch(kind))
  assert keys ^ {row[0] for row in TABLE} == {
      'unroll', 'jit', 'devices', 'batch_length'}
  known = set(dreamerv3.schema().defaults.flat)
  elsewhere = {key.split('.')[-1] for key in known - keys}
  assert elsewhere <= names_in_sources('dreamerv3')


@pytest.mark.parametrize('suite, wanted', [
    ('dmc_vision', ('dmc_walker_stand', 64_000, 64.0)),
    ('dmc_proprio', ('dmc_cartpole_balance', 40_000, 64.0)),
    ('minatar', ('minatar_space_invaders', 24_000, 32.0))])
def test_lengths_at_laptop_size(suite, wanted):
  config = dreamerv3.configure([suite, 'laptop'])
  assert (config.task, config.steps, config.train_ratio) == wanted
