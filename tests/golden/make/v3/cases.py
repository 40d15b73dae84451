"""The cases of danijar/dreamerv3: what is run, as plain data."""

REPOSITORY = 'danijar/dreamerv3'
COMMIT = 'e3f02248693a79dc8b0ebd62c93683888ddaccfe'
REFERENCE = f'{REPOSITORY}@{COMMIT}'
FOLDERS = ('dreamerv3', 'embodied')

SAMPLING = (
    'noise.npz: categorical = argmax(log probs after unimix + Gumbel noise), '
    'normal = mean + std * noise')

# Patterns of the release's config keys that make every case small.
TINY = {
    'batch_size': 3, 'batch_length': 6,
    r'agent\.dyn\.rssm\.(deter)': 16, r'agent\.dyn\.rssm\.hidden': 8,
    r'agent\.dyn\.rssm\.stoch': 4, r'agent\.dyn\.rssm\.classes': 5,
    r'agent\.dyn\.rssm\.blocks': 4,
    r'.*\.depth': 2, r'.*\.units': 12, r'.*\.bins': 41,
    'agent.imag_length': 5,
    'agent.opt.warmup': 0, 'agent.opt.lr': 1e-3,
}

# Observations: kind, shape and, of integers, how many values there are.
RGB = {'image': ('image', (64, 64, 3))}
GRAY = {'image': ('image', (96, 96, 1))}
VECTOR = {'vector': ('float', (4,))}
PROPRIO = {
    'position': ('float', (5,)), 'velocity': ('float', (4,)),
    'height': ('float', ())}
MIXED = {
    'image': ('image', (64, 64, 3)), 'vector': ('float', (4,)),
    'token': ('int', (), 5), 'grid': ('int', (2, 3), 4),
    'float2d': ('float', (2, 3))}

CONTROL = {'action': ('continuous', 3)}
GAME = {'action': ('discrete', 6)}
BOTH = {'a_disc': ('discrete', 4), 'b_cont': ('continuous', 2)}

# Where the running range of the returns starts. Zeros: at its limit.
RANGE = {'retnorm/lo': -0.4, 'retnorm/hi': 3.1}

CASES = {
    'v3_dmc_vision_small': dict(
        presets=['dmc_vision'], obs=RGB, act=CONTROL, seed=1),
    'v3_atari_small': dict(
        presets=['atari'], obs=GRAY, act=GAME, seed=2, policy=True,
        initial=RANGE,
        overrides={'agent.opt.lr': 4e-5, 'agent.opt.warmup': 2}),
    'v3_dmc_proprio_small': dict(
        presets=['dmc_proprio'], obs=PROPRIO, act=CONTROL, seed=3,
        policy=True, initial=RANGE),
    'v3_mixed_small': dict(
        presets=['crafter'], obs=MIXED, act=BOTH, seed=4, policy=True,
        initial=RANGE),
    'v3_consec_small': dict(
        obs=VECTOR, act=GAME, seed=5, initial=RANGE, consec=[0, 1, 2]),
    'v3_nocontext_small': dict(
        obs=VECTOR, act=CONTROL, seed=16, consec=[0, 1, 1],
        overrides={'replay_context': 0}),
    'v3_strided_small': dict(
        obs=RGB, act=GAME, seed=7,
        overrides={r'.*\.strided': True, 'agent.opt.beta2': 0.99}),
    'v3_outer_small': dict(
        obs=RGB, act=CONTROL, seed=8,
        overrides={
            r'.*\.outer': True, r'.*\.strided': True,
            r'.*\.mults': [1, 2, 3, 4, 4]}),
    'v3_norms_small': dict(
        obs=VECTOR, act=GAME, seed=9,
        overrides={
            'agent.valnorm.impl': 'meanstd', 'agent.advnorm.impl': 'meanstd',
            'agent.retnorm.debias': True, 'agent.imag_loss.slowtar': True,
            'agent.repl_loss.slowtar': True, 'agent.slowvalue.every': 2}),
    'v3_grads_small': dict(
        obs=VECTOR, act=CONTROL, seed=10, initial=RANGE,
        overrides={
            'agent.reward_grad': False, 'agent.repval_grad': False,
            'agent.ac_grads': True}),
    'v3_norepval_small': dict(
        obs=VECTOR, act=GAME, seed=11, initial=RANGE, drop=['repval'],
        overrides={
            'agent.repval_loss': False, r'agent\.opt\.(wd)': 0.01,
            'agent.opt.schedule': 'linear', 'agent.opt.anneal': 4,
            'agent.opt.warmup': 1, 'agent.opt.agc': 0.0}),
    'v3_init_small': dict(
        presets=['dmc_vision'], obs=RGB, act=CONTROL, seed=12, params='file',
        overrides={'agent.opt.lr': 4e-5, 'agent.opt.warmup': 1000}),
    'v3_size1m': dict(
        presets=['dmc_vision', 'size1m'], obs=RGB,
        act={'action': ('continuous', 6)}, seed=13, tiny=False,
        initial=RANGE, limit=4096,
        overrides={
            'batch_size': 4, 'batch_length': 16, 'agent.opt.warmup': 0}),
}

# What may be off by how much where rounding decides.
NEAR_TIES = {'v3_atari_small': {
    'why': 'of three pooled windows rounding orders the two largest values',
    'allowed': {'grad/enc/': 0.005, 'extra/agc_scale/enc/': 0.005,
                'slot/momentum/enc/': 0.005, 'slot/rms/enc/': 0.005}},
             'v3_size1m': {
    'why': 'LaProp gives elements whose gradient is rounding noise full steps',
    'allowed': {'slot/momentum/': 0.01, 'step0/metric/opt/update_rms': 3e-4}}}

# Of single functions, made from the inputs in them.
FUNCTIONS = ('v3_misc',)

DEFAULTS = dict(
    presets=[], overrides={}, drop=[], initial={}, params='rule', steps=3,
    consec=[0, 0, 0], policy=False, tiny=True, limit=0)


def spec(name):
  """Everything about one case: the table's entry over the defaults."""
  found = dict(DEFAULTS, **CASES[name])
  tiny = TINY if found['tiny'] else {}
  return dict(found, overrides=dict(tiny, **found['overrides']))


def recorded(name):
  """What case.json must say about this case, under its keys there."""
  found = spec(name)
  actions = {k: dict(type=kind, dim=n) for k, (kind, n) in found['act'].items()}
  one = len(actions) == 1
  vectors = {k: list(v[1]) for k, v in found['obs'].items() if v[0] != 'image'}
  ties = {'near_ties': NEAR_TIES[name]} if name in NEAR_TIES else {}
  return dict(
      ties, agent='dreamerv3', reference=REFERENCE,
      preset=(found['presets'] or ['defaults'])[0], presets=found['presets'],
      overrides=found['overrides'], dropped_loss_scales=found['drop'],
      action_space=next(iter(actions.values())) if one else actions,
      action_spaces=actions,
      observation_space={
          k: [v[0], list(v[1]), *v[2:]] for k, v in found['obs'].items()},
      vectors=vectors or None, dtype='float32', steps=found['steps'],
      consec=found['consec'], params=found['params'],
      initial_state=found['initial'], batch_seed=found['seed'],
      sampling=SAMPLING)
