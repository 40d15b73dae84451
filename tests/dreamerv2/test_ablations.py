"""Each preset of DreamerV2 changes what it names, and nothing else.

Two agents, with and without the preset, compute one update on the same batch
from the same seed. A row says which of their arrays differ (losses,
gradients, tensors, initial weights, loss scales, actions); all the others are
the same to the bit. The world model's optimiser stands still, so that both
behaviours learn in one and the same model: what changes the model's gradients
only, changes nothing else here.
"""

import dataclasses
import fnmatch
import functools

import numpy as np
import pytest

import dreamerv2
from dreamer.config.schema import diff
from dreamer.envs.spaces import ActionSpace, Space
from tests.support import agent_running, quick
from tests.support import agent_tools_v2 as tools
from tests.support.agent_running import eagerly

FROZEN = {'model_opt.lr': 1e-30, 'model_opt.decay': 0.0}
FLOAT32 = {'precision': 'float32'}

# Gradients of what infers the posterior; the prior's layers after the cell
# see the KL only.
REPRESENTATION = 'grad/encoder/* grad/rssm/*'
PRIOR = 'grad/rssm/img_out/* grad/rssm/img_dist/*'
ACTOR = 'loss/actor grad/actor/*'
CRITIC = 'loss/critic grad/critic/*'
GAMMA = (f'loss/discount loss/model tensor/like/discount {REPRESENTATION} '
         'grad/discount/* tensor/imag_discount tensor/returns '
         f'tensor/weight {ACTOR} {CRITIC}')
# Samples of small networks may agree though their probabilities don't.
SAMPLES = 'act/* tensor/imag_action tensor/*/stoch'


@dataclasses.dataclass
class Row:
  """What a preset changes: patterns of names.

  presets and base are those of the two agents, kind that of their actions,
  settings are given to both, others to the base alone. `same` takes names
  back from `differs`; `maybe` may be the same; `rounding` is equal but for
  the order of sums.
  """

  presets: tuple
  differs: str = ''
  same: str = ''
  maybe: str = ''
  rounding: str = ''
  base: tuple = ()
  kind: str = 'discrete'
  settings: dict = dataclasses.field(default_factory=dict)
  others: dict = dataclasses.field(default_factory=dict)
  env_steps: int = 0


CONTINUOUS = {'kind': 'continuous'}

