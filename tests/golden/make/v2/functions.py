"""Single functions of the release, on the stored inputs."""
import json

import agent as agentlib
import common
import numpy as np
import tensorflow as tf
from rules import stats
from tensorflow_probability import distributions as tfd
from v2 import cases, release, tables


def distributions(data):
  """Log densities, entropies, KLs, modes and gradients."""
  get = lambda name: tf.constant(data[name])
  one, other = (tfd.Independent(common.OneHotDist(get(f'onehot/{key}')), 1)
                for key in ('logits', 'logits2'))
  found = _facts('onehot', one, get('onehot/x'), other, mode=True)
  one, other = (
      tfd.MultivariateNormalDiag(get(f'gauss/mean{x}'), get(f'gauss/std{x}'))
      for x in ('', '2'))
  found.update(_facts('gauss', one, None, other))
  # The label is an array here, which the library cuts to a whole number. In
  # training it is a tensor, and stays soft.
  one = tfd.Bernoulli(get('bern/logits'))
  found.update({
      'bern/log_prob': one.log_prob(data['bern/target']),
      'bern/mean': one.mean(), 'bern/mode': one.mode()})
  one = tfd.Independent(tfd.Normal(get('mse/mean'), 1.0), 2)
  found['mse/log_prob'] = one.log_prob(get('mse/x'))
  found.update(_truncated(get))
  return found


def _facts(name, one, x, other, mode=False):
  found = {f'{name}/kl': tfd.kl_divergence(one, other),
           f'{name}/entropy': one.entropy()}
  if x is not None:
    found[f'{name}/log_prob'] = one.log_prob(x)
  if mode:
    found[f'{name}/mode'] = one.mode()
  return found


def _truncated(get):
  loc, scale = tf.Variable(get('trunc/loc')), tf.Variable(get('trunc/scale'))
  with tf.GradientTape(persistent=True) as tape:
    dist = tfd.Independent(common.TruncNormalDist(loc, scale, -1, 1), 1)
    values = {'entropy': dist.entropy(), 'sample': dist.sample(),
              'log_prob': dist.log_prob(get('trunc/x'))}
  found = {'trunc/mode': dist.mode()}
  for key, value in values.items():
    name = {'sample': 'half_std_sample'}.get(key, key)
    found[f'trunc/{name}'] = value
    for part, source in (('loc', loc), ('scale', scale)):
      found[f'trunc/grad_{key}_{part}'] = tape.gradient(value, source)
  return found


def gru_cell(data):
  """One step of the recurrent cell."""
  cell = common.GRUCell(data['state'].shape[-1], norm=True)
  inputs, state = tf.constant(data['input']), tf.constant(data['state'])
  cell(inputs, [state])  # creates the variables
  for name, variable in release._below('gru', cell).items():
    variable.assign(data[name])
  return {'output': cell(inputs, [state])[0],
          'epsilon': np.float32(cell._norm.epsilon)}


def lambda_return(data):
  """Lambda returns along either axis, with and without bootstrap."""
  found = {}
  for index in sorted({name.split('/')[0] for name in data}):
    get = lambda key: data[f'{index}/{key}']  # noqa: B023
    bootstrap = None
    if f'{index}/bootstrap' in data:
      bootstrap = tf.constant(get('bootstrap'))
    pcont = get('pcont')
    pcont = tf.constant(pcont) if pcont.shape else float(pcont)
    found[f'{index}/returns'] = common.lambda_return(
        tf.constant(get('reward')), tf.constant(get('value')), pcont,
        bootstrap, float(get('lambda')), int(get('axis')))
  return found


def stream_norm(data):
  """Running normalisation of rewards."""
  found = {}
  for index in sorted({name.split('/')[0] for name in data}):
    norm = common.StreamNorm(**json.loads(str(data[f'{index}/kwargs'])))
    inputs = sorted(name for name in data
                    if name.startswith(f'{index}/') and name.endswith('/in'))
    for name in inputs:
      out, metrics = norm(tf.constant(data[name]))
      step = name[:-len('/in')]
      found.update({f'{step}/out': out, f'{step}/mag': norm.mag.numpy()})
      found.update({f'{step}/metric/{k}': v for k, v in metrics.items()})
  return found


