"""Runs the DreamerV3 agent on a parity case of its release."""

import contextlib
from unittest import mock

import numpy as np
import tensorflow as tf

from dreamer.conform import rounding
from dreamer.envs.spaces import ActionSpace, ActionSpaces, Space
from dreamer.errors import UserError
from dreamer.nn.normalise import Normaliser
from dreamerv3 import variants
from dreamerv3.checks import validate
from tests.parity import cases as parity_cases
from tests.parity import keys_v3, names_v3
from tests.support.agent_running import eagerly, flat
from tests.support.recorded_noise import RecordedNoise

FLAGS = 'is_first', 'is_last', 'is_terminal'
# Names in expected.npz of our losses and metrics.
LOSSES = {'reward': 'rew', 'discount': 'con', 'dynamics': 'dyn',
          'representation': 'rep', 'actor': 'policy', 'critic': 'value',
          'replay_critic': 'repval', 'total': 'total'}
METRICS = {
    'model/prior_ent': 'dyn_ent', 'model/post_ent': 'rep_ent',
    'actor/advantage': 'adv', 'actor/advantage_std': 'adv_std',
    'actor/advantage_mag': 'adv_mag', 'imag/discount': 'con',
    'imag/reward': 'rew', 'imag/return_normed': 'ret',
    'imag/return_normed_min': 'ret_min', 'imag/return_normed_max': 'ret_max',
    'imag/return_large': 'ret_rate', 'imag/value': 'val',
    'imag/slow_value': 'slowval', 'critic/target': 'tar',
    'imag/weight': 'weight'}
NORMS = {'return_norm': 'retnorm', 'value_norm': 'valnorm',
         'advantage_norm': 'advnorm'}
PARTS = {'low': 'lo', 'high': 'hi', 'weight': 'corr', 'mean': 'mean',
         'square': 'sqrs'}


def run(path, case, reference, eager=False):
  """Trains on the case's batch; returns the Comparison."""
  del reference
  trial = Trial(path, case)
  expected = parity_cases.read_npz(path / 'expected.npz')
  with eagerly(eager):
    arrays = trial.train()
    if (path / 'policy.npz').exists():
      given = parity_cases.read_npz(path / 'policy.npz')
      ours = Trial(path, case).act(given)
      arrays.update(ours)
      expected.update({f'policy/{key}': value for key, value in given.items()
                       if key.startswith('out/')})
  comparison = parity_cases.Comparison(
      expected, arrays, case['steps'], units=trial.units(expected))
  rounding.allow(comparison, case)
  if not comparison.ok and (ties := pool_ties(path, case)):
    rounding.allow_ties(comparison, ties)
  return comparison


def pool_ties(path, case):
  """How many pooled windows have two largest values that rounding orders.

  Equal ones are not counted: they are of equal patches, in flat regions.
  """
  found, pool = [], tf.nn.max_pool2d

  def count(x, *args):
    (rows, height, width, channels), values = x.shape, x.numpy()
    windows = values.reshape(
        rows, height // 2, 2, width // 2, 2, channels).transpose(
            0, 1, 3, 5, 2, 4).reshape(-1, 4)
    windows = np.sort(windows, -1)
    gaps = (windows[:, 3] - windows[:, 2]) / np.abs(values).max()
    found.append(int(((0 < gaps) & (gaps < rounding.TIE)).sum()))
    return pool(x, *args)

  with eagerly(True), mock.patch.object(tf.nn, 'max_pool2d', count):
    Trial(path, case).train()
  return max(found, default=0)


