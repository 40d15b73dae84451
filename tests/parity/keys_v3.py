"""What the config keys of danijar/dreamerv3 mean in ours.

Rules as in keys_v1. Keys are those of a case's `resolved_config`, in which the
patterns of its overrides have been applied.
"""

from dreamer.config.schema import Schema
from dreamer.errors import UserError
from tests.parity.keys_v1 import DROP, only

ACTS = {'swish': 'silu', 'gelu': 'gelu_tanh', 'leaky_relu': 'leaky_relu_01',
        'soft_sign': 'softsign', 'hard_swish': 'hard_silu'}
INITS = {'trunc_normal': 'trunc_normal_in', 'normal': 'normal_in',
         'uniform': 'uniform_in', 'normed': 'normed_in',
         'zeros_in': 'zeros', 'normed_out': 'normed_in',
         'normed_avg': 'normed_in', 'normed_none': 'normed_in'}
NORMALISERS = {'perc': 'percentiles', 'meanstd': 'mean_std', 'none': 'none'}


def _named(names, key):
  return lambda value: {key: names.get(value, value)}


def _norm(ours):
  """A norm's name, such as rms1em8, which has its epsilon with it."""
  def rule(value):
    kind, mark, power = value.partition('1em')
    return {f'{ours}.norm': kind,
            f'{ours}.norm_eps': 10.0 ** -int(power) if mark else 1e-4}
  return rule


def _network(theirs, ours, *same):
  """Rules for activation, norm, initial values, and keys of the same name."""
  return {f'{theirs}.act': _named(ACTS, f'{ours}.act'),
          f'{theirs}.norm': _norm(ours),
          f'{theirs}.winit': _named(INITS, f'{ours}.init'),
          **{f'{theirs}.{key}': f'{ours}.{key}' for key in same}}


def _vision(theirs, ours, **switch):
  (name, (plain, strided)), = switch.items()
  return {**_network(theirs, ours, 'depth', 'layers', 'units', 'outer',
                     'kernel'),
          f'{theirs}.mults': lambda x: {
              f'{ours}.multiples': ','.join(map(str, x))},
          f'{theirs}.strided': lambda x: {
              f'{ours}.{name}': strided if x else plain}}


def _head(theirs, ours, *same):
  return _network(theirs, ours, 'layers', 'units', 'outscale', *same)


def _normaliser(theirs, ours):
  return {f'{theirs}.impl': _named(NORMALISERS, f'{ours}.kind'),
          f'{theirs}.perclo': f'{ours}.low',
          f'{theirs}.perchi': f'{ours}.high',
          **{f'{theirs}.{key}': f'{ours}.{key}'
             for key in ('rate', 'limit', 'debias')}}


def _schedule(value):
  return {'opt.schedule': 'constant' if value == 'const' else value}


KEYS = {
    'loss_scales.rec': 'decoder.scale',
    'loss_scales.rew': 'reward.scale',
    'loss_scales.con': 'discount_head.scale',
    'loss_scales.dyn': 'kl.dynamics',
    'loss_scales.rep': 'kl.representation',
    'loss_scales.policy': 'actor.scale',
    'loss_scales.value': 'critic.scale',
    'loss_scales.repval': 'replay_critic.scale',
    'opt.lr': 'opt.lr', 'opt.agc': 'opt.clip', 'opt.eps': 'opt.eps',
    'opt.beta1': 'opt.beta1', 'opt.beta2': 'opt.beta2',
    'opt.momentum': DROP,  # never read there
    'opt.nesterov': 'opt.nesterov', 'opt.wd': 'opt.decay',
    'opt.schedule': _schedule, 'opt.warmup': 'opt.warmup',
    'opt.anneal': 'opt.anneal',
    'ac_grads': 'start_gradients',
    'dyn.typ': only('rssm'), 'enc.typ': only('simple'),
    'dec.typ': only('simple'),
    **_network('dyn.rssm', 'rssm', 'deter', 'hidden', 'stoch', 'classes',
               'unimix', 'outscale', 'absolute', 'blocks'),
    'dyn.rssm.imglayers': 'rssm.img_layers',
    'dyn.rssm.obslayers': 'rssm.obs_layers',
    'dyn.rssm.dynlayers': 'rssm.gru_layers',
    'dyn.rssm.free_nats': 'kl.free',
    **_vision('enc.simple', 'encoder', down=('pool', 'stride')),
    'enc.simple.symlog': 'encoder.symlog',
    **_vision('dec.simple', 'decoder', up=('repeat', 'stride')),
    'dec.simple.outscale': 'decoder.outscale',
    'dec.simple.bspace': 'decoder.blocks',
    **_head('rewhead', 'reward', 'bins'), 'rewhead.output': 'reward.dist',
    **_head('conhead', 'discount_head'), 'conhead.output': only('binary'),
    **_head('policy', 'actor'),
    'policy.minstd': 'actor.min_std', 'policy.maxstd': 'actor.max_std',
    'policy.unimix': DROP,  # never used there by `categorical`
    **_head('value', 'critic', 'bins'), 'value.output': 'critic.dist',
    'policy_dist_disc': only('categorical'),
    'policy_dist_cont': 'actor.dist',
    'imag_last': 'last_starts', 'imag_length': 'horizon',
    'horizon': 'discount_horizon',
    'contdisc': lambda x: {
        'discount_head.label': 'discounted' if x else 'ends'},
    'imag_loss.slowtar': 'slow_critic.targets', 'imag_loss.lam': 'lambda',
    'imag_loss.actent': 'actor_entropy',
    'imag_loss.slowreg': 'critic.slow_scale',
    'repl_loss.slowtar': DROP,  # never used there: targets are imagined
    'repl_loss.lam': 'replay_critic.lambda',
    'repl_loss.slowreg': 'replay_critic.slow_scale',
    'slowvalue.rate': 'slow_critic.fraction',
    'slowvalue.every': 'slow_critic.every_updates',
    **_normaliser('retnorm', 'return_norm'),
    **_normaliser('valnorm', 'value_norm'),
    **_normaliser('advnorm', 'advantage_norm'),
    'reward_grad': 'reward.gradient',
    'repval_loss': 'replay_critic.enabled',
    'repval_grad': 'replay_critic.gradient',
    'report': DROP, 'report_gradnorms': DROP,  # what is shown, not learned
}
OTHERS = {'batch_size': 'batch_size', 'batch_length': 'batch_length',
          'replay_context': 'replay.context'}
RULES = {**{f'agent.{key}': rule for key, rule in KEYS.items()}, **OTHERS}


def make_config(case):
  """Our Config for a case.

  Raises UserError for a key without rule and for values that don't exist
  here.
  """
  settings = case.get('resolved_config')
  if not settings:
    raise UserError('case.json: lacks resolved_config; overrides are patterns '
                    "of the release's keys, which it holds applied")
  overrides = {}
  for key, value in settings.items():
    if key not in RULES:
      raise UserError(f'config key {key}: {value!r} has no mapping; add it '
                      f'to {__name__.replace(".", "/")}.py')
    rule = RULES[key]
    try:
      if rule is not DROP:
        overrides.update(rule(value) if callable(rule) else {rule: value})
    except (KeyError, ValueError) as error:
      raise UserError(f'config key {key}: {value!r} does not exist here '
                      f'({error})') from error
  base = Schema.load('configs/dreamerv3.yaml').config(['released'], {
      'precision': 'float32', 'replay.consec': 1 + max(case['consec']),
      **dict.fromkeys((f'{name}.{kind}' for name in ('encoder', 'decoder')
                       for kind in ('images', 'vectors')), 'all')})
  return base.update(overrides)
