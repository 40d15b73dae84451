"""Parity of single functions of DreamerV3: a folder of arrays and tables.

Each function takes the content of its file and returns the expected arrays
and ours, both by name.
"""

import json
import subprocess
import sys
from unittest import mock

import numpy as np
import tensorflow as tf

from dreamer.config.schema import Schema, Section
from dreamer.envs.actions import Scaled
from dreamer.envs.spaces import IMAGE, ActionSpace, ActionSpaces, Space
from dreamer.nn import blocks, dists, heads, layers, optim, returns, same
from dreamer.nn.normalise import Normaliser
from dreamer.nn.twohot import TwoHot, symexp, symexp_bins, symlog
from dreamer.run.when import Ratio
from dreamerv3 import variants
from dreamerv3.rssm import RSSM
from tests.parity import cases as parity_cases
from tests.parity.names_v3 import make_rules, theirs
from tests.support import ROOT
from tests.support.agent_noise import FixedNoise
from tests.support.agent_running import eagerly

INIT = layers.ByFan(0)
SMALL = {'act': 'silu', 'norm': 'rms', 'init': 'trunc_normal_in',
         'outscale': 1.0}


def symlogs(data):
  """symlog and its inverse."""
  return ({key: data[key] for key in ('symlog', 'symexp')},
          {'symlog': symlog(data['x']), 'symexp': symexp(data['y'])})


def twohot(data):
  """Predictions, losses and gradients over exponential bins."""
  bins = symexp_bins(data['bins'].size)
  logits = tf.Variable(data['logits'])
  with tf.GradientTape(persistent=True) as tape:
    dist = TwoHot(tf.identity(logits), bins)
    found = {'loss': -dist.log_prob(tf.constant(data['target'])),
             'pred': dist.mean()}
    last = tf.reduce_sum(found['pred'][-4:])
  found.update(bins=bins, grad_loss=tape.gradient(found['loss'], logits),
               grad_pred=tape.gradient(last, logits)[-4:])
  return {key: data[key] for key in found}, found


def distributions(data):
  """Latents, policies, ends and symlog errors, with gradients."""
  arrays = {**_latents(data), **_policies(data)}
  logit, target = tf.Variable(data['binary_logit']), data['binary_target']
  mean = tf.Variable(data['symlog_mse_mean'])
  with tf.GradientTape(persistent=True) as tape:
    binary = heads.Bernoulli(tf.identity(logit)[:, None])
    arrays['binary_loss'] = -binary.log_prob(target)
    square = heads.Squared(tf.identity(mean)[..., None], symlog)
    arrays['symlog_mse_loss'] = -tf.reduce_sum(
        square.log_prob(data['symlog_mse_target']), -1)
  arrays['binary_grad'] = tape.gradient(arrays['binary_loss'], logit)
  arrays['binary_prob'] = binary.mean()
  arrays['symlog_mse_grad'] = tape.gradient(arrays['symlog_mse_loss'], mean)
  return {key: data[key] for key in arrays}, arrays


def _latents(data):
  logits, other = tf.Variable(data['logits']), tf.Variable(data['other'])
  with tf.GradientTape(persistent=True) as tape:
    one, two = dists.OneHots(logits, 0.01), dists.OneHots(other, 0.01)
    found = {'kl': one.kl_divergence(two), 'entropy': one.entropy(),
             'sample': one.sample(data['gumbel'])}
    weighted = found['sample'] * data['weights']
  return {**found, 'mixed': one.log_probs,
          'grad_kl_first': tape.gradient(found['kl'], logits),
          'grad_kl_second': tape.gradient(found['kl'], other),
          'grad_sample': tape.gradient(weighted, logits),
          'grad_entropy': tape.gradient(found['entropy'], logits)}


class Raw(heads.Actor):
  """Its features are what its layers would give."""

  def __call__(self, feat):
    return feat


