"""Settings of a case in the terms of the papers, whatever release made it.

Each release has its own names; `TERMS` holds them for each term. A term that
a release or a case does not have is absent from the result.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping

from dreamer.errors import UserError

# term: (TF2 release of V1, TF1 release of V1, V2). None: no such setting.
TERMS = {
    'horizon': ('horizon', 'imagination_horizon', 'imag_horizon'),
    'discount': ('discount', 'value_discount', 'discount'),
    'lambda': ('disclam', 'value_lambda', 'discount_lambda'),
    'kl_scale': ('kl_scale', 'loss_scales.divergence', 'loss_scales.kl'),
    'free_nats': ('free_nats', 'free_nats', 'kl.free'),
    'kl_balance': (None, None, 'kl.balance'),
    'kl_forward': (None, None, 'kl.forward'),
    'free_nats_of_mean': (None, None, 'kl.free_avg'),
    'deter': ('deter_size', 'model_size', 'rssm.deter'),
    'stoch': ('stoch_size', 'state_size', 'rssm.stoch'),
    'classes': (None, None, 'rssm.discrete'),
    'hidden': ('deter_size', 'model_size', 'rssm.hidden'),
    'units': ('num_units', 'num_units', 'actor.units'),
    'cnn_depth': ('cnn_depth', None, 'encoder.cnn_depth'),
    'discount_head': ('pcont', None, 'pred_discount'),
    'discount_scale': (
        'pcont_scale', 'loss_scales.pcont', 'loss_scales.discount'),
    'reward_transform': ('clip_rewards', 'clip_rewards', 'clip_rewards'),
    'gradient_heads': (None, 'gradient_heads', 'grad_heads'),
    'actor_gradient': (None, None, 'actor_grad'),
    'actor_mix': (None, None, 'actor_grad_mix'),
    'entropy_scale': (None, None, 'actor_ent'),
    'actor_min_std': (None, 'action_head_min_std', 'actor.min_std'),
    'actor_dist': ('action_dist', 'action_head_dist', 'actor.dist'),
    'slow_critic': (None, None, 'slow_target'),
    'slow_critic_every': (None, None, 'slow_target_update'),
    'slow_critic_fraction': (None, None, 'slow_target_fraction'),
    'model_lr': ('model_lr', 'groups.model.learning_rate', 'model_opt.lr'),
    'actor_lr': ('actor_lr', 'groups.actor.learning_rate', 'actor_opt.lr'),
    'critic_lr': ('value_lr', 'groups.value.learning_rate', 'critic_opt.lr'),
    'model_clip': ('grad_clip', 'groups.model.clipping', 'model_opt.clip'),
    'actor_clip': ('grad_clip', 'groups.actor.clipping', 'actor_opt.clip'),
    'critic_clip': ('grad_clip', 'groups.value.clipping', 'critic_opt.clip'),
    'adam_eps': (None, 'groups.model.epsilon', 'model_opt.eps'),
    'weight_decay': ('weight_decay', None, 'model_opt.wd'),
}
# What a release has without a key for it.
FIXED: dict[str, dict[str, typing.Any]] = {
    'danijar/dreamer': {
        'adam_eps': 1e-7, 'actor_min_std': 1e-4, 'image': 'x / 255 - 0.5'},
    'google-research/dreamer': {'image': '(x + 0.5) / 256 - 0.5'},
    'danijar/dreamerv2': {'layer_norm_eps': 1e-3, 'image': 'x / 255 - 0.5'},
    'danijar/dreamerv3': {},
}
COLUMNS = {'danijar/dreamer': 0, 'google-research/dreamer': 1,
           'danijar/dreamerv2': 2}


def settings(data: dict) -> dict[str, typing.Any]:
  """Values by term, from the content of a case.json.

  V3's settings keep the names of its release. Raises UserError for a release
  that nobody knows here.
  """
  name = repository(data)
  keys = flat(data)
  if name not in COLUMNS:
    return keys
  column = COLUMNS[name]
  found = dict(FIXED[name])
  for term, names in TERMS.items():
    key = names[column]
    if key is not None and key in keys:
      found[term] = keys[key]
  return found


def repository(data: dict) -> str:
  """The release of a case as owner/name. Raises UserError for an unknown one.
  """
  name = str(data['reference']).split('@')[0]
  if name not in FIXED:
    raise UserError(f'reference: {name}; known: {", ".join(FIXED)}')
  return name


def flat(data: dict) -> dict[str, typing.Any]:
  """The configuration behind a case under the release's keys.

  Single values overrule what was resolved; TF1's loss scales, optimisers and
  reward transform stand in case.json itself.
  """
  found = {**data.get('resolved_config', {}), **data['overrides'],
           **data.get('config', {})}
  for key in ('clip_rewards', 'gradient_heads'):
    if key in data:
      found[key] = data[key]
  for key in ('loss_scales', 'groups'):
    found.update(_dotted(key, data.get(key, {})))
  return found


def _dotted(prefix, value):
  if not isinstance(value, Mapping):
    return {prefix: value}
  return {key: x for name, part in value.items()
          for key, x in _dotted(f'{prefix}.{name}', part).items()}


def units(data: dict) -> dict[str, float]:
  """What errors of parameters are shares of, by name (param/..., param1/...).

  That is what the updates can move: N * learning rate; V3's slow critic moves
  by a part of it. Raises UserError where case.json does not say it.
  """
  if repository(data) == 'danijar/dreamerv3':
    return _units_v3(data)
  found = {f'param/{key}': data['steps'] * rate
           for key, rate in rates(data).items()}
  least = min(found.values())  # for parameters that nothing trains
  return {f'param/{x}': found.get(f'param/{x}', least)
          for x in data['param_shapes']}


def _units_v3(data):
  lrs, found = data['lr_per_update'], {}
  slow = flat(data)['agent.slowvalue.rate']
  for key in data['param_shapes']:
    part = slow if key.startswith('slowval/') else 1.0
    found[f'param/{key}'] = sum(lrs) * part
    found[f'param1/{key}'] = lrs[0] * part
  return found


def rates(data: dict) -> dict[str, float]:
  """The learning rate of each parameter that V1 or V2 trains.

  Raises UserError where case.json does not say it.
  """
  name = repository(data)
  if name == 'google-research/dreamer':
    return {f'{layer}/{kind}': group['learning_rate']
            for group in data['groups'].values() for layer in group['params']
            for kind in ('kernel', 'bias')}
  group = _group_v1 if name == 'danijar/dreamer' else _group_v2
  keys = flat(data)
  found = {}
  for parameter in data['param_shapes']:
    key = group(parameter)
    if key not in keys:
      raise UserError(f'case.json: lacks {key}, the learning rate of '
                      f'{parameter}, in config or resolved_config')
    found[parameter] = float(keys[key])
  return found


def _group_v1(parameter):
  group = {'actor': 'actor', 'value': 'value'}
  return f'{group.get(parameter.split("/")[0], "model")}_lr'


def _group_v2(parameter):
  if parameter.startswith(('expl/networks', 'expl/head')):
    return 'expl_opt.lr'
  part = parameter.removeprefix('expl/').split('/')[0]
  group = {'wm': 'model', 'actor': 'actor'}
  return f'{group.get(part, "critic")}_opt.lr'
