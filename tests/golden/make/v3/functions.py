"""Single functions of the release, on the stored inputs."""
import json
import types

import elements
import embodied.jax.heads as heads
import embodied.jax.nets as nets
import embodied.jax.opt as optlib
import embodied.jax.outs as outs
import embodied.jax.utils as utils
import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np
import optax
from rules import rule_parameter
from v3 import agents, tables

from dreamerv3 import agent, rssm

REAL = elements.Space(np.float32, ())


def symlog(data):
  return {'symlog': nets.symlog(data['x']), 'symexp': nets.symexp(data['y'])}


def twohot(data):
  """Prediction and loss of the release's head over these bins."""
  logits, target = data['logits'], data['target']
  bins = _run(lambda: heads.Head(
      REAL, 'symexp_twohot', bins=logits.shape[-1], name='head')(
          jnp.zeros((1, 2))).bins)[0]
  make = lambda logits: outs.TwoHot(logits, bins)
  return {
      'bins': bins, 'pred': make(logits).pred(),
      'loss': make(logits).loss(target),
      'grad_loss': jax.grad(lambda x: make(x).loss(target).sum())(logits),
      'grad_pred': jax.grad(lambda x: make(x).pred().sum())(logits[-4:])}


def _run(fn, state=None):
  """fn with parameters by the rule, or those given; (result, parameters)."""
  pure = nj.pure(fn)
  made, _ = pure({}, seed=0, create=True)
  made = state or {k: rule_parameter(k, v.shape) for k, v in made.items()}
  return pure(made, seed=0)[1], made


def distributions(data):
  return {**_latents(data), **_discrete(data), **_continuous(data),
          **_labels(data)}


def _latents(data):
  """One-hot latents with a share of the uniform distribution."""
  one, two, weights = data['logits'], data['other'], data['weights']
  make = lambda logits: outs.Agg(outs.OneHot(logits, 0.01), 1, jnp.sum)
  kl = lambda one, two: make(one).kl(make(two)).sum()
  draw = lambda logits: (make(logits).sample(None) * weights).sum()
  original, gumbel = outs.Categorical.sample, data['gumbel']
  outs.Categorical.sample = lambda self, seed, shape=(): jnp.argmax(
      self.logits + gumbel, -1)
  try:
    found = {
        'sample': make(one).sample(None), 'grad_sample': jax.grad(draw)(one)}
  finally:
    outs.Categorical.sample = original
  return {
      **found, 'mixed': make(one).output.dist.logits,
      'entropy': make(one).entropy(), 'kl': make(one).kl(make(two)),
      'grad_kl_first': jax.grad(kl, 0)(one, two),
      'grad_kl_second': jax.grad(kl, 1)(one, two),
      'grad_entropy': jax.grad(lambda x: make(x).entropy().sum())(one)}


def _discrete(data):
  logits, action = data['policy_logits'], data['policy_action']
  logp = lambda logits: outs.Categorical(logits).logp(action)
  entropy = lambda logits: outs.Categorical(logits).entropy()
  return {
      'policy_logp': logp(logits), 'policy_entropy': entropy(logits),
      'policy_grad_logp': jax.grad(lambda x: logp(x).sum())(logits),
      'policy_grad_entropy': jax.grad(lambda x: entropy(x).sum())(logits)}


def _continuous(data):
  """The release's head, with layers that hand the raw numbers through."""
  size = data['raw_mean'].shape[-1]
  space = elements.Space(np.float32, (size,), -1, 1)
  eye, none = np.eye(size), np.zeros((size, size))
  layers = {
      'head/mean/kernel': np.concatenate([eye, none]),
      'head/stddev/kernel': np.concatenate([none, eye]),
      'head/mean/bias': np.zeros(size), 'head/stddev/bias': np.zeros(size)}
  layers = {k: v.astype(np.float32) for k, v in layers.items()}
  def make(mean, std):
    return _run(lambda: heads.Head(
        space, 'bounded_normal', minstd=0.1, maxstd=1.0, name='head')(
            jnp.concatenate([mean, std], -1)), layers)[0]
  mean, std, action = data['raw_mean'], data['raw_std'], data['action']
  logp = lambda mean, std: make(mean, std).logp(action).sum()
  entropy = lambda std: make(mean, std).entropy().sum()
  dist = make(mean, std)
  inner = dist.output
  return {
      'mean': inner.mean, 'std': inner.stddev, 'logp': dist.logp(action),
      'normal_entropy': dist.entropy(),
      'sample_normal': inner.mean + inner.stddev * data['eps'],
      'grad_logp_mean': jax.grad(logp, 0)(mean, std),
      'grad_logp_std': jax.grad(logp, 1)(mean, std),
      'grad_entropy_std': jax.grad(entropy)(std)}