def _policies(data):
  space = ActionSpaces((('cont', ActionSpace('continuous', 3)),
                        ('disc', ActionSpace('discrete', 6))))
  config = Section({**SMALL, 'layers': 0, 'units': 1, 'unimix': 0.0,
                    'dist': 'bounded_normal', 'min_std': 0.1, 'max_std': 1.0})
  actor = Raw('actor', 1, config, space, INIT)
  raw = {'cont/mean': tf.Variable(data['raw_mean']),
         'cont/std': tf.Variable(data['raw_std']),
         'disc/logits': tf.Variable(data['policy_logits'])}
  with tf.GradientTape(persistent=True) as tape:
    parts = actor.dist(list(raw.values())).parts
    normal, discrete = parts['cont'], parts['disc']
    taken = tf.one_hot(data['policy_action'], 6)
    found = {'logp': normal.log_prob(data['action']),
             'normal_entropy': normal.entropy(),
             'policy_logp': discrete.log_prob(taken),
             'policy_entropy': discrete.entropy()}
  grad = lambda value, source: tape.gradient(found[value], raw[source])
  return {**found, 'mean': normal.mean, 'std': normal.std,
          'sample_normal': normal.sample(data['eps']),
          'grad_logp_mean': grad('logp', 'cont/mean'),
          'grad_logp_std': grad('logp', 'cont/std'),
          'grad_entropy_std': grad('normal_entropy', 'cont/std'),
          'policy_grad_logp': grad('policy_logp', 'disc/logits'),
          'policy_grad_entropy': grad('policy_entropy', 'disc/logits')}


def lambda_return(data):
  """Imagined and replayed returns; there time comes last."""
  expected, arrays = {}, {}
  for index in sorted({key.split('/')[0] for key in data}):
    get = lambda key, i=index: np.asarray(data[f'{i}/{key}'], np.float32).T
    boot, discount = get('boot'), (1 - get('term')) * data[f'{index}/disc']
    expected[index] = data[f'{index}/ret']
    arrays[index] = tf.transpose(returns.lambda_return(
        get('rew')[1:], boot[:-1], discount[1:].astype(np.float32), boot[-1],
        np.float32(data[f'{index}/lam'] * (1 - get('last')[1:]))))
  return expected, arrays


NORMALISERS = {
    'perc': {'kind': 'percentiles', 'rate': 0.01, 'limit': 1.0, 'low': 5.0,
             'high': 95.0, 'debias': False},
    'perc_fast': {'kind': 'percentiles', 'rate': 0.5, 'limit': 0.3,
                  'low': 20.0, 'high': 70.0, 'debias': False},
    'perc_debias': {'kind': 'percentiles', 'rate': 0.01, 'limit': 1.0,
                    'low': 5.0, 'high': 95.0, 'debias': True},
    'meanstd': {'kind': 'mean_std', 'rate': 0.01, 'limit': 1e-8,
                'debias': True},
    'none': {'kind': 'none', 'rate': 0.01, 'limit': 1e-8, 'debias': True}}


def normalize(data):
  """Offsets and scales before and after six updates."""
  arrays = {}
  for name, settings in NORMALISERS.items():
    norm = Normaliser('norm', Section(settings))
    stats = [norm.stats()]
    for index in range(6):
      norm.update(tf.constant(data[f'x{index}']))
      stats.append(norm.stats())
    for part, values in zip(('offset', 'scale'), zip(*stats), strict=True):
      arrays[f'{name}/{part}'] = np.stack(values)
  return {key: data[key] for key in arrays}, arrays


