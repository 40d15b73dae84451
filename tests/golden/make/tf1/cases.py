"""The cases of google-research/dreamer: what is run, as plain data."""

REPOSITORY = 'google-research/dreamer'
COMMIT = 'd517542f9777c53864ff6f2683cea88be9ea98ac'
REFERENCE = REPOSITORY + '@' + COMMIT
FOLDERS = ('dreamer',)

SMALL = {
    'batch_shape': [3, 6], 'state_size': 5, 'model_size': 12, 'num_units': 16}
CONTRASTIVE = {'cpc_head': True, 'gradient_heads': ['cpc', 'reward']}
PLANNER = {
    'planner_beams': 20, 'planner_topk': 5, 'planner_iterations': 4,
    'planner_horizon': 6}

# presets: lists of the release's own, by its key `defaults`.
CASES = {
    'tf1_dreamer_small': dict(),
    'tf1_discrete_pcont_small': dict(
        presets=['dreamer', 'pcont', 'discrete', 'atari'],
        action=('discrete', 4)),
    'tf1_no_value_small': dict(presets=['actor']),
    'tf1_reward_only_small': dict(overrides={
        'gradient_heads': ['reward'], 'free_nats': 0.05}),
    'tf1_contrastive_window_small': dict(overrides=dict(
        CONTRASTIVE, cpc_contrast='window', cpc_batch_amount=3,
        cpc_time_amount=4, free_nats=0.05)),
    'tf1_contrastive_batch_small': dict(overrides=dict(
        CONTRASTIVE, cpc_contrast='batch', cpc_batch_amount=3,
        cpc_time_amount=6)),
    'tf1_planet_small': dict(
        presets=['planet'], horizon=None,
        overrides=dict(PLANNER, free_nats=0.05)),
    'tf1_free_nats_above_small': dict(overrides={'free_nats': 0.02}),
    'tf1_free_nats_below_small': dict(overrides={'free_nats': 1.0}),
}

# Where a unit of a ReLU is so close to zero that rounding decides whether it
# passes gradients on: how far which arrays may be off.
_ENCODER = {
    'why': 'one ReLU of the encoder has the input -9e-8, which rounding puts '
           'on either side of 0',
    'allowed': {'grad/encode/': 0.003, 'step2/': 0.004}}
_DECODER = {
    'why': 'ReLUs of the image decoder have inputs that rounding puts on '
           'either side of 0',
    'allowed': {'grad/decode/': 0.001, 'step2/grad_norm/image': 0.001}}
NEAR_TIES = {
    'tf1_free_nats_above_small': _ENCODER,
    'tf1_free_nats_below_small': _ENCODER,
    'tf1_contrastive_window_small': _DECODER,
    'tf1_contrastive_batch_small': _DECODER}

# Of single functions, made from the inputs in them.
FUNCTIONS = ('tf1_exploration.json',)

DEFAULTS = dict(
    presets=['dreamer'], action=('continuous', 3), horizon=4, overrides={},
    steps=3, seed=0)


def spec(name):
  """Everything about one case: the table's entry over the defaults."""
  found = dict(DEFAULTS, **CASES[name])
  overrides = dict(SMALL, defaults=found['presets'])
  if found['horizon']:
    overrides['imagination_horizon'] = found['horizon']
  overrides.update(found['overrides'])
  return dict(found, overrides=overrides)


def recorded(name):
  """What case.json must say about this case, under its keys there."""
  found = spec(name)
  kind, size = found['action']
  ties = {'near_ties': NEAR_TIES[name]} if name in NEAR_TIES else {}
  return dict(
      ties,
      agent='dreamerv1', reference=REFERENCE,
      preset=' '.join(found['presets']), overrides=found['overrides'],
      action_space={'type': kind, 'dim': size}, batch=SMALL['batch_shape'],
      image=[64, 64, 3], horizon=found['horizon'] or 0, dtype='float32',
      steps=found['steps'], sampling='half-std / argmax', params='rule')
