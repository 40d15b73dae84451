"""The parts of DreamerV3 in pytorch/rl on a case of danijar/dreamerv3.

Its library has parts and losses, which recipes join. Here they are joined as
the release does: model loss, actor loss with its imagination, critic loss with
a slow critic, replayed critic loss; and then the recipe's clipping and Adam.
"""

import numpy as np
import torch
from porting import Port, last, main
from torchrl_parts import Parts, library

from dreamer.conform import samplers
from dreamer.errors import UserError

SAID = (
    'its parts and losses are run, joined as in the release; the encoder is '
    'its MLP without the last linear layer, the actor its MLP with the '
    "release's bounded Normal",
    "the optimiser is its recipe's: adaptive clipping and Adam",
    'its recipe, as read and not run, does otherwise than the release: three '
    'optimisers, the model updated before imagination, an actor squashed by '
    'tanh, no replayed critic loss, sequences that start from zeros')


def build(case, folder):
  data = case.data
  if case.agent != 'dreamerv3' or data['image'] or (
      data['action_space'].get('type') != 'continuous') or max(data['consec']):
    raise UserError(f'{case.name}: give a case of DreamerV3 with vectors and '
                    'continuous actions, each batch by itself')
  return RlPort(case, library(folder))


class RlPort(Port):

  groups, said = ('opt',), SAID

  def __init__(self, case, library):
    self.case, self.lib = case, library
    self.parts = parts = Parts(case, library)
    self.config, self.links = parts.config, parts.links
    self.watched = {'actor': library.objectives.DreamerV3ActorLoss.forward}
    self.params = [x for link in self.links for x in link.tensors
                   if x.requires_grad]
    self.optimizer = torch.optim.Adam(
        self.params, lr=self.config['opt.lr'], eps=self.config['opt.eps'],
        betas=(0.9, 0.999))

  def step(self, k):
    c, noise = self.config, self.case.noise
    draws = [x for step in noise[f'step{k}/post'].swapaxes(0, 1) for x in (
        None, np.ascontiguousarray(step))]  # of the prior none
    with samplers.recorded(torch, draws):
      losses, out = self.parts.model_loss(self._batch())
    self.out, out = out, out['next']
    tensors = {key: out[key] for key in ('state', 'belief')}
    with samplers.recorded(torch, noise[f'step{k}/imag'], noise[
        f'step{k}/act/action']):
      actor, self.fake = self.parts.actor_loss(_dict(
          {key: x.flatten(0, 1).detach() for key, x in tensors.items()}, 1))
    critic, _ = self.parts.value_loss(self.fake.detach())
    boot = self.fake['lambda_target'][:, 0].unflatten(0, self.out.shape)
    replayed = self.parts.value_loss.replay_value_loss(_dict({
        **tensors, 'bootstrap': boot[..., 0], 'next': out.select(
            'done', 'terminated').set('reward', out['true_reward'])}, 2),
        horizon=c['horizon'], lmbda=c['repl_loss.lam'])
    self.losses = {key.removeprefix('loss_').removeprefix('model_'): x.sum()
                   for found in (losses, actor, critic, replayed)
                   for key, x in found.items() if key.startswith('loss_')}
    total = sum(x * (c['loss_scales.repval'] if key == 'replay_value' else 1)
                for key, x in self.losses.items())
    self.losses['total'] = total
    with torch.no_grad():
      self.before = {f'tensor/{key}': x for key, x in self._tensors().items()}
    self._update(total)

  def _update(self, total):
    self.optimizer.zero_grad()
    total.backward()
    torch.nn.utils.clip_grad_norm_(self.params, np.inf)  # to be seen alone
    self.lib.recipe.adaptive_grad_clip_(self.params, self.config['opt.agc'])
    self.optimizer.step()
    self.parts.slow.step()

  def _batch(self):
    """Inputs [B, T, ...]; the action of a row is the one before it."""
    batch, first = self.case.batch, self.case.data['context']
    turn = lambda x: torch.from_numpy(np.ascontiguousarray(x))
    later = lambda key: turn(batch[key][:, first:])
    size = later('is_first').shape
    vectors = [later(key).reshape(*size, -1) for key in self.parts.keys]
    start = lambda key: turn(batch[f'dyn/{key}'][:, first - 1]).reshape(
        size[0], 1, -1).repeat(1, size[1], 1)
    return _dict({
        'state': start('stoch'), 'belief': start('deter'),
        'action': turn(batch['action'][:, first - 1:-1]),
        'is_init': later('is_first'), 'next': {
            'vectors': torch.cat(vectors, -1), 'reward': later('reward'),
            'done': later('is_last'), 'terminated': later('is_terminal')}}, 2)

  # What is compared

  def arrays(self, frames):
    names = {'dyn': 'dynamic', 'rep': 'representation', 'rew': 'reward',
             'con': 'continue', 'policy': 'actor', 'value': 'value',
             'repval': 'replay_value', 'total': 'total'}
    found = {f'loss/{key}': self.losses[x] for key, x in names.items()}
    found['loss/rep'] = found['loss/rep'] / self.config['loss_scales.rep']
    found.update({'extra/retnorm/lo': self.parts.actor_loss.return_low,
                  'extra/retnorm/hi': self.parts.actor_loss.return_high})
    turn = lambda x: x[..., 0].transpose(0, 1)
    frame = last(frames, 'actor')
    found.update({'tensor/returns': turn(self.fake['lambda_target']),
                  'tensor/advantage': turn(frame['advantage']),
                  'tensor/retnorm/scale': frame['return_scale']})
    return {**found, **self.before}

  def _tensors(self):
    """What the update is made of, by names of the case without tensor/."""
    out, fake = self.out['next'], self.fake
    all_ = lambda key: torch.cat(
        [fake[key], fake['next', key][:, -1:]], 1).transpose(0, 1)
    split = lambda x: x.unflatten(-1, (self.config['dyn.rssm.stoch'], -1))
    bins = self.lib.parts.SymExpTwoHot(self.config['rewhead.bins'])
    found = {
        'embed': out['embed'], 'post/deter': out['belief'],
        'post/stoch': split(out['state']), 'post/logit': out[
            'posterior_logits'], 'prior/logit': out['prior_logits'],
        'imag_deter': all_('belief'), 'imag_stoch': split(all_('state')),
        'loss/rew': bins.loss(out['reward_logits'], out['true_reward'])}
    for key, x in zip(self.parts.keys, out['recon'].split(self.parts.sizes, -1),
                      strict=True):
      found[f'recon/{key}'] = x.reshape(self.case.expected[
          f'tensor/recon/{key}'].shape)
    states = {'replay': (out['state'], out['belief']),
              'imag': (all_('state'), all_('belief'))}
    for where, inputs in states.items():
      found.update(self._heads(where, *inputs))
    found.update({f'imag_policy/action/{key}': x for key, x in zip(
        ('mean', 'std'), self.parts.actor.module[0](*states['imag']),
        strict=True)})
    return found

  def _heads(self, where, state, belief):
    """Outputs of the heads on states, and those of the slow critic."""
    out = {name: self.parts.heads[key](state, belief) for name, key in (
        ('reward', 'rew'), ('value', 'val'))}
    slow = _dict({'state': state, 'belief': belief}, 2)
    module = self.parts.value_loss.value_model
    with self.parts.value_loss.target_value_model_params.to_module(module):
      out['slow_value'] = module(slow)['state_value_logits']
    found = {f'{where}_{key}/logits': x for key, x in out.items()}
    for key, logits in out.items():
      bins = self.lib.parts.SymExpTwoHot(logits.shape[-1])
      found[f'{where}_{key}/pred'] = bins.decode(logits)
    ends = self.parts.heads['con'](state, belief)
    return {**found, f'{where}_cont/logit': ends[..., 0]}


def _dict(tensors, axes):
  """A TensorDict with so many axes of a batch."""
  from tensordict import TensorDict
  return TensorDict(tensors, next(
      x for x in tensors.values() if hasattr(x, 'dtype')).shape[:axes])


if __name__ == '__main__':
  main(build, __doc__)
