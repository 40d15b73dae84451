"""The DreamerV1 agent: learning from batches, acting, pictures, state."""

import numpy as np
import tensorflow as tf

from dreamer.errors import UserError
from dreamer.nn import device, layers, openloop, optim
from dreamer.nn import noise as noise_lib
from dreamer.run import checkpoint
from dreamerv1.actor_critic import ActorCritic
from dreamerv1.exploration import Exploration, exploration_amount
from dreamerv1.planner import Planner
from dreamerv1.world_model import WorldModel

DTYPES = {'float32': tf.float32, 'float16': tf.float16,
          'bfloat16': tf.bfloat16}


class Agent:
  """World model, behaviour and optimisers behind five calls.

  `train(batch)` updates on sequences [B, T, ...], `policy(obs, state)` acts
  for n environments, `report(batch)` predicts a video open loop, `state()` and
  `restore(arrays)` carry everything that learning changes.

  Args are the Config, the observation spaces (dict with `image`
  [64, 64, C]), the ActionSpace, and, for tests, a noise object that replaces
  every random draw.
  """

  batch_keys = 'image', 'action', 'reward', 'discount'  # what it learns from

  def __init__(self, config, obs_space, act_space, noise=None):
    self.config = config
    self.act_space = act_space
    self.fixed_noise = noise
    self.dtype = DTYPES[config.precision]
    channels = _channels(obs_space)
    init = layers.Init(config.seed)
    self.model = WorldModel(config, channels, act_space.dim, init)
    self.behaviour = Planner(config, act_space) if (
        config.behaviour == 'planner') else ActorCritic(
            config, self.model.dynamics.feat_size, act_space, init)
    self.optimizers = self._make_optimizers()
    self.counters = {key: tf.Variable(0, dtype=tf.int64) for key in (
        'updates', 'acts_train', 'acts_eval', 'reports')}
    self._explore = Exploration(config.expl.kind, act_space)
    self._train = tf.function(self._train_step, autograph=False)
    self._policy = tf.function(self._policy_step, autograph=False)
    self._report = tf.function(self._report_step, autograph=False)

  # Learning

  def train(self, batch, env_steps=0):
    """One update of all parameters; metrics by name, scalar tensors.

    The batch holds `batch_keys` [B, T, ...] and perhaps `reward_mask` [B, T]:
    0 where the reward is unknown. env_steps: for schedules; V1 has none in
    learning.
    """
    keys = *self.batch_keys, 'reward_mask'
    return self._train({key: tf.convert_to_tensor(batch[key])
                        for key in keys if key in batch})

  def losses(self, data, noise):
    """Losses and tensors of preprocessed sequences, with gradients by group.

    All losses are taken before any update. Returns losses, gradients (dict
    of group to dict of parameter name to gradient) and tensors, by name.
    """
    grads = {}
    with optim.gradient_tape() as tape:
      model = self._bind(self.model)
      losses, tensors = model.loss(data, noise, self.config.unroll)
    for group in ['model'] + self.model.diagnostic_heads:
      name = 'image' if group == 'decode' else group
      grads[group] = self.optimizers[group].gradients(tape, losses[name])
    if not self.behaviour.groups:
      return losses, grads, tensors
    start = self._start_states(tensors['post'], grads)
    with optim.gradient_tape() as tape:
      behaviour = self._bind(self.behaviour)
      extra, imagined = behaviour.loss(
          model.map(tf.stop_gradient), start, noise, self.config.unroll)
    for group in extra:
      grads[group] = self.optimizers[group].gradients(tape, extra[group])
    return {**losses, **extra}, grads, {**tensors, **imagined}

  @device.without_gc()  # while it is traced
  def _train_step(self, batch):
    noise = self._noise('train', self.counters['updates'])
    data = self.model.preprocess(batch, noise)
    losses, grads, tensors = self.losses(data, noise)
    metrics = {f'loss/{key}': value for key, value in losses.items()}
    for group, grad in grads.items():
      metrics.update(self.optimizers[group].apply(grad))
    self.counters['updates'].assign_add(1)
    metrics.update(self._summaries(tensors))
    return metrics

  def _summaries(self, tensors):
    dynamics, mean = self.model.dynamics, tf.reduce_mean
    post, prior = tensors['post'], tensors['prior']
    return {'model/kl': mean(tensors['kl']),
            'model/prior_ent': mean(dynamics.get_dist(prior).entropy()),
            'model/post_ent': mean(dynamics.get_dist(post).entropy()),
            **self.behaviour.summaries(tensors)}

  def _start_states(self, post, grads):
    """Posterior states as rows b * T + t, gradient stopped: [N, ...].

    With a discount head the last step of each sequence is dropped. Waiting
    for the model's gradients frees their memory before the rollout takes its.
    """
    drop = self.config.pcont.mode == 'model'
    with tf.control_dependencies(tf.nest.flatten(grads)):
      post = {key: tf.identity(value) for key, value in post.items()}
    rows = lambda x: tf.reshape(x[:, :-1] if drop else x, [-1, x.shape[-1]])
    return {key: tf.stop_gradient(rows(x)) for key, x in post.items()}

  # Acting

  def policy(self, obs, state=None, mode='train', env_steps=0):
    """Actions for a batch of observations.

    Args are obs with image [n, 64, 64, C] uint8 and is_first [n], the state
    that the last call returned or None, mode `train` (explores) or `eval`,
    and the environment steps so far for the exploration schedule. Returns
    actions [n, A] float32 and the next state, a dict of arrays [n, ...].
    """
    rows = len(obs['is_first'])
    if state is None:
      state = self.initial_state(rows)
    amount = self.config.expl.eval_amount
    if mode == 'train':
      amount = exploration_amount(self.config.expl, env_steps, self.updates)
    state = self._policy(
        {key: tf.convert_to_tensor(x) for key, x in state.items()},
        tf.convert_to_tensor(obs['image']),
        tf.convert_to_tensor(obs['is_first']),
        tf.constant(amount, tf.float32), mode == 'train')
    state = {key: value.numpy() for key, value in state.items()}
    return state['action'], state

  def initial_state(self, rows):
    sizes = {'deter': self.config.rssm.deter, 'stoch': self.config.rssm.stoch,
             'action': self.act_space.dim}
    return {key: np.zeros((rows, size), np.float32)
            for key, size in sizes.items()}

  def _policy_step(self, state, image, is_first, amount, training):
    counter = self.counters['acts_train' if training else 'acts_eval']
    noise = self._noise('train' if training else 'eval', counter, 'policy')
    counter.assign_add(1)
    mask = 1.0 - tf.cast(is_first, tf.float32)[:, None]
    state = {key: value * mask for key, value in state.items()}
    model, behaviour = self._bind(self.model), self._bind(self.behaviour)
    rows = image.shape[0]
    embed = model.encode(model.preprocess_image(image, noise))
    draw = noise.normal('latent', model.dynamics.noise_shape(rows))
    post = model.dynamics.obs_step(state, state['action'], embed, draw)
    action = behaviour.act(model, post, noise, training)
    action = self._explore(action, amount, noise, training)
    return {'deter': post['deter'], 'stoch': post['stoch'], 'action': action}

  # Pictures

  def report(self, batch, context=5):
    """Open-loop video [T, 3 H, B W, C] uint8: truth, prediction, error.

    The model sees `context` images, then only actions. At most 6 sequences.
    """
    if self.config.image_head == 'off':
      return {}
    context = min(context, batch['image'].shape[1] - 1)
    batch = {key: tf.convert_to_tensor(batch[key][:6]) for key in (
        'image', 'action', 'reward', 'discount')}
    return {'openloop': self._report(batch, context).numpy()}

  def _report_step(self, batch, context):
    noise = self._noise('report', self.counters['reports'])
    self.counters['reports'].assign_add(1)
    model = self._bind(self.model)
    data = model.preprocess(batch, noise)
    rows, length = data['action'].shape[:2]
    shape = model.dynamics.noise_shape(rows)
    draws = {key: noise.normal(key, [context, *shape])
             for key in ('post', 'prior')}
    embed = model.encode(data['image'][:, :context])
    post, _ = model.dynamics.observe(embed, data['action'][:, :context], draws)
    start = {key: value[:, -1] for key, value in post.items()}
    later = tf.transpose(data['action'][:, context:], [1, 0, 2])
    draw = noise.normal('open_loop', [length - context, *shape])
    prior = model.dynamics.open_loop(start, later, draw)
    feat = tf.concat([
        tf.transpose(model.dynamics.get_feat(post), [1, 0, 2]),
        model.dynamics.get_feat(prior)], 0)  # [T, B, F]
    recon = model.decode(tf.reshape(feat, [-1, feat.shape[-1]]))
    recon = tf.reshape(recon, [length, rows, *recon.shape[1:]])
    truth = tf.cast(batch['image'], tf.float32) / 255  # without noise
    truth = tf.transpose(truth, [1, 0, 2, 3, 4])
    return openloop.to_uint8(openloop.compare(truth, recon + 0.5))

  # State

  @property
  def updates(self):
    """Gradient steps so far."""
    return int(self.counters['updates'])

  @property
  def parameters(self):
    """Dict of parameter name to tf.Variable."""
    return {**self.model.variables, **self.behaviour.variables}

  @property
  def variables(self):
    """Everything a checkpoint holds, by name."""
    found = dict(self.parameters)
    for optimizer in self.optimizers.values():
      found.update({f'opt/{k}': v for k, v in optimizer.variables.items()})
    found.update({f'counter/{k}': v for k, v in self.counters.items()})
    return found

  def state(self):
    """Copies of all variables by name, as arrays."""
    return {key: value.numpy() for key, value in self.variables.items()}

  def restore(self, arrays):
    """Takes back what `state` returned; the names must agree exactly."""
    checkpoint.assign(self.variables, arrays)

  def _make_optimizers(self):
    """Groups: model, the diagnostic heads, actor, value."""
    config, model = self.config, self.model
    scale = config.loss_scale if config.precision == 'float16' else None
    apart = self.model.diagnostic_heads
    own = {key: getattr(model, key).variables for key in apart}
    names = set().union(*own.values()) if own else set()
    groups = {'model': (config.model_opt, {
        k: v for k, v in model.variables.items() if k not in names})}
    groups.update({k: (config.diagnostic_opt, v) for k, v in own.items()})
    groups.update({k: (config[f'{k}_opt'], v)
                   for k, v in self.behaviour.groups.items()})
    return {name: optim.Adam(name, variables, opt, scale)
            for name, (opt, variables) in groups.items()}

  def _bind(self, module):
    """The module with its weights in the precision of the matmuls."""
    return module.map(lambda w: tf.cast(w, self.dtype))

  def _noise(self, name, counter, kind='learn'):
    if self.fixed_noise is not None:
      return self.fixed_noise
    return noise_lib.Noise(f'{self.config.seed}/{kind}/{name}', counter)


def _channels(obs_space):
  if 'image' not in obs_space:
    raise UserError(
        f'observations {sorted(obs_space)}: DreamerV1 learns from `image`; '
        'give the environment an image of shape [64, 64, C]')
  shape = tuple(obs_space['image'].shape)
  if len(shape) != 3 or shape[:2] != (64, 64):
    raise UserError(
        f'image: shape {shape}; the networks need (64, 64, C), resize it')
  return shape[2]
