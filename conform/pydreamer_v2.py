"""jurgisp/pydreamer on a case of danijar/dreamerv2."""

import types

import numpy as np
import torch
from porting import (
  Joined,
  Link,
  OnImages,
  Port,
  batch_first,
  embedding,
  images_first,
  last,
  layers,
  main,
  pick,
  rows,
)

from dreamer.conform import layouts, samplers
from dreamer.errors import UserError

HAVE, WANT = 'reset cand update', 'reset update cand'


def build(case, folder):
  import yaml
  if case.agent != 'dreamerv2' or not case.data['image']:
    raise UserError(f'{case.name}: give a case of DreamerV2 with images')
  config = yaml.safe_load((folder / 'config' / 'defaults.yaml').read_text())
  config = types.SimpleNamespace(**{
      **config['defaults'], **settings(case)})
  from pydreamer.models import a2c, decoders, dreamer
  # The port's code fixes these sizes.
  fix(a2c.ActorCritic, hidden_dim=config.units, hidden_layers=config.layers)
  for decoder in (decoders.DenseNormalDecoder, decoders.DenseBernoulliDecoder):
    fix(decoder, hidden_dim=config.units)
  return PyPort(case, config, dreamer)


def fix(owner, **values):
  """Sets defaults of a constructor."""
  code = owner.__init__.__code__
  names = code.co_varnames[:code.co_argcount]
  defaults = list(owner.__init__.__defaults__)
  for name, value in values.items():
    defaults[names.index(name) - len(names)] = value
  owner.__init__.__defaults__ = tuple(defaults)


def settings(case):
  """The case's settings under the port's keys."""
  s, data = case.settings, {
      **case.data['resolved_config'], **case.data['overrides']}
  discrete = case.data['action_space']['type'] == 'discrete'
  return {
      'image_channels': case.data['image'][-1],
      'action_dim': case.data['action_space']['dim'],
      'kl_balance': s['kl_balance'], 'kl_weight': s['kl_scale'],
      'reward_weight': data['loss_scales.reward'],
      'terminal_weight': s['discount_scale'] if s['discount_head'] else 0.0,
      'adam_lr': s['model_lr'], 'adam_lr_actor': s['actor_lr'],
      'adam_lr_critic': s['critic_lr'], 'adam_eps': s['adam_eps'],
      'grad_clip': s['model_clip'], 'grad_clip_ac': s['actor_clip'],
      'deter_dim': s['deter'], 'stoch_dim': s['stoch'],
      'stoch_discrete': s['classes'], 'hidden_dim': s['hidden'],
      'gru_type': 'gru_layernorm_dv2',
      'layer_norm': data['rssm.norm'] == 'layer',
      'cnn_depth': s['cnn_depth'],
      'reward_decoder_layers': data['reward_head.layers'],
      'terminal_decoder_layers': data['discount_head.layers'],
      'gamma': s['discount'], 'lambda_gae': s['lambda'],
      'entropy': float(s['entropy_scale']),
      'target_interval': s['slow_critic_every'],
      'imag_horizon': s['horizon'],
      'actor_grad': 'reinforce' if discrete else 'dynamics',
      'actor_dist': 'onehot' if discrete else 'tanh_normal',
      'units': s['units'], 'layers': data['actor.layers']}


class OnFeatures(Link):
  """A kernel on [stoch, deter] that the port has on [deter, stoch]."""

  def __init__(self, name, tensor, stoch):
    super().__init__(name, tensor, lambda x: layouts.swap(x, stoch),
                     lambda x: layouts.swap(x, len(x) - stoch))


class Rows(Link):
  """A kernel of the case in two of the port, one per joined input.

  have, want: orders of gates, where they differ.
  """

  def __init__(self, name, tensors, sizes, have='', want=''):
    self.names, self.tensors, self.sizes = [name], list(tensors), sizes
    self.have, self.want = have, want

  def load(self, arrays):
    value = arrays[self.names[0]]
    if self.have:
      value = layouts.gates(value, self.have, self.want)
    for tensor, part in zip(self.tensors, layouts.split_rows(
        value, self.sizes), strict=True):
      Link(self.names[0], tensor).load({self.names[0]: part})

  def read(self, values):
    value = np.concatenate([layouts.from_torch(x) for x in values])
    if self.have:
      value = layouts.gates(value, self.want, self.have)
    return {self.names[0]: value}