TABLE = [
    Row(('atari',)),
    Row(('paper',)),
    Row(('gamma995',), GAMMA, PRIOR),
    Row(('montezuma',), GAMMA, PRIOR),
    Row(('minatar',), GAMMA, PRIOR),

    # Ablations
    Row(('no_image_gradients',), REPRESENTATION, PRIOR),
    Row(('no_reward_gradients',), REPRESENTATION, PRIOR),
    Row(('no_kl_balancing',), REPRESENTATION, rounding='loss/kl loss/model'),
    Row(('no_layer_norm',),
        'init/rssm/gru/norm/* loss/* grad/* tensor/*', 'tensor/embed',
        SAMPLES),
    Row(('gaussian_latents',), 'init/* loss/* grad/* tensor/*',
        'init/encoder/* init/*/bias init/*/out/* init/rssm/gru/* '
        'init/rssm/img_out/* init/rssm/obs_out/* '
        'init/decoder/conv?/* tensor/embed',
        f'{SAMPLES} init/rssm/*_dist*/bias'),
    Row(('no_reinforce',), ACTOR),
    Row(('no_reinforce',), **CONTINUOUS),
    Row(('reinforce_only',)),
    Row(('reinforce_only',), ACTOR, **CONTINUOUS),
    Row(('mixed_gradients',), ACTOR),
    Row(('mixed_gradients',), ACTOR, **CONTINUOUS),
    # 10M steps later: reinforce, with a tenth of the entropy bonus.
    Row(('mixed_gradients',), env_steps=10_000_000,
        others={'actor_entropy.start': 0.0003}),

    # Suites; sizes are tiny here, see tests/audit.
    Row(('dmc_vision',),
        'init/discount/* loss/* tensor/like/* '
        f'tensor/imag_discount tensor/returns tensor/weight {REPRESENTATION} '
        'grad/reward/* grad/discount/* grad/actor/* '
        'grad/critic/*', 'loss/image tensor/like/image', **CONTINUOUS),
    Row(('dmc_proprio',),
        'init/encoder/* init/decoder/* '
        'init/rssm/obs_out/kernel loss/* grad/* tensor/*',
        'loss/kl tensor/imag_discount tensor/weight', f'{SAMPLES} {PRIOR}',
        base=('dmc_vision',), **CONTINUOUS),
    Row(('humanoid',), f'loss/model {REPRESENTATION} {ACTOR}',
        base=('dmc_vision',), settings={'kl.free': 0.0}, **CONTINUOUS),
    Row(('crafter',), 'init/*norm*/* loss/* grad/* tensor/*',
        'init/rssm/gru/norm/*', SAMPLES),

    # Inputs: of users, who have images and vectors; vectors alone.
    Row(('own',),
        'init/encoder/dense* init/decoder/dense* init/decoder/out/* '
        'init/rssm/obs_out/kernel loss/* grad/* tensor/*', '', SAMPLES),
    Row(('vectors',),
        'init/encoder/* init/decoder/* init/rssm/obs_out/kernel loss/* '
        'grad/* tensor/*', '', SAMPLES),

    # As released: where precision is that of the paper, only a scale.
    Row(('released',), f'loss/model {REPRESENTATION} grad/discount/*',
        PRIOR, settings=FLOAT32),
    Row(('released',), 'scale/* loss/* grad/* tensor/*', '',
        f'{SAMPLES} tensor/weight loss/image'),  # rounded, some agree
    Row(('dmc_vision', 'released'), base=('dmc_vision',), settings=FLOAT32,
        **CONTINUOUS),
    Row(('dmc_proprio', 'released'), base=('dmc_proprio',), settings=FLOAT32,
        **CONTINUOUS),
    Row(('humanoid', 'released'), base=('humanoid',), settings=FLOAT32,
        **CONTINUOUS),
    Row(('crafter', 'released'), base=('crafter',), settings=FLOAT32),
    Row(('minatar', 'released'), base=('minatar',), settings=FLOAT32),
    Row(('own', 'released'), base=('own',), settings=FLOAT32),

    # On a task of its own.
    Row(('pixelpoint',), GAMMA, base=('released',), settings={
        **FLOAT32, 'encoder.kernels': '2,4,4,4',
        'decoder.kernels': '6,5,4,2'}),

    # Short runs; sizes are tiny here, see `test_sizes`.
    Row(('atari', 'laptop'), GAMMA, PRIOR, base=('atari',)),
    Row(('minatar', 'laptop'), ACTOR, base=('minatar',)),
    Row(('dmc_vision', 'laptop'), 'tensor/imag_discount tensor/returns '
        f'tensor/weight {ACTOR} {CRITIC}', base=('dmc_vision',),
        **CONTINUOUS)]

# Shapes of weights in presets that are sizes.
SHAPES = {
    'debug': {
        'encoder/conv4/kernel': (4, 4, 16, 32),
        'decoder/conv_in/kernel': (16 + 16, 128),
        'rssm/img_in/kernel': (16 + 3, 16),
        'rssm/gru/dense/kernel': (32, 48),
        'rssm/obs_dist/kernel': (16, 16),
        'reward/dense1/kernel': (32, 16),
        'reward/out/kernel': (16, 1),
        'discount/dense1/kernel': (32, 16),
        'actor/dense1/kernel': (32, 16), 'critic/dense1/kernel': (32, 16),
        'actor/out/kernel': (16, 3)},
    'laptop': {
        'encoder/conv4/kernel': (4, 4, 32, 64),
        'decoder/conv_in/kernel': (256 + 128, 256),
        'rssm/img_in/kernel': (256 + 3, 128),
        'rssm/gru/dense/kernel': (256, 384),
        'rssm/obs_dist/kernel': (128, 256),
        'reward/dense1/kernel': (384, 128),
        'reward/dense2/kernel': (128, 128),
        'reward/out/kernel': (128, 1),
        'discount/dense2/kernel': (128, 128),
        'actor/dense2/kernel': (128, 128), 'critic/dense2/kernel': (128, 128),
        'actor/out/kernel': (128, 3)}}


