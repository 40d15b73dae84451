"""Eclectic-Sheep/sheeprl, dreamer_v1, on a case of danijar/dreamer."""

import numpy as np
import sheeprl_common as common
from porting import Gru, batch_first, layers, main, pick

from dreamer.conform import samplers
from dreamer.errors import UserError


def build(case, folder):
  from sheeprl.algos.dreamer_v1 import agent, dreamer_v1
  if case.agent != 'dreamerv1' or case.data['action_space'][
      'type'] != 'continuous' and not case.settings['discount_head']:
    raise UserError(f'{case.name}: give a case of DreamerV1')
  model = 'world_model.'
  config = common.configure('dreamer_v1', {
      **common.sizes(case, {
          'actor': 4, 'critic': 3, f'{model}reward_model': 2,
          f'{model}discount_model': 3}),
      'algo.world_model.continue_scale_factor': case.settings[
          'discount_scale'],
      # softplus(x + init_std) there, softplus(x + log(exp(5) - 1)) here.
      'algo.actor.init_std': float(np.log(np.exp(5.0) - 1)),
      'algo.actor.min_std': case.settings['actor_min_std'],
      'distribution.type': 'auto' if case.data['action_space'][
          'type'] == 'discrete' else 'tanh_normal'}, folder)
  return SheepV1(case, config, dreamer_v1, agent)


class SheepV1(common.SheepPort):

  groups = ('model', 'actor', 'value')

  def __init__(self, *args):
    super().__init__(*args)
    model, actor, critic, *_ = self.parts
    heads = [f'h{i}' for i in range(4)]
    self.links = [
        *layers('encode', ['h1', 'h2', 'h3', 'h4'], model.encoder),
        *layers('dynamics', ['img1'], model.rssm.recurrent_model),
        Gru('dynamics/gru', model.rssm.recurrent_model.module.rnn, '_l0'),
        *layers('dynamics', ['img2', 'img3'], model.rssm.transition_model),
        *layers('dynamics', ['obs1', 'obs2'], model.rssm.representation_model,
                {'obs1': self.on_images}),
        *layers('decode', ['h1', 'h2', 'h3', 'h4', 'h5'],
                model.observation_model),
        *layers('reward', [*heads[:2], 'hout'], model.reward_model),
        *layers('actor', [*heads, 'hout'], actor),
        *layers('value', [*heads[:3], 'hout'], critic)]
    if model.continue_model:
      self.links += layers('pcont', [*heads[:3], 'hout'],
                           model.continue_model)
    self.watched.update(dynamic=model.rssm.dynamic,
                        imagination=model.rssm.imagination)

  def step(self, k):
    model, actor, critic, *_ = self.parts
    self.module.train(self.fabric, model, actor, critic, *self.optimizers,
                      self.data(), None, self.config)

  def arrays(self, frames):
    frame = frames['train'][-1]
    time = lambda key: lambda f: batch_first(samplers.array(f[key]))
    flat = lambda key: lambda f: self.rows(f[key])[..., 0]
    found = pick(
        frame, tensor__embed=lambda f: self.embed(f['embedded_obs']),
        tensor__post__mean=time('posteriors_mean'),
        tensor__post__std=time('posteriors_std'),
        tensor__post__stoch=time('posteriors'),
        tensor__post__deter=time('recurrent_states'),
        tensor__prior__mean=time('priors_mean'),
        tensor__prior__std=time('priors_std'),
        tensor__prior__deter=time('recurrent_states'),
        tensor__feat=time('latent_states'),
        tensor__reward_pred=lambda f: batch_first(
            samplers.array(f['qr'].mean))[..., 0],
        tensor__pcont_pred=lambda f: batch_first(
            samplers.array(f['qc'].mean))[..., 0],
        tensor__recon=lambda f: samplers.array(
            f['decoded_information']['rgb']).transpose(1, 0, 3, 4, 2),
        metric__kl_raw=lambda f: f['kl'], loss__kl=lambda f: f['state_loss'],
        loss__image=lambda f: f['observation_loss'],
        loss__reward=lambda f: f['reward_loss'],
        loss__model=lambda f: f['rec_loss'],
        metric__prior_ent=lambda f: f['priors_dist'].entropy().mean(),
        metric__post_ent=lambda f: f['posteriors_dist'].entropy().mean(),
        tensor__imag_feat=lambda f: self.rows(f['imagined_trajectories']),
        tensor__imag_reward=flat('predicted_rewards'),
        tensor__imag_value=flat('predicted_values'),
        tensor__imag_discount=flat('predicted_continues'),
        tensor__returns=flat('lambda_values'), tensor__weight=flat('discount'),
        loss__actor=lambda f: f['policy_loss'],
        loss__value=lambda f: f['value_loss'])
    if self.config.algo.world_model.use_continues:
      found.update(pick(frame, loss__pcont=lambda f: f['continue_loss']))
    if frames['imagination']:
      found['tensor/imag_action'] = self.rows(np.concatenate([
          samplers.array(x['actions']) for x in frames['imagination']]))
    priors = [samplers.array(x['prior']) for x in frames['dynamic']]
    found['tensor/prior/stoch'] = batch_first(np.concatenate(priors))
    return found


if __name__ == '__main__':
  main(build, __doc__)
