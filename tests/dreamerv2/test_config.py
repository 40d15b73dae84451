"""Every setting of the DreamerV2 agent does what it says: one row each."""

import functools

import numpy as np
import pytest

import dreamerv2
from tests.support import agent_running, quick
from tests.support import agent_tools_v2 as tools
from tests.support.agent_running import eagerly
from tests.support.config_tools import (
  check_effect,
  names_in_sources,
  parts,
  recorded_reads,
)

# Beside settings, a row's base may have these: kind of actions, environment
# steps and updates so far.
CONTINUOUS = {'kind': 'continuous'}
VECTORS = {'encoder.vectors': 'all', 'decoder.vectors': 'all'}
GAUSSIAN = {'rssm.latents': 'gaussian'}
BOTH = {'actor_gradient': 'both'}
TANH = {**CONTINUOUS, 'actor.dist': 'tanh_normal'}
NORMED = {'reward_norm.momentum': 0.9}
LINEAR = {'kind': 'linear', 'start': 0.0, 'end': 1.0, 'duration': 100}
MIX = {**BOTH, 'env_steps': 50,
       **{f'actor_mix.{key}': x for key, x in LINEAR.items()}}
ENTROPY = {'env_steps': 50,
           **{f'actor_entropy.{key}': x for key, x in LINEAR.items()}}
RANDOM = {**CONTINUOUS, 'expl.kind': 'random'}
PLAN = {'expl.kind': 'plan2explore'}
LOSS = {'expl.kind': 'model_loss'}

# Names that several rows watch.
CONV = 'encoder/conv2/kernel'
IMAGE = 'init/decoder/conv2/kernel'
REWARD, DISCOUNT = (f'init/{x}/dense1/kernel'
                    for x in ('reward', 'discount'))
IMG, OBS = (f'rssm/{x}/kernel' for x in ('img_dist', 'obs_dist'))
HEAD = 'init/expl/head1/dense1/kernel'
OUT = 'init/expl/head1/out/kernel'
TARGETS = 'tensor/expl_ensemble_targets'
OPT = {'model': f'opt/{CONV}', 'actor': 'opt/actor/dense1/kernel',
       'critic': 'opt/critic/dense1/kernel',
       'expl': 'opt/expl/head1/out/kernel'}

