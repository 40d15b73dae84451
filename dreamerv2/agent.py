"""The DreamerV2 agent: learning from batches, acting, pictures, state."""

import numpy as np
import tensorflow as tf

from dreamer.errors import UserError
from dreamer.nn import device, layers, openloop, optim
from dreamer.nn import noise as noise_lib
from dreamer.nn.schedules import schedule
from dreamer.run import checkpoint
from dreamer.run.when import Until
from dreamerv2 import explore
from dreamerv2.actor_critic import ActorCritic, RewardNorm
from dreamerv2.world_model import WorldModel

DTYPES = {'float32': tf.float32, 'float16': tf.float16,
          'bfloat16': tf.bfloat16}


class Agent:
  """World model, behaviours and optimisers behind five calls.

  `train(batch)` updates on sequences [B, T, ...], `policy(obs, state)` acts
  for n environments, `report(batch)` predicts a video open loop, `state()` and
  `restore(arrays)` carry everything that learning changes.

  Args are the Config, the observation spaces (dict of images [64, 64, C] and
  vectors [V]), the ActionSpace, and, for tests, a noise object that replaces
  every random draw.
  """

  def __init__(self, config, obs_space, act_space, noise=None):
    self.config = config
    self.act_space = act_space
    self.fixed_noise = noise
    self.dtype = DTYPES[config.precision]
    init = layers.Init(config.seed)
    self.model = WorldModel(config, obs_space, act_space.dim, init)
    feat, embed = self.model.rssm.feat_size, self.model.encoder.size
    self.behaviour = ActorCritic(config, feat, act_space, init)
    self.reward_norm = RewardNorm('reward_norm', config.reward_norm)
    _check_schedules(config)
    _check_expl(config, act_space, self.model)
    self.explorer = explore.make(config, feat, embed, act_space, init)
    self.exploring = Until(config.expl.until)
    self.optimizers = self._make_optimizers()
    self.counters = {key: tf.Variable(0, dtype=tf.int64) for key in (
        'updates', 'acts_train', 'acts_eval', 'reports')}
    self._train = tf.function(self._train_step, autograph=False)
    self._policy = tf.function(self._policy_step, autograph=False)
    self._report = tf.function(self._report_step, autograph=False)

  @property
  def batch_keys(self):
    """Names of the replayed arrays that `train` and `report` read."""
    return (*self.model.obs_keys, 'action', 'reward', 'is_first',
            'is_terminal')

  # Learning

  def train(self, batch, env_steps=0):
    """One update of all parameters; metrics by name, scalar tensors.

    The batch holds what `batch_keys` names, [B, T, ...]; env_steps is where
    schedules are read.
    """
    return self._train(self._tensors(batch), tf.constant(env_steps, tf.int64))

  @device.without_gc()  # while it is traced
  def _train_step(self, batch, env_steps):
    return self.learn(batch, env_steps)[0]

  def learn(self, batch, env_steps):
    """One update: metrics, gradients before clipping and tensors by name.

    The world model is updated first; behaviours then learn in the updated
    one, from the states that the old one inferred.
    """
    noise = self._noise('train', self.counters['updates'])
    data = self.model.preprocess(batch)
    losses, tensors, found, metrics = self._learn_model(data, noise)
    metrics.update(self._summaries(tensors))
    start = self._start_states(tensors['post'], found)
    terminal = tf.reshape(batch['is_terminal'], [-1])
    imagine = (start, terminal, noise, env_steps)
    extra, grads, imagined, more = self._learn_behaviour(*imagine)
    found.update(grads)
    metrics.update(more)
    if self.explorer:
      parts = self._learn_explorer(tensors, data, *imagine)
      for ours, new in zip(
          (extra, found, imagined, metrics), parts, strict=True):
        ours.update(new)
    self.counters['updates'].assign_add(1)
    for key, value in {**losses, **extra}.items():
      metrics[f'loss/{key}'] = value
    return metrics, found, {**tensors, **imagined}

  def _learn_model(self, data, noise):
    with optim.gradient_tape() as tape:
      model = self._bind(self.model)
      losses, tensors = model.loss(data, noise, self.config.unroll)
    grads = self.optimizers['model'].gradients(tape, losses['model'])
    return losses, tensors, grads, self.optimizers['model'].apply(grads)

  def _learn_behaviour(self, start, terminal, noise, env_steps):
    """The task's actor and critic: losses, gradients, tensors, metrics."""
    model = self._bind(self.model).map(tf.stop_gradient)

    def reward(feat, action):
      del action
      raw = model.reward(feat)
      return raw, *self.reward_norm(raw)

    return self._learn_in_imagination(
        self.behaviour, '', model, reward, start, terminal, noise, env_steps)

  def _learn_explorer(self, tensors, data, start, terminal, noise, env_steps):
    """The explorer's heads, then its actor and critic in imagination."""
    with optim.gradient_tape() as tape:
      loss, found = self._bind(self.explorer).loss(tensors, data)
    grads = self.optimizers['expl_expl'].gradients(tape, loss)
    metrics = self.optimizers['expl_expl'].apply(grads)
    model = self._bind(self.model).map(tf.stop_gradient)
    reward = self._bind(self.explorer).reward(model.reward)
    losses, more, imagined, rest = self._learn_in_imagination(
        self.explorer.behaviour, 'expl_', model, reward, start, terminal,
        noise.named('expl'), env_steps)
    return ({'expl_expl': loss, **losses}, {**grads, **more},
            {**found, **imagined}, {**metrics, **rest})

  def _learn_in_imagination(self, behaviour, prefix, model, reward, start,
                            terminal, noise, env_steps):
    """Updates an actor and a critic; names get the prefix."""
    config = self.config
    entropy = schedule(config.actor_entropy, env_steps)
    mix = schedule(config.actor_mix, env_steps)
    with optim.gradient_tape() as tape:
      losses, tensors, metrics = self._bind(behaviour).loss(
          model, start, terminal, reward, noise, entropy, mix, config.unroll)
    found, results = {}, {}
    groups = ('actor', 'critic')
    grads = [self.optimizers[prefix + group].gradients(tape, losses[group])
             for group in groups]
    for group, grad in zip(groups, grads, strict=True):
      results.update(self.optimizers[prefix + group].apply(grad))
      found.update(grad)
    behaviour.update_slow(self.counters['updates'])
    metrics['actor/entropy_scale'] = entropy
    if behaviour.gradient == 'both':
      metrics['actor/mix'] = mix
    rename = lambda items: {prefix + key: x for key, x in items.items()}
    return (rename(losses), found, rename(tensors),
            {**results, **rename(metrics)})

  def _summaries(self, tensors):
    mean, rssm = tf.reduce_mean, self.model.rssm
    return {
        'model/kl': mean(tensors['kl']),
        'model/prior_ent': mean(rssm.get_dist(tensors['prior']).entropy()),
        'model/post_ent': mean(rssm.get_dist(tensors['post']).entropy())}

  def _start_states(self, post, grads):
    """Posterior states as rows b * T + t, gradient stopped: [N, ...].

    Waiting for the model's gradients frees their memory before the rollout
    takes its.
    """
    with tf.control_dependencies(tf.nest.flatten(grads)):
      post = {key: tf.identity(value) for key, value in post.items()}
    rows = lambda x: tf.reshape(x, [-1, *x.shape[2:]])
    return {key: tf.stop_gradient(rows(x)) for key, x in post.items()}

  # Acting

  def policy(self, obs, state=None, mode='train', env_steps=0):
    """Actions for a batch of observations.

    Args are obs with the model's inputs and is_first [n], the state that the
    last call returned or None, mode `train` (explores where `expl` says so)
    or `eval`, and the environment steps so far. Returns actions [n, A]
    float32 and the next state, a dict of arrays [n, ...].
    """
    rows = len(obs['is_first'])
    if state is None:
      state = self.initial_state(rows)
    explores = self.config.expl.behaviour != 'greedy'
    if mode == 'train' and explores and self.exploring(env_steps):
      mode = 'explore'
    keys = (*self.model.encoder.images, *self.model.encoder.vectors,
            'is_first')
    state = self._policy(
        {key: tf.convert_to_tensor(x) for key, x in state.items()},
        {key: tf.convert_to_tensor(obs[key]) for key in keys}, mode)
    state = {key: value.numpy() for key, value in state.items()}
    return state['action'], state

  def initial_state(self, rows):
    rssm = self.model.rssm
    shapes = {'deter': [self.config.rssm.deter], 'stoch': rssm.stoch_shape,
              'action': [self.act_space.dim]}
    return {key: np.zeros((rows, *shape), np.float32)
            for key, shape in shapes.items()}

  def _policy_step(self, state, obs, mode):
    counter = self.counters['acts_eval' if mode == 'eval' else 'acts_train']
    noise = self._noise(
        'eval' if mode == 'eval' else 'train', counter, 'policy')
    counter.assign_add(1)
    model, rows = self._bind(self.model), state['action'].shape[0]
    embed = model.encoder(model.preprocess_obs(obs))
    mean = self.config.eval_state_mean and mode != 'train'
    draw = None if mean else model.rssm.draw(noise, 'latent', [rows])
    post = model.rssm.obs_step(
        state, state['action'], embed, obs['is_first'], draw)
    action = self._choose(model.rssm.get_feat(post), rows, noise, mode)
    return {'deter': post['deter'], 'stoch': post['stoch'], 'action': action}

  def _choose(self, feat, rows, noise, mode):
    """Actions [n, A]: the mode when evaluating, else samples, with noise."""
    if mode == 'explore' and self.config.expl.behaviour == 'random':
      return explore.random_actions(rows, self.act_space, noise)
    explores = mode == 'explore' and self.explorer
    behaviour = self.explorer.behaviour if explores else self.behaviour
    actor = self._bind(behaviour.actor)
    dist = actor.dist(feat)
    if mode == 'eval':
      action, amount = dist.mode(), self.config.expl.eval_noise
    else:
      action = dist.sample(actor.draw(noise, 'act', [rows]))
      amount = self.config.expl.noise
    if not amount:
      return action
    add = explore.noisy if self.act_space.discrete else (
        explore.noisy_continuous)
    return add(action, amount, noise)

  # Pictures

  def report(self, batch, context=5):
    """Open-loop videos [T, 3 H, B W, C] uint8: truth, prediction, error.

    The model sees `context` observations, then only actions; one video for
    each image it predicts. At most 6 sequences.
    """
    if not self.model.decoder.images:
      return {}
    context = min(context, batch['action'].shape[1] - 1)
    batch = {key: batch[key][:6] for key in self.batch_keys}
    videos = self._report(self._tensors(batch), context)
    return {'openloop' if key == 'image' else f'openloop_{key}':
            openloop.to_uint8(video).numpy() for key, video in videos.items()}

  def _report_step(self, batch, context):
    noise = self._noise('report', self.counters['reports'])
    self.counters['reports'].assign_add(1)
    model = self._bind(self.model)
    data, rssm = model.preprocess(batch), model.rssm
    rows, length = data['action'].shape[:2]
    draws = {key: rssm.draw(noise, key, [context, rows])
             for key in ('post', 'prior')}
    seen = {key: value[:, :context] for key, value in data.items()}
    post, _ = rssm.observe(
        model.encoder(seen), seen['action'], seen['is_first'], draws)
    start = {key: value[:, -1] for key, value in post.items()}
    later = tf.transpose(data['action'][:, context:], [1, 0, 2])
    draw = rssm.draw(noise, 'open_loop', [length - context, rows])
    prior = rssm.open_loop(start, later, draw)
    swap = lambda x: tf.transpose(x, [1, 0, *range(2, x.shape.rank)])
    feat = tf.concat([
        swap(rssm.get_feat(post)), rssm.get_feat(prior)], 0)  # [T, B, F]
    return {key: openloop.compare(swap(data[key]) + 0.5, mean + 0.5)
            for key, mean in model.decoder.image_means(feat).items()}

  # State

  @property
  def updates(self):
    """Gradient steps so far."""
    return int(self.counters['updates'])

  @property
  def parameters(self):
    """Dict of parameter name to tf.Variable."""
    found = {**self.model.variables, **self.behaviour.variables}
    return {**found, **(self.explorer.variables if self.explorer else {})}

  @property
  def variables(self):
    """Everything a checkpoint holds, by name."""
    found = dict(self.parameters)
    for optimizer in self.optimizers.values():
      found.update({f'opt/{k}': v for k, v in optimizer.variables.items()})
    norms = [self.reward_norm]
    norms += self.explorer.norms.values() if self.explorer else []
    for norm in norms:
      found.update({f'norm/{k}': v for k, v in norm.variables.items()})
    found.update({f'counter/{k}': v for k, v in self.counters.items()})
    return found

  def state(self):
    """Copies of all variables by name, as arrays."""
    return {key: value.numpy() for key, value in self.variables.items()}

  def restore(self, arrays):
    """Takes back what `state` returned; the names must agree exactly."""
    checkpoint.assign(self.variables, arrays)

  def _make_optimizers(self):
    """Groups: model, actor, critic and those of the explorer."""
    config, behaviour = self.config, self.behaviour
    groups = {'model': (config.model_opt, self.model.variables),
              'actor': (config.actor_opt, behaviour.actor.variables),
              'critic': (config.critic_opt, behaviour.critic.variables)}
    if self.explorer:
      behaviour = self.explorer.behaviour
      heads = {k: v for head in self.explorer.heads
               for k, v in head.variables.items()}
      groups.update({
          'expl_expl': (config.expl_opt, heads),
          'expl_actor': (config.actor_opt, behaviour.actor.variables),
          'expl_critic': (config.critic_opt, behaviour.critic.variables)})
    scale = config.loss_scale if config.precision == 'float16' else None
    return {name: optim.Adam(name, variables, opt, scale, opt.decay)
            for name, (opt, variables) in groups.items()}

  def _tensors(self, batch):
    return {key: tf.convert_to_tensor(batch[key]) for key in self.batch_keys}

  def _bind(self, module):
    """The module with its weights in the precision of the matmuls."""
    return module.map(lambda w: tf.cast(w, self.dtype))

  def _noise(self, name, counter, kind='learn'):
    if self.fixed_noise is not None:
      return self.fixed_noise
    return noise_lib.Noise(f'{self.config.seed}/{kind}/{name}', counter)


def _check_schedules(config):
  for key in ('actor_mix', 'actor_entropy'):
    if config[key].kind != 'constant' and not config[key].duration:
      raise UserError(
          f'{key}.duration: 0 leaves no time for kind {config[key].kind}; '
          'give environment steps, or set kind constant')


def _check_expl(config, act_space, model):
  """Raises UserError for what other settings and the environment rule out."""
  expl = config.expl
  if expl.offset >= config.batch_length:
    raise UserError(
        f'expl.offset: {expl.offset} is not below batch_length '
        f'{config.batch_length}; lower it')
  for key in ('noise', 'eval_noise'):
    if act_space.discrete and expl[key] > 1:
      raise UserError(
          f'expl.{key}: {expl[key]} is no share of discrete actions; '
          'choose 0..1')
  losses = ['kl', *model.decoder.images, 'reward']
  losses += ['discount'] if config.discount_head.enabled else []
  if expl.behaviour == 'model_loss' and expl.loss not in losses:
    raise UserError(
        f'expl.loss: {expl.loss} is no loss of this model; it has '
        f'{", ".join(losses)}')