class PyPort(Port):
  """One training_step() of the port, and the update that its train.py does.
  """

  groups = ('model', '', 'actor', 'critic')  # the second is a probe's

  def __init__(self, case, config, port):
    self.case, self.config = case, config
    self.agent = port.Dreamer(config)
    model, behaviour = self.agent.wm, self.agent.ac
    cell, s = model.core.cell, case.settings
    self.stoch = s['stoch'] * (s['classes'] or 1)
    bias = torch.nn.Parameter(torch.zeros(3 * s['deter']))
    self.gru = cell.gru.layers[0]
    self.gru.weight_ih.bias = bias
    self.said = ['its recurrent cell has no bias before the norm; the adapter '
                 'adds one, so that the rest can be compared',
                 'its optimiser is AdamW with a decay of 0.01 times the '
                 'learning rate, which is too small to be seen here']
    self.optimizers = self.agent.init_optimizers(
        config.adam_lr, config.adam_lr_actor, config.adam_lr_critic,
        config.adam_eps)  # after the bias is there
    self.links = [*self._model(model, cell), *self._heads(model, behaviour)]
    if not s['discount_head']:
      self._without_ends(model.decoder.terminal)
    self.watched = {
        'model': model.training_step, 'agent': self.agent.training_step,
        'core': model.core.forward, 'behaviour': behaviour.training_step}

  def _model(self, model, cell):
    s, action = self.case.settings, self.config.action_dim
    channels = 8 * s['cnn_depth']
    gates = lambda name, tensor: Link(
        name, tensor, lambda x: layouts.gates(x, HAVE, WANT),
        lambda x: layouts.gates(x, WANT, HAVE))
    embed = model.encoder.out_dim
    one = lambda name, layer: layers('wm/rssm', [name], layer)
    return [
        *layers('wm/encoder', [f'conv{i}' for i in range(4)], model.encoder),
        Rows('wm/rssm/img_in/kernel', [cell.z_mlp.weight, cell.a_mlp.weight],
             [self.stoch, action]),
        Link('wm/rssm/img_in/bias', cell.z_mlp.bias),
        Rows('wm/rssm/gru/dense/kernel', [
            self.gru.weight_ih.weight, self.gru.weight_hh.weight],
            [s['hidden'], s['deter']], HAVE, WANT),
        gates('wm/rssm/gru/dense/bias', self.gru.weight_ih.bias),
        gates('wm/rssm/gru/norm/gamma', self.gru.lnorm.weight),
        gates('wm/rssm/gru/norm/beta', self.gru.lnorm.bias),
        *one('img_out_0', cell.prior_mlp_h), *one('img_dist_0',
                                                  cell.prior_mlp),
        Flattened('wm/rssm/obs_out/kernel', [
            cell.post_mlp_h.weight, cell.post_mlp_e.weight],
            [s['deter'], embed], channels),
        Link('wm/rssm/obs_out/bias', cell.post_mlp_h.bias),
        *one('obs_dist', cell.post_mlp)]

  def _heads(self, model, behaviour):
    config, first = self.config, {
        'dense0': lambda name, x: OnFeatures(name, x, self.stoch),
        'convin': lambda name, x: OnFeatures(name, x, self.stoch)}
    hidden = lambda n: [*(f'dense{i}' for i in range(n)), 'out/out']
    found = [
        *layers('wm/heads/decoder', ['convin', *(
            f'conv{i}' for i in range(4))], model.decoder.image, first),
        *layers('wm/heads/reward', hidden(config.reward_decoder_layers),
                model.decoder.reward, first)]
    if self.case.settings['discount_head']:
      found += layers('wm/heads/discount', hidden(
          config.terminal_decoder_layers), model.decoder.terminal, first)
    found += self._actor(config, behaviour.actor, first)
    for name, part in (('critic', behaviour.critic),
                       ('target_critic', behaviour.critic_target)):
      found += layers(name, hidden(config.layers), part, first)
    return found

  def _actor(self, config, actor, first):
    hidden = [f'dense{i}' for i in range(config.layers)]
    if config.actor_dist == 'onehot':
      return layers('actor', [*hidden, 'out/out'], actor, first)
    found = layers('actor', [*hidden, 'out'], actor, first)
    parts = ['actor/out/out', 'actor/out/std']
    return [*found[:-2], *(Joined(parts, x) for x in found[-2:])]

  def _without_ends(self, head):
    """Its head of ends, which is always there, says that there are none."""
    last = [x for x in head.modules() if isinstance(x, torch.nn.Linear)][-1]
    with torch.no_grad():
      last.weight.fill_(0)
      last.bias.fill_(-100)
    self.said.append('it always has a head of ends; the case has none, so '
                     'that the adapter makes it say that nothing ends')

  def step(self, k):
    losses, *_ = self.agent.training_step(
        self.data(), self.agent.init_state(self.case.data['batch'][0]))
    for optimizer in self.optimizers:
      optimizer.zero_grad()
    for loss in losses:
      loss.backward()
    self.agent.grad_clip(self.config.grad_clip, self.config.grad_clip_ac)
    for optimizer in self.optimizers:
      optimizer.step()

  def data(self):
    batch = self.case.batch
    turn = lambda x: torch.from_numpy(np.ascontiguousarray(batch_first(x)))
    reward = batch['reward'].astype(np.float32)
    if self.case.settings['reward_transform'] == 'tanh':
      reward = np.tanh(reward)  # the port does it before
    return {'image': images_first(batch['image']).float() / 255 - 0.5,
            'action': turn(batch['action']), 'reward': turn(reward),
            'reset': turn(batch['is_first']),
            'terminal': turn(batch['is_terminal'].astype(np.float32))}

  def arrays(self, frames):
    get = lambda name: last(frames, name)
    return {**self._states(get('core')), **self._losses(get('model')),
            **self._imagined(get('agent')), **self._behaviour(
                get('behaviour'))}

  def _states(self, frame):
    deter = lambda f: self.time(f['states_h'])
    return pick(
        frame, tensor__post__deter=deter, tensor__prior__deter=deter,
        tensor__post__logit=lambda f: self.classes(f['posts']),
        tensor__post__stoch=lambda f: self.classes(f['samples']),
        tensor__prior__logit=lambda f: self.classes(f['priors']),
        tensor__feat=lambda f: self.features(self.time(f['features'])))

  def _losses(self, frame):
    """Losses before their scales; likelihoods are its losses, negated."""
    likes = {f'tensor__like__{key}': lambda f, name=name: -batch_first(
        samplers.array(f['tensors'][f'loss_{name}']))
        for key, name in (('image', 'image'), ('reward', 'reward'),
                          ('discount', 'terminal'))}
    return pick(
        frame, **likes, tensor__embed=lambda f: embedding(
            batch_first(samplers.array(f['embed'])), self.case),
        tensor__kl=lambda f: self.time(f['loss_kl_exact'][..., None])[..., 0],
        metric__model_kl=lambda f: f['loss_kl_exact'].mean(),
        metric__prior_ent=lambda f: f['metrics']['entropy_prior'],
        metric__post_ent=lambda f: f['metrics']['entropy_post'],
        loss__model=lambda f: f['loss'],
        loss__image=lambda f: f['metrics']['loss_image'],
        loss__reward=lambda f: f['metrics']['loss_reward'],
        loss__discount=lambda f: f['metrics']['loss_terminal'])

  def _imagined(self, frame):
    """Its action at i leads to state i + 1; the case's led to state i."""
    actions = lambda f: samplers.array(f['actions_dream'])
    rewards = lambda f: self.rows(f['rewards_dream'].mean)
    return pick(
        frame, tensor__imag_feat=lambda f: self.features(self.rows(
            f['features_dream'])),
        tensor__imag_action=lambda f: self.rows(np.concatenate([
            0 * actions(f)[:1], actions(f)])),
        tensor__imag_reward=rewards, tensor__imag_reward_raw=rewards)

  def _behaviour(self, frame):
    return pick(
        frame, tensor__imag_value=lambda f: self.rows(f['value_t']),
        tensor__returns=lambda f: self.rows(f['value_target']),
        tensor__critic_pred=lambda f: self.rows(f['value0']),
        loss__actor=lambda f: f['loss_actor'],
        loss__critic=lambda f: f['loss_critic'],
        tensor__policy_entropy=lambda f: self.rows(f['policy_entropy']),
        metric__actor_ent=lambda f: f['policy_entropy'].mean(),
        metric__critic_slow=lambda f: f['value_t'].mean(),
        metric__critic_target=lambda f: f['value_target'].mean())

  def rows(self, x):
    return rows(x, self.case.data['batch'])

  def time(self, x):
    """[T, B, 1, D] -> [B, T, D]."""
    return batch_first(samplers.array(x))[:, :, 0]

  def classes(self, x):
    x, s = self.time(x), self.case.settings
    return x.reshape(*x.shape[:2], s['stoch'], -1)

  def features(self, x):
    """[deter, stoch] -> [stoch, deter]."""
    return layouts.swap(x, x.shape[-1] - self.stoch, -1)


class Flattened(Rows):
  """The posterior's kernel on [deter, embed] in two of the port."""

  def __init__(self, name, tensors, sizes, channels):
    super().__init__(name, tensors, sizes)
    self.images = OnImages(name, None, sizes[0], channels)

  def load(self, arrays):
    name = self.names[0]
    super().load({name: self.images.turn(arrays[name])})

  def read(self, values):
    return {key: self.images.back(x)
            for key, x in super().read(values).items()}


if __name__ == '__main__':
  main(build, __doc__)
