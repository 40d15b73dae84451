"""Runs the DreamerV2 agent on a parity case of its release."""

import contextlib
from unittest import mock

import tensorflow as tf

from dreamer.conform import rounding
from dreamer.envs.spaces import ActionSpace, Space
from dreamer.errors import UserError
from dreamer.nn import dists
from dreamerv2 import variants
from dreamerv2.checks import validate
from tests.parity import cases as parity_cases
from tests.parity import keys_v2 as parity_keys_v2
from tests.parity.names import theirs
from tests.support import agent_running
from tests.support.agent_noise import FixedNoise
from tests.support.agent_running import eagerly

# Names in expected.npz of what the agent's metrics hold.
METRICS = {
    'model/kl': 'model_kl', 'model/prior_ent': 'prior_ent',
    'model/post_ent': 'post_ent', 'imag/reward': 'reward_mean',
    'imag/reward_std': 'reward_std',
    'imag/reward_normed': 'reward_normed_mean',
    'imag/reward_normed_std': 'reward_normed_std',
    'imag/value': 'critic_slow', 'imag/return': 'critic_target',
    'critic/value': 'critic', 'actor/entropy': 'actor_ent',
    'actor/entropy_scale': 'actor_ent_scale', 'actor/mix': 'actor_grad_mix'}
# The explorer's heads are called expl_expl there.
HEADS = 'expl_heads'

RESERVED = ('action', 'reward', 'discount', 'is_first', 'is_last',
            'is_terminal')


def run(path, case, reference, eager=False):
  """Trains on the case's batch; returns the Comparison."""
  del reference
  batch = parity_cases.read_npz(path / 'batch.npz')
  agent = make_agent(case, batch)
  parity_cases.load_parameters(parameters(agent), case, path)
  expected = parity_cases.read_npz(path / 'expected.npz')
  with eagerly(eager), half_std():
    arrays = train(agent, batch, case)
  lrs = {_theirs(agent, name): opt.lr
         for opt in agent.optimizers.values() for name in opt.params}
  lrs.update({name: agent.config.critic_opt.lr for name in parameters(agent)
              if 'target_critic/' in name})  # moves with the critic
  comparison = parity_cases.Comparison(expected, arrays, case['steps'], lrs)
  rounding.allow(comparison, case)
  return comparison


def make_agent(case, batch, noise=None):
  """The Agent that a case describes, with deterministic sampling."""
  spaces = {key: Space(value.shape[2:], str(value.dtype))
            for key, value in batch.items() if key not in RESERVED}
  config = parity_keys_v2.make_config(case, spaces)
  space = case['action_space']
  if space['type'] not in ('continuous', 'discrete'):
    raise UserError(f'action_space.type: {space["type"]}; continuous or '
                    'discrete')
  spaces = spaces, ActionSpace(space['type'], space['dim'])
  validate(config)
  validate(config, spaces)
  return variants.make_agent(config, *spaces, noise or FixedNoise())


@contextlib.contextmanager
def half_std():
  """Truncated Normals give loc + scale / 2, as in the reference's cases."""
  eps = lambda self, noise: tf.fill(tf.shape(self.loc), 0.5)
  with mock.patch.object(dists.TruncNormal, 'eps', eps):
    yield


def parameters(agent):
  """The agent's parameters by their names in the cases."""
  return {_theirs(agent, key): value
          for key, value in agent.parameters.items()}


def _theirs(agent, name):
  """That of our parameter; the one head of a model loss has no number."""
  name = theirs('dreamerv2', name)
  if agent.config.expl.kind == 'model_loss':
    return name.replace('expl/networks0/', 'expl/head/')
  return name


