"""Every setting of the agent does what it says: one row each."""

import functools

import numpy as np
import pytest

import dreamerv1
from tests.support import agent_running, agent_tools, quick
from tests.support.agent_running import eagerly
from tests.support.config_tools import (
  check_effect,
  names_in_sources,
  recorded_reads,
)

MODEL = {'discount_head.gradient': True}
NO_VALUE = {'behaviour': 'no_value'}
PLANNER = {'behaviour': 'planner'}
CPC = {'cpc.enabled': True}
WINDOW = {**CPC, 'cpc.contrast': 'window'}
DISCRETE = {'kind': 'discrete'}
HALF_LIFE = {'expl.schedule': 'half_life', 'expl.decay': 1000}
LINEAR = {'expl.schedule': 'linear', 'expl.min': 0.1}
OFF = {'discount_head.enabled': False, 'decoder.images': 'none', 'kl.free': 0.0}

# Names that several rows watch.
CONV = 'init/encoder/conv1/kernel'
IMAGE = 'init/decoder/conv_in/kernel'
REWARD, DISCOUNT, ACTOR, CRITIC = (f'init/{x}/dense1/kernel' for x in (
    'reward', 'discount', 'actor', 'critic'))
OPT = {'model': 'step/encoder/conv1/kernel',
       'actor': 'step/actor/dense1/kernel',
       'critic': 'step/critic/dense1/kernel',
       'diagnostic': 'step/discount/dense1/kernel'}

