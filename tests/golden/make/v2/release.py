"""Sets the release's agent up, and runs its train steps."""
import pathlib

import agent as agentlib
import common
import gym
import numpy as np
import ruamel.yaml
import tensorflow as tf
from rules import rule_parameter

FLAGS = ('is_first', 'is_last', 'is_terminal')


def configuration(spec):
  """The release's configuration: its defaults, a preset, then overrides.

  Overrides are set as they are: a schedule is a string under a key whose
  default is a number, which the release's command line doesn't take.
  """
  text = pathlib.Path(agentlib.__file__).with_name('configs.yaml').read_text()
  configs = ruamel.yaml.YAML(typ='safe').load(text)
  config = common.Config(configs['defaults']).update(configs[spec['preset']])
  unknown = set(spec['overrides']) - set(config.flat)
  assert not unknown, unknown
  return common.Config(dict(config.flat, **spec['overrides']))


def agent(spec, config, batch):
  """An Agent whose variables exist and have their values by the rule."""
  made = agentlib.Agent(
      config, _observation_spaces(batch), _action_space(*spec['action']),
      common.Counter(0))
  made.train(tensors(batch))  # creates the variables
  for name, variable in parameters(made).items():
    variable.assign(rule_parameter(name, variable.shape))
  for behaviour in behaviours(made).values():
    behaviour.rewnorm.reset()
    if hasattr(behaviour, '_updates'):
      behaviour._updates.assign(0)
  for name in ('intr_rewnorm', 'extr_rewnorm'):
    if hasattr(made._expl_behavior, name):
      getattr(made._expl_behavior, name).reset()
  for optimizer in optimizers(made):
    kind = type(optimizer._opt)
    optimizer._opt = kind.from_config(optimizer._opt.get_config())
  return made


def _observation_spaces(batch):
  spaces = {}
  for key, value in batch.items():
    if key in FLAGS:
      spaces[key] = gym.spaces.Box(0, 1, (), dtype=bool)
    elif key == 'reward':
      spaces[key] = gym.spaces.Box(-np.inf, np.inf, (), dtype=np.float32)
    elif key != 'action':
      high = 255 if value.dtype == np.uint8 else np.inf
      low = 0 if value.dtype == np.uint8 else -np.inf
      spaces[key] = gym.spaces.Box(low, high, value.shape[2:], value.dtype)
  return spaces


def _action_space(kind, size):
  low = 0 if kind == 'discrete' else -1
  space = gym.spaces.Box(low, 1, (size,), dtype=np.float32)
  if kind == 'discrete':
    space.n = size  # as the release's OneHotAction marks it
  return {'action': space}


def tensors(batch):
  return {key: tf.convert_to_tensor(value) for key, value in batch.items()}


def behaviours(made):
  """Actors with their critics: '' the task's, 'expl_' the explorer's."""
  found = {'': made._task_behavior}
  if made._expl_behavior is not made._task_behavior:
    found['expl_'] = made._expl_behavior.ac
  return found


def optimizers(made):
  found = [made.wm.model_opt]
  for behaviour in behaviours(made).values():
    found += [behaviour.actor_opt, behaviour.critic_opt]
  if hasattr(made._expl_behavior, 'opt'):
    found.append(made._expl_behavior.opt)
  return found


def parameters(made):
  """Every parameter by its name in the cases: the path of its module."""
  found = {}
  found.update(_below('wm/encoder', made.wm.encoder))
  found.update(_below('wm/rssm', made.wm.rssm))
  for name, head in made.wm.heads.items():
    found.update(_below('wm/heads/' + name, head))
  for prefix, behaviour in behaviours(made).items():
    prefix = prefix.replace('expl_', 'expl/')
    for part in ('actor', 'critic', '_target_critic'):
      module = getattr(behaviour, part)
      if part == '_target_critic' and module is behaviour.critic:
        continue
      found.update(_below(prefix + part.strip('_'), module))
  for index, head in enumerate(getattr(made._expl_behavior, '_networks', [])):
    found.update(_below(f'expl/networks{index}', head))
  return found


def _below(path, module):
  """Parameters of a module, of the layers it got by name and of its cell."""
  found = {}
  for kind in ('kernel', 'bias', 'gamma', 'beta'):
    if isinstance(getattr(module, kind, None), tf.Variable):
      found[path + '/' + kind] = getattr(module, kind)
  if isinstance(module, common.GRUCell):
    found.update(_below(path + '/dense', module._layer))
    found.update(_below(path + '/norm', module._norm))
  elif isinstance(module, common.NormLayer) and module._layer:
    found.update(_below(path, module._layer))
  elif isinstance(module, common.EnsembleRSSM):
    found.update(_below(path + '/gru', module._cell))
  for name, part in getattr(module, '_modules', {}).items():
    found.update(_below(path + '/' + name, part))
  return found


def slots(made, variables):
  """{parameter: {slot: variable}} of each parameter that is trained."""
  found = {}
  for optimizer in optimizers(made):
    kept = optimizer._opt._slots  # by id: there is no public way to list them
    for name, variable in variables.items():
      if variable._unique_id in kept:
        found[name] = kept[variable._unique_id]
  return found


def train_steps(made, spec, batch):
  """Runs the train steps on one batch; yields what each returned."""
  for step in spec['tfstep']:
    made.tfstep.assign(step)
    _, metrics = made.train(tensors(batch))
    yield {key: np.asarray(value) for key, value in metrics.items()}
