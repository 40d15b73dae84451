"""What the config keys of the released code mean in ours.

A rule is the name of our key, a function of the value to a dict of overrides,
DROP (no effect on a train step, or none at all; the reason stands beside it),
or `only(...)`: values that our agent always has, anything else is an error.
"""

from dreamer.config.schema import Schema
from dreamer.errors import UserError

DROP = object()


class only:  # noqa: N801, reads as a rule
  """A rule for settings of the reference that exist here with one value."""

  def __init__(self, *values):
    self.values = values

  def __call__(self, value):
    if value not in self.values:
      raise ValueError(f'only {", ".join(map(repr, self.values))}')
    return {}


def make_config(reference, settings):
  """Our Config for the reference's settings, a dict of key to value.

  Raises UserError for a key without rule and for values that don't exist
  here.
  """
  overrides = {}
  for key, value in settings.items():
    if key not in reference.keys:
      raise UserError(f'config key {key}: {value!r} has no mapping; add it '
                      'to tests/parity/keys_v1.py')
    rule = reference.keys[key]
    if rule is DROP:
      continue
    try:
      overrides.update(rule(value) if callable(rule) else {rule: value})
    except (KeyError, ValueError) as error:
      raise UserError(f'config key {key}: {value!r} does not exist here '
                      f'({error})') from error
  schema = Schema.load(f'configs/{reference.agent}.yaml')
  return schema.config([reference.preset], overrides)


def activation(name):
  """Ours for a name in TensorFlow."""
  return {'silu': 'swish', 'identity': 'none', None: 'none'}.get(name, name)


def _heads(key, value):
  return {f'{head}.{key}': value
          for head in ('reward', 'discount_head', 'critic', 'actor', 'cpc')}


# danijar/dreamer (TF2)

TF2_SCHEDULE = dict.fromkeys((  # when and on what to train, not how
    'seed', 'steps', 'eval_every', 'log_every', 'log_scalars', 'log_images',
    'gpu_growth', 'task', 'envs', 'parallel', 'logdir', 'prefill',
    'time_limit', 'action_repeat', 'train_every', 'train_steps', 'pretrain',
), DROP)

TF2_ACTIONS = {'tanh_normal': 'continuous', 'onehot': 'discrete'}

TF2 = {
    **TF2_SCHEDULE,
    'precision': lambda x: {'precision': f'float{x}'},
    'eval_noise': 'expl.eval_noise',
    'clip_rewards': 'reward_transform',
    'deter_size': lambda x: {'rssm.deter': x, 'rssm.hidden': x},
    'stoch_size': 'rssm.stoch',
    'num_units': lambda x: _heads('units', x),
    'dense_act': lambda x: _heads('act', activation(x)),
    'cnn_act': lambda x: dict.fromkeys(
        ('encoder.act', 'decoder.act'), activation(x)),
    'cnn_depth': lambda x: {'encoder.depth': x, 'decoder.depth': x},
    'pcont': 'discount_head.enabled',
    'free_nats': 'kl.free',
    'kl_scale': 'kl.scale',
    'pcont_scale': 'discount_head.scale',
    'weight_decay': DROP,  # computes the decayed value, never assigns it
    'weight_decay_pattern': DROP,
    'batch_size': 'batch_size',
    'batch_length': 'batch_length',
    'model_lr': 'model_opt.lr',
    'value_lr': 'critic_opt.lr',
    'actor_lr': 'actor_opt.lr',
    'grad_clip': lambda x: {
        f'{group}_opt.clip': x or 0.0
        for group in ('model', 'critic', 'actor')},
    'dataset_balance': lambda x: {
        'replay.starts': 'balanced' if x else 'exclusive'},
    'discount': 'discount',
    'disclam': 'lambda',
    'horizon': 'horizon',
    'action_dist': only(*TF2_ACTIONS),  # the action space decides here
    'action_init_std': 'actor.init_std',
    'expl': lambda x: {'expl.kind': {
        'additive_gaussian': 'gaussian', 'epsilon_greedy': 'epsilon',
        'completely_random': 'random'}[x]},
    'expl_amount': 'expl.noise',
    'expl_decay': lambda x: {
        'expl.decay': int(x), 'expl.schedule': 'half_life'},
    'expl_min': 'expl.min',
}


# google-research/dreamer (TF1)

TF1_PRESETS = {
    'dreamer': {},
    'actor': {'behaviour': 'no_value'},
    'planet': {'behaviour': 'planner'},
    'pcont': {'discount_head.gradient': True},
    'discrete': {'horizon': 10, 'kl.scale': 0.1, 'reward_transform': 'tanh'},
    'atari': {},
}

TF1_SCALES = {
    'divergence': 'kl.scale', 'pcont': 'discount_head.scale',
    **dict.fromkeys(
        ('reward', 'image', 'value', 'action', 'cpc'), only(1.0)),
    **dict.fromkeys(('global_divergence', 'overshooting'), only(0.0)),
}