# Key, other value, settings of both agents, what must differ, what must not.
TABLE = [
    ('seed', 1, {}, f'{ACTOR} act/train', 'init/actor/dense1/bias'),
    ('precision', 'bfloat16', {}, 'tensor/embed loss/reward',
     CONV),
    ('precision', 'float16', {}, 'tensor/embed loss/reward scale/model',
     CONV),
    ('loss_scale', 64, {'precision': 'float16'}, 'scale/model scale/actor',
     'loss/model'),
    ('image_noise', False, {}, 'tensor/embed', CONV),
    ('reward_transform', 'tanh', {}, 'loss/reward loss/model',
     'tensor/imag_reward loss/image'),
    ('encoder.depth', 3, {}, 'init/encoder/conv4/kernel '
     'init/rssm/obs_out/kernel',
     IMAGE),
    ('encoder.act', 'tanh', {}, 'tensor/embed', 'init/encoder/conv4/kernel'),
    ('decoder.depth', 3, {}, f'{IMAGE} tensor/like/image',
     f'{CONV} tensor/feat'),
    ('decoder.act', 'elu', {}, 'tensor/like/image', 'tensor/feat'),
    ('rssm.stoch', 5, {}, 'tensor/post/stoch init/rssm/img_in/kernel',
     'tensor/embed'),
    ('rssm.deter', 9, {}, 'tensor/post/deter init/rssm/gru/kernel',
     'tensor/embed'),
    ('rssm.hidden', 7, {}, 'init/rssm/img_in/kernel '
     'init/rssm/img_out/kernel init/rssm/obs_out/kernel',
     'init/rssm/gru/recurrent_kernel'),
    ('rssm.act', 'relu', {}, 'tensor/post/deter', 'tensor/embed'),
    ('rssm.min_std', 0.5, {}, 'tensor/post/std tensor/prior/std', ''),
    ('rssm.gru', 'reset_before', {}, 'init/rssm/gru/gates/kernel '
     'init/rssm/gru/kernel tensor/post/deter', 'tensor/embed'),
    ('rssm.stats', 'separate', {}, 'init/rssm/img_dist/mean/kernel '
     'init/rssm/obs_dist/std/kernel init/rssm/img_dist/kernel', ''),
    ('rssm.shared_latent_noise', True, {}, 'tensor/post/stoch '
     'tensor/imag_feat act/eval', 'init/rssm/img_in/kernel'),
    ('reward.layers', 2, {}, 'init/reward/dense2/kernel', DISCOUNT),
    ('reward.units', 9, {}, REWARD, DISCOUNT),
    ('reward.act', 'tanh', {}, 'tensor/like/reward', 'tensor/like/discount'),
    ('discount_head.enabled', False, {}, f'{DISCOUNT} loss/discount',
     'tensor/feat loss/model'),
    ('discount_head.gradient', True, {}, 'loss/model tensor/imag_discount '
     'tensor/imag_feat grad/rssm/gru/kernel', 'loss/discount tensor/feat'),
    ('discount_head.layers', 2, {}, 'init/discount/dense2/kernel', REWARD),
    ('discount_head.units', 9, {}, DISCOUNT, REWARD),
    ('discount_head.act', 'tanh', {}, 'tensor/like/discount',
     'tensor/like/reward'),
    ('discount_head.scale', 7.0, MODEL, 'loss/model', 'loss/discount'),
    ('decoder.gradient', False, {}, 'loss/model grad/encoder/conv1/kernel '
     'step/decoder/conv_in/kernel',
     'loss/image tensor/like/image grad/decoder/conv_in/kernel'),
    ('decoder.images', 'none', {}, 'loss/image tensor/like/image loss/model '
     f'{IMAGE}', 'tensor/feat'),
    ('cpc.enabled', True, {}, 'loss/cpc loss/model grad/encoder/conv1/kernel '
     'init/cpc/dense1/kernel', 'loss/image loss/kl tensor/feat'),
    ('cpc.contrast', 'states', CPC, 'loss/cpc grad/cpc/dense1/kernel',
     'tensor/cpc_mean tensor/cpc_positive loss/reward'),
    ('cpc.contrast', 'batch', CPC, 'loss/cpc', 'tensor/cpc_positive'),
    ('cpc.contrast', 'time', CPC, 'loss/cpc', 'tensor/cpc_positive'),
    ('cpc.contrast', 'window', CPC, 'loss/cpc', 'tensor/cpc_positive'),
    ('cpc.window_batch', 1, WINDOW, 'loss/cpc', 'tensor/cpc_positive'),
    ('cpc.window_time', 2, WINDOW, 'loss/cpc', 'tensor/cpc_positive'),
    ('cpc.layers', 2, CPC, 'init/cpc/dense2/kernel', REWARD),
    ('cpc.units', 9, CPC, 'init/cpc/dense1/kernel', REWARD),
    ('cpc.act', 'tanh', CPC, 'tensor/cpc_mean', 'tensor/like/reward'),
    ('cpc.init_std', 2.0, CPC, 'tensor/cpc_std', 'tensor/cpc_mean'),
    ('cpc.min_std', 0.5, CPC, 'tensor/cpc_std', 'tensor/cpc_mean'),
    ('kl.scale', 0.1, {}, 'loss/model', 'loss/kl loss/image'),
    ('kl.free', 0.0, {}, 'loss/kl grad/rssm/img_out/kernel',
     'tensor/kl'),
    ('kl.free_by', 'element_over', {}, 'loss/kl', 'tensor/kl'),
    ('kl.free_by', 'mean', {'kl.free': 0.2}, 'loss/kl', 'tensor/kl'),
    ('behaviour', 'no_value', {}, f'{CRITIC} loss/critic loss/actor '
     'tensor/returns', 'loss/model tensor/imag_reward'),
    ('behaviour', 'planner', {}, f'{CRITIC} {ACTOR} '
     'loss/actor loss/critic tensor/imag_feat act/train act/eval',
     'loss/model step/encoder/conv1/kernel step/discount/dense1/kernel'),
    ('no_value_returns', 'discounted', NO_VALUE, 'loss/actor tensor/returns',
     'tensor/imag_reward'),
    ('horizon', 4, {}, 'tensor/imag_feat tensor/returns', 'loss/model'),
    ('discount', 0.9, {}, 'tensor/returns tensor/weight loss/discount',
     'tensor/imag_value tensor/like/reward'),
    ('lambda', 0.5, {}, 'tensor/returns loss/actor loss/critic',
     'tensor/weight tensor/imag_value'),
    ('bootstrap', 'second_last', {}, 'tensor/returns',
     'tensor/weight tensor/imag_value'),
    ('actor.layers', 2, {}, 'init/actor/dense2/kernel', CRITIC),
    ('actor.units', 9, {}, ACTOR, CRITIC),
    ('actor.act', 'tanh', {}, 'tensor/imag_action act/train',
     ACTOR),
    ('actor.init_std', 1.0, {}, 'tensor/imag_action act/eval',
     'init/actor/out/bias'),
    ('actor.min_std', 1.0, {}, 'tensor/imag_action act/eval',
     'init/actor/out/bias'),
    ('actor.mean_scale', 0.1, {}, 'tensor/imag_action act/eval',
     'init/actor/out/kernel'),
    ('actor.stats', 'separate', {}, 'init/actor/mean/kernel '
     'init/actor/std/kernel init/actor/out/kernel', ACTOR),
    ('actor.gradient', 'score', DISCRETE, 'grad/actor/dense1/kernel',
     'loss/actor tensor/imag_action'),
    ('critic.layers', 2, {}, 'init/critic/dense2/kernel', ACTOR),
    ('critic.units', 9, {}, CRITIC, ACTOR),
    ('critic.act', 'tanh', {}, 'tensor/imag_value', 'tensor/imag_reward'),
    ('planner.horizon', 2, PLANNER, 'act/train act/eval', 'loss/model'),
    ('planner.candidates', 9, PLANNER, 'act/train act/eval', 'loss/model'),
    ('planner.iterations', 2, PLANNER, 'act/train act/eval', 'loss/model'),
    ('planner.elites', 9, PLANNER, 'act/train act/eval', 'loss/model'),
    ('collect', 'sample', {}, 'act/train', 'act/eval'),
    ('expl.kind', 'none', {}, 'act/train', 'act/eval'),
    ('expl.kind', 'random', {}, 'act/train', 'act/eval'),
    ('expl.kind', 'epsilon', {}, 'act/train', 'act/eval'),
    ('expl.kind', 'none', {**DISCRETE, 'expl.noise': 1.0}, 'act/train',
     'act/eval'),
    ('expl.noise', 0.1, {}, 'act/train', 'act/eval'),
    ('expl.schedule', 'half_life', HALF_LIFE, 'act/train', 'act/eval'),
    ('expl.schedule', 'linear', {}, 'act/train', 'act/eval'),
    ('expl.schedule', 'relative', {}, 'act/train', 'act/eval'),
    ('expl.min', 0.25, HALF_LIFE, 'act/train', 'act/eval'),
    ('expl.min', 0.2, LINEAR, 'act/train', 'act/eval'),
    ('expl.decay', 2000, HALF_LIFE, 'act/train', 'act/eval'),
    ('expl.decay_updates', 100000, LINEAR, 'act/train', 'act/eval'),
    ('expl.eval_noise', 0.2, {}, 'act/eval', 'act/train'),
]