def single_layers(data):
  """Norms, dense and block layers, convolutions and the recurrent step."""
  style = {'act': 'silu', 'norm': 'rms'}
  made = {
      'rms': layers.RMSNorm('rms', 24),
      'layer': layers.LayerNorm('layer', 24, 1e-4),
      'block': blocks.BlockDense('block', 24, 16, 8, INIT),
      'conv': same.Conv('conv', 3, 4, 5, INIT),
      'conv_stride': same.Conv('conv_stride', 3, 4, 5, INIT, down='stride'),
      'conv_transp': same.UpConv('conv_transp', 3, 4, 5, INIT, up='stride')}
  arrays = {}
  for name, layer in made.items():
    for key, variable in layer.variables.items():
      key = key.replace('gamma', 'scale').replace('beta', 'shift')
      variable.assign(data[f'{name}/param/{key}'])
    arrays[f'{name}/out'] = layer(data[f'{name}/in'])
  x = tf.constant(data['mlp/in'])
  for i in range(2):
    dense = layers.Dense('dense', x.shape[1], 6, INIT, **style)
    for kind in ('kernel', 'bias'):
      dense.w[kind].assign(data[f'mlp/param/mlp/linear{i}/{kind}'])
    dense.norm.w['gamma'].assign(data[f'mlp/param/mlp/norm{i}/scale'])
    x = dense(x)
  arrays['mlp/out'], arrays['gru/out'] = x, _gru(data)
  return {key: data[key] for key in arrays}, arrays


def _gru(data):
  """One step of the recurrence, actions beyond 1 included."""
  config = Section({**SMALL, 'deter': 24, 'hidden': 6, 'stoch': 4,
                    'classes': 5, 'blocks': 3, 'gru_layers': 1,
                    'img_layers': 0, 'obs_layers': 0, 'unimix': 0.01})
  rssm = RSSM('rssm', config, 1, 2, INIT)
  rules = make_rules(Schema.load('configs/dreamerv3.yaml').defaults, [])
  for key, variable in rssm.variables.items():
    name = f'gru/param/{theirs(key, rules)}'
    if name in data:
      variable.assign(data[name])
  prev = {key: tf.constant(data[f'gru/{key}']) for key in ('deter', 'stoch')}
  return rssm.img_step(prev, tf.constant(data['gru/action']))['deter']


DEFAULTS = {'lr': 4e-5, 'agc': 0.3, 'beta2': 0.999, 'wd': 0.0,
            'nesterov': False, 'schedule': 'constant', 'warmup': 1000,
            'anneal': 0}


def optimizer(data):
  """Six updates of several settings, and adaptive clipping."""
  names = [key.removeprefix('param/') for key in data
           if key.startswith('param/')]
  expected, arrays = {}, {}
  for key in data:
    if not key.endswith('/settings'):
      continue
    name = key.removesuffix('/settings')
    params = {x: tf.Variable(data[f'param/{x}']) for x in names}
    adam = _laprop(params, json.loads(str(data[key])))
    for step in range(6):
      before = {x: value.numpy() for x, value in params.items()}
      adam.apply({x: tf.constant(data[f'grad{step}/{x}']) for x in names})
      if f'{name}/update{step}/{names[0]}' in data:
        for x, value in params.items():
          # What was added is known to the rounding of the sum.
          update = data[f'{name}/update{step}/{x}']
          expected[f'{name}/update{step}/{x}'] = before[x] + update
          arrays[f'{name}/update{step}/{x}'] = value.numpy()
    for x, value in params.items():
      expected[f'{name}/param/{x}'] = data[f'{name}/param/{x}']
      arrays[f'{name}/param/{x}'] = value.numpy()
  params = {x: tf.Variable(data[f'param/{x}']) for x in names}
  adam = _laprop(params, {})
  for x, value in params.items():
    grad = tf.constant(data[f'grad0/{x}'])
    expected[f'agc/{x}'] = data[f'agc/{x}']
    arrays[f'agc/{x}'] = grad * adam.clip.factors([value], [grad], None)[0]
  return expected, arrays


def _laprop(params, settings):
  values = {**DEFAULTS, **settings}
  return optim.LaProp('all', params, Section({
      'lr': values['lr'], 'eps': 1e-20, 'clip': values['agc'], 'beta1': 0.9,
      'beta2': values['beta2'], 'nesterov': values['nesterov'],
      'schedule': values['schedule'], 'warmup': values['warmup'],
      'anneal': values['anneal']}), decay=values['wd'])