# Key, other value, settings of both agents, what must differ, what must not.
TABLE = [
    ('seed', 1, {}, 'init/actor/dense1/kernel', 'init/actor/dense1/bias'),
    ('seed', 1, CONTINUOUS, 'act/train act/eval', ''),
    ('precision', 'bfloat16', {}, 'tensor/embed loss/reward',
     f'init/{CONV} scale/model'),
    ('precision', 'float16', {}, 'tensor/embed loss/reward scale/model',
     f'init/{CONV}'),
    ('loss_scale', 64, {'precision': 'float16'}, 'scale/model scale/actor',
     'loss/model'),
    ('reward_transform', 'none', {}, 'loss/reward loss/model',
     'tensor/feat loss/image'),
    ('reward_transform', 'sign', {}, 'loss/reward loss/model',
     'tensor/feat loss/image'),
    ('encoder.images', 'none', VECTORS, f'init/{CONV} tensor/embed',
     'init/encoder/dense1/kernel'),
    ('encoder.vectors', 'all', {}, 'init/encoder/dense1/kernel '
     'tensor/embed', f'init/{CONV}'),
    ('encoder.vectors', 'speed', {}, 'init/encoder/dense1/kernel '
     'tensor/embed', f'init/{CONV}'),
    ('encoder.depth', 3, {}, f'init/{CONV} init/rssm/obs_out/kernel',
     IMAGE),
    ('encoder.layers', 2, VECTORS, 'init/encoder/dense2/kernel',
     'init/decoder/dense1/kernel'),
    ('encoder.units', 9, VECTORS, 'init/encoder/dense1/kernel '
     'init/rssm/obs_out/kernel', f'init/{CONV}'),
    ('encoder.widths', '9,7', VECTORS, 'init/encoder/dense1/kernel '
     'init/encoder/dense2/kernel init/rssm/obs_out/kernel', f'init/{CONV}'),
    ('encoder.kernels', '8,6,4', {}, 'init/encoder/conv4/kernel '
     f'init/{CONV} init/rssm/obs_out/kernel', IMAGE),
    ('encoder.act', 'tanh', {}, 'tensor/embed', f'init/{CONV}'),
    ('encoder.norm', 'layer', VECTORS, 'init/encoder/conv1/norm/gamma '
     'init/encoder/dense1/norm/gamma tensor/embed', f'init/{CONV}'),
    ('decoder.images', 'none', VECTORS, f'{IMAGE} loss/image loss/model',
     'loss/speed loss/angle tensor/feat'),
    ('decoder.vectors', 'all', {}, 'loss/speed loss/angle loss/model',
     'loss/image tensor/feat'),
    ('decoder.depth', 3, {}, f'{IMAGE} loss/image', f'init/{CONV}'),
    ('decoder.layers', 2, VECTORS, 'init/decoder/dense2/kernel',
     IMAGE),
    ('decoder.units', 9, VECTORS, 'init/decoder/dense1/kernel '
     'init/decoder/out/speed/kernel', IMAGE),
    ('decoder.widths', '9,7', VECTORS, 'init/decoder/dense2/kernel '
     'init/decoder/out/speed/kernel', IMAGE),
    ('decoder.kernels', '6,4,5,4', {}, IMAGE, f'init/{CONV}'),
    ('decoder.act', 'tanh', {}, 'loss/image', f'{IMAGE} tensor/feat'),
    ('decoder.norm', 'layer', VECTORS, 'loss/image loss/speed '
     'init/decoder/conv1/norm/gamma '
     'init/decoder/dense1/norm/gamma', IMAGE),
    ('decoder.gradient', False, {}, f'grad/{CONV}',
     'loss/model grad/decoder/conv_in/kernel'),
    ('rssm.latents', 'gaussian', {}, 'tensor/post/mean tensor/post/stoch '
     f'tensor/prior/logit init/{IMG}', 'tensor/embed'),
    ('rssm.stoch', 4, {}, f'tensor/post/stoch init/{IMG}', 'tensor/embed'),
    ('rssm.classes', 6, {}, f'tensor/post/stoch init/{IMG}', 'tensor/embed'),
    ('rssm.deter', 9, {}, 'tensor/post/deter init/rssm/gru/dense/kernel',
     'tensor/embed'),
    ('rssm.hidden', 7, {}, 'init/rssm/img_in/kernel '
     'init/rssm/img_out/kernel init/rssm/obs_out/kernel',
     'tensor/embed'),
    ('rssm.act', 'relu', {}, 'tensor/post/deter tensor/prior/logit',
     'tensor/embed'),
    ('rssm.norm', 'layer', {}, 'init/rssm/img_in/norm/gamma '
     'init/rssm/obs_out/norm/beta tensor/post/logit', 'tensor/embed'),
    ('rssm.gru_norm', False, {}, 'init/rssm/gru/norm/gamma '
     'tensor/post/deter', 'tensor/embed init/rssm/gru/dense/kernel'),
    ('rssm.std_act', 'softplus', GAUSSIAN, 'tensor/post/std tensor/prior/std',
     'tensor/embed'),
    ('rssm.std_act', 'sigmoid', GAUSSIAN, 'tensor/post/std tensor/prior/std',
     'tensor/embed'),
    ('rssm.min_std', 0.5, GAUSSIAN, 'tensor/post/std tensor/prior/std',
     'tensor/embed'),
    ('reward.layers', 2, {}, 'init/reward/dense2/kernel', DISCOUNT),
    ('reward.units', 9, {}, REWARD, DISCOUNT),
    ('reward.act', 'tanh', {}, 'loss/reward tensor/imag_reward',
     'loss/discount'),
    ('reward.norm', 'layer', {}, 'init/reward/dense1/norm/gamma '
     'loss/reward', 'loss/discount'),
    ('reward.gradient', False, {}, f'grad/{CONV}',
     'loss/model grad/reward/dense1/kernel'),
    ('reward.scale', 7.0, {}, 'loss/model', 'loss/reward'),
    ('discount_head.enabled', False, {}, f'{DISCOUNT} loss/discount '
     'loss/model tensor/imag_discount tensor/returns', 'loss/reward'),
    ('discount_head.layers', 2, {}, 'init/discount/dense2/kernel',
     REWARD),
    ('discount_head.units', 9, {}, DISCOUNT, REWARD),
    ('discount_head.act', 'tanh', {}, 'loss/discount tensor/imag_discount',
     'loss/reward'),
    ('discount_head.dist', 'mse', {}, 'loss/discount tensor/imag_discount',
     f'{DISCOUNT} loss/reward'),
    ('discount_head.norm', 'layer', {}, 'init/discount/dense1/norm/gamma '
     'loss/discount', 'loss/reward'),
    ('discount_head.gradient', False, {}, f'grad/{CONV}',
     'loss/model grad/discount/dense1/kernel'),
    ('discount_head.scale', 7.0, {}, 'loss/model', 'loss/discount'),
    ('kl.scale', 7.0, {}, 'loss/model', 'loss/kl'),
    ('kl.balance', 0.3, {}, f'grad/{IMG} grad/{OBS}', 'loss/kl tensor/kl'),
    ('kl.balance', 0.5, {}, f'grad/{IMG} grad/{OBS}', 'loss/kl tensor/kl'),
    ('kl.free', 3.0, {}, 'loss/kl loss/model', 'tensor/kl'),
    ('kl.free_by', 'element', {'kl.free': 0.03}, 'loss/kl', 'tensor/kl'),
    ('kl.forward', True, {}, 'loss/kl tensor/kl', 'tensor/feat'),
    ('horizon', 4, {}, 'tensor/imag_feat tensor/returns', 'loss/model'),
    ('discount', 0.9, {}, 'tensor/returns tensor/weight loss/discount',
     'tensor/imag_value tensor/feat'),
    ('lambda', 0.5, {}, 'tensor/returns loss/actor loss/critic',
     'tensor/weight tensor/imag_value'),
    ('actor.layers', 2, {}, 'init/actor/dense2/kernel',
     'init/critic/dense1/kernel'),
    ('actor.units', 9, {}, 'init/actor/dense1/kernel',
     'init/critic/dense1/kernel'),
    ('actor.act', 'tanh', CONTINUOUS, 'tensor/imag_action',
     'init/actor/dense1/kernel loss/model'),
    ('actor.norm', 'layer', CONTINUOUS, 'init/actor/dense1/norm/gamma '
     'tensor/imag_action', 'init/actor/dense1/kernel'),
    ('actor.dist', 'tanh_normal', CONTINUOUS, 'tensor/imag_action '
     'loss/actor act/train act/eval', 'init/actor/std/kernel'),
    ('actor.init_std', 1.0, CONTINUOUS, 'tensor/imag_action '
     'tensor/policy_entropy', 'init/actor/std/kernel'),
    ('actor.init_std', 1.0, TANH, 'tensor/imag_action tensor/policy_entropy',
     'init/actor/std/kernel'),
    ('actor.min_std', 1.0, TANH, 'tensor/imag_action tensor/policy_entropy',
     'init/actor/std/kernel'),
    ('actor.min_std', 1.0, CONTINUOUS, 'tensor/imag_action '
     'tensor/policy_entropy', 'init/actor/std/kernel'),
    ('actor.mean_scale', 0.1, TANH, 'tensor/imag_action act/eval',
     'init/actor/std/kernel'),
    ('critic.layers', 2, {}, 'init/critic/dense2/kernel '
     'init/slow_critic/dense2/kernel', 'init/actor/dense1/kernel'),
    ('critic.units', 9, {}, 'init/critic/dense1/kernel '
     'init/slow_critic/dense1/kernel', 'init/actor/dense1/kernel'),
    ('critic.act', 'tanh', {}, 'tensor/imag_value tensor/critic_pred',
     'tensor/imag_reward'),
    ('critic.norm', 'layer', {}, 'init/critic/dense1/norm/gamma '
     'init/slow_critic/dense1/norm/gamma tensor/imag_value',
     'tensor/imag_reward'),
    ('actor_gradient', 'dynamics', {}, 'loss/actor',
     'loss/critic tensor/imag_feat'),
    ('actor_gradient', 'both', {}, 'loss/actor',
     'loss/critic tensor/imag_feat'),
    ('actor_gradient', 'reinforce', CONTINUOUS, 'loss/actor',
     'loss/critic tensor/imag_feat'),
    ('actor_mix.start', 0.7, BOTH, 'loss/actor', 'loss/critic'),
    ('actor_mix.kind', 'linear', MIX, 'loss/actor', 'loss/critic'),
    ('actor_mix.kind', 'warmup', {**MIX, 'actor_mix.start': 0.9},
     'loss/actor', 'loss/critic'),
    ('actor_mix.kind', 'exp', MIX, 'loss/actor', 'loss/critic'),
    ('actor_mix.end', 0.5, MIX, 'loss/actor', 'loss/critic'),
    ('actor_mix.duration', 200, MIX, 'loss/actor', 'loss/critic'),
    ('actor_entropy.start', 0.7, {}, 'loss/actor', 'loss/critic'),
    ('actor_entropy.kind', 'linear', ENTROPY, 'loss/actor', 'loss/critic'),
    ('actor_entropy.end', 0.5, ENTROPY, 'loss/actor', 'loss/critic'),
    ('actor_entropy.duration', 200, ENTROPY, 'loss/actor', 'loss/critic'),
    ('slow_critic.enabled', False, {}, 'init/slow_critic/dense1/kernel '
     'tensor/imag_value loss/actor loss/critic', 'tensor/imag_reward'),
    ('slow_critic.every_updates', 3, {'updates': 2},
     'step/slow_critic/dense1/kernel', 'step/critic/dense1/kernel'),
    ('slow_critic.fraction', 0.5, {'updates': 2},
     'step/slow_critic/dense1/kernel', 'step/critic/dense1/kernel'),
    ('reward_norm.momentum', 0.5, NORMED, 'tensor/imag_reward tensor/returns '
     'norm/reward_norm/mag', 'tensor/imag_reward_raw'),
    ('reward_norm.scale', 2.0, NORMED, 'tensor/imag_reward tensor/returns',
     'tensor/imag_reward_raw'),
    ('reward_norm.scale', 2.0, {}, 'tensor/imag_reward tensor/returns',
     'loss/reward'),
    ('reward_norm.eps', 1.0, NORMED, 'tensor/imag_reward tensor/returns',
     'tensor/imag_reward_raw'),
    ('eval_state_mean', True, CONTINUOUS, 'act/eval', 'act/train'),
    ('expl.kind', 'random', CONTINUOUS, 'act/train', 'act/eval'),
    ('expl.kind', 'plan2explore', CONTINUOUS, 'act/train '
     f'{HEAD} loss/expl_heads', 'act/eval loss/model loss/actor'),
    ('expl.kind', 'model_loss', CONTINUOUS, 'act/train '
     'init/expl/head1/dense1/kernel loss/expl_heads',
     'act/eval loss/model loss/actor'),
    ('expl.until', 1000, RANDOM, 'act/train', 'act/eval'),
    ('expl.noise', 0.3, CONTINUOUS, 'act/train', 'act/eval'),
    ('expl.noise', 0.9, {}, 'act/train', 'act/eval'),
    ('expl.eval_noise', 0.3, CONTINUOUS, 'act/eval', 'act/train'),
    ('expl.intrinsic_scale', 2.0, PLAN, 'tensor/expl_imag_reward',
     'tensor/imag_reward loss/expl_heads'),
    ('expl.extrinsic_scale', 2.0, PLAN, 'tensor/expl_imag_reward',
     'tensor/imag_reward loss/expl_heads'),
    ('expl.reward_norm.momentum', 0.5, PLAN, 'tensor/expl_imag_reward '
     'norm/expl/intrinsic/mag', 'tensor/imag_reward'),
    ('expl.reward_norm.scale', 2.0, PLAN, 'tensor/expl_imag_reward',
     'tensor/imag_reward'),
    ('expl.reward_norm.eps', 1.0, PLAN, 'tensor/expl_imag_reward',
     'tensor/imag_reward'),
    ('expl.head.layers', 2, PLAN, 'init/expl/head1/dense2/kernel',
     REWARD),
    ('expl.head.units', 9, PLAN, HEAD, REWARD),
    ('expl.head.act', 'tanh', PLAN, 'loss/expl_heads', 'loss/reward'),
    ('expl.head.norm', 'layer', PLAN, 'loss/expl_heads '
     'init/expl/head1/dense1/norm/gamma', 'loss/reward'),
    ('expl.models', 4, PLAN, 'loss/expl_heads tensor/expl_imag_reward '
     'init/expl/head4/dense1/kernel', HEAD),
    ('expl.target', 'deter', PLAN, f'{OUT} {TARGETS}', HEAD),
    ('expl.target', 'feat', PLAN, f'{OUT} {TARGETS}', HEAD),
    ('expl.target', 'embed', PLAN, f'{OUT} {TARGETS}', HEAD),
    ('expl.offset', 2, PLAN, f'loss/expl_heads {TARGETS}', 'loss/model'),
    ('expl.offset', 0, PLAN, f'loss/expl_heads {TARGETS}', 'loss/model'),
    ('expl.action', False, PLAN, f'{HEAD} tensor/expl_ensemble_inputs',
     TARGETS),
    ('expl.log', True, PLAN, 'tensor/expl_imag_reward', 'loss/expl_heads'),
    ('expl.loss', 'image', LOSS, 'loss/expl_heads', 'loss/model'),
    ('expl.loss', 'reward', LOSS, 'loss/expl_heads', 'loss/model'),
    ('expl.loss', 'discount', LOSS, 'loss/expl_heads', 'loss/model'),
]