def schedule(data):
  """Values over steps; descriptions that the release refuses."""
  values = {
      text: {step: float(common.schedule(text, int(step))) for step in steps}
      for text, steps in data['values'].items()}
  errors = {}
  for text in data['errors']:
    try:
      common.schedule(text, 0)
    except Exception as error:
      errors[text] = type(error).__name__
  return dict(data, values=values, errors=errors)


def action_noise(data):
  """Chances of noisy one-hot actions; noisy continuous ones."""
  space = release._action_space('discrete', len(data['discrete'][0]['action']))
  discrete = []
  for row in data['discrete']:
    action = tf.constant(row['action'])
    with _chances() as seen:
      result = common.action_noise(action, row['amount'], space['action'])
    discrete.append(dict(
        row, probs=seen[0].numpy() if seen else None,
        returns_input=result is action))
  space = release._action_space('continuous', 2)
  continuous = [dict(row, half_std_result=common.action_noise(
      tf.constant(row['action']), row['amount'], space['action']).numpy())
      for row in data['continuous']]
  return dict(discrete=discrete, continuous=continuous)


class _chances:
  """The probabilities that the release gives to its one-hot distribution."""

  def __enter__(self):
    self.original, seen = common.other.dists.OneHotDist, []
    class Noted(self.original):
      def __init__(self, logits=None, probs=None, dtype=None):
        seen.append(probs)
        super().__init__(logits, probs, dtype)
    common.other.dists.OneHotDist = Noted
    return seen

  def __exit__(self, *args):
    common.other.dists.OneHotDist = self.original


def policy(data):
  """Four steps for two environments, with a reset within, in each mode."""
  found = {}
  for name, case in (
      ('atari', 'v2_atari_small'), ('dmc', 'v2_dmc_proprio_small')):
    images, first = data[f'{name}/image'], data[f'{name}/is_first']
    made = _small(case, name, images)
    for mode in ('train', 'eval', 'explore'):
      state = None
      for step in range(images.shape[1]):
        outputs, state = made.policy({
            'image': tf.constant(images[:, step]),
            'is_first': tf.constant(first[:, step]),
            'is_terminal': tf.zeros(len(images), bool),
            'reward': tf.zeros(len(images))}, state, mode)
        key = f'{name}/{mode}/{step}'
        found[f'{key}/action'] = outputs['action']
        for part in ('deter', 'stoch'):
          found[f'{key}/{part}'] = state[0][part]
  return found


def _small(case, suite, images):
  """The agent of the small cases, for these images."""
  spec = dict(cases.spec(case))
  if suite == 'dmc':
    spec['preset'] = 'dmc_vision'
  size = spec['action'][1]
  batch = dict(
      image=images, action=np.zeros((*images.shape[:2], size), np.float32),
      reward=np.zeros(images.shape[:2], np.float32),
      **{key: np.zeros(images.shape[:2], bool) for key in release.FLAGS})
  return release.agent(spec, release.configuration(spec), batch)


def report_openl(data):
  """The open-loop video, before anything is rounded."""
  batch = {key: data[key] for key in (
      'image', 'action', 'reward', *release.FLAGS)}
  spec = cases.spec('v2_atari_small')
  made = release.agent(spec, release.configuration(spec), batch)
  video = agentlib.Agent.report(made, release.tensors(batch))
  video = video['openl_image'].numpy()
  return {'video_head': video.ravel()[:64], 'stats': stats(video),
          'frame7': video[7].astype(np.float16)}


FUNCTIONS = {'v2_misc': {
    'dists.npz': distributions, 'gru_cell.npz': gru_cell,
    'lambda_return.npz': lambda_return, 'stream_norm.npz': stream_norm,
    'policy.npz': policy, 'report_openl.npz': report_openl,
    'schedule.json': schedule, 'action_noise.json': action_noise,
    'when.json': tables.when, 'replay_sampling.json': tables.replay_sampling,
    'driver_prefill.json': tables.driver_prefill}}