def _presets(names):
  """Ours for `defaults`; the first preset of a list wins there."""
  overrides = {}
  for name in reversed(names):
    overrides.update(TF1_PRESETS[name])
  return overrides


def _gradient_heads(heads):
  """Heads in the model loss; image and pcont are diagnostic otherwise."""
  others = set(heads) - {'reward', 'image', 'pcont', 'cpc'}
  if 'reward' not in heads or others:
    raise ValueError('only reward, with or without image, pcont and cpc')
  return {'decoder.gradient': 'image' in heads,
          'discount_head.gradient': 'pcont' in heads,
          'cpc.enabled': 'cpc' in heads}


def _scales(scales):
  overrides = {}
  for key, value in scales.items():
    rule = TF1_SCALES[key]
    overrides.update(rule(value) if callable(rule) else {rule: value})
  return overrides


def _discount(value):
  # 1.0 comes with the pcont head, whose labels hold gamma already.
  return {} if value == 1.0 else {'discount': value}


TF1_SCHEDULE = dict.fromkeys((
    'checkpoint_to_load', 'debug', 'gpu_prefetch', 'isolate_envs',
    'max_steps', 'num_chunks', 'open_loop_context', 'print_metrics_every',
    'test_checkpoint_every', 'test_steps', 'train_checkpoint_every',
    'train_log_every', 'train_steps',
), DROP)

TF1_UNUSED = dict.fromkeys((
    'action_beta_dims_value',  # action_beta is 0
    'action_target_period', 'value_target_period',  # target_update is 1
    'cpc_head',  # by gradient_heads; a diagnostic one has no parameters here
    'imagination_include_initial',  # never read there
    'action_loss_pcont', 'value_loss_pcont',  # by gradient_heads
    'os_stop_posterior_grad',  # no overshooting
    'imagination_skip_last',  # 1 with the pcont head, as always here
), DROP)

TF1_OPTIMIZERS = {'model': 'model', 'value': 'critic', 'action': 'actor',
                  'default': 'diagnostic'}

TF1 = {
    **TF1_SCHEDULE,
    **TF1_UNUSED,
    'defaults': _presets,
    'gradient_heads': _gradient_heads,
    'loss_scales': _scales,
    'clip_rewards': lambda x: {'reward_transform': x or 'none'},
    'batch_shape': lambda x: {'batch_size': x[0], 'batch_length': x[1]},
    'state_size': 'rssm.stoch',
    'model_size': lambda x: {'rssm.deter': x, 'rssm.hidden': x},
    'num_units': lambda x: _heads('units', x),
    'num_layers': only(3),  # reward 2, actor 4, value and pcont 3
    **{f'{theirs}_layers': f'{ours}.layers' for theirs, ours in (
        ('reward', 'reward'), ('pcont', 'discount_head'),
        ('value', 'critic'), ('action', 'actor'), ('cpc_head', 'cpc'))},
    'activation': lambda x: {
        **_heads('act', activation(x)), 'rssm.act': activation(x)},
    'min_stddev': 'rssm.min_std',
    'action_head_dist': lambda x: {
        'tanh_normal_tanh': {}, 'onehot_score': {'actor.gradient': 'score'},
        'onehot_straight': {'actor.gradient': 'straight_through'}}[x],
    'action_head_min_std': 'actor.min_std',
    'action_head_init_std': 'actor.init_std',
    'divergence_scale': 'kl.scale',
    'optimizer_epsilon': lambda x: {
        f'{group}_opt.eps': x for group in TF1_OPTIMIZERS.values()},
    **{f'{theirs}_lr': f'{ours}_opt.lr'
       for theirs, ours in TF1_OPTIMIZERS.items()},
    **{f'{theirs}_gradient_clipping': f'{ours}_opt.clip'
       for theirs, ours in TF1_OPTIMIZERS.items()},
    'free_nats': 'kl.free',
    # 0 where nothing is imagined because a planner acts.
    'imagination_horizon': lambda x: {'horizon': x} if x else {},
    'cpc_contrast': 'cpc.contrast',
    'cpc_batch_amount': 'cpc.window_batch',
    'cpc_time_amount': 'cpc.window_time',
    'planner_horizon': 'planner.horizon',
    'planner_beams': 'planner.candidates',
    'planner_iterations': 'planner.iterations',
    'planner_topk': 'planner.elites',
    'action_discount': _discount,
    'value_discount': _discount,
    'action_lambda': 'lambda',
    'value_lambda': 'lambda',
    'action_beta': only(0.0),
    'action_bootstrap': only(True),
    'value_bootstrap': only(True),
    'action_model_horizon': only(None),
    'value_model_horizon': only(None),
    'action_pcont_stop_grad': only(False),
    'action_pcont_weight': only(True),
    'value_pcont_weight': only(True),
    'action_source': only('model'),
    'value_source': only('model'),
    'action_target_update': only(1),
    'value_target_update': only(1),
    'overshooting_distance': only(0),
    'pcont_label_weight': only(None),
    'state_beta': only(0.0),
    'stop_grad_pre_action': only(True),
    'value_maxent': only(False),
}