for group, name in OPT.items():
  others = ' '.join(x for x in OPT.values() if x != name)
  TABLE.append((f'{group}_opt.kind', 'sgd', {
      **PLAN, f'{group}_opt.clip': 1e-2}, name, others))
  for key, value in (('lr', 1e-2), ('eps', 1.0), ('clip', 1e-4),
                     ('decay', 0.5)):
    TABLE.append((f'{group}_opt.{key}', value, PLAN, name, others))


def run(settings, names):
  """What an agent with these settings computes; only what `names` need."""
  found = {}
  for part in parts(names):
    found.update(_run(tuple(sorted(settings.items())), part))
  return found


@functools.cache
def _run(items, part):
  settings = dict(items)
  kind = settings.pop('kind', 'discrete')
  env_steps = settings.pop('env_steps', 1000)
  updates = settings.pop('updates', 0)
  with eagerly():
    agent = tools.make_agent(kind, **settings)
    agent.counters['updates'].assign(updates)
    if part == 'initial':
      return agent_running.initial(agent)
    if part == 'optimise':
      return agent_running.optimise(agent)
    if part == 'act':
      return tools.act(agent, env_steps)
    work = {'look': agent_running.look, 'learn': agent_running.learn}[part]
    return work(agent, tools.make_batch(kind), env_steps)


