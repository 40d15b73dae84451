"""The parts of DreamerV3 in pytorch/rl, and which array of a case is which."""

import importlib.util
import types

import numpy as np
import torch
from porting import Joined, Link, Swapped


def library(folder):
  """What the adapter takes from the checkout."""
  from torchrl import data, modules, objectives
  from torchrl.envs.model_based.dreamer import DreamerEnv
  from torchrl.modules.models import dreamer_v3
  path = folder / 'sota-implementations' / 'dreamer_v3' / 'dreamer_v3.py'
  spec = importlib.util.spec_from_file_location('recipe', path)
  recipe = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(recipe)
  return types.SimpleNamespace(
      data=data, modules=modules, objectives=objectives, parts=dreamer_v3,
      recipe=recipe, DreamerEnv=DreamerEnv)


class Block(Link):
  """A block kernel [blocks, in, out] or a vector: as it is."""

  def load(self, arrays):
    with torch.no_grad():
      self.tensors[0].copy_(torch.from_numpy(arrays[self.names[0]]))

  def read(self, values):
    return {self.names[0]: values[0]}


class Actor(torch.nn.Module):
  """Mean and standard deviation of the release's bounded Normal."""

  def __init__(self, net, low, high):
    super().__init__()
    self.net, self.low, self.high = net, low, high

  def forward(self, state, belief):
    mean, std = self.net(state, belief).chunk(2, -1)
    return mean.tanh(), (
        self.high - self.low) * torch.sigmoid(std + 2) + self.low