for group, name in OPT.items():
  others = ' '.join(x for x in OPT.values() if x != name)
  for key, value in (('lr', 1e-2), ('eps', 1.0), ('clip', 1e-4)):
    TABLE.append((f'{group}_opt.{key}', value, {}, name, others))


def run(overrides, names=()):
  """What an agent with these settings computes; only what `names` need."""
  names = names or ['init/', 'act/']
  parts = {'act' if name.startswith('act/') else 'learn' for name in names}
  found = {}
  for part in parts:
    found.update(_run(tuple(sorted(overrides.items())), part))
  return found


@functools.cache
def _run(items, part):
  overrides = dict(items)
  kind = overrides.pop('kind', 'continuous')
  with eagerly():
    agent = agent_tools.make_agent(kind, **overrides)
    if part == 'act':
      return agent_tools.act(agent)
    return agent_running.learn(agent, agent_tools.make_batch(kind))


@pytest.mark.parametrize(
    'key, value, base, differs, equal', quick.every(6, TABLE),
    ids=[f'{row[0]}-{row[1]}-{i}' for i, row in enumerate(TABLE)])
def test_effect(key, value, base, differs, equal):
  differs, equal = differs.split(), equal.split()
  one = run({k: v for k, v in base.items() if k != key}, differs + equal)
  two = run({**base, key: value}, differs + equal)
  check_effect(one, two, differs, equal)


def test_unrolled_loops_compute_the_same():
  one, two = run({}), run({'unroll': True})
  for name in one:
    np.testing.assert_allclose(
        one[name], two[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_every_key_is_read(monkeypatch):
  """What the agent reads has a row above; the other keys: only speed."""
  with eagerly(), recorded_reads(monkeypatch) as keys:
    for kind, overrides in (
        ('continuous', HALF_LIFE), ('discrete', LINEAR), ('continuous', OFF),
        ('continuous', {**NO_VALUE, **WINDOW, 'precision': 'float16'}),
        ('continuous', PLANNER)):
      agent = agent_tools.make_agent(kind, **overrides)
      agent_tools.act(agent)
      agent_running.learn(agent, agent_tools.make_batch(kind))
  assert keys ^ {row[0] for row in TABLE} == {'unroll', 'jit', 'devices'}
  known = set(dreamerv1.schema().defaults.flat)
  elsewhere = {key.split('.')[-1] for key in known - keys}
  assert elsewhere <= names_in_sources('dreamerv1')
