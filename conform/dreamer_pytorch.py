"""juliusfrost/dreamer-pytorch on a case of danijar/dreamer.

It needs rlpyt (pip install git+https://github.com/astooke/rlpyt).
"""

import collections
import functools
import types

import numpy as np
import torch
from porting import (
  Gru,
  OnImages,
  Port,
  Swapped,
  batch_first,
  embedding,
  images_first,
  last,
  layers,
  main,
  pick,
  rows,
)

from dreamer.conform import samplers
from dreamer.errors import UserError


def build(case, folder):
  if case.agent != 'dreamerv1' or case.reference.startswith('google'):
    raise UserError(f'{case.name}: give a case of danijar/dreamer')
  from dreamer.algos import dreamer_algo  # the port's
  from dreamer.models import agent
  s, kind = case.settings, case.data['action_space']['type']
  # The port's code fixes this size.
  for name in ('ObservationEncoder', 'ObservationDecoder'):
    setattr(agent, name, functools.partial(
        getattr(agent, name), depth=s['cnn_depth']))
  height, width, channels = case.data['image']
  model = agent.AtariDreamerModel(
      (case.data['action_space']['dim'],), stochastic_size=s['stoch'],
      deterministic_size=s['deter'], hidden_size=s['hidden'],
      image_shape=(channels, height, width), action_hidden_size=s['units'],
      action_layers=4, action_dist={
          'continuous': 'tanh_normal', 'discrete': 'one_hot'}[kind],
      reward_layers=2, reward_hidden=s['units'], value_layers=3,
      value_hidden=s['units'], use_pcont=s['discount_head'], pcont_layers=3,
      pcont_hidden=s['units'])
  algo = dreamer_algo.Dreamer(
      batch_size=case.data['batch'][0], batch_length=case.data['batch'][1],
      train_every=1, train_steps=1, prefill=0, model_lr=s['model_lr'],
      value_lr=s['critic_lr'], actor_lr=s['actor_lr'],
      grad_clip=s['model_clip'], discount=s['discount'],
      discount_lambda=s['lambda'], horizon=s['horizon'],
      free_nats=s['free_nats'], kl_scale=s['kl_scale'], log_video=False,
      use_pcont=s['discount_head'], pcont_scale=s['discount_scale'],
      optim_kwargs={'eps': s['adam_eps']})
  return FrostPort(case, model, algo)


