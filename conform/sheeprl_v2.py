"""Eclectic-Sheep/sheeprl, dreamer_v2, on a case of danijar/dreamerv2."""

import contextlib
from unittest import mock

import sheeprl_common as common
from porting import Joined, Link, Swapped, batch_first, layers, main, pick

from dreamer.conform import samplers
from dreamer.errors import UserError


def build(case, folder):
  from sheeprl.algos.dreamer_v2 import agent, dreamer_v2
  s, model = case.settings, 'algo.world_model'
  if case.agent != 'dreamerv2' or not case.data['image'] or not s['classes']:
    raise UserError(f'{case.name}: give a case of DreamerV2 with images and '
                    'discrete latents')
  data = {**case.data['resolved_config'], **case.data['overrides']}
  discrete = case.data['action_space']['type'] == 'discrete'
  mix = {'reinforce': 1.0, 'dynamics': 0.0, 'both': 1 - float(
      s['actor_mix'] if s['actor_gradient'] == 'both' else 0)}
  gradient = {'auto': 'reinforce' if discrete else 'dynamics'}.get(
      s['actor_gradient'], s['actor_gradient'])
  config = common.configure('dreamer_v2', {
      **common.sizes(case, {
          'actor': data['actor.layers'], 'critic': data['critic.layers'],
          'world_model.reward_model': data['reward_head.layers'],
          'world_model.discount_model': data['discount_head.layers']}),
      f'{model}.discrete_size': s['classes'],
      f'{model}.recurrent_model.layer_norm': data['rssm.norm'] == 'layer',
      f'{model}.kl_balancing_alpha': s['kl_balance'],
      f'{model}.kl_free_avg': s['free_nats_of_mean'],
      f'{model}.discount_scale_factor': s['discount_scale'],
      'algo.actor.objective_mix': mix[gradient],
      'algo.actor.ent_coef': float(s['entropy_scale']),
      'algo.actor.min_std': s['actor_min_std'],
      'algo.critic.per_rank_target_network_update_freq': s[
          'slow_critic_every'],
      'distribution.type': 'auto'}, folder)
  return SheepV2(case, config, dreamer_v2, agent)


