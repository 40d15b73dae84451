"""What the config keys of danijar/dreamerv2 mean in ours.

Rules as in parity_keys; those that choose inputs or give schedules take the
observation spaces or the action repeat too and stand in `make_config`.
"""

import re

from dreamer.config.schema import Schema
from dreamer.errors import UserError
from tests.parity.keys_v1 import DROP, activation, only

SUITES = {'defaults': [], 'atari': ['atari'], 'dmc_vision': ['dmc_vision'],
          'dmc_proprio': ['dmc_proprio'], 'crafter': ['crafter']}

SCHEDULE = dict.fromkeys((  # when and on what to train, not how
    'logdir', 'seed', 'task', 'envs', 'envs_parallel', 'render_size',
    'dmc_camera', 'atari_grayscale', 'time_limit', 'steps', 'log_every',
    'eval_every', 'eval_eps', 'prefill', 'pretrain', 'train_every',
    'train_steps', 'expl_until', 'replay.capacity', 'replay.ongoing',
    'replay.minlen', 'replay.maxlen', 'replay.prioritize_ends',
    'dataset.batch', 'dataset.length', 'log_keys_video', 'log_keys_sum',
    'log_keys_mean', 'log_keys_max', 'jit', 'action_repeat'), DROP)


def _layers(name):
  def rule(sizes):
    if len(set(sizes)) > 1:
      return {f'{name}.widths': ','.join(map(str, sizes))}
    units = {f'{name}.units': size for size in sizes}
    return {f'{name}.layers': len(sizes), **units}
  return rule


def _act(theirs, ours):
  return {f'{theirs}.act': lambda x: {f'{ours}.act': activation(x)}}


def _head(theirs, ours, dist):
  rules = {f'{theirs}.{key}': f'{ours}.{key}'
           for key in ('layers', 'units', 'norm')}
  return {**rules, **_act(theirs, ours), f'{theirs}.dist': only(dist)}


def _optimizer(name):
  keys = {'opt': 'kind', 'lr': 'lr', 'eps': 'eps', 'wd': 'decay'}
  rules = {f'{name}.{theirs}': f'{name}.{ours}' for theirs, ours in
           keys.items()}
  return {**rules, f'{name}.clip': lambda x: {f'{name}.clip': x or 0.0}}


def _convs(name):
  return {**_act(name, name), f'{name}.norm': f'{name}.norm',
          f'{name}.cnn_depth': f'{name}.depth',
          f'{name}.cnn_kernels': lambda x: {
              f'{name}.kernels': ','.join(map(str, x))},
          f'{name}.mlp_layers': _layers(name)}


def _norm(theirs, ours):
  return {f'{theirs}.{key}': f'{ours}.{key}'
          for key in ('momentum', 'scale', 'eps')}


def _discrete(value):
  if not value:
    return {'rssm.latents': 'gaussian'}
  return {'rssm.latents': 'discrete', 'rssm.classes': value}


def _grad_heads(heads):
  if set(heads) - {'decoder', 'reward', 'discount'}:
    raise ValueError('only decoder, reward, discount')
  return {'decoder.gradient': 'decoder' in heads,
          'reward.gradient': 'reward' in heads,
          'discount_head.gradient': 'discount' in heads}


BEHAVIOURS = {'greedy': 'greedy', 'Plan2Explore': 'plan2explore',
              'ModelLoss': 'model_loss', 'Random': 'random'}