@functools.cache
def run(presets, kind, settings, env_steps):
  """Arrays of one update and of a first step, without the updated weights."""
  settings = {**FROZEN, **dict(settings)}
  make = lambda: tools.make_agent(kind, presets, **settings)
  with eagerly():
    found = {**agent_running.learn(make(), tools.make_batch(kind), env_steps),
             **tools.act(make(), env_steps)}
  return {key: value for key, value in found.items()
          if not key.startswith('step/')}


def matches(names, patterns):
  """Names that one of the patterns matches; each pattern matches some."""
  found = set()
  for pattern in patterns.split():
    some = fnmatch.filter(names, pattern)
    assert some, f'nothing is named {pattern}'
    found |= set(some)
  return found


def identical(one, two, name):
  """To the bit, shapes included; an array that one lacks isn't."""
  return name in one and name in two and one[name].shape == (
      two[name].shape) and np.array_equal(one[name], two[name])


@pytest.mark.parametrize(
    'row', quick.every(4, [(row,) for row in TABLE]), ids=lambda row: '-'.join(
        [*row.presets, row.kind, str(row.env_steps)]))
def test_preset(row):
  freeze = lambda settings: tuple(sorted(settings.items()))
  one = run(row.base, row.kind, freeze({**row.settings, **row.others}),
            row.env_steps)
  two = run(row.presets, row.kind, freeze(row.settings), row.env_steps)
  names = sorted({*one, *two})
  differs = matches(names, row.differs) - matches(names, row.same)
  rounding = matches(names, row.rounding)
  found = {name for name in names if not identical(one, two, name)}
  known = matches(names, row.maybe) | rounding
  assert sorted(found - differs - known) == [], 'differ'
  assert sorted(differs - found - known) == [], 'are the same'
  for name in rounding:
    np.testing.assert_allclose(one[name], two[name], rtol=1e-6)


@pytest.mark.parametrize('preset', SHAPES)
def test_sizes(preset):
  from dreamerv2 import variants  # TensorFlow with it.
  agent = variants.make_agent(
      dreamerv2.schema().config([preset]),
      {'image': Space((64, 64, 3), 'uint8')}, ActionSpace('discrete', 3))
  shapes = {key: tuple(x.shape) for key, x in agent.parameters.items()}
  assert {key: shapes[key] for key in SHAPES[preset]} == SHAPES[preset]
  deeper = {f'reward/dense{i}/kernel' for i in range(1, 6)} & set(shapes)
  assert len(deeper) == agent.config.reward.layers


def test_every_preset_is_tested():
  presets = tools.schema().presets
  done = {*SHAPES, *(row.presets[-1] for row in TABLE)}
  assert done == {name for name in presets if '+' not in name}
  pairs = {frozenset(row.presets) for row in TABLE if len(row.presets) > 1}
  joint = {frozenset(name.split('+')) for name in presets if '+' in name}
  assert pairs == joint


def test_ablations_change_what_they_name_only():
  changed = {}
  schema = tools.schema()
  for row in TABLE:
    name = row.presets[-1]
    if row.base or name in (
        'dmc_vision', 'crafter', 'minatar', 'own', 'vectors', 'released'):
      continue
    changed[name] = {key for key, _, _ in diff(
        schema.defaults, schema.config([name]))}
  mixed = {f'actor_entropy.{key}' for key in (
      'kind', 'start', 'end', 'duration')} | {'actor_gradient'} | {
          f'actor_mix.{key}' for key in ('kind', 'end', 'duration')}
  assert changed == {
      'atari': set(), 'paper': set(), 'gamma995': {'discount'},
      'montezuma': {'discount', 'task'},
      'gaussian_latents': {'rssm.latents'},
      'no_kl_balancing': {'kl.balance'},
      'no_image_gradients': {'decoder.gradient'},
      'no_reward_gradients': {'reward.gradient'},
      'no_layer_norm': {'rssm.gru_norm'},
      'no_reinforce': {'actor_gradient'},
      'reinforce_only': {'actor_gradient'}, 'mixed_gradients': mixed}
