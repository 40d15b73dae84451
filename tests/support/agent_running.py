"""Running agents in tests: op by op, and what an update computes, by name."""

import contextlib

import numpy as np
import tensorflow as tf


@contextlib.contextmanager
def eagerly(on=True):
  """Runs functions of TensorFlow op by op inside the context."""
  before = tf.config.functions_run_eagerly()
  tf.config.run_functions_eagerly(on)
  try:
    yield
  finally:
    tf.config.run_functions_eagerly(before)


def tensors(batch):
  return {key: tf.convert_to_tensor(value) for key, value in batch.items()}


def update(agent, batch, env_steps=0):
  """One update, as its Update of arrays."""
  batch = tensors({key: batch[key] for key in agent.batch_keys})
  learn = tf.function(
      agent.learn, autograph=False, jit_compile=agent.compiled)
  return tf.nest.map_structure(
      lambda x: x.numpy(), learn(batch, tf.constant(env_steps, tf.int64)))


def check_trains(agent, batch):
  """An update has finite losses and moves a third of the weights."""
  before = agent.state()
  losses = update(agent, batch).losses
  after = agent.state()
  moved = [key for key in agent.parameters
           if not np.array_equal(before[key], after[key])]
  assert losses and all(np.isfinite(x).all() for x in losses.values())
  assert len(moved) > len(agent.parameters) / 3


def initial(agent):
  return {f'init/{k}': v.numpy() for k, v in agent.parameters.items()}


def learn(agent, batch, env_steps=0):
  """What one update on the batch computes, by name, as arrays.

  init/ and step/: parameters before and after; loss/, grad/, tensor/; scale/
  (loss scales) and norm/ (magnitudes of rewards) after the update.
  """
  out = initial(agent)
  found = update(agent, batch, env_steps)
  out.update({f'loss/{k}': v for k, v in found.losses.items()})
  out.update({f'grad/{k}': v for grads in found.gradients.values()
              for k, v in grads.items()})
  out.update(flat(found.tensors))
  out.update({f'scale/{k}': v.loss_scale.numpy()
              for k, v in agent.optimizers.items()})
  out.update({f'norm/{k}': v.numpy() for k, v in agent.statistics.items()})
  out.update({f'step/{k}': v.numpy() for k, v in agent.parameters.items()})
  return out


def look(agent, batch, env_steps=0):
  """As `learn`, but nothing is differentiated and no optimiser moves.

  Cheaper by half; and behaviours learn in the first model, not in the updated
  one, so that what changes the model's update only shows there.
  """
  with no_updates(agent):
    return learn(agent, batch, env_steps)


def optimise(agent):
  """opt/: parameters after one step on gradients of ones."""
  for optimizer in agent.optimizers.values():
    optimizer.apply({key: tf.ones(x.shape)
                     for key, x in optimizer.params.items()})
  return {f'opt/{k}': v.numpy() for k, v in agent.parameters.items()}


class Still:
  """In place of an optimiser: asks for no gradient and moves nothing."""

  def __init__(self, optimizer):
    self.params, self.loss_scale = optimizer.params, optimizer.loss_scale

  def gradients(self, tape, loss):
    return {}

  def apply(self, grads):
    return {}


@contextlib.contextmanager
def no_updates(agent):
  """Inside, the agent's updates compute all but gradients and steps."""
  before = agent.optimizers
  agent.optimizers = {key: Still(x) for key, x in before.items()}
  try:
    yield
  finally:
    agent.optimizers = before


def flat(found):
  """Tensors by name, those in dicts too."""
  out = {}
  for key, value in found.items():
    parts = value if isinstance(value, dict) else {'': value}
    out.update({f'tensor/{key}/{k}'.rstrip('/'): v for k, v in parts.items()})
  return out