class SheepV2(common.SheepPort):

  groups = ('model', 'actor', 'critic')

  def __init__(self, *args):
    super().__init__(*args)
    model, actor, critic, target, *_ = self.parts
    rssm, s = model.rssm, self.case.settings
    cell = rssm.recurrent_model.module.rnn
    hidden = lambda n: [f'dense{i}' for i in range(n)]
    head = lambda part: [*hidden(part.mlp_layers), 'out/out']
    config = self.config.algo
    self.links = [
        *layers('wm/encoder', [f'conv{i}' for i in range(4)], model.encoder),
        *layers('wm/rssm', ['img_in'], rssm.recurrent_model.module.mlp),
        # The port joins [state, input] there.
        Swapped('wm/rssm/gru/dense/kernel', cell.linear.weight, s['hidden']),
        Link('wm/rssm/gru/dense/bias', cell.linear.bias),
        Link('wm/rssm/gru/norm/gamma', cell.layer_norm.weight),
        Link('wm/rssm/gru/norm/beta', cell.layer_norm.bias),
        *layers('wm/rssm', ['img_out_0', 'img_dist_0'],
                rssm.transition_model),
        *layers('wm/rssm', ['obs_out', 'obs_dist'], rssm.representation_model,
                {'obs_out': self.on_images}),
        *layers('wm/heads/decoder', [
            'convin', *(f'conv{i}' for i in range(4))],
            model.observation_model),
        *layers('wm/heads/reward', head(config.world_model.reward_model),
                model.reward_model),
        *self._actor(actor, hidden(config.actor.mlp_layers)),
        *layers('critic', head(config.critic), critic),
        *layers('target_critic', head(config.critic), target)]
    if model.continue_model:
      self.links += layers('wm/heads/discount',
                           head(config.world_model.discount_model),
                           model.continue_model)
    self.watched.update(dynamic=rssm.dynamic)
    self.target = target

  def _actor(self, actor, hidden):
    if self.space['type'] == 'discrete':
      return layers('actor', [*hidden, 'out/out'], actor)
    found = layers('actor', [*hidden, 'out'], actor)
    parts = ['actor/out/out', 'actor/out/std']
    return [*found[:-2], *(Joined(parts, x) for x in found[-2:])]

  def step(self, k):
    model, actor, critic, target, *_ = self.parts
    # As its loop does before each train().
    if k % self.config.algo.critic.per_rank_target_network_update_freq == 0:
      for one, other in zip(critic.module.parameters(),
                            target.module.parameters(), strict=True):
        other.data.copy_(one.data)
    self.module.train(self.fabric, model, actor, critic, target,
                      *self.optimizers, self.data(), None, self.config,
                      (self.space['dim'],))

  def fixed(self):
    from sheeprl.utils.distribution import TruncatedNormal
    stack = contextlib.ExitStack()
    stack.enter_context(mock.patch.object(
        TruncatedNormal, 'rsample', lambda self, shape=():
        samplers.truncated(self.loc, self.scale)))
    return stack

  def arrays(self, frames):
    frame = frames['train'][-1]
    time = lambda key: lambda f: batch_first(samplers.array(f[key]))
    flat = lambda key: lambda f: self.rows(f[key])[..., 0]
    like = lambda f, dist, value: batch_first(samplers.array(
        dist.log_prob(value)))
    found = pick(
        frame, tensor__embed=lambda f: self.embed(f['embedded_obs']),
        tensor__post__logit=time('posteriors_logits'),
        tensor__post__stoch=time('posteriors'),
        tensor__post__deter=time('recurrent_states'),
        tensor__prior__logit=time('priors_logits'),
        tensor__prior__deter=time('recurrent_states'),
        tensor__feat=time('latent_states'),
        tensor__kl=time('kl'), metric__model_kl=lambda f: f['kl'].mean(),
        tensor__like__image=lambda f: like(
            f, f['po']['rgb'], f['batch_obs']['rgb']),
        tensor__like__reward=lambda f: like(
            f, f['pr'], f['data']['rewards']),
        tensor__like__discount=lambda f: like(
            f, f['pc'], f['continues_targets']),
        loss__kl=lambda f: f['state_loss'],
        loss__image=lambda f: f['observation_loss'],
        loss__reward=lambda f: f['reward_loss'],
        loss__model=lambda f: f['rec_loss'],
        tensor__imag_feat=lambda f: self.rows(f['imagined_trajectories']),
        tensor__imag_action=lambda f: self.rows(f['imagined_actions']),
        tensor__imag_reward=flat('predicted_rewards'),
        tensor__imag_reward_raw=flat('predicted_rewards'),
        tensor__imag_value=flat('predicted_target_values'),
        tensor__imag_discount=flat('continues'),
        tensor__returns=flat('lambda_values'), tensor__weight=flat('discount'),
        tensor__critic_pred=lambda f: self.rows(f['qv'].mean)[..., 0],
        tensor__policy_entropy=lambda f: self.rows(
            f['policies'][0].entropy()),
        loss__actor=lambda f: f['policy_loss'],
        loss__critic=lambda f: f['value_loss'],
        metric__reward_mean=lambda f: f['predicted_rewards'].mean(),
        metric__critic_target=lambda f: f['lambda_values'].mean(),
        metric__critic_slow=lambda f: f['predicted_target_values'].mean(),
        metric__actor_ent=lambda f: f['policies'][0].entropy().mean())
    if self.config.algo.world_model.use_continues:
      scale = self.config.algo.world_model.discount_scale_factor
      found.update(pick(frame, loss__discount=lambda f: f[
          'continue_loss'] / scale))
    return found


if __name__ == '__main__':
  main(build, __doc__)