def action_wrappers(data):
  """Actions to an environment with two bounds, and with none."""
  bounds = [[np.inf * sign if x is None else x for x in data[key]]
            for key, sign in (('low', -1), ('high', 1))]
  scale = Scaled((3,), np.float64, *bounds)
  return {'environment': data['environment']}, {
      'environment': [scale(np.array(x)) for x in data['agent']]}


def ratio(data):
  """How many updates are due at each count of steps."""
  expected, arrays = {}, {}
  for index, row in enumerate(data):
    pace = Ratio(row['ratio'])
    expected[f'{index}'] = row['repeats']
    arrays[f'{index}'] = [pace(step) for step in row['steps']]
  return expected, arrays


def init(data):
  """Shapes of all parameters, and spread of their first values.

  A deviation is the sample's of its numbers: ours is compared with it to what
  so many draws allow, by how many standard errors they are apart.
  """
  agent = _agent('size1m', {'image': IMAGE, 'vector': Space((5,), 'float32')},
                 ActionSpaces((('cont', ActionSpace('continuous', 3)),
                               ('disc', ActionSpace('discrete', 6)))))
  expected, arrays = {}, {}
  ours = {theirs(key, make_rules(agent.config, [])): value
          for key, value in agent.parameters.items()}
  for name, row in data['table'].items():
    value = ours[name].numpy().astype(np.float64)
    expected[f'{name}/shape'] = row['shape']
    arrays[f'{name}/shape'] = value.shape
    spread = row['std'] / np.sqrt(2 * max(1, value.size - 1))
    far = abs(value.std() - row['std']) / max(spread * np.sqrt(2), 1e-12)
    expected[f'{name}/std'], arrays[f'{name}/std'] = 0, max(0, far - 5)
    limit = np.abs([row['min'], row['max']]).max()
    expected[f'{name}/limit'] = 0
    arrays[f'{name}/limit'] = max(
        0, np.abs(value).max() - 1.6 * limit if value.size > 20 else 0)
  expected['total'] = data['total']
  arrays['total'] = sum(x.numpy().size for x in
                        agent.optimizers['all'].params.values())
  return expected, arrays


SPACES = {'dmc_vision': ({'image': IMAGE}, ActionSpace('continuous', 6)),
          'atari': ({'image': Space((96, 96, 1), 'uint8', 0, 255)},
                    ActionSpace('discrete', 18)),
          'dmc_proprio': ({key: Space(shape, 'float32') for key, shape in (
              ('orientations', (14,)), ('height', ()), ('velocity', (9,)))},
                          ActionSpace('continuous', 6))}


def param_counts(data):
  """Numbers of parameters of all sizes, by module, the larger by shapes."""
  expected, arrays = {}, {}
  for text, row in data.items():
    size, suite = text.split(', ')[0], text.split(', ')[1].split(' ')[0]
    expected[text], arrays[text] = row['total'], _amount(size, suite)
  return expected, arrays


def _amount(size, suite):
  """The parameters of an agent, of which no value is made."""
  config, (obs_space, act_space) = _config(size), SPACES[suite]
  kind = variants.choose(variants.Agent, config)
  shape = lambda self, kind, value: self.w.update({kind: Shape(value)})
  init = lambda self, name, shape: np.broadcast_to(np.float32(0), shape)
  count = lambda modules: sum(
      int(np.prod(x.shape)) for module in modules
      for x in module.variables.values())
  with mock.patch.object(layers.Module, 'add', shape), \
       mock.patch.object(layers.ByFan, 'kernel', init):
    model = kind.model_class(config, obs_space, act_space.dim, INIT)
    behaviour = kind.behaviour_class(
        config, model.rssm.feat_size, act_space, INIT)
  return count([model, behaviour.actor, behaviour.critic])


class Shape:
  """In place of a variable."""

  def __init__(self, value):
    self.shape = np.shape(value)

  def assign(self, value):
    pass


def _agent(size, obs_space, act_space, **settings):
  """An agent of a size that reads and predicts all that there is."""
  return variants.make_agent(
      _config(size, **settings), obs_space, act_space, FixedNoise())