KEYS = {
    **SCHEDULE,
    'precision': lambda x: {'precision': f'float{x}'},
    'clip_rewards': lambda x: {
        'reward_transform': {'identity': 'none'}.get(x, x)},
    'expl_behavior': lambda x: {'expl.kind': BEHAVIOURS[x]},
    'expl_noise': 'expl.noise',
    'eval_noise': 'expl.eval_noise',
    'eval_state_mean': 'eval_state_mean',
    'grad_heads': _grad_heads,
    'pred_discount': 'discount_head.enabled',
    'rssm.ensemble': only(1),
    **{f'rssm.{key}': f'rssm.{key}' for key in (
        'hidden', 'deter', 'stoch', 'norm', 'std_act', 'min_std')},
    **_act('rssm', 'rssm'),
    'rssm.discrete': _discrete,
    **_convs('encoder'),
    **_convs('decoder'),
    **_head('reward_head', 'reward', 'mse'),
    **_head('discount_head', 'discount_head', 'binary'),
    'discount_head.dist': 'discount_head.dist',
    'loss_scales.kl': 'kl.scale',
    'loss_scales.reward': 'reward.scale',
    'loss_scales.discount': 'discount_head.scale',
    'loss_scales.proprio': DROP,  # no head has this name
    'kl.free': 'kl.free',
    'kl.forward': 'kl.forward',
    'kl.balance': 'kl.balance',
    'kl.free_avg': lambda x: {'kl.free_by': 'mean' if x else 'element'},
    **_optimizer('model_opt'), **_optimizer('actor_opt'),
    **_optimizer('critic_opt'), **_optimizer('expl_opt'),
    **_head('actor', 'actor', 'auto'), 'actor.dist': 'actor.dist',
    'actor.min_std': 'actor.min_std', 'actor.init_std': 'actor.init_std',
    **_head('critic', 'critic', 'mse'),
    'discount': 'discount',
    'discount_lambda': 'lambda',
    'imag_horizon': 'horizon',
    'actor_grad': 'actor_gradient',
    'slow_target': 'slow_critic.enabled',
    'slow_target_update': 'slow_critic.every_updates',
    'slow_target_fraction': 'slow_critic.fraction',
    'slow_baseline': DROP,  # never read there
    **_norm('reward_norm', 'reward_norm'),
    'expl_intr_scale': 'expl.intrinsic_scale',
    'expl_extr_scale': 'expl.extrinsic_scale',
    **_head('expl_head', 'expl.head', 'mse'),
    **_norm('expl_reward_norm', 'expl.reward_norm'),
    'disag_target': 'expl.target',
    'disag_log': 'expl.log',
    'disag_models': 'expl.models',
    'disag_offset': 'expl.offset',
    'disag_action_cond': 'expl.action',
    'expl_model_loss': lambda x: only('kl')(x) or {'expl.loss': x},
}

SCHEDULES = {'actor_grad_mix': 'actor_mix', 'actor_ent': 'actor_entropy'}
INPUTS = {f'{name}.{kind}_keys': (name, rank) for name in (
    'encoder', 'decoder') for kind, rank in (('cnn', 3), ('mlp', 1))}


def make_config(case, spaces):
  """Our Config for a case; spaces are those of its observations.

  Raises UserError for a key without rule and for values that don't exist
  here.
  """
  settings = {**case.get('resolved_config', {}), **case['overrides']}
  preset = case.get('preset', 'defaults')
  if preset not in SUITES:
    raise UserError(f'preset: {preset}; known: {", ".join(SUITES)}')
  schema = Schema.load('configs/dreamerv2.yaml')
  base = schema.config([*SUITES[preset], 'released'])
  repeat = settings.get('action_repeat', base.action_repeat)
  overrides = {}
  for key, value in settings.items():
    try:
      overrides.update(_translate(key, value, spaces, repeat))
    except (KeyError, ValueError) as error:
      raise UserError(f'config key {key}: {value!r} does not exist here '
                      f'({error})') from error
  return base.update({'action_repeat': repeat, **overrides})


def _translate(key, value, spaces, repeat):
  if key in SCHEDULES:
    section = SCHEDULES[key]
    return {f'{section}.{k}': v for k, v in parse_schedule(
        value, repeat).items()}
  if key in INPUTS:
    name, rank = INPUTS[key]
    kind = {3: 'images', 1: 'vectors'}[rank]
    names = [k for k, space in spaces.items()
             if len(space.shape) == rank and re.match(value, k)]
    return {f'{name}.{kind}': ','.join(names) or 'none'}
  if key not in KEYS:
    raise UserError(f'config key {key}: {value!r} has no mapping; add it to '
                    'tests/parity/keys_v2.py')
  rule = KEYS[key]
  if rule is DROP:
    return {}
  return rule(value) if callable(rule) else {rule: value}


def parse_schedule(value, repeat=1):
  """`linear(a,b,n)` and the like; n counts agent steps of `repeat` each."""
  match = re.fullmatch(r'(\w+)\(([^()]*)\)', str(value))
  if not match:
    number = float(value)
    return {'kind': 'constant', 'start': number, 'end': number, 'duration': 0}
  kind, numbers = match[1], [float(x) for x in match[2].split(',')]
  if kind == 'warmup':
    duration, end = numbers
    start = 0.0
  elif kind in ('linear', 'exp'):
    start, end, duration = numbers
  else:
    raise ValueError('kinds are linear, warmup, exp')
  return {'kind': kind, 'start': start, 'end': end,
          'duration': int(duration * repeat)}
