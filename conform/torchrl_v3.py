"""The parts of DreamerV3 in pytorch/rl on a case of danijar/dreamerv3.

Its library has parts, which recipes join. Here are those that a train step of
a case with vectors goes through: recurrent model, posterior, prior, heads
with bins, KL terms, lambda returns. Imagination takes the case's actions. Its
actor and its optimiser are not run.
"""

import types

import numpy as np
import torch
from porting import Link, Port, Swapped, main

from dreamer.conform import samplers
from dreamer.errors import UserError


def build(case, folder):
  data = case.data
  if case.agent != 'dreamerv3' or data['image'] or (
      data['action_space'].get('type') != 'continuous'):
    raise UserError(f'{case.name}: give a case of DreamerV3 with vectors and '
                    'continuous actions')
  from torchrl.modules.models import dreamer_v3
  from torchrl.objectives import dreamer_v3 as objectives
  return RlPort(case, dreamer_v3, objectives)


class Block(Link):
  """A block kernel [blocks, in, out] or a vector: as it is."""

  def load(self, arrays):
    with torch.no_grad():
      self.tensors[0].copy_(torch.from_numpy(arrays[self.names[0]]))

  def read(self, values):
    return {self.names[0]: values[0]}


class RlPort(Port):

  updates = False
  said = ('its parts are run, not a recipe: the encoder is its MLP without '
          "the last linear layer, imagination takes the case's actions; "
          'actor and optimiser are not run',)

  def __init__(self, case, parts, objectives):
    self.case, self.parts, self.objectives = case, parts, objectives
    c = {key.removeprefix('agent.'): x
         for key, x in case.data['resolved_config'].items()}
    r = {key.removeprefix('dyn.rssm.'): x for key, x in c.items()
         if key.startswith('dyn.rssm.')}
    self.config, self.sizes = c, r
    shapes, self.stoch = case.shapes, r['stoch'] * r['classes']
    action = case.data['action_space']['dim']
    embed = shapes['enc/mlp0/kernel'][1]
    common = {'hidden_dim': r['hidden'], 'num_categoricals': r['stoch'],
              'num_classes': r['classes'], 'rnn_hidden_dim': r['deter'],
              'unimix': r['unimix']}
    mlp = lambda size, out, depth, units: parts.DreamerV3MLP(
        size, out, depth=depth, num_cells=units)
    self.encoder = mlp(shapes['enc/mlp0/kernel'][0], 1, c[
        'enc.simple.layers'], c['enc.simple.units'])
    self.prior = parts.RSSMPriorV3(
        action_shape=torch.Size([action]), action_dim=action,
        recurrent_model='block_gru', num_blocks=r['blocks'],
        num_layers=r['dynlayers'], prior_num_layers=r['imglayers'], **common)
    self.post = parts.RSSMPosteriorV3(
        obs_embed_dim=embed, use_rms_norm=True, num_layers=r['obslayers'],
        **common)
    feat = self.stoch + r['deter']
    self.heads = {
        'rew': mlp(feat, c['rewhead.bins'], c['rewhead.layers'], c[
            'rewhead.units']),
        'con': mlp(feat, 1, c['conhead.layers'], c['conhead.units']),
        'val': mlp(feat, c['value.bins'], c['value.layers'], c[
            'value.units'])}
    self.links = [*self._dynamics(), *stack(
        'enc', self.encoder.model[:-1], 'mlp{}', 'mlp{}norm')]
    for name, head in self.heads.items():
      out = f'{name}/head/{"logit" if name == "con" else "logits"}'
      self.links += stack(name, head.model, 'mlp/linear{}', 'mlp/norm{}',
                          out, r['deter'])

  def _dynamics(self):
    gru = self.prior.rnn
    parts = [gru.belief_projection, gru.state_projection,
             gru.action_projection]
    found = []
    for i, part in enumerate(parts):
      found += stack('dyn', part, f'dynin{i}', f'dynin{i}norm')
    hidden, gates = gru.hidden_layers, gru.gates
    for i in range(self.sizes['dynlayers']):
      found += [Block(f'dyn/dynhid{i}/kernel', hidden[3 * i].weight),
                Block(f'dyn/dynhid{i}/bias', hidden[3 * i].bias),
                Block(f'dyn/dynhid{i}norm/scale', hidden[3 * i + 1].weight)]
    return [*found, Block('dyn/dyngru/kernel', gates.weight),
            Block('dyn/dyngru/bias', gates.bias),
            *stack('dyn', self.prior.rnn_to_prior_projector, 'prior{}',
                   'prior{}norm', 'dyn/priorlogit'),
            *stack('dyn', self.post.obs_rnn_to_post_projector, 'obs{}',
                   'obs{}norm', 'dyn/obslogit')]

  def step(self, k):
    self.found = {}
    if k == 0:  # what is not updated would repeat itself
      with torch.no_grad():
        self._observe()
        self._predict()
        self._imagine()

  def arrays(self, frames):
    return self.found

  def _batch(self):
    """Inputs [B, T, ...]; the action of a row is the one before it."""
    batch, first = self.case.batch, self.case.data['context']
    keys = sorted(self.case.data['observation_space'])
    flat = lambda x: x.reshape(*x.shape[:2], -1)
    vectors = np.concatenate([flat(batch[x]) for x in keys], -1)
    turn = lambda x: torch.from_numpy(np.ascontiguousarray(x))
    return (turn(vectors[:, first:]), turn(batch['action'][:, first - 1:-1]),
            turn(batch['is_first'][:, first:]))

  def _observe(self):
    from tensordict import TensorDict
    from tensordict.nn import TensorDictModule
    vectors, action, is_first = self._batch()
    symlog = self.objectives.symlog
    embed = self.encoder.model[:-1](symlog(vectors))
    rollout = self.parts.RSSMRolloutV3(
        TensorDictModule(self.prior, ['state', 'belief', 'action'], [
            ('next', 'prior_logits'), ('next', 'state'), ('next', 'belief')]),
        TensorDictModule(self.post, [
            ('next', 'belief'), ('next', 'embed')], [
                ('next', 'posterior_logits'), ('next', 'state')]))
    size = list(action.shape[:2])
    row = self.case.data['context'] - 1
    start = lambda key: torch.from_numpy(self.case.batch[f'dyn/{key}'][
        :, row].reshape(size[0], 1, -1)).expand(-1, size[1], -1).clone()
    data = TensorDict({
        'state': start('stoch'), 'belief': start('deter'), 'action': action,
        'is_init': is_first, 'next': {'embed': embed}}, size)
    noise = self.case.noise['step0/post']
    draws = [x for t in range(size[1]) for x in (
        None, np.ascontiguousarray(noise[:, t]))]
    with samplers.recorded(torch, draws):
      out = rollout(data)['next']
    split = lambda x: x.reshape(*x.shape[:-1], self.sizes['stoch'], -1)
    self.state, self.belief = out['state'], out['belief']
    logits = out['posterior_logits'], out['prior_logits']
    dynamics, representation = self.objectives.categorical_kl_terms(
        *logits, free_nats=self.sizes['free_nats'],
        unimix=self.sizes['unimix'])
    self.found.update({
        'tensor/embed': embed, 'tensor/post/deter': self.belief,
        'tensor/post/stoch': split(self.state),
        'tensor/post/logit': logits[0], 'tensor/prior/logit': logits[1],
        'loss/dyn': dynamics, 'loss/rep': representation})

  def _predict(self):
    """Heads on the replayed states, and the losses of two of them."""
    batch, first = self.case.batch, self.case.data['context']
    reward = torch.from_numpy(batch['reward'][:, first:])
    ends = torch.from_numpy(batch['is_terminal'][:, first:])
    out = {key: head(self.state, self.belief)
           for key, head in self.heads.items()}
    bins = {key: self.parts.SymExpTwoHot(out[key].shape[-1])
            for key in ('rew', 'val')}
    scale = 1 - 1 / self.config['horizon']
    cont = torch.nn.functional.binary_cross_entropy_with_logits(
        out['con'][..., 0], (~ends).float() * scale)  # as its model loss
    self.found.update({
        'tensor/replay_reward/logits': out['rew'],
        'tensor/replay_reward/pred': bins['rew'].decode(out['rew']),
        'tensor/replay_cont/logit': out['con'][..., 0],
        'tensor/replay_value/logits': out['val'],
        'tensor/replay_value/pred': bins['val'].decode(out['val']),
        'tensor/loss/rew': bins['rew'].loss(out['rew'], reward),
        'loss/rew': bins['rew'].loss(out['rew'], reward).mean(),
        'loss/con': cont})

  def _imagine(self):
    noise = self.case.noise['step0/imag']
    actions = self.case.expected['tensor/imag_action/action']
    flat = lambda x: x.reshape(-1, x.shape[-1])
    state, belief = flat(self.state), flat(self.belief)
    states, beliefs = [state], [belief]
    with samplers.recorded(torch, [np.ascontiguousarray(x) for x in noise]):
      for action in actions[:len(noise)]:
        _, state, belief = self.prior(
            state, belief, torch.from_numpy(action.astype(np.float32)))
        states.append(state)
        beliefs.append(belief)
    states, beliefs = torch.stack(states), torch.stack(beliefs)
    out = {key: head(states, beliefs) for key, head in self.heads.items()}
    decode = lambda key: self.parts.SymExpTwoHot(
        out[key].shape[-1]).decode(out[key])
    self.found.update({
        'tensor/imag_deter': beliefs,
        'tensor/imag_stoch': states.reshape(
            *states.shape[:-1], self.sizes['stoch'], -1),
        'tensor/imag_reward/logits': out['rew'],
        'tensor/imag_reward/pred': decode('rew'),
        'tensor/imag_cont/logit': out['con'][..., 0],
        'tensor/imag_value/logits': out['val'],
        'tensor/imag_value/pred': decode('val'),
        'tensor/returns': self._returns(
            decode('rew'), decode('val'), out['con'][..., 0].sigmoid())})

  def _returns(self, reward, value, cont):
    """By its actor loss's own function, [N, H, 1]; gamma is in `cont`."""
    owner = types.SimpleNamespace(value_estimator=types.SimpleNamespace(
        gamma=torch.tensor(1.0), lmbda=torch.tensor(
            self.config['imag_loss.lam'])))
    turn = lambda x: x[1:].transpose(0, 1)[..., None]
    found = self.objectives.DreamerV3ActorLoss.lambda_target(
        owner, turn(reward), turn(value), turn(cont))
    return found[..., 0].transpose(0, 1)


def stack(prefix, module, linear, norm, out='', deter=0):
  """Links of Linear and norm layers in turn; `out`: of a last Linear.

  linear, norm: names, in which {} is the number. deter: size of it where the
  case's first layer reads [deter, stoch] and the port's [stoch, deter].
  """
  found, count = [], 0
  layers = [x for x in module if not isinstance(x, torch.nn.SiLU)]
  for i, layer in enumerate(layers):
    if not isinstance(layer, torch.nn.Linear):
      found.append(Link(f'{prefix}/{norm.format(count - 1)}/scale',
                        layer.weight))
      continue
    last = out and i == len(layers) - 1
    name = out if last else f'{prefix}/{linear.format(count)}'
    kernel = f'{name}/kernel'
    found.append(Swapped(kernel, layer.weight, deter) if deter and i == 0
                 else Link(kernel, layer.weight))
    found.append(Link(f'{name}/bias', layer.bias))
    count += 1
  return found


if __name__ == '__main__':
  main(build, __doc__)
