"""What the release's whole agents are made of, and its open-loop video."""
import json

import embodied.jax.nets as nets
import embodied.jax.outs as outs
import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np
from v3 import batch as batches
from v3 import cases, release

SIZES = ('size1m', 'size12m', 'size25m', 'size50m', 'size100m', 'size200m',
         'size400m')
SUITES = {
    'dmc_vision (64x64x3, 6 continuous)': (
        cases.RGB, {'action': ('continuous', 6)}),
    'atari (96x96x1, 18 discrete)': (
        cases.GRAY, {'action': ('discrete', 18)}),
    'dmc_proprio walker (14, 1, 9; 6 continuous)': (
        {'orientations': ('float', (14,)), 'height': ('float', ()),
         'velocity': ('float', (9,))}, {'action': ('continuous', 6)})}
LEAST = {'batch_size': 1, 'batch_length': 2, 'agent.imag_length': 1}
SCALES = {'rew/head/logits/kernel': 0.0, 'val/head/logits/kernel': 0.0}


def _agent(presets, obs, act, overrides):
  spec = dict(cases.DEFAULTS, presets=presets, obs=obs, act=act,
              overrides=overrides)
  config = release.configuration(spec)
  return spec, config, release.agent(spec, config)


def param_counts(data):
  """Parameters of every size, by module."""
  found = {}
  for size in SIZES:
    for suite, (obs, act) in SUITES.items():
      _, _, model = _agent([size], obs, act, LEAST)
      found[f'{size}, {suite}'] = _counts(_shapes(model))
  return found


def _shapes(model):
  """Of all parameters that the loss uses, without computing it."""
  like = lambda spaces: {
      k: jax.ShapeDtypeStruct((1, 2, *v.shape), v.dtype)
      for k, v in spaces.items()}
  pure = nj.pure(model.loss)
  def create(carry, obs, action):
    return pure({}, carry, obs, action, training=True, create=True,
                seed=jnp.zeros(2, jnp.uint32), modify=True, ignore=True)[0]
  carry = release.zero_carry(model, 1)[:3]
  state = jax.eval_shape(
      create, carry, like(model.obs_space), like(model.act_space))
  return {k: v.shape for k, v in state.items()
          if k.startswith(release.TRAINED) and not k.startswith('slowval')}


def _counts(shapes):
  found = {'total': sum(int(np.prod(x)) for x in shapes.values())}
  for name, shape in shapes.items():
    module = name.split('/')[0]
    found[module] = found.get(module, 0) + int(np.prod(shape))
  return found


def init(data):
  """Scale of the release's own first parameters, 1M size."""
  jax.config.update('jax_disable_most_optimizations', True)
  spec, config, model = _agent(
      ['size1m'],
      dict(cases.RGB, vector=('float', (5,))),
      {'cont': ('continuous', 3), 'disc': ('discrete', 6)}, LEAST)
  batch = batches.make(
      spec['obs'], spec['act'], release.latents(model), config.batch_size,
      config.batch_length, config.replay_context, 0)
  state = release.first_state(model, dict(spec, params='file'), batch)
  table = {k: _scale(k, v) for k, v in sorted(state.items())
           if k.startswith(release.TRAINED)}
  counts = _counts({k: v['shape'] for k, v in table.items()})
  total = counts.pop('total') - counts['slowval']
  return dict(data, counts=counts, total=total, table=table)


def _scale(name, value):
  fan = nets.Initializer.compute_fans(value.shape)[0]
  scale = SCALES.get(name, 0.01 if name.startswith('pol/head') else 1)
  expected = None
  if name.endswith('kernel') and not name.startswith('slowval/head'):
    expected = float(scale / np.sqrt(fan))
  return dict(
      shape=list(value.shape), fan_in=int(fan), std=float(value.std()),
      min=float(value.min()), max=float(value.max()), expected_std=expected)


def report(data):
  """The open-loop video, with the likeliest class in place of samples."""
  jax.config.update('jax_disable_most_optimizations', True)
  obs, act = cases.RGB, {'action': ('discrete', 6)}
  spec, config, model = _agent(
      ['crafter'], obs, act, dict(cases.TINY, batch_length=8))
  batch = {k[len('in/'):]: data[k] for k in data if k.startswith('in/')}
  state = release.first_state(model, spec, batch)
  shapes = {k: list(v.shape) for k, v in state.items()
            if k.startswith(release.TRAINED)}
  fn = nj.pure(model.report)
  show = jax.jit(lambda *args: fn(*args, seed=jnp.zeros(2, jnp.uint32))[1])
  original = outs.Categorical.sample
  outs.Categorical.sample = lambda self, seed, shape=(): jnp.argmax(
      self.logits, -1)
  try:
    _, metrics = show(state, release.zero_carry(model, 3), batch)
  finally:
    outs.Categorical.sample = original
  return {'param_shapes': json.dumps(shapes),
          **{f'out/{k}': np.asarray(v) for k, v in metrics.items()}}