@pytest.mark.parametrize(
    'key, value, base, differs, equal', quick.every(6, TABLE),
    ids=[f'{row[0]}-{row[1]}-{i}' for i, row in enumerate(TABLE)])
def test_effect(key, value, base, differs, equal):
  differs, equal = differs.split(), equal.split()
  one = run({k: v for k, v in base.items() if (k, v) != (key, value)},
            differs + equal)
  two = run({**base, key: value}, differs + equal)
  check_effect(one, two, differs, equal)


@pytest.mark.parametrize('base', [{}, {**CONTINUOUS, **PLAN}])
def test_unrolled_loops_compute_the_same(base):
  one, two = (run({**base, **extra}, ['grad/']) for extra in (
      {}, {'unroll': True}))
  assert any(name.startswith('step/expl') for name in one) == bool(base)
  for name in one:
    np.testing.assert_allclose(
        one[name], two[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_every_key_is_read(monkeypatch):
  """What the agent reads has a row above; the other keys: only speed."""
  with eagerly(), recorded_reads(monkeypatch) as keys:
    for kind, settings in (
        ('continuous', {**VECTORS, **GAUSSIAN, **NORMED, **TANH,
                        'precision': 'float16'}),
        ('discrete', {**MIX, **ENTROPY, **PLAN}), ('discrete', LOSS)):
      settings = {k: v for k, v in settings.items()
                  if k not in ('env_steps', 'kind')}
      agent = tools.make_agent(kind, **settings)
      tools.act(agent)
      agent_running.look(agent, tools.make_batch(kind))
  assert keys ^ {row[0] for row in TABLE} == {'unroll', 'jit', 'devices'}
  known = set(dreamerv2.schema().defaults.flat)
  elsewhere = {key.split('.')[-1] for key in known - keys}
  assert elsewhere <= names_in_sources('dreamerv2')
