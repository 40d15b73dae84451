"""The cases of danijar/dreamer, in TensorFlow 2: what is run, as plain data."""

REPOSITORY = 'danijar/dreamer'
COMMIT = '56d4d444dfd0582b0e79dab80aebbea74c0ce40d'
REFERENCE = REPOSITORY + '@' + COMMIT
FOLDERS = ('dreamer.py', 'models.py', 'tools.py', 'wrappers.py')

SMALL = {
    'cnn_depth': 4, 'deter_size': 12, 'stoch_size': 5, 'num_units': 16,
    'horizon': 4}
DISCRETE = {
    'horizon': 5, 'action_dist': 'onehot', 'pcont': True, 'kl_scale': 0.1,
    'clip_rewards': 'tanh', 'expl': 'epsilon_greedy'}

CASES = {
    'v1_dmc_small': dict(seed=1),
    'v1_dmc_small_kl_above': dict(seed=2, overrides={'free_nats': 0.05}),
    'v1_dmc_small_kl_below': dict(seed=2, overrides={'free_nats': 1.0}),
    'v1_atari_small': dict(
        seed=3, action=('discrete', 4), overrides=DISCRETE),
    'v1_dmc_full': dict(
        seed=4, action=('continuous', 6), batch=[10, 50], small={}, steps=1),
}

# Of single functions, made from the inputs in them.
FUNCTIONS = ('v1_lambda_return', 'v1_exploration.json')

DEFAULTS = dict(
    action=('continuous', 3), batch=[3, 6], small=SMALL, overrides={}, steps=3)


def spec(name):
  """Everything about one case: the table's entry over the defaults."""
  found = dict(DEFAULTS, **CASES[name])
  overrides = dict(found['small'], **found['overrides'])
  size, length = found['batch']
  overrides.update(precision=32, batch_size=size, batch_length=length)
  return dict(found, overrides=overrides)


def recorded(name):
  """What case.json must say about this case, under its keys there."""
  found = spec(name)
  kind, size = found['action']
  return dict(
      agent='dreamerv1', reference=REFERENCE, preset='defaults',
      overrides=found['overrides'],
      action_space={'type': kind, 'dim': size}, batch=found['batch'],
      image=[64, 64, 3], dtype='float32', steps=found['steps'],
      sampling='half-std / argmax', params='rule')
