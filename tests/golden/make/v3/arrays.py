"""Names for what was noted: the arrays of noise.npz and expected.npz."""
import numpy as np
from v3.release import TRAINED

HEADS = {'rew': 'reward', 'con': 'cont', 'pol': 'policy', 'val': 'value',
         'slowval': 'slow_value'}
SLOTS = {'1': 'rms', '2': 'momentum'}  # links of the release's optax chain


def time_major(value):
  return np.swapaxes(value, 0, 1)


def flat_starts(value):
  """[B, T, ...] to [1, B * T, ...]: where imagination starts."""
  return value.reshape((1, -1, *value.shape[2:]))


def imagined(start, rest):
  """The replayed states in front of the imagined ones, time-major."""
  return np.concatenate([start, time_major(rest)], 0)


def noise(result, actions):
  """What one train step drew: noise, and the index it chose."""
  notes = result['notes']
  (post,), (imag,), (action,) = notes['post'], notes['imag'], notes['action']
  found = {'post': notes['noise/post'][0],
           'imag': time_major(notes['noise/imag'][0]),
           'index/post': small(post['stoch'].argmax(-1)),
           'index/imag': small(time_major(imag['stoch'].argmax(-1)))}
  for key in actions:
    found[f'act/{key}'] = _with_last(notes[f'noise/act/{key}'])
    if action[key].dtype.kind in 'iu':
      found[f'index/act/{key}'] = small(time_major(action[key]))
  return found


def _with_last(parts):
  """Actions of the loop, and the one drawn after it at the last state."""
  inside, last = parts
  return np.concatenate([time_major(inside), last[None]], 0)


def margins(result, actions):
  """Distance of each kind of argmax to its nearest rival."""
  notes = result['notes']
  names = ['post', 'imag', *[f'act/{k}' for k in actions]]
  return {
      k: float(min(v.min() for v in notes[f'margin/{k}']))
      for k in names if f'margin/{k}' in notes}


def small(index):
  return index.astype(np.uint8) if index.max() < 256 else index


def scalars(result, k):
  """Losses, norms and metrics of train step k, and the running ranges."""
  found = {}
  for name, value in result['metrics'].items():
    name = {'opt/loss': 'loss/total', 'opt/grad_norm': 'grad_norm/opt'}.get(
        name, name)
    group = '' if name.startswith(('loss/', 'grad_norm/')) else 'metric/'
    found[f'step{k}/{group}{name}'] = np.float32(value)
  for name, value in result['state'].items():
    if name.startswith(('retnorm/', 'valnorm/', 'advnorm/')):
      found[f'step{k}/extra/{name.removesuffix("/value")}'] = value
  return found


def tensors(result, actions):
  """Everything with axes of the first train step."""
  notes = result['notes']
  (outputs,), (imag,) = notes['outputs'], notes['imag']
  post = outputs['repfeat']
  found = {'embed': outputs['tokens'], 'prior/logit': notes['prior'][0]}
  for key in ('deter', 'stoch', 'logit'):
    found[f'post/{key}'] = post[key]
    found[f'imag_{key}'] = imagined(flat_starts(post[key]), imag[key])
  for key in actions:
    found[f'imag_action/{key}'] = time_major(notes['action'][0][key])
  found.update({f'loss/{k}': v for k, v in outputs['losses'].items()})
  for key, stats in notes['recon'][0].items():
    (found[f'recon/{key}'],) = stats.values()
  found.update(_predictions(notes))
  found.update(_returns(notes))
  return found


def _predictions(notes):
  """Reward and continue: first of the replayed states, then of imagined ones.

  Critics the other way round; the policy of imagined states alone.
  """
  found = {}
  for head, name in HEADS.items():
    order = {'pol': ['imag'], 'rew': ['replay', 'imag'],
             'con': ['replay', 'imag']}.get(head, ['imag', 'replay'])
    for where, stats in zip(order, notes[f'head/{head}']):
      for key, value in _flatten(stats).items():
        value = time_major(value) if where == 'imag' else value
        found[f'{where}_{name}/{key}'] = value
  return found


def _flatten(tree, prefix=''):
  if not isinstance(tree, dict):
    return {prefix: tree}
  found = {}
  for key, value in tree.items():
    found.update(_flatten(value, f'{prefix}/{key}' if prefix else key))
  return found


def _returns(notes):
  """Lambda returns, advantages, and the weights that the continues make."""
  imag, *replay = notes['return']
  live = imag['disc'] * (1 - imag['term'])
  found = {
      'returns': time_major(imag['ret']),
      'advantage': time_major(notes['norm/advnorm'][0]['x']),
      'weight': time_major(np.cumprod(live, 1) / imag['disc'])}
  for stats in replay:
    found['replay_returns'] = stats['ret']
    found['replay_boot'] = stats['boot']
  for key in ('retnorm', 'valnorm', 'advnorm'):
    for part in ('offset', 'scale'):
      found[f'{key}/{part}'] = notes[f'norm/{key}'][0][part]
  return found


def gradients(result):
  """Gradients before AGC, and the factor that AGC gave each."""
  (grads,), (clipped,) = result['notes']['grad'], result['notes']['clipped']
  found = {}
  for name, grad in grads.items():
    found[f'grad/{name}'] = grad
    norm = np.linalg.norm(grad.astype(np.float64))
    after = np.linalg.norm(clipped[name].astype(np.float64))
    found[f'extra/agc_scale/{name}'] = np.float32(after / norm if norm else 1)
  return found


def first_update(before, result):
  """Parameters that the first update moved."""
  return {
      f'param1/{k}': v for k, v in result['state'].items()
      if k.startswith(TRAINED) and not np.array_equal(v, before[k])}


def last_state(result):
  """Parameters, moments and counters after the last step."""
  found = {}
  for name, value in result['state'].items():
    parts = name.split('/')
    if name.startswith(TRAINED):
      found[f'param/{name}'] = value
    elif name.startswith('opt/state/') and len(parts) > 4:
      slot = SLOTS.get(parts[2], parts[2])
      found[f'slot/{slot}/{"/".join(parts[4:])}'] = value
    elif value.shape == ():
      found[f'extra/{name.removesuffix("/value")}'] = value
  return found


def written_back(result):
  """Latents that the first step hands back to the replay."""
  latents = result['outs'].get('replay', {})
  return {f'extra/replay/{k}': v for k, v in latents.items() if k != 'stepid'}


def expected(before, results, actions):
  """All arrays of expected.npz, whole."""
  found = {}
  for k, result in enumerate(results):
    found.update(scalars(result, k))
  found.update({
      f'tensor/{k}': v for k, v in tensors(results[0], actions).items()})
  found.update(gradients(results[0]))
  found.update(first_update(before, results[0]))
  found.update(last_state(results[-1]))
  found.update(written_back(results[0]))
  return found


def is_large(name, value, limit):
  """Whether a case keeps the outlines of this array alone."""
  if name.startswith('tensor/recon/') and value.ndim == 5:
    return value.size > 2048  # images
  return limit > 0 and value.size > limit and not name.startswith('step')