class Trial:
  """The agent that a case describes, with its parameters and its noise."""

  def __init__(self, path, case):
    self.case, self.folder = case, path
    self.spaces = spaces(case)
    self.noise = RecordedNoise()
    self.agent = make_agent(case, self.noise)
    choices = [key for key, x in case['observation_space'].items()
               if x[0] == 'int']
    self._rules = names_v3.make_rules(self.agent.config, choices)
    names = {self._theirs(key): value
             for key, value in self.agent.parameters.items()}
    parity_cases.load_parameters(names, case, path)
    self._parameters = names
    for name, value in case.get('initial_state', {}).items():
      self._statistics()[name].assign(value)
    self._recorded = []  # of normalisers, when they were updated

  def _theirs(self, name):
    return names_v3.theirs(name, self._rules)

  def _statistics(self):
    """Variables of the normalisers, by their names in the case."""
    found = {}
    for name, variable in self.agent.statistics.items():
      norm, part = name.rsplit('/', 1)
      if norm in NORMS:
        found[f'{NORMS[norm]}/{PARTS[part]}'] = variable
    return found

  def units(self, expected):
    """What errors of parameters are shares of, by name.

    That is the sum of the learning rates, less for the slow critic.
    """
    lrs, found = self.case['lr_per_update'], {}
    for name in expected:
      base = name.removesuffix('.stats').removesuffix('.head')
      kind, _, key = base.partition('/')
      unit = {'param': sum(lrs), 'param1': lrs[0]}.get(kind)
      if unit is not None:
        slow = self.agent.config.slow_critic.fraction
        found[base] = unit * (slow if key.startswith('slowval/') else 1)
    return found

  # Learning

  def train(self):
    """All arrays: step 0 with tensors and gradients, then the other steps."""
    data = parity_cases.read_npz(self.folder / 'noise.npz')
    arrays, agent = {}, self.agent
    for step in range(self.case['steps']):
      self.noise.set(self._draws(data, step))
      batch = read_batch(
          self.folder, self.case, self.agent.batch_keys, step)
      if step == 0:
        metrics, found = self._first(batch)
        arrays.update(found)
      else:
        metrics = {key: x.numpy() for key, x in agent.train(batch).items()}
      arrays.update(self._metrics(metrics, step))
      arrays.update({f'step{step}/extra/{key}': x.numpy()
                     for key, x in self._statistics().items()})
    arrays.update({f'extra/{key}': x.numpy()
                   for key, x in self._statistics().items()})
    arrays.update(self._parameters_now('param'))
    return {**arrays, **self._counters(), **self._slots()}

  def _draws(self, data, step):
    found = {'post': np.swapaxes(data[f'step{step}/post'], 0, 1),
             'imagine': data[f'step{step}/imag']}
    found.update({f'actor/{key}': data[f'step{step}/act/{key}']
                  for key in self.spaces[1].parts})
    return found

  def _first(self, batch):
    """The first step, with what it computes: as compiled as the others."""
    agent = self.agent
    before = {key: x.numpy() for key, x in self._parameters.items()}

    @tf.function(autograph=False, jit_compile=agent.compiled)
    def learn(batch):
      with self._captured() as captured:
        update = agent.learn(batch, tf.constant(0, tf.int64))
      extra = {**captured, **_tensors(agent, update)}
      return update, agent.fresh(update.tensors), extra

    update, fresh, extra = tf.nest.map_structure(
        lambda x: x.numpy(), learn(agent.put(batch)))
    arrays = {f'tensor/{key}': value for key, value in extra.items()}
    arrays.update(flat({key: update.tensors[key] for key in (
        'embed', 'post', 'returns', 'advantage', 'weight')}))
    arrays.update(self._gradients(update.gradients['all'], before))
    arrays.update(self._parameters_now('param1', before))
    if fresh:
      fresh['stoch'] = np.eye(agent.config.rssm.classes)[fresh['stoch']]
    arrays.update({f'extra/replay/dyn/{key}': x for key, x in fresh.items()})
    return update.scalars, arrays

  @contextlib.contextmanager
  def _captured(self):
    """Raw outputs of behaviours, made of the weights before the update."""
    found, cls = {}, type(self.agent.behaviour)
    loss, refresh = cls.loss, Normaliser.update

    def captured_loss(behaviour, model, tensors, *args):
      losses, tensors = loss(behaviour, model, tensors, *args)
      found.update(_outputs(self, model, behaviour, tensors))
      return losses, tensors

    def update(norm, values):
      refresh(norm, values)
      for part, value in zip(('offset', 'scale'), norm.stats(), strict=True):
        found.setdefault(f'{NORMS[norm.name]}/{part}', value)

    with mock.patch.object(cls, 'loss', captured_loss), \
         mock.patch.object(Normaliser, 'update', update):
      yield found
    for name in NORMS.values():
      found.setdefault(f'{name}/offset', tf.zeros([]))
      found.setdefault(f'{name}/scale', tf.ones([]))

  def _gradients(self, gradients, before):
    arrays, optimizer = {}, self.agent.optimizers['all']
    names = [self._theirs(key) for key in gradients]
    values = [tf.constant(x) for x in gradients.values()]
    factors = optimizer.clip.factors(
        [tf.constant(before[name]) for name in names], values,
        tf.linalg.global_norm(values))
    for name, value, factor in zip(
        names, gradients.values(), factors, strict=True):
      arrays[f'grad/{name}'] = value
      arrays[f'extra/agc_scale/{name}'] = (
          np.float32(factor) if value.any() else 1)
    return arrays

  def _parameters_now(self, kind, before=None):
    return {f'{kind}/{key}': x.numpy() for key, x in self._parameters.items()}

  def _counters(self):
    """Counts of updates, wherever they stand in the release's state."""
    updates, (optimizer,) = self.agent.updates, (
        self.agent.optimizers.values())
    step = int(optimizer.step)
    found = {'extra/opt/step': step, 'extra/slowval_count': updates}
    for place in range(6):
      for name in ('0', 'count'):
        found[f'extra/opt/state/{place}/{name}'] = step
    return found

  def _slots(self):
    optimizer, = self.agent.optimizers.values()
    return {f'slot/{slot}/{self._theirs(name)}': value.numpy()
            for slot, arrays in optimizer.slots.items()
            for name, value in arrays.items()}

  def _metrics(self, metrics, step):
    """Losses and metrics of a step by their names in expected.npz."""
    found, parts = {}, self.spaces[1].parts
    # Of the head alone, without gamma.
    metrics = {**metrics, 'imag/discount': (
        metrics['imag/discount'] / self.agent.model.gamma)}
    for key, value in metrics.items():
      group, _, rest = key.partition('/')
      if group == 'loss':
        found[f'loss/{LOSSES.get(rest, rest)}'] = value
      elif key in METRICS:
        found[f'metric/{METRICS[key]}'] = value
      elif key.startswith('actor/randomness/'):
        found[f'metric/rand/{key.rsplit("/", 1)[1]}'] = value
      elif key.startswith('actor/entropy/'):
        found[f'metric/ent/{key.rsplit("/", 1)[1]}'] = value
      elif key == 'actor/entropy' and len(parts) == 1:
        found[f'metric/ent/{next(iter(parts))}'] = value
    norm = metrics['grad_norm/all']
    found['grad_norm/opt'] = norm
    found.update(self._optimiser_metrics(norm))
    return {f'step{step}/{key}': value for key, value in found.items()}

  def _optimiser_metrics(self, norm):
    """Root mean squares; updates as the optimiser's arrays say they were."""
    optimizer, = self.agent.optimizers.values()
    amount = sum(np.prod(x.shape) for x in optimizer.params.values())
    rms = lambda arrays: np.sqrt(sum(
        (np.asarray(x, np.float64) ** 2).sum() for x in arrays) / amount)
    found = {
        'metric/opt/grad_rms': norm / np.sqrt(amount),
        'metric/opt/param_count': amount,
        'metric/opt/param_rms': rms(
            x.numpy() for x in optimizer.params.values()),
        'metric/opt/updates': self.agent.updates}
    if 'momentum' not in optimizer.slots:
      return found  # another one than LaProp
    updates, step = [], tf.cast(optimizer.step, tf.float32)
    lr = float(optimizer.learning_rate(step - 1))
    decay = optimizer.share
    for key, momentum in optimizer.slots['momentum'].items():
      update = momentum.numpy() / (1 - optimizer.config.beta1 ** float(step))
      if decay and key.endswith('/kernel'):
        # The step was made from p with p' = p - lr (u + decay p).
        param = optimizer.params[key].numpy()
        update = update + decay * (param + lr * update) / (1 - lr * decay)
      updates.append(lr * update)
    return {**found, 'metric/opt/update_rms': rms(updates)}

  # Acting

  def act(self, given):
    """Steps of the policy, from the state before the first one."""
    arrays, state, parts = {}, None, self.spaces[1].parts
    for step in range(sum(key.startswith('in/') and key.endswith('/is_first')
                          for key in given)):
      self.noise.set({'latent': given[f'noise/step{step}/post'], **{
          f'act/{key}': given[f'noise/step{step}/act/{key}']
          for key in parts}})
      obs = {key: given[f'in/step{step}/{key}']
             for key in (*self.spaces[0], 'is_first')}
      _, state = self.agent.policy(obs, state)
      prefix = f'policy/out/step{step}'
      for key, value in split(parts, state['action']).items():
        arrays[f'{prefix}/act/{key}'] = value
      arrays.update({f'{prefix}/{key}': state[key]
                     for key in ('deter', 'stoch')})
      arrays[f'{prefix}/logit'] = self._posterior(obs, state)
    return arrays

  def _posterior(self, obs, state):
    """The raw logits of the latents that were just drawn."""
    model = self.agent.model
    obs = {key: tf.constant(x) for key, x in obs.items()}
    embed = model.encoder(model.preprocess_obs(obs))
    rssm, deter = model.rssm, tf.constant(state['deter'])
    return rssm.posterior(deter, rssm.obs.ahead(embed), None)['logit'].numpy()


