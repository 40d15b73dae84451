"""The cases of danijar/dreamerv2: what is run, as plain data."""

REPOSITORY = 'danijar/dreamerv2'
COMMIT = '07d906e9c4322c6fc2cd6ed23e247ccd6b7c8c41'
REFERENCE = REPOSITORY + '@' + COMMIT
FOLDERS = ('dreamerv2',)

SMALL = {
    'rssm.deter': 12, 'rssm.hidden': 12, 'rssm.stoch': 4, 'rssm.discrete': 5,
    'encoder.cnn_depth': 4, 'decoder.cnn_depth': 4,
    'encoder.mlp_layers': [16, 16], 'decoder.mlp_layers': [16, 16],
    'reward_head.layers': 2, 'reward_head.units': 16,
    'discount_head.layers': 2, 'discount_head.units': 16,
    'actor.layers': 2, 'actor.units': 16,
    'critic.layers': 2, 'critic.units': 16,
    'expl_head.layers': 2, 'expl_head.units': 16,
    'imag_horizon': 4,
}
EXPLORE = {'expl_behavior': 'Plan2Explore', 'disag_models': 3}


def _optimizer(name):
  groups = ('model_opt', 'actor_opt', 'critic_opt', 'expl_opt')
  return {group + '.opt': name for group in groups}


def _atari(seed=0, **more):
  """Discrete actions by the score function, one gray image."""
  return dict(dict(
      preset='atari', image=[64, 64, 1], action=('discrete', 6),
      seed=seed), **more)


def _control(seed=0, **more):
  """Continuous actions through the dynamics, a colour image."""
  return dict(dict(
      preset='dmc_vision', image=[64, 64, 3], action=('continuous', 3),
      seed=seed), **more)


def _proprio(**more):
  """Vectors in place of images."""
  return _control(
      preset='dmc_proprio', image=None,
      vectors={'position': 5, 'velocity': 4}, **more)


CASES = {
    'v2_atari_small': _atari(1000, ram=True),
    'v2_atari_full': _atari(
        11, batch=[4, 50], small={}, steps=1, tfstep=[0]),
    'v2_crafter_small': _control(
        preset='crafter', action=('discrete', 7)),
    'v2_dmc_vision_small_kl_above': _control(
        overrides={'rssm.stoch': 64}),
    'v2_dmc_vision_small_kl_below': _control(
        overrides={'rssm.stoch': 2, 'rssm.discrete': 3}),
    'v2_dmc_proprio_small': _proprio(),
    'v2_decay_small': _proprio(overrides={
        'model_opt.wd': 1e-2, 'actor_opt.wd': 1e-2, 'critic_opt.wd': 1e-2}),
    'v2_gaussian_small': _control(overrides={
        'rssm.discrete': False, 'rssm.std_act': 'sigmoid2', 'kl.free': 0.5}),
    'v2_gaussian_atari_small': _atari(overrides={
        'rssm.discrete': False, 'rssm.std_act': 'softplus'}),
    'v2_both_grad_small': _atari(
        tfstep=[0, 1000000, 3000000], overrides={
            'actor_grad': 'both', 'actor_grad_mix': 'linear(0.1,0.0,2.5e6)',
            'actor_ent': 'linear(3e-3,3e-4,2.5e6)',
            'slow_target_fraction': 0.02, 'slow_target_update': 1,
            'reward_norm.momentum': 0.99}),
    'v2_both_grad_continuous_small': _proprio(
        tfstep=[0, 1000000, 3000000], overrides={
            'actor_grad': 'both', 'actor_ent': 'linear(3e-3,3e-4,2.5e6)'}),
    'v2_tanh_normal_small': _control(1000, overrides={
        'rssm.stoch': 2, 'rssm.discrete': 3,
        'actor.dist': 'tanh_normal', 'actor_grad': 'both'}),
    'v2_no_slow_target': _atari(overrides={'slow_target': False}),
    'v2_slow_target_every2': _atari(overrides={'slow_target_update': 2}),
    'v2_plan2explore_small': _control(
        overrides=dict(EXPLORE, disag_target='stoch')),
    'v2_plan2explore_extr_small': _atari(overrides=dict(EXPLORE, **{
        'disag_target': 'deter', 'expl_extr_scale': 0.7,
        'expl_intr_scale': 0.5, 'expl_reward_norm.momentum': 0.9,
        'disag_log': True})),
    'v2_abl_free_avg_false': _atari(1000, overrides={
        'rssm.stoch': 24, 'kl.free_avg': False, 'kl.free': 1.0}),
    'v2_abl_kl_balance_half': _atari(overrides={'kl.balance': 0.5}),
    'v2_abl_kl_balance_half_free': _atari(1000, overrides={
        'rssm.stoch': 24, 'kl.balance': 0.5, 'kl.free': 1.0}),
    'v2_abl_kl_forward': _atari(overrides={'kl.forward': True}),
    'v2_abl_no_image_grad': _atari(
        overrides={'grad_heads': ['reward', 'discount']}),
    'v2_abl_no_reward_grad': _atari(
        overrides={'grad_heads': ['decoder', 'discount']}),
    'v2_abl_reward_sign': _atari(overrides={'clip_rewards': 'sign'}),
    'v2_adamax_small': _atari(
        1000, ram=True, overrides=_optimizer('adamax')),
    'v2_nadam_small': _atari(1000, ram=True, overrides=_optimizer('nadam')),
    'v2_kernels_small': _atari(1000, ram=True, overrides={
        'encoder.cnn_kernels': [3, 3, 3, 3, 3],
        'decoder.cnn_kernels': [3, 3, 3, 3, 4]}),
}

# Of single functions, made from the inputs in them.
FUNCTIONS = ('v2_misc',)

DEFAULTS = dict(
    batch=[3, 6], small=SMALL, overrides={}, vectors=None, ram=False,
    steps=3, tfstep=[0, 0, 0])


def spec(name):
  """Everything about one case: the table's entry over the defaults."""
  found = dict(DEFAULTS, **CASES[name])
  overrides = dict(found['small'], precision=32)
  overrides.update(found['overrides'])
  return dict(found, overrides=overrides)


def recorded(name):
  """What case.json must say about this case, under its keys there."""
  found = spec(name)
  kind, size = found['action']
  return dict(
      agent='dreamerv2', reference=REFERENCE, preset=found['preset'],
      overrides=found['overrides'],
      action_space={'type': kind, 'dim': size}, batch=found['batch'],
      image=found['image'], vectors=found['vectors'], dtype='float32',
      steps=found['steps'], tfstep=found['tfstep'], batch_seed=found['seed'],
      sampling='half-std / argmax', params='rule')