def _config(size, **settings):
  everything = {f'{name}.{kind}': 'all' for name in ('encoder', 'decoder')
                for kind in ('images', 'vectors')}
  return Schema.load('configs/dreamerv3.yaml').config(
      ['released', size], {
          'precision': 'float32', **everything, **settings})


def report_openl(data):
  """The open-loop video as the release draws it: a border, its rounding."""
  tiny = {'encoder': {'depth': 2, 'units': 12},
          'decoder': {'depth': 2, 'units': 12},
          'rssm': {'deter': 16, 'hidden': 8, 'stoch': 4, 'classes': 5,
                   'blocks': 4},
          'reward': {'units': 12, 'bins': 41}, 'discount_head.units': 12,
          'actor.units': 12, 'critic': {'units': 12, 'bins': 41}}
  agent = _agent('size1m', {'image': IMAGE}, ActionSpace('discrete', 6),
                 **tiny)
  rules = make_rules(agent.config, [])
  for key, variable in agent.parameters.items():
    variable.assign(parity_cases.rule_parameter(
        theirs(key, rules), variable.shape, 'dreamerv3'))
  batch = {key.removeprefix('in/'): value for key, value in data.items()}
  batch['action'] = np.eye(6, dtype=np.float32)[batch['action']]
  for key in ('deter', 'stoch'):
    batch[f'stored/{key}'] = batch[f'dyn/{key}'][:, :1]
  length = batch['action'].shape[1] - 1
  with eagerly():
    video = agent.report_step(agent.put(batch), length // 2)['image'].numpy()
  expected = data['out/openloop/image'].astype(np.int64)
  ours = _as_released(video, length).astype(np.int64)
  # Predictions are cut, not rounded, to whole levels: one may be off by one.
  off = np.abs(ours - expected)
  return {'shape': expected.shape, 'far': 0, 'near': 0}, {
      'shape': ours.shape, 'far': (off > 1).sum(),
      'near': max(0, (off == 1).mean() - 1e-3)}


def _as_released(video, length):
  """[T, 3 H, B W, C] in [0, 1] to their uint8 video with borders."""
  frames, height, width, channels = video.shape
  rows = width // 64
  video = video.reshape(frames, 3, 64, rows, 64, channels)
  true, pred = (video[:, i] for i in (0, 1))
  true = np.round(true * 255).astype(np.int64)
  pred = np.clip(pred * 255, 0, 255).astype(np.int64)
  error = ((pred - true + 255) / 2).astype(np.int64)
  stack = np.concatenate([true, pred, error], 1)  # [T, 3 H, B, W, C]
  out = np.zeros((frames, height + 4, rows, 68, channels), np.int64)
  for index in range(frames):
    out[index] = [0, 255, 0] if index < length // 2 else [255, 0, 0]
  out[:, 2:-2, :, 2:-2] = stack
  out = out.reshape(frames, height + 4, rows * 68, channels)
  return np.concatenate([out, 0 * out[:10]])


def _held_by(test):
  """Of a file that a test of ours holds us to: whether that one passes."""
  def run(data):
    del data
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-n', '0', '-p',
         'no:cacheprovider', test], cwd=ROOT, capture_output=True, text=True)
    return {test: 0}, {test: done.returncode}

  return run


FUNCTIONS = {
    'symlog.npz': symlogs, 'twohot_255.npz': twohot, 'twohot_41.npz': twohot,
    'twohot_32.npz': twohot, 'dists.npz': distributions,
    'lambda_return.npz': lambda_return, 'normalize.npz': normalize,
    'layers.npz': single_layers, 'optimizer.npz': optimizer,
    'action_wrappers.json': action_wrappers, 'init.json': init,
    'param_counts.json': param_counts, 'report_openl.npz': report_openl,
    'ratio.json': ratio,
    'replay.json': _held_by('tests/replay/test_stream.py::TestAsReleased'),
    'driver.json': _held_by('tests/run/test_running.py')}