def _outputs(trial, model, behaviour, tensors):
  """Raw outputs of heads on replayed and imagined states."""
  found, feat = {}, {'replay': tensors['feat'], 'imag': tensors['imag_feat']}
  for where, x in feat.items():
    for ours, theirs, head in (
        ('reward', 'reward', model.reward), ('cont', 'cont', model.discount),
        ('value', 'value', behaviour.critic),
        ('slow_value', 'slow_value', behaviour.slow_critic)):
      x = behaviour.replayed(x) if where == 'replay' and 'value' in ours else x
      name, dist = f'{where}_{theirs}', head.dist(x)
      if ours == 'cont':
        found[f'{name}/logit'] = dist.logit
      elif hasattr(dist, 'logits'):
        found[f'{name}/logits'] = dist.logits
        found[f'{name}/pred'] = dist.mean()
      else:
        found[f'{name}/mean'] = dist.mean()
  policy = behaviour.actor.dist(feat['imag'])
  for key, part in policy.parts.items():
    for kind in ('logits', 'mean', 'std'):
      if hasattr(part, kind):
        found[f'imag_policy/{key}/{kind}'] = getattr(part, kind)
  found.update(_reconstructions(trial, model, tensors['feat']))
  found['prior/logit'] = tensors['prior']['logit']
  found.update(_states(model, behaviour, tensors))
  parts = trial.spaces[1].parts
  found.update({f'imag_action/{key}': x for key, x in split(
      parts, tensors['imag_action']).items()})
  return found