class FrostPort(Port):
  """One optimize_agent() of the port."""

  groups = ('model', 'actor', 'value')
  said = ('loss() pairs an observation with the action and the reward that '
          'follow it; the adapter hands it those that led to it, as the case '
          'has them',)

  def __init__(self, case, model, algo):
    self.case, self.model, self.algo = case, model, algo
    # The distributions' checks refuse the soft labels of the discount head.
    torch.distributions.Distribution.set_default_validate_args(False)
    algo.agent = types.SimpleNamespace(model=model, device='cpu')
    algo.replay_buffer = types.SimpleNamespace(sample_batch=self.sample)
    algo.optim_initialize()
    s = case.settings
    units = [f'h{i}' for i in range(4)]
    images = lambda name, tensor: OnImages(
        name, tensor, s['deter'], 8 * s['cnn_depth'])
    cell, post = model.transition, model.representation
    self.links = [
        *layers('encode', ['h1', 'h2', 'h3', 'h4'], model.observation_encoder),
        # The port joins [action, stoch] there.
        *layers('dynamics', ['img1'], cell._rnn_input_model, {
            'img1': lambda name, x: Swapped(name, x, s['stoch'])}),
        Gru('dynamics/gru', cell._cell),
        *layers('dynamics', ['img2', 'img3'], cell._stochastic_prior_model),
        *layers('dynamics', ['obs1', 'obs2'],
                post._stochastic_posterior_model, {'obs1': images}),
        *layers('decode', ['h1', 'h2', 'h3', 'h4', 'h5'],
                model.observation_decoder),
        *layers('reward', [*units[:2], 'hout'], model.reward_model),
        *layers('actor', [*units, 'hout'], model.action_decoder),
        *layers('value', [*units[:3], 'hout'], model.value_model)]
    if s['discount_head']:
      self.links += layers('pcont', [*units[:3], 'hout'], model.pcont)
    self.watched = {'loss': algo.loss,
                    'policy': model.rollout.rollout_policy}

  def sample(self, batch, length):
    """What the port's replay would give: one more row at either end."""
    del batch, length
    batch = self.case.batch
    turn = lambda x: torch.from_numpy(np.ascontiguousarray(batch_first(x)))
    reward = batch['reward'].astype(np.float32)
    if self.case.settings['reward_transform'] == 'tanh':
      reward = np.tanh(reward)
    before = lambda x: torch.cat([x[:1], x])
    after = lambda x: torch.cat([x, x[-1:]])
    return Samples(
        after(images_first(batch['image'])),
        before(turn(batch['action'])), before(turn(reward)),
        turn(batch['discount'] == 0))

  def step(self, k):
    self.algo.optimize_agent(k)

  def arrays(self, frames):
    frame = last(frames, 'loss')
    return {**self._states(frame), **self._losses(frame),
            **self._imagined(frame), **self._discounts(frame), **pick(
                last(frames, 'policy'), tensor__imag_action=lambda f:
                self.rows(f['actions']))}

  def time(self, x):
    return batch_first(samplers.array(x))

  def rows(self, x):
    batch, length = self.case.data['batch']
    return rows(x, (batch, length - self.case.settings['discount_head']))

  def _states(self, frame):
    states = {
        f'tensor__{part}__{key}': lambda f, part=part, key=key: self.time(
            getattr(f[part], key)) for part in ('post', 'prior')
        for key in ('mean', 'std', 'stoch', 'deter')}
    return pick(
        frame, **states, tensor__embed=lambda f: embedding(
            self.time(f['embed']), self.case),
        tensor__feat=lambda f: self.time(f['feat']),
        tensor__reward_pred=lambda f: self.time(
            f['reward_pred'].mean)[..., 0],
        tensor__recon=lambda f: samplers.array(
            f['image_pred'].mean).transpose(1, 0, 3, 4, 2))

  def _losses(self, frame):
    return pick(
        frame, metric__prior_ent=lambda f: f['prior_ent'],
        metric__post_ent=lambda f: f['post_ent'],
        loss__kl=lambda f: f['div'], loss__image=lambda f: f['image_loss'],
        loss__reward=lambda f: f['reward_loss'],
        loss__model=lambda f: f['model_loss'],
        loss__actor=lambda f: f['actor_loss'],
        loss__value=lambda f: f['value_loss'])

  def _imagined(self, frame):
    flat = lambda x: self.rows(x)[..., 0]
    return pick(
        frame, tensor__imag_feat=lambda f: self.rows(f['imag_feat']),
        tensor__imag_reward=lambda f: flat(f['imag_reward']),
        tensor__imag_value=lambda f: flat(f['value']),
        tensor__returns=lambda f: flat(f['returns']),
        tensor__weight=lambda f: flat(f['discount']))

  def _discounts(self, frame):
    """Of imagined states; the port overwrites those of its head."""
    if not self.case.settings['discount_head']:
      return pick(frame, tensor__imag_discount=lambda f: self.rows(
          f['discount_arr'] * 0 + self.algo.discount)[..., 0])
    return pick(
        frame, tensor__pcont_pred=lambda f: self.time(
            f['pcont_pred'].mean)[..., 0],
        loss__pcont=lambda f: f['pcont_loss'] * self.algo.pcont_scale)


# A sample of rlpyt's replay, as far as the port reads it.
Samples = collections.namedtuple(
    'Samples', 'all_observation all_action all_reward done')


if __name__ == '__main__':
  main(build, __doc__)