class Parts:
  """Its networks and losses with the settings of a case.

  links: of all parameters.
  """

  def __init__(self, case, library):
    self.case, self.lib = case, library
    self.config = c = {key.removeprefix('agent.'): x for key, x in
                       case.data['resolved_config'].items()}
    self.stoch = c['dyn.rssm.stoch'] * c['dyn.rssm.classes']
    self.feat = self.stoch + c['dyn.rssm.deter']
    self.keys = sorted(case.data['observation_space'])
    flat = lambda key: int(np.prod(case.data['observation_space'][key][1]))
    self.sizes = [flat(key) for key in self.keys]
    self._networks()
    self._losses()
    self.links = self._links()

  def _networks(self):
    c, parts = self.config, self.lib.parts
    action = self.case.data['action_space']['dim']
    mlp = lambda size, out, name: parts.DreamerV3MLP(
        size, out, depth=c[f'{name}.layers'], num_cells=c[f'{name}.units'])
    r = {key.removeprefix('dyn.rssm.'): x for key, x in c.items()}
    common = {'hidden_dim': r['hidden'], 'num_categoricals': r['stoch'],
              'num_classes': r['classes'], 'rnn_hidden_dim': r['deter'],
              'unimix': r['unimix']}
    self.encoder = mlp(sum(self.sizes), 1, 'enc.simple')
    self.decoder = mlp(self.feat, sum(self.sizes), 'dec.simple')
    self.prior = parts.RSSMPriorV3(
        action_shape=torch.Size([action]), action_dim=action,
        recurrent_model='block_gru', num_blocks=r['blocks'],
        num_layers=r['dynlayers'], prior_num_layers=r['imglayers'], **common)
    self.post = parts.RSSMPosteriorV3(
        obs_embed_dim=c['enc.simple.units'], use_rms_norm=True,
        num_layers=r['obslayers'], **common)
    self.heads = {
        'rew': mlp(self.feat, c['rewhead.bins'], 'rewhead'),
        'con': mlp(self.feat, 1, 'conhead'),
        'val': mlp(self.feat, c['value.bins'], 'value'),
        'pol': mlp(self.feat, 2 * action, 'policy')}

  def _losses(self):
    from tensordict import nn
    c, objectives = self.config, self.lib.objectives
    step, chain = nn.TensorDictModule, nn.TensorDictSequential
    later = lambda *keys: [('next', x) for x in keys]
    states, bins = later('state', 'belief'), self.lib.parts.SymExpTwoHot
    reward = lambda keys, names: chain(
        step(self.heads['rew'], keys, names[:1]),
        step(bins(c['rewhead.bins']), names[:1], names[1:]))
    world = chain(
        step(objectives.symlog, later('vectors'), later('inputs')),
        step(self.encoder.model[:-1], later('inputs'), later('embed')),
        self.lib.parts.RSSMRolloutV3(
            step(self.prior, ['state', 'belief', 'action'], later(
                'prior_logits', 'state', 'belief')),
            step(self.post, later('belief', 'embed'), later(
                'posterior_logits', 'state'))),
        step(self.decoder, states, later('recon')),
        step(objectives.symexp, later('recon'), later('reco')),
        reward(states, later('reward_logits', 'reward')),
        step(self.heads['con'], states, later('continue_pred')))
    self.model_loss = objectives.DreamerV3ModelLoss(
        world, kl_mode='separate', detach_output=False, lambda_continue=1.0,
        lambda_representation=c['loss_scales.rep'],
        unimix=c['dyn.rssm.unimix'], free_bits=c['dyn.rssm.free_nats'],
        continue_target_scale=1 - 1 / c['horizon'],
        num_reward_bins=c['rewhead.bins'])
    self.model_loss.set_keys(pixels='vectors', reco_pixels='reco')
    inputs = ['state', 'belief']
    value = chain(step(self.heads['val'], inputs, ['state_value_logits']),
                  step(bins(c['value.bins']), ['state_value_logits'],
                       ['state_value']))
    ends = chain(step(self.heads['con'], inputs, ['logit']),
                 step(torch.nn.Sigmoid(), ['logit'], ['continuation']))
    actor = Actor(self.heads['pol'], c['policy.minstd'], c['policy.maxstd'])
    self.actor = nn.ProbabilisticTensorDictSequential(
        step(actor, inputs, ['loc', 'scale']),
        nn.ProbabilisticTensorDictModule(
            ['loc', 'scale'], ['action'], return_log_prob=True,
            distribution_class=self.lib.modules.IndependentNormal,
            log_prob_key='action_log_prob'))
    imagined = self._environment(self.lib.modules.WorldModelWrapper(
        step(self.prior, [*inputs, 'action'], ['_', *inputs]),
        reward(inputs, ['reward_logits', 'reward'])))
    self.actor_loss = objectives.DreamerV3ActorLoss(
        self.actor, value, imagined, continuation_model=ends,
        imagination_horizon=c['imag_length'], use_reinforce=True,
        entropy_bonus=c['imag_loss.actent'],
        return_normalization_rate=c['retnorm.rate'],
        return_normalization_min_scale=c['retnorm.limit'])
    self.actor_loss.make_value_estimator(
        objectives.ValueEstimators.TDLambda, gamma=1.0,
        lmbda=c['imag_loss.lam'])
    first = self.case.data.get('initial_state', {})
    for key, buffer in (('lo', self.actor_loss.return_low),
                        ('hi', self.actor_loss.return_high)):
      buffer.fill_(first.get(f'retnorm/{key}', 0.0))
    self.value_loss = objectives.DreamerV3ValueLoss(
        value, value_loss='two_hot', num_value_bins=c['value.bins'],
        actor_loss=self.actor_loss,
        slow_critic_regularization=c['imag_loss.slowreg'])
    self.slow = objectives.SoftUpdate(
        self.value_loss, tau=c['slowvalue.rate'])

  def _environment(self, model):
    """Where its actor loss imagines."""
    data, deter = self.lib.data, self.config['dyn.rssm.deter']
    env = self.lib.DreamerEnv(
        model, torch.Size([self.stoch]), torch.Size([deter]))
    env.action_spec = data.Unbounded(self.case.data['action_space']['dim'])
    env.reward_spec = data.Unbounded(1)
    env.observation_spec = data.Composite(
        state=data.Unbounded(self.stoch), belief=data.Unbounded(deter))
    env.state_spec = env.observation_spec.clone()
    return env

  # Its parameters

  def _links(self):
    action = self.case.data['action_space']['dim']
    outs = {'rew': ['rew/head/logits'], 'con': ['con/head/logit'],
            'val': ['val/head/logits'],
            'pol': [f'pol/head/action/{x}' for x in ('mean', 'stddev')],
            'dec': [f'dec/vec/{key}/pred' for key in self.keys]}
    sizes = {'pol': [action] * 2, 'dec': self.sizes}
    links = self._dynamics() + stack(
        'enc', self.encoder.model[:-1], 'mlp{}', 'mlp{}norm')
    for name, head in {**self.heads, 'dec': self.decoder}.items():
      links += stack(name, head.model[:-1], 'mlp/linear{}', 'mlp/norm{}',
                     deter=0 if name == 'dec' else self.config[
                         'dyn.rssm.deter'])  # which reads [stoch, deter]
      for kind in ('weight', 'bias'):
        tensor = getattr(head.model[-1], kind)
        kind = kind.replace('weight', 'kernel')
        link = Link(f'{outs[name][0]}/{kind}', tensor)
        links.append(Joined(outs[name], link, sizes[name])
                     if name in sizes else link)
    return links + self._slow_links(links)

  def _slow_links(self, links):
    """Of its target parameters, from those of the critic."""
    flat = lambda x: dict(x.flatten_keys('.').items())
    online = flat(self.value_loss.value_model_params)
    target = flat(self.value_loss.target_value_model_params)
    slow = {online[key].data_ptr(): target[key] for key in online}
    found = []
    for link in links:
      if link.names[0].startswith('val/'):
        found.append(Link.__new__(type(link)))
        found[-1].__dict__.update(
            link.__dict__, names=[f'slow{x}' for x in link.names],
            tensors=[slow[x.data_ptr()] for x in link.tensors])
    return found

  def _dynamics(self):
    gru, found = self.prior.rnn, []
    for i, part in enumerate((gru.belief_projection, gru.state_projection,
                              gru.action_projection)):
      found += stack('dyn', part, f'dynin{i}', f'dynin{i}norm')
    for i in range(self.config['dyn.rssm.dynlayers']):
      dense, norm = gru.hidden_layers[3 * i: 3 * i + 2]
      found += [Block(f'dyn/dynhid{i}/kernel', dense.weight),
                Block(f'dyn/dynhid{i}/bias', dense.bias),
                Block(f'dyn/dynhid{i}norm/scale', norm.weight)]
    return [*found, Block('dyn/dyngru/kernel', gru.gates.weight),
            Block('dyn/dyngru/bias', gru.gates.bias),
            *stack('dyn', self.prior.rnn_to_prior_projector, 'prior{}',
                   'prior{}norm', 'dyn/priorlogit'),
            *stack('dyn', self.post.obs_rnn_to_post_projector, 'obs{}',
                   'obs{}norm', 'dyn/obslogit')]


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
    final = out and i == len(layers) - 1
    name = out if final else f'{prefix}/{linear.format(count)}'
    kernel = f'{name}/kernel'
    found.append(Swapped(kernel, layer.weight, deter) if deter and i == 0
                 else Link(kernel, layer.weight))
    found.append(Link(f'{name}/bias', layer.bias))
    count += 1
  return found