def _states(model, behaviour, tensors):
  """Imagined states, the start first, and their logits."""
  rssm = model.rssm
  deter, stoch = tf.split(
      tensors['imag_feat'], [rssm.config.deter, rssm.stoch_size], -1)
  start = behaviour.replayed(tensors['post']['logit'])
  later = rssm.stats(deter[1:])['logit']
  start = tf.reshape(start, [1, *later.shape[1:]])
  shape = [*stoch.shape[:-1], *rssm.stoch_shape]
  return {'imag_deter': deter, 'imag_stoch': tf.reshape(stoch, shape),
          'imag_logit': tf.concat([start, later], 0)}


def _reconstructions(trial, model, feat):
  decoder, found = model.decoder, {}
  for key, mean in decoder.image_means(feat).items():
    found[f'recon/{key}'] = mean + 0.5
  for key, out in decoder.vector_outs(feat).items():
    space = trial.spaces[0][key]
    shape = [*feat.shape[:2], *space.shape]
    if decoder.choices[key]:
      shape.append(decoder.choices[key])
    found[f'recon/{key}'] = tf.reshape(out, shape)
  return found


def _tensors(agent, update):
  """Losses of each step and what else the update itself has."""
  tensors, found = update.tensors, {}
  for key, value in tensors['like'].items():
    found[f'loss/{LOSSES.get(key, key)}'] = -value
  rows = [agent.config.batch_size, -1]
  for key in ('actor', 'critic'):
    mean = tf.reduce_mean(tensors[key], 0)
    found[f'loss/{LOSSES[key]}'] = tf.reshape(mean, rows)
  for key in ('dynamics', 'representation', 'replay_critic'):
    if key in tensors:
      found[f'loss/{LOSSES[key]}'] = tensors[key]
  return {**found, **{key: tensors[key] for key in (
      'replay_returns', 'replay_boot') if key in tensors}}


