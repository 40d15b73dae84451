"""Parity of single functions of DreamerV2: a folder of arrays and tables.

Each function takes the content of its file and returns the expected arrays
and ours, both by name.
"""

import json

import numpy as np
import tensorflow as tf

from dreamer.config.schema import Schema, Section
from dreamer.envs.spaces import ActionSpace, Space
from dreamer.errors import UserError
from dreamer.nn import actions, dists, layers, recurrent, returns, schedules
from dreamerv2 import variants
from dreamerv2.reward_norm import RewardNorm
from tests.parity import cases as parity_cases
from tests.parity import misc_v3
from tests.parity import replay as parity_replay
from tests.parity.keys_v2 import parse_schedule
from tests.parity.v2 import half_std, parameters
from tests.support.agent_noise import FixedNoise
from tests.support.agent_running import eagerly


def run(path):
  """Compares every file of the folder; returns a Comparison."""
  comparison = parity_cases.Comparison()
  third = (path / 'symlog.npz').exists()
  functions = misc_v3.FUNCTIONS if third else FUNCTIONS
  for file in sorted(path.iterdir()):
    if file.name not in functions:
      raise UserError(f'{file}: no function; known: {", ".join(functions)}')
    if file.suffix == '.json':
      data = parity_cases.read_json(file)
    else:
      data = parity_cases.read_npz(file)
    expected, arrays = functions[file.name](data)
    for key, value in expected.items():
      _add(comparison, f'{file.stem}/{key}', value, arrays.get(key))
  return comparison


def _add(comparison, name, theirs, ours):
  if ours is None:
    comparison.missing.append(name)
    return
  theirs, ours = np.asarray(theirs), np.asarray(ours)
  kind = 'half' if theirs.dtype == np.float16 else 'function'
  if theirs.dtype.kind in 'US':
    error = 0.0 if np.array_equal(theirs, ours) else np.inf
  elif theirs.shape != ours.shape:
    error = np.inf
  else:
    theirs, ours = theirs.astype(np.float64), ours.astype(np.float64)
    scale = parity_cases.nonzero(np.abs(theirs).max(initial=0))
    error = np.abs(theirs - ours).max(initial=0) / scale
  comparison.add(kind, name, error)


def distributions(data):
  """Log densities, entropies, KLs, modes and gradients."""
  get = lambda name: tf.constant(data[name])
  arrays = {}
  one, other = (dists.Categoricals(get(f'onehot/{key}')) for key in (
      'logits', 'logits2'))
  arrays['onehot/kl'] = one.kl_divergence(other)
  arrays['onehot/log_prob'] = one.log_prob(get('onehot/x'))
  arrays['onehot/entropy'] = one.entropy()
  arrays['onehot/mode'] = dists.OneHot(get('onehot/logits')).mode()
  one, other = (dists.Normals(get(f'gauss/mean{x}'), get(f'gauss/std{x}'))
                for x in ('', '2'))
  arrays['gauss/kl'], arrays['gauss/entropy'] = (
      one.kl_divergence(other), one.entropy())
  logits, target = get('bern/logits'), get('bern/target')
  # The case's labels were NumPy arrays, which the release's library cuts to
  # whole numbers. In training they are tensors and stay soft, as the losses
  # of the cases with a discount head show.
  arrays['bern/log_prob'] = dists.bernoulli_log_prob(tf.floor(target), logits)
  arrays['bern/mean'] = tf.sigmoid(logits)
  arrays['bern/mode'] = tf.round(tf.sigmoid(logits))
  arrays['mse/log_prob'] = dists.unit_normal_log_prob(
      get('mse/x'), get('mse/mean'), 2)
  arrays.update(_truncated(get))
  inputs = {'onehot/logits', 'onehot/logits2', 'onehot/x', 'gauss/mean',
            'gauss/std', 'gauss/mean2', 'gauss/std2', 'trunc/loc',
            'trunc/scale', 'trunc/x', 'bern/logits', 'bern/target',
            'mse/mean', 'mse/x'}
  return {k: v for k, v in data.items() if k not in inputs}, arrays