def train(agent, batch, case):
  """All arrays: step 0 with tensors and gradients, then the other steps."""
  steps = case.get('tfstep', [0] * case['steps'])
  steps = [step * agent.config.action_repeat for step in steps]
  start = agent.state()
  update = agent_running.update(agent, batch, steps[0])
  arrays = _metrics(update.scalars, 'step0')
  arrays.update({f'grad/{_theirs(agent, key)}': grad
                 for group in update.gradients.values()
                 for key, grad in group.items()})
  arrays.update(_tensors(agent, update.tensors))
  arrays.update(_policies(agent, start, update.tensors))
  for index, step in enumerate(steps[1:], 1):
    metrics = {key: x.numpy() for key, x in agent.train(batch, step).items()}
    arrays.update(_metrics(metrics, f'step{index}'))
  arrays.update({f'param/{key}': value.numpy()
                 for key, value in parameters(agent).items()})
  return {**arrays, **slots(agent), **_extra(agent)}


def slots(agent):
  """What the optimisers keep beside each parameter."""
  return {f'slot/{slot}/{_theirs(agent, name)}': value.numpy()
          for optimizer in agent.optimizers.values()
          for slot, arrays in optimizer.slots.items()
          for name, value in arrays.items()}


def _metrics(metrics, prefix):
  """By their names there; rewards that are not normed are normed by 1."""
  found = {}
  for key in ('imag/reward', 'imag/reward_std'):
    for raw in {key, f'expl_{key}'} & set(metrics):
      normed = raw.replace('reward', 'reward_normed')
      metrics = {normed: metrics[raw], **metrics}
  for key, value in metrics.items():
    key = key.replace(HEADS, 'expl_expl')
    base = key.removeprefix('expl_')
    if base in METRICS:
      key = f'metric/{"expl_" if base != key else ""}{METRICS[base]}'
    found[f'{prefix}/{key}'] = value
  return found


def _tensors(agent, tensors):
  arrays = agent_running.flat(tensors)
  rssm = agent.model.rssm
  for prefix in ('', 'expl_'):  # the imagined states, and their statistics
    if f'{prefix}imag_feat' not in tensors:
      continue
    feat = tensors[f'{prefix}imag_feat']
    arrays.setdefault(f'tensor/{prefix}imag_reward_raw',
                      arrays[f'tensor/{prefix}imag_reward'])
    stoch, deter = feat[..., :rssm.stoch_size], feat[..., rssm.stoch_size:]
    arrays[f'tensor/{prefix}imag_deter'] = deter
    arrays[f'tensor/{prefix}imag_stoch'] = stoch.reshape(
        [*stoch.shape[:-1], *rssm.stoch_shape])
    starts = agent.start_states(tensors['post'], ())
    for key, value in rssm.stats(deter[1:]).items():
      arrays[f'tensor/{prefix}imag_{key}'] = tf.concat(
          [starts[key][None], value], 0).numpy()
  return arrays


def _policies(agent, start, tensors):
  """Policies of the imagined states before the update, by parameter."""
  arrays, moved = {}, agent.state()
  agent.restore(start)
  for prefix, behaviour in behaviours(agent).items():
    feat = tf.constant(tensors[f'{prefix}imag_feat'])
    action = tf.constant(tensors[f'{prefix}imag_action'])
    policy = behaviour.actor.dist(feat[:-2])
    found = {key: value for key, value in vars(policy).items()
             if isinstance(value, tf.Tensor)}
    found['logprob'] = policy.log_prob(action[1:-1])
    arrays.update({f'tensor/{prefix}policy_{key}': value.numpy()
                   for key, value in found.items()})
  agent.restore(moved)
  return arrays


def behaviours(agent):
  """Behaviours by the prefix of what they compute."""
  found = {'': agent.behaviour}
  return {**found, 'expl_': agent.explorer} if agent.explorer else found


def _extra(agent):
  found = {}
  for key, behaviour in behaviours(agent).items():
    norm = getattr(behaviour, 'reward_norm', None)
    found[f'extra/{key}rewnorm_mag'] = norm.mag.numpy() if norm else 1.0
    found[f'extra/{key}target_updates'] = agent.updates
  return found
