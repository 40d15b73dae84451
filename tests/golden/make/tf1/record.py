"""Notes which tensors of the release's graph are what a case holds.

Each function below is called as it is, while the graph is built; of an update
the condition is left out that asks whether this is training. Values come from
the session, later. A tensor inside a loop can't be fetched: the actions of
imagination are asked for again, state by state, outside of it.
"""
import contextlib

import tensorflow as tf
from tf1.names import STATE, TERMS

from dreamer import control, tools
from dreamer.training import utility

ADAM = tf.train.AdamOptimizer


class Notes:
  """Tensors of a graph by their names in expected.npz, and its groups."""

  def __init__(self):
    self.tensors = {}   # of the first step
    self.scalars = {}   # of every step, without step{k}/
    self.groups = []    # in the order of the updates: dicts
    self.graph = None   # the release's own: cell, heads, embedded
    self.posterior = None


@contextlib.contextmanager
def recording():
  """Gives the Notes that fill while a graph is built."""
  notes = Notes()
  wrappers = {
      (utility, 'compute_objectives'): _objectives,
      (utility, 'imagine_forward'): _imagine,
      (utility, 'compute_cpc_loss'): _contrast,
      (control, 'lambda_return'): _lambda_return,
      (control, 'discounted_return'): _discounted_return,
      (tf, 'cumprod'): _cumprod,
      (tools.CustomOptimizer, 'maybe_minimize'): _minimize,
      (ADAM, 'compute_gradients'): _gradients,
  }
  before = {place: getattr(*place) for place in wrappers}
  for (owner, name), wrap in wrappers.items():
    setattr(owner, name, wrap(before[owner, name], notes))
  try:
    yield notes
  finally:
    for (owner, name), value in before.items():
      setattr(owner, name, value)


def time_major(value):
  return tf.transpose(value, [1, 0] + list(range(2, value.shape.ndims)))


def _objectives(original, notes):
  def compute(posterior, prior, target, graph, config):
    notes.graph, notes.posterior = graph, posterior
    objectives = original(posterior, prior, target, graph, config)
    _note_model(notes, posterior, prior, graph)
    for objective in objectives:
      name = TERMS.get(objective.name, objective.name)
      sign = {min: 1.0, max: -1.0}[objective.goal]
      scale = config.loss_scales[objective.name]
      notes.scalars['objective/' + objective.name] = objective.value
      notes.scalars['loss/' + name] = sign * scale * objective.value
    return objectives
  return compute


def _note_model(notes, posterior, prior, graph):
  """States, predictions and divergence beside the replayed sequence."""
  feat = graph.cell.features_from_state(posterior)
  kl = graph.cell.divergence_from_states(posterior, prior)
  found = {
      'embed': graph.embedded, 'feat': feat, 'kl': kl,
      'recon': graph.heads.image(feat).mode(),
      'reward_pred': graph.heads.reward(feat).mode(),
      'pcont_pred': graph.heads.pcont(feat).mean()}
  for group, state in (('post', posterior), ('prior', prior)):
    found.update({
        group + '/' + ours: state[theirs] for theirs, ours in STATE.items()})
  notes.tensors.update(found)
  notes.scalars['metric/kl_raw'] = tf.reduce_mean(kl)  # before free nats


def _imagine(original, notes):
  def imagine(start, distance, graph, config, policy, **kwargs):
    states = original(start, distance, graph, config, policy, **kwargs)
    feat = graph.cell.features_from_state(states)  # [N, H, F]
    first = graph.cell.features_from_state(start)
    first = tf.reshape(first, [-1, 1, feat.shape[-1].value])
    action = policy(tf.concat([first, feat[:, :-1]], 1)).sample()
    reward = graph.heads.reward(feat).mode()
    discount = tf.ones_like(reward) * config.action_discount
    if config.action_loss_pcont:
      discount *= graph.heads.pcont(feat).mean()
    found = dict(feat=feat, action=action, reward=reward, discount=discount)
    if 'value' in graph.heads:
      found['value'] = graph.heads.value(feat).mode()
    notes.tensors.update({
        'imag_' + key: time_major(value) for key, value in found.items()})
    return states
  return imagine


def _contrast(original, notes):
  def contrast(pred, features, config):
    objective = original(pred, features, config)
    notes.tensors.update(
        cpc_mean=pred.mean(), cpc_std=pred.stddev(),
        cpc_positive=pred.log_prob(features), cpc_objective=objective)
    return objective
  return contrast


def _lambda_return(original, notes):
  def lambda_return(reward, value, bootstrap, *args, **kwargs):
    returns = original(reward, value, bootstrap, *args, **kwargs)
    notes.tensors.update(
        returns=time_major(returns), bootstrap=bootstrap)
    return returns
  return lambda_return


def _discounted_return(original, notes):
  def discounted_return(*args, **kwargs):
    returns = original(*args, **kwargs)
    notes.tensors['returns'] = time_major(returns)
    return returns
  return discounted_return


def _cumprod(original, notes):
  def cumprod(*args, **kwargs):
    weight = original(*args, **kwargs)
    notes.tensors['weight'] = time_major(weight)
    return weight
  return cumprod


def _minimize(original, notes):
  """The update itself, without the question whether this is training."""
  def maybe_minimize(self, condition, loss):
    name = TERMS.get(self._name, self._name)
    group = dict(name=name, optimizer=self)
    notes.groups.append(group)
    group['update'], norm = self.minimize(loss)
    notes.scalars['loss/' + name] = loss
    notes.scalars['grad_norm/' + name] = norm
    return tf.constant(''), norm
  return maybe_minimize


def _gradients(original, notes):
  def compute_gradients(self, *args, **kwargs):
    found = original(self, *args, **kwargs)
    notes.groups[-1]['gradients'] = [
        (grad, variable) for grad, variable in found if grad is not None]
    return found
  return compute_gradients
