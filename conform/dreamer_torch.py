"""jsikyoon/dreamer-torch on a case of danijar/dreamerv2."""

import types

import numpy as np
import torch
from porting import (
  Joined,
  Link,
  OnImages,
  Port,
  embedding,
  last,
  layers,
  main,
  pick,
)

from dreamer.conform import samplers
from dreamer.errors import UserError


def build(case, folder):
  import yaml
  if case.agent != 'dreamerv2' or not case.data['image']:
    raise UserError(f'{case.name}: give a case of DreamerV2 with images')
  suites = yaml.safe_load((folder / 'configs.yaml').read_text())
  discrete = case.data['action_space']['type'] == 'discrete'
  suite = 'atari' if discrete else 'dmc'
  config = types.SimpleNamespace(
      **{**suites['defaults'], **suites[suite], **settings(case, discrete)})
  config.act = torch.nn.ELU
  config.traindir = types.SimpleNamespace(glob=lambda pattern: [])
  for key in ('opt_eps', 'weight_decay', 'reward_scale'):
    setattr(config, key, float(getattr(config, key)))
  import dreamer as port  # the port's module has this name
  return TorchPort(case, config, port)


def settings(case, discrete):
  """The case's settings under the port's keys."""
  s, data = case.settings, {
      **case.data['resolved_config'], **case.data['overrides']}
  gradient = {'auto': 'reinforce' if discrete else 'dynamics'}.get(
      s['actor_gradient'], s['actor_gradient'])
  return {
      'device': 'cpu', 'precision': 32, 'size': (64, 64),
      'grayscale': case.data['image'][-1] == 1,
      'num_actions': case.data['action_space']['dim'],
      'clip_rewards': s['reward_transform'], 'dyn_hidden': s['hidden'],
      'dyn_deter': s['deter'], 'dyn_stoch': s['stoch'],
      'dyn_discrete': s['classes'], 'dyn_cell': 'gru_layer_norm',
      'units': s['units'], 'cnn_depth': s['cnn_depth'],
      'reward_layers': data['reward_head.layers'],
      'discount_layers': data['discount_head.layers'],
      'value_layers': data['critic.layers'],
      'actor_layers': data['actor.layers'],
      'kl_scale': s['kl_scale'], 'kl_balance': s['kl_balance'],
      'kl_free': s['free_nats'], 'kl_forward': s['kl_forward'],
      'pred_discount': s['discount_head'],
      'discount_scale': s['discount_scale'],
      'reward_scale': data['loss_scales.reward'],
      'weight_decay': s['weight_decay'], 'opt_eps': s['adam_eps'],
      'model_lr': s['model_lr'], 'actor_lr': s['actor_lr'],
      'value_lr': s['critic_lr'], 'grad_clip': s['model_clip'],
      'actor_grad_clip': s['actor_clip'], 'value_grad_clip': s['critic_clip'],
      'discount': s['discount'], 'discount_lambda': s['lambda'],
      # Its imagination counts the start state as the first one.
      'imag_horizon': s['horizon'] + 1, 'imag_gradient': gradient,
      'imag_gradient_mix': s['actor_mix'],
      'actor_entropy': str(s['entropy_scale']),
      'actor_min_std': s['actor_min_std'],
      'slow_target_update': s['slow_critic_every'],
      'slow_target_fraction': s['slow_critic_fraction']}