def _labels(data):
  """Soft labels of the continue head, symlog vectors of the decoder."""
  logit, label = data['binary_logit'], data['binary_target']
  mean, target = data['symlog_mse_mean'], data['symlog_mse_target']
  binary = lambda logit: outs.Binary(logit).loss(label)
  square = lambda mean: outs.Agg(
      outs.MSE(mean, nets.symlog), 1, jnp.sum).loss(target)
  return {
      'binary_loss': binary(logit), 'binary_prob': outs.Binary(logit).prob(1),
      'binary_grad': jax.grad(lambda x: binary(x).sum())(logit),
      'symlog_mse_loss': square(mean),
      'symlog_mse_grad': jax.grad(lambda x: square(x).sum())(mean)}


def lambda_return(data):
  found = {}
  for index in sorted({name.split('/')[0] for name in data}):
    names = ('last', 'term', 'rew', 'val', 'boot', 'disc', 'lam')
    given = [data[f'{index}/{name}'] for name in names]
    given[-2:] = [x.item() for x in given[-2:]]
    found[f'{index}/ret'] = agent.lambda_return(*given)
  return found


NORMS = {
    'perc': dict(impl='perc', rate=.01, limit=1.0, debias=False),
    'perc_fast': dict(
        impl='perc', rate=.5, limit=.3, perclo=20.0, perchi=70.0,
        debias=False),
    'perc_debias': dict(impl='perc', rate=.01, limit=1.0, debias=True),
    'meanstd': dict(impl='meanstd', rate=.01, limit=1e-8),
    'none': dict(impl='none', rate=.01, limit=1e-8)}


def normalize(data):
  """Offset and scale before any update, and after each."""
  found = {}
  for name, settings in NORMS.items():
    def fn(settings=settings):
      norm = utils.Normalize(**settings, name='norm')
      stats = [norm.stats()]
      for index in range(6):
        stats.append(norm(jnp.asarray(data[f'x{index}']), True))
      return [[jnp.float32(x) for x in pair] for pair in stats]
    _, stats = nj.pure(fn)({}, seed=0, create=True)
    found[f'{name}/offset'], found[f'{name}/scale'] = np.array(stats).T
  return found


LAYERS = {
    'rms': lambda x: nets.Norm('rms', name='rms')(x),
    'layer': lambda x: nets.Norm('layer', name='layer')(x),
    'block': lambda x: nets.BlockLinear(16, 8, name='block')(x),
    'mlp': lambda x: nets.MLP(2, 6, name='mlp')(x),
    'conv': lambda x: nets.Conv2D(4, 5, name='conv')(x),
    'conv_stride': lambda x: nets.Conv2D(4, 5, 2, name='conv_stride')(x),
    'conv_transp': lambda x: nets.Conv2D(
        4, 5, 2, transp=True, name='conv_transp')(x)}


def layers(data):
  """Layers and the recurrent core, with their parameters."""
  found = {}
  for name, layer in LAYERS.items():
    given = jnp.asarray(data[f'{name}/in'])
    out, params = _run(lambda layer=layer, given=given: layer(given))
    found[f'{name}/out'] = out
    found.update({f'{name}/param/{k}': v for k, v in params.items()})
  given = [jnp.asarray(data[f'gru/{k}']) for k in ('deter', 'stoch', 'action')]
  def core():
    space = {'action': elements.Space(np.float32, (2,), -1, 1)}
    return rssm.RSSM(
        space, deter=24, hidden=6, stoch=4, classes=5, blocks=3, act='silu',
        norm='rms', name='dyn')._core(*given)
  found['gru/out'], params = _run(core)
  found.update({f'gru/param/{k}': v for k, v in params.items()})
  return found


def optimizer(data):
  """Six updates under eight settings, and adaptive clipping alone."""
  part = lambda prefix: {  # noqa: E731
      k[len(prefix):]: jnp.asarray(data[k])
      for k in data if k.startswith(prefix)}
  first = part('param/')
  grads = [part(f'grad{index}/') for index in range(6)]
  found = {}
  names = [k.split('/')[0] for k in data if k.endswith('/settings')]
  for name in names:
    chain = agent.Agent._make_opt(
        types.SimpleNamespace(), **json.loads(str(data[f'{name}/settings'])))
    params, state = dict(first), chain.init(first)
    for index, grad in enumerate(grads):
      updates, state = chain.update(grad, state, params)
      params = optax.apply_updates(params, updates)
      if index in (0, 2, 5):
        found.update({
            f'{name}/update{index}/{k}': v for k, v in updates.items()})
    found.update({f'{name}/param/{k}': v for k, v in params.items()})
  clipped, _ = optlib.clip_by_agc(.3).update(grads[0], (), first)
  found.update({f'agc/{k}': v for k, v in clipped.items()})
  return found


FUNCTIONS = {'v3_misc': {
    'symlog.npz': symlog, 'twohot_255.npz': twohot, 'twohot_41.npz': twohot,
    'twohot_32.npz': twohot, 'dists.npz': distributions,
    'lambda_return.npz': lambda_return, 'normalize.npz': normalize,
    'layers.npz': layers, 'optimizer.npz': optimizer,
    'ratio.json': tables.ratio, 'action_wrappers.json': tables.action_wrappers,
    'driver.json': tables.driver, 'replay.json': tables.replay,
    'param_counts.json': agents.param_counts,
    'report_openl.npz': agents.report, 'init.json': agents.init}}
