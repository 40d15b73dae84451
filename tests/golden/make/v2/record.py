"""Notes what the release computes in its first train step.

The release runs op by op (its own key `jit: False`), so that whatever passes
through a function can be read there. Each function below is called as it is.
"""
import contextlib

import agent
import common
import expl
import numpy as np
import tensorflow as tf


@contextlib.contextmanager
def recording(names):
  """Gives the dict that fills with arrays; names: of variables, by ref()."""
  found, state = {}, {'prefix': ''}
  wrappers = {
      (agent.WorldModel, 'loss'): _model_loss,
      (agent.WorldModel, 'imagine'): _imagine,
      (agent.ActorCritic, 'train'): _behaviour,
      (agent.ActorCritic, 'target'): _target,
      (agent.ActorCritic, 'actor_loss'): _actor_loss,
      (agent.ActorCritic, 'critic_loss'): _critic_loss,
      (expl.Plan2Explore, 'train'): _explorer,
      (expl.Plan2Explore, '_train_ensemble'): _ensemble,
      (common.Optimizer, '__call__'): _optimizer(names),
  }
  def note(name, value):
    found['tensor/' + state['prefix'] + name] = np.asarray(value)
  def note_gradient(name, value):
    found['grad/' + name] = np.asarray(value)
  before = {place: getattr(*place) for place in wrappers}
  for (owner, name), wrap in wrappers.items():
    tool = {common.Optimizer: note_gradient, expl.Plan2Explore: (note, state)}
    setattr(owner, name, wrap(before[owner, name], tool.get(owner, note)))
  try:
    yield found
  finally:
    for (owner, name), value in before.items():
      setattr(owner, name, value)


def _model_loss(original, note):
  def loss(self, data, state=None):
    result = original(self, data, state)
    outputs = result[2]
    for name in ('embed', 'feat', 'kl'):
      note(name, outputs[name])
    for group, key in (('post', 'post'), ('prior', 'prior'), ('like', 'likes')):
      for name, value in outputs[key].items():
        note(group + '/' + name, value)
    return result
  return loss


def _imagine(original, note):
  def imagine(self, policy, start, is_terminal, horizon):
    seq = original(self, policy, start, is_terminal, horizon)
    for name, value in seq.items():
      note('weight' if name == 'weight' else 'imag_' + name, value)
    return seq
  return imagine


def _behaviour(original, note):
  def train(self, world_model, start, is_terminal, reward_fn):
    def noted(seq):
      reward = reward_fn(seq)
      note('imag_reward_raw', reward)  # before its normalisation
      return reward
    return original(self, world_model, start, is_terminal, noted)
  return train


def _target(original, note):
  def target(self, seq):
    result = original(self, seq)
    note('imag_reward', seq['reward'])
    note('imag_value', self._target_critic(seq['feat']).mode())
    note('returns', result[0])
    return result
  return target


def _actor_loss(original, note):
  def actor_loss(self, seq, target):
    policy = self.actor(tf.stop_gradient(seq['feat'][:-2]))
    note('policy_entropy', policy.entropy())
    note('policy_logprob', policy.log_prob(
        tf.stop_gradient(seq['action'][1:-1])))
    inner = getattr(policy, 'distribution', None)
    if isinstance(policy, common.OneHotDist):
      note('policy_logits', policy.logits_parameter())
    elif isinstance(inner, common.TruncNormalDist):
      note('policy_loc', inner.loc)
      note('policy_scale', inner.scale)
    return original(self, seq, target)
  return actor_loss


def _critic_loss(original, note):
  def critic_loss(self, seq, target):
    note('critic_pred', self.critic(seq['feat'][:-1]).mode())
    return original(self, seq, target)
  return critic_loss


def _explorer(original, tools):
  _, state = tools
  def train(self, start, context, data):
    state['prefix'] = 'expl_'  # the behaviour inside is the explorer's
    try:
      return original(self, start, context, data)
    finally:
      state['prefix'] = ''
  return train


def _ensemble(original, tools):
  note, _ = tools
  def train(self, inputs, targets):
    offset = self.config.disag_offset
    note('ensemble_inputs', inputs[:, :-offset] if offset else inputs)
    note('ensemble_targets', targets[:, offset:])
    return original(self, inputs, targets)
  return train


class _Tape:
  """A gradient tape that notes what it gives."""

  def __init__(self, tape, note, names):
    self.tape, self.note, self.names = tape, note, names

  def gradient(self, loss, variables):
    grads = self.tape.gradient(loss, variables)
    for variable, grad in zip(variables, grads):
      self.note(self.names[variable.ref()], grad)
    return grads


def _optimizer(names):
  def wrap(original, note):
    def call(self, tape, loss, modules):
      return original(self, _Tape(tape, note, names), loss, modules)
    return call
  return wrap