def read_batch(folder, case, keys, step=0):
  """The rows of a case as our replay gives them."""
  batch, rows = parity_cases.read_npz(folder / 'batch.npz'), case['context']
  obs_space, act_space = spaces(case)
  found = {key: batch[key] for key in (*obs_space, *FLAGS, 'reward')}
  found['action'] = join(act_space.parts, batch)
  found['consec'] = np.full(
      len(batch['reward']), case['consec'][step], np.int32)
  for key in ('deter', 'stoch'):
    if f'dyn/{key}' in batch:
      found[f'stored/{key}'] = batch[f'dyn/{key}'][:, :rows]
  return {key: found[key] for key in keys}


def make_agent(case, noise):
  """The Agent that a case describes."""
  config = keys_v3.make_config(case)
  obs_space, act_space = spaces(case)
  validate(config)
  validate(config, (obs_space, act_space))
  return variants.make_agent(config, obs_space, act_space, noise)


def spaces(case):
  """Observation and action spaces of a case."""
  obs = {key: _space(*x) for key, x in case['observation_space'].items()}
  actions = {}
  for key, space in case['action_spaces'].items():
    if space['type'] not in ('continuous', 'discrete'):
      raise UserError(f'action_spaces.{key}.type: {space["type"]}; '
                      'continuous or discrete')
    actions[key] = ActionSpace(space['type'], space['dim'])
  return obs, ActionSpaces(tuple(actions.items()))


def _space(kind, shape, amount=None):
  if kind == 'int':
    return Space(tuple(shape), 'int32', 0, amount - 1)
  if kind == 'image':
    return Space(tuple(shape), 'uint8', 0, 255)
  return Space(tuple(shape), 'float32')


def join(parts, batch):
  """Actions of several keys as one vector, discrete ones one-hot."""
  return np.concatenate([
      np.eye(space.dim, dtype=np.float32)[batch[key]] if space.discrete
      else batch[key] for key, space in parts.items()], -1)


def split(parts, action):
  """Undoes `join`; tensors or arrays."""
  sizes = np.cumsum([0, *(space.dim for space in parts.values())])
  found = {}
  for index, (key, space) in enumerate(parts.items()):
    part = action[..., sizes[index]: sizes[index + 1]]
    if space.discrete:
      part = tf.argmax(part, -1)
    found[key] = part
  return found
