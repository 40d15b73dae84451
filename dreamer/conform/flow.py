"""The order in which data flows through a train step, by names of arrays.

The first array that is off, in this order, is the one to look at: what comes
after it is computed from it. Gradients are in the order of the backward pass.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterable

# Stages of a train step, each with its arrays in order.
STAGES = (
    ('parameters', ['init/']),
    ('embedding', ['tensor/embed']),
    ('posterior', [f'tensor/post/{x}' for x in (
        'deter', 'logit', 'mean', 'std', 'stoch')] + ['tensor/feat']),
    ('prior', [f'tensor/prior/{x}' for x in (
        'deter', 'logit', 'mean', 'std', 'stoch')]),
    ('KL', ['tensor/kl', 'metric/(prior_ent|post_ent|dyn_ent|rep_ent)',
            'metric/(kl_raw|model_kl)', 'tensor/loss/(dyn|rep)$']),
    ('predictions', [
        'tensor/recon', 'tensor/(reward|pcont)_pred', 'tensor/cpc_',
        'tensor/like/', 'tensor/ensemble_', 'tensor/replay_(reward|cont)/',
        'tensor/loss/(?!policy|value|repval)']),
    ('model losses', [
        'objective/(?!action|value)',
        'loss/(?!model|actor|critic|value|policy|repval|total|expl)',
        'loss/model$']),
    ('model gradients', [
        'grad/(wm|encode|dynamics|decode|reward|pcont|cpc)/',
        'grad_norm/(model|image|pcont)$']),
    ('imagination', [
        'tensor/imag_action$', 'tensor/imag_deter', 'tensor/imag_logit',
        'tensor/imag_mean', 'tensor/imag_std', 'tensor/imag_stoch',
        'tensor/imag_feat', 'tensor/imag_action/', 'tensor/cem/state',
        'tensor/cem/mean', 'tensor/cem/plan']),
    ('imagined predictions', [
        'tensor/imag_reward', 'tensor/disag', 'metric/(reward|rew)',
        'tensor/imag_(discount|cont)', 'metric/con$',
        'tensor/imag_(value|slow)', 'tensor/replay_(value|slow)',
        'metric/(critic_slow|slowval|val)$']),
    ('returns', [
        'tensor/bootstrap', 'tensor/replay_boot', 'tensor/returns',
        'tensor/replay_returns', 'metric/(critic_target|tar|ret)',
        'tensor/(ret|val|adv)norm', 'extra/(ret|val|adv)norm',
        'tensor/advantage',
        'metric/adv']),
    ('weights', ['tensor/weight', 'metric/weight']),
    ('policy and critic', [
        'tensor/imag_policy', 'tensor/policy_(logits|loc|scale)',
        'tensor/policy_', 'metric/(actor|action_ent|ent|rand)',
        'tensor/critic_pred', 'metric/critic$']),
    ('actor and critic losses', [
        'objective/action', 'tensor/loss/policy', 'loss/(actor|policy)',
        'objective/value', 'tensor/loss/(value|repval)',
        'loss/(critic|value|repval)', 'loss/expl', 'loss/total']),
    ('gradients', ['grad/', 'grad_norm/', 'extra/agc_scale', 'metric/opt']),
    ('other', ['']),
)
LATER, SLOTS, PARAMETERS, STATISTICS = (
    'later updates', 'optimiser slots', 'parameters after N updates',
    'statistics after N updates')
ENDS = {'param1': (0, 'parameters after 1 update'), 'step': (1, LATER),
        'slot': (2, SLOTS), 'param': (3, PARAMETERS),
        'extra': (4, STATISTICS), 'policy': (5, 'acting')}
# From input to output; gradients come in the opposite order.
MODULES = ('encode', 'wm/encoder', 'enc', 'dynamics', 'wm/rssm', 'dyn',
           'cpc', 'pcont', 'reward', 'decode', 'wm/heads', 'con', 'rew', 'dec',
           'expl/networks', 'actor', 'pol', 'value', 'critic', 'val')


class Place(typing.NamedTuple):
  """Where an array comes in a train step; places can be compared."""

  order: tuple
  stage: str


def place(base: str, parameters: Iterable[str] = ()) -> Place:
  """The Place of an array, such as tensor/embed or step1/loss/kl.

  parameters: names of all parameters, from input to output within a module.
  """
  step, name = _step(base)
  kind = name.split('/')[0]
  late = step > 0 or kind in (
      'param1', 'slot', 'param', 'policy') or (
      kind == 'extra' and not base.startswith('step')
      and 'agc_scale' not in name)
  number, inner, title = _in_step(name, list(parameters))
  if not late:
    exploring = 'expl' in name and number >= _number('imagination')
    return Place((0, exploring, number, *inner), title)
  end, stage = ENDS['step' if step else kind]
  if step:
    return Place((1, end, step, number, *inner), stage)
  return Place((1, end, 0, 0, *_module(name, list(parameters))), stage)


def _step(base):
  match = re.match(r'step(\d+)/(.*)', base)
  return (int(match[1]), match[2]) if match else (0, base)


def _number(title):
  return [name for name, _ in STAGES].index(title)


def _in_step(name, parameters):
  """Number of the stage, order inside it, its title."""
  plain = name.replace('expl_', '').replace('expl/', '')
  if name.startswith('grad/expl/networks'):
    plain = name
  for number, (title, patterns) in enumerate(STAGES):
    for index, pattern in enumerate(patterns):
      if re.match(pattern, plain):
        inner = _module(name, parameters)
        if name.startswith('grad/'):
          inner = (-inner[0], -inner[1], inner[2])
        return number, (index, *inner), title
  raise AssertionError(name)


def _module(name, parameters):
  """(number of the module, of the parameter, name)."""
  bare = name.split('/', 1)[-1]
  bare = re.sub(r'^(m|v|velocity|rms|momentum)/', '', bare)
  number = next((i for i, x in enumerate(MODULES)
                 if bare.startswith(f'{x}/') or bare.startswith(x)
                 and x.endswith('networks')), len(MODULES))
  index = parameters.index(bare) if bare in parameters else 0
  return number, index, name