def _truncated(get):
  loc, scale = tf.Variable(get('trunc/loc')), tf.Variable(get('trunc/scale'))
  with half_std(), tf.GradientTape(persistent=True) as tape:
    dist = dists.TruncNormal(loc, scale)
    found = {'entropy': dist.entropy(), 'sample': dist.sample(None),
             'log_prob': dist.log_prob(get('trunc/x'))}
  arrays = {f'trunc/{key}': value for key, value in found.items()}
  arrays['trunc/half_std_sample'] = arrays.pop('trunc/sample')
  arrays['trunc/mode'] = dist.mode()
  for key, value in found.items():
    for name, source in (('loc', loc), ('scale', scale)):
      arrays[f'trunc/grad_{key}_{name}'] = tape.gradient(value, source)
  return arrays


def gru_cell(data):
  """One step of the normalised GRU."""
  size_in, units = data['input'].shape[1], data['state'].shape[1]
  cell = recurrent.NormGRU('gru', size_in, units, layers.Init(0))
  for key, variable in cell.variables.items():
    variable.assign(data[key])
  return ({'output': data['output'], 'epsilon': data['epsilon']},
          {'output': cell(data['input'], data['state']),
           'epsilon': np.float32(layers.LayerNorm.EPS)})


def lambda_return(data):
  """Returns along either axis, with and without bootstrap."""
  expected, arrays = {}, {}
  for index in sorted({key.split('/')[0] for key in data}):
    case = {key.split('/')[1]: value for key, value in data.items()
            if key.startswith(f'{index}/')}
    turn = (lambda x: x.T) if case['axis'] == 1 else (lambda x: x)
    reward, value = (tf.constant(turn(case[key])) for key in (
        'reward', 'value'))
    discount = tf.broadcast_to(turn(case['pcont']), reward.shape)
    last = case.get('bootstrap', np.zeros_like(reward[0]))
    expected[index] = turn(case['returns'])
    arrays[index] = returns.lambda_return(
        reward, value, discount, tf.constant(last), float(case['lambda']))
  return expected, arrays


def schedule(data):
  """Values over steps, and which descriptions don't exist."""
  expected, arrays = {}, {}
  for text, values in data['values'].items():
    if text.startswith('horizon'):
      continue  # no setting of the release uses this kind
    config = Section(parse_schedule(text))
    expected[text] = list(values.values())
    arrays[text] = [schedules.schedule(config, int(step)) for step in values]
  for text in data['errors']:
    expected[f'error {text}'] = 'error'
    try:
      arrays[f'error {text}'] = str(parse_schedule(text))
    except ValueError:
      arrays[f'error {text}'] = 'error'
  return expected, arrays


def stream_norm(data):
  """Running reward normalisation: outputs, magnitude and moments."""
  arrays = {}
  for index in sorted({key.split('/')[0] for key in data}):
    settings = json.loads(str(data[f'{index}/kwargs']))
    norm = RewardNorm('norm', Section(settings), settings.pop('shape', []))
    steps = [key for key in data if key.startswith(f'{index}/')
             and key.endswith('/in')]
    for key in sorted(steps):
      key = key.removesuffix('/in')
      raw = data[f'{key}/in']
      out = norm(tf.constant(raw)).numpy()
      arrays.update({f'{key}/out': out, f'{key}/mag': norm.mag.numpy()})
      for kind, x in (('', raw), ('normed_', out)):
        arrays[f'{key}/metric/{kind}mean'] = x.mean()
        arrays[f'{key}/metric/{kind}std'] = x.std()
  skip = ('/in', '/kwargs')
  return {k: v for k, v in data.items() if not k.endswith(skip)}, arrays


