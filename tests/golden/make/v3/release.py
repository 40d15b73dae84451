"""Sets the release's agent up on the CPU, in float32, and runs its steps."""
import pathlib

import elements
import embodied.jax.nets as nets
import jax
import jax.numpy as jnp
import ninjax as nj
import numpy as np
import ruamel.yaml as yaml
from rules import rule_parameter
from v3 import record

from dreamerv3 import agent as agentlib

TRAINED = ('enc/', 'dyn/', 'dec/', 'rew/', 'con/', 'pol/', 'val/', 'slowval/')
TWOHOT = ('rew/head/logits/bias', 'val/head/logits/bias',
          'slowval/head/logits/bias')

nets.COMPUTE_DTYPE = jnp.float32


def configuration(spec):
  """The release's configuration: its defaults, presets, then overrides."""
  text = pathlib.Path(agentlib.__file__).with_name('configs.yaml').read_text()
  configs = yaml.YAML(typ='safe').load(text)
  config = elements.Config(configs['defaults'])
  for name in spec['presets']:
    config = config.update(configs[name])
  config = config.update({
      'jax.compute_dtype': 'float32', 'jax.platform': 'cpu', 'logdir': 'none'})
  return config.update(spec['overrides'])


def _agent_config(config, dropped):
  """The part that the agent reads, as the release's main.py hands it over."""
  outer = ('logdir', 'seed', 'jax', 'batch_size', 'batch_length',
           'replay_context', 'report_length', 'replica', 'replicas')
  inner = dict(config.agent)
  inner['loss_scales'] = {
      k: v for k, v in config.agent.loss_scales.items() if k not in dropped}
  return elements.Config(**inner, **{k: config[k] for k in outer})


def agent(spec, config):
  """The Agent without the machinery of devices and threads around it."""
  model = object.__new__(agentlib.Agent)
  model.__init__(
      _observation_spaces(spec['obs']), _action_spaces(spec['act']),
      _agent_config(config, spec['drop']))
  return model


def _observation_spaces(obs):
  types = {'image': np.uint8, 'float': np.float32, 'int': np.int32}
  spaces = {}
  for key, (kind, shape, *values) in obs.items():
    bounds = (0, values[0]) if values else ()
    spaces[key] = elements.Space(types[kind], tuple(shape), *bounds)
  spaces['reward'] = elements.Space(np.float32)
  for key in ('is_first', 'is_last', 'is_terminal'):
    spaces[key] = elements.Space(bool)
  return spaces


def _action_spaces(act):
  return {
      k: elements.Space(np.float32, (n,), -1, 1) if kind == 'continuous'
      else elements.Space(np.int32, (), 0, n) for k, (kind, n) in act.items()}


def latents(model):
  """Shapes of what the replay keeps of the model's state, by name."""
  return {
      k: v.shape for k, v in model.ext_space.items()
      if k not in ('consec', 'stepid')}


def zero_carry(model, size):
  """Latent and action before anything was seen."""
  deter = np.zeros((size, model.dyn.deter), np.float32)
  stoch = np.zeros((size, model.dyn.stoch, model.dyn.classes), np.float32)
  action = {k: np.zeros((size, *v.shape), v.dtype)
            for k, v in model.act_space.items()}
  return {}, dict(deter=deter, stoch=stoch), {}, action


def first_state(model, spec, batch):
  """Parameters by the rule (or the release's own); all else at zero."""
  carry = zero_carry(model, len(batch['is_first']))
  pure = nj.pure(model.train)
  def create(carry, batch):
    return pure({}, carry, batch, seed=jnp.array([0, 0], jnp.uint32),
                create=True, modify=True, ignore=True)[0]
  if spec['params'] == 'file':
    own = to_numpy(jax.jit(create)(carry, batch))
    parameter = lambda name, shape: own[name]
  else:
    own = jax.eval_shape(create, carry, batch)
    parameter = _parameter
  state = {
      k: parameter(k, v.shape) if k.startswith(TRAINED)
      else np.zeros(v.shape, v.dtype) for k, v in own.items()}
  for key, value in spec['initial'].items():
    state[key + '/value'] = np.float32(value)
  return state


def _parameter(name, shape):
  """The rule, and for two-hot heads a bias against absurd predictions."""
  value = rule_parameter(name, shape)
  if name in TWOHOT:
    value = value - 27 * np.abs(np.linspace(-1, 1, *shape))
  return value.astype(np.float32)


def train_steps(model, spec, state, batch):
  """Runs the jitted train step; per step a dict of everything it gave."""
  step = jax.jit(record.collect(nj.pure(model.train)))
  carry = zero_carry(model, len(batch['is_first']))
  found = []
  for k in range(spec['steps']):
    consec = np.full_like(batch['consec'], spec['consec'][k])
    seed = np.array([spec['seed'], 1000 + k], np.uint32)
    result = step(state, carry, dict(batch, consec=consec), seed=seed)
    (state, (carry, outs, metrics)), notes = to_numpy(result)
    notes.update(metrics.pop('notes', {}))
    found.append(dict(state=state, outs=outs, metrics=metrics, notes=notes))
  return found


def to_numpy(tree):
  return jax.tree.map(np.asarray, tree)