class TorchPort(Port):
  """One Dreamer._train() of the port."""

  groups = ('model', 'actor', 'critic')

  def __init__(self, case, config, port):
    self.case, self.config = case, config
    self.agent = port.Dreamer(config, None, None)
    self.agent.requires_grad_(False)  # as its main does
    model, behaviour = self.agent._wm, self.agent._task_behavior
    self.model, self.behaviour = model, behaviour
    s, rssm = case.settings, model.dynamics
    hidden = lambda n: [f'dense{i}' for i in range(n)]
    images = lambda name, tensor: OnImages(
        name, tensor, s['deter'], 8 * s['cnn_depth'])
    cell, head = rssm._cell, 'out/out'
    module = lambda *parts: torch.nn.ModuleList(parts)
    self.links = [
        *layers('wm/encoder', [f'conv{i}' for i in range(4)], model.encoder),
        *layers('wm/rssm', ['img_in'], rssm._inp_layers),
        Link('wm/rssm/gru/dense/kernel', cell._layer.weight),
        Link('wm/rssm/gru/dense/bias', cell._layer.bias),
        Link('wm/rssm/gru/norm/gamma', cell._norm.weight),
        Link('wm/rssm/gru/norm/beta', cell._norm.bias),
        *layers('wm/rssm', ['img_out_0', 'img_dist_0'],
                module(rssm._img_out_layers, rssm._ims_stat_layer)),
        *layers('wm/rssm', ['obs_out', 'obs_dist'],
                module(rssm._obs_out_layers, rssm._obs_stat_layer),
                {'obs_out': images}),
        *layers('wm/heads/decoder', ['convin', *(
            f'conv{i}' for i in range(4))], model.heads['image']),
        *layers('wm/heads/reward', [*hidden(config.reward_layers), head],
                model.heads['reward']),
        *self._actor(hidden(config.actor_layers)),
        *layers('critic', [*hidden(config.value_layers), head],
                behaviour.value),
        *layers('target_critic', [*hidden(config.value_layers), head],
                behaviour._slow_value)]
    if config.pred_discount:
      self.links += layers(
          'wm/heads/discount', [*hidden(config.discount_layers), head],
          model.heads['discount'])
    self.watched = {
        'agent': self.agent._train, 'model': model._train,
        'kl': rssm.kl_loss, 'behaviour': behaviour._train,
        'actor': behaviour._compute_actor_loss,
        'target': behaviour._compute_target}

  def _actor(self, hidden):
    found = layers('actor', [*hidden, 'out/out'], self.behaviour.actor)
    if self.case.data['action_space']['type'] == 'discrete':
      return found
    parts = ['actor/out/out', 'actor/out/std']
    return [*found[:-2], *(Joined(parts, x) for x in found[-2:])]

  def step(self, k):
    batch = self.case.batch
    data = {'image': batch['image'], 'action': batch['action'],
            'reward': batch['reward'],
            'discount': 1 - batch['is_terminal'].astype(np.float32)}
    self.agent._train({key: x.copy() for key, x in data.items()})

  def arrays(self, frames):
    get = lambda name: last(frames, name)
    first = frames['target'][0] if frames['target'] else {}
    return {**self._states(get('model')), **self._losses(get('model')),
            **self._imagined(first),
            **pick(get('actor'), loss__actor=lambda f: f['actor_loss'],
                   # Of the states that its loss takes.
                   metric__actor_ent=lambda f: f['actor_ent'][:-1].mean()),
            **pick(get('behaviour'), loss__critic=lambda f: f['value_loss'],
                   tensor__critic_pred=lambda f: f['value'].mean[..., 0])}

  def _states(self, frame):
    states = {
        f'tensor__{part}__{key}': lambda f, part=part, key=key: f[part][key]
        for part in ('post', 'prior')
        for key in ('logit', 'stoch', 'deter', 'mean', 'std')}
    return pick(
        frame, **states,
        tensor__embed=lambda f: embedding(f['embed'], self.case),
        tensor__feat=lambda f: f['context']['feat'],
        tensor__kl=lambda f: f['kl_value'],
        metric__model_kl=lambda f: f['kl_value'].mean(),
        metric__prior_ent=lambda f: f['metrics']['prior_ent'],
        metric__post_ent=lambda f: f['metrics']['post_ent'])

  def _losses(self, frame):
    """Losses before their scales, and likelihoods."""
    config = self.config
    return pick(
        frame, loss__kl=lambda f: f['kl_loss'] / config.kl_scale,
        loss__model=lambda f: f['model_loss'],
        loss__image=lambda f: f['losses']['image'],
        loss__reward=lambda f: f['losses']['reward'] / config.reward_scale,
        loss__discount=lambda f: f['losses'][
            'discount'] / config.discount_scale,
        tensor__like__discount=lambda f: f['likes']['discount'][..., 0],
        **{f'tensor__like__{key}': lambda f, key=key: f['likes'][key]
           for key in ('image', 'reward')})

  def _imagined(self, frame):
    """Its action at i leads to state i + 1; the case's led to state i."""
    target = lambda f: torch.stack(f['target'], 1)
    return pick(
        frame, tensor__imag_feat=lambda f: f['imag_feat'],
        tensor__imag_action=lambda f: np.concatenate([
            samplers.array(f['imag_action'])[:1] * 0,
            samplers.array(f['imag_action'])[:-1]]),
        tensor__imag_reward=lambda f: f['reward'][..., 0],
        tensor__imag_reward_raw=lambda f: f['reward'][..., 0],
        tensor__imag_discount=lambda f: f['discount'][..., 0],
        tensor__imag_value=lambda f: f['value'][..., 0],
        tensor__returns=lambda f: target(f)[..., 0],
        tensor__weight=lambda f: f['weights'][..., 0],
        metric__reward_mean=lambda f: f['reward'].mean(),
        metric__critic_slow=lambda f: f['value'].mean(),
        metric__critic_target=lambda f: target(f).mean())


if __name__ == '__main__':
  main(build, __doc__)