def action_noise(data):
  """Distribution of noisy one-hot actions, noisy continuous ones."""
  expected, arrays = {}, {}
  for index, row in enumerate(data['discrete']):
    name = f'discrete/{index}'
    if row['amount']:
      expected[name] = row['probs']
      arrays[name] = _chances(tf.constant(row['action']), row['amount'])
    assert row['returns_input'] == (row['amount'] == 0)
  for index, row in enumerate(data['continuous']):
    name = f'continuous/{index}'
    expected[name] = row['half_std_result']
    arrays[name] = actions.gaussian(
        tf.constant(row['action']), row['amount'], FixedNoise())
  return expected, arrays


class _GivenRows:
  """Draws by which all rows are replaced, or none, by one action."""

  def __init__(self, replaced, action):
    self.value, self.action = 0.0 if replaced else 1.0, action

  def uniform(self, name, shape):
    return tf.fill(shape, self.value)

  def gumbel(self, name, shape):
    return tf.one_hot([self.action] * shape[0], shape[1])


def _chances(action, amount):
  """Chances of each action after `epsilon`, from all that it can draw."""
  size = action.shape[-1]
  after = lambda *given: actions.epsilon(
      action, amount, True, _GivenRows(*given))
  return sum(amount / size * after(True, i) for i in range(size)) + (
      1 - amount) * after(False, 0)


def _small_agent(suite, image, size):
  """The agent of the small cases of a suite, with the rule's parameters."""
  schema = Schema.load('configs/dreamerv2.yaml')
  head = {'layers': 2, 'units': 16}
  config = schema.config([suite, 'released'], {
      'precision': 'float32', 'horizon': 4,
      'rssm': {'deter': 12, 'hidden': 12, 'stoch': 4, 'classes': 5},
      'encoder': {'depth': 4, **head}, 'decoder': {'depth': 4, **head},
      'reward': head, 'discount_head': head, 'actor': head, 'critic': head})
  kind = 'discrete' if suite == 'atari' else 'continuous'
  agent = variants.make_agent(
      config, {'image': Space(image, 'uint8')}, ActionSpace(kind, size),
      FixedNoise())
  for key, variable in parameters(agent).items():
    variable.assign(parity_cases.rule_parameter(key, variable.shape))
  return agent


def policy(data):
  """Four steps for two environments, with a reset within, in each mode."""
  arrays = {}
  for name, suite in (('atari', 'atari'), ('dmc', 'dmc_vision')):
    images, first = data[f'{name}/image'], data[f'{name}/is_first']
    size = data[f'{name}/train/0/action'].shape[1]
    agent = _small_agent(suite, images.shape[2:], size)
    for mode in ('train', 'eval', 'explore'):
      state = None
      for step in range(images.shape[1]):
        obs = {'image': images[:, step], 'is_first': first[:, step]}
        with half_std(), eagerly():
          _, state = agent.policy(obs, state, mode)
        arrays.update({f'{name}/{mode}/{step}/{key}': value
                       for key, value in state.items()})
  inputs = ('/image', '/is_first')
  return {k: v for k, v in data.items() if not k.endswith(inputs)}, arrays


def report_openl(data):
  """The open-loop video before it is rounded to bytes."""
  agent = _small_agent('atari', data['image'].shape[2:],
                       data['action'].shape[2])
  batch = {key: tf.constant(data[key]) for key in agent.batch_keys}
  with eagerly():
    video = agent.report_step(batch, 5)['image'].numpy()
  wide = video.astype(np.float64)
  arrays = {'video_head': video.ravel()[:64],
            'stats': parity_cases.stats(wide),
            'frame7': video[7].astype(np.float16)}
  return {key: data[key] for key in arrays}, arrays


FUNCTIONS = {
    'action_noise.json': action_noise, 'dists.npz': distributions,
    'gru_cell.npz': gru_cell, 'lambda_return.npz': lambda_return,
    'policy.npz': policy, 'report_openl.npz': report_openl,
    'schedule.json': schedule, 'stream_norm.npz': stream_norm,
    **parity_replay.FUNCTIONS}
