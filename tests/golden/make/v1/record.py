"""Notes what the release computes in a train step.

The release runs op by op, so that whatever passes through a function can be
read there. Each function below is called as it is.
"""
import contextlib

import models
import numpy as np
import tensorflow as tf
import tools
from tensorflow.keras.mixed_precision import experimental as prec
from tensorflow_probability import distributions as tfd

import dreamer


class Notes:
  """Arrays by name, and what helps to name them."""

  def __init__(self, made, names):
    self.made, self.names = made, names
    self.arrays = {}
    self.actions = []    # of imagination, step by step
    self.imagines = False
    self.optimizer = None

  def __call__(self, name, value):
    self.arrays[name] = np.asarray(value)


@contextlib.contextmanager
def recording(made, names):
  """Gives the dict that fills with arrays; names: of variables, by id()."""
  notes = Notes(made, names)
  wrappers = {
      (models.ConvEncoder, '__call__'): _encoder,
      (models.RSSM, 'observe'): _observe,
      (models.RSSM, 'img_step'): _img_step,
      (models.ConvDecoder, '__call__'): _decoder,
      (models.DenseDecoder, '__call__'): _head,
      (dreamer.Dreamer, '_imagine_ahead'): _imagine,
      (dreamer.Dreamer, '_scalar_summaries'): _summaries,
      (tools, 'lambda_return'): _lambda_return,
      (tf.math, 'cumprod'): _cumprod,
      (tfd, 'kl_divergence'): _kl,
      (tools.Adam, '__call__'): _adam,
      (prec.LossScaleOptimizer, 'get_unscaled_gradients'): _gradients,
  }
  before = {place: getattr(*place) for place in wrappers}
  for (owner, name), wrap in wrappers.items():
    setattr(owner, name, wrap(before[owner, name], notes))
  try:
    yield notes.arrays
  finally:
    for (owner, name), value in before.items():
      setattr(owner, name, value)


def _encoder(original, note):
  def call(self, obs):
    embed = original(self, obs)
    note('tensor/embed', embed)
    return embed
  return call


def _observe(original, note):
  def observe(self, *args, **kwargs):
    post, prior = original(self, *args, **kwargs)
    for group, state in (('post', post), ('prior', prior)):
      for name, value in state.items():
        note(f'tensor/{group}/{name}', value)
    return post, prior
  return observe


def _img_step(original, note):
  def img_step(self, state, action):
    if note.imagines:
      note.actions.append(action)
      note('tensor/imag_action', tf.stack(note.actions, 0))
    return original(self, state, action)
  return img_step


def _decoder(original, note):
  def call(self, features):
    image = original(self, features)
    note('tensor/recon', image.mode())
    return image
  return call


def _head(original, note):
  """Heads of the model see replayed states first, then imagined ones."""
  def call(self, features):
    dist = original(self, features)
    if self is note.made._value:
      note('tensor/imag_value', dist.mode())
      return dist
    name = 'reward' if self is note.made._reward else 'discount'
    value = dist.mode() if name == 'reward' else dist.mean()
    replayed = {'reward': 'reward_pred', 'discount': 'pcont_pred'}[name]
    seen = f'tensor/{replayed}' in note.arrays
    note(f'tensor/imag_{name}' if seen else f'tensor/{replayed}', value)
    return dist
  return call


def _imagine(original, note):
  def imagine(self, post):
    note.imagines = True
    feat = original(self, post)
    note.imagines = False
    note('tensor/imag_feat', feat)
    return feat
  return imagine


def _summaries(original, note):
  def summaries(self, data, feat, *args):
    note('tensor/feat', feat)
    return original(self, data, feat, *args)
  return summaries


def _lambda_return(original, note):
  def lambda_return(reward, value, pcont, *args, **kwargs):
    returns = original(reward, value, pcont, *args, **kwargs)
    note('tensor/returns', returns)
    if 'tensor/imag_discount' not in note.arrays:  # a constant
      note('tensor/imag_discount', tf.concat([pcont, pcont[-1:]], 0))
    return returns
  return lambda_return


def _cumprod(original, note):
  def cumprod(*args, **kwargs):
    weight = original(*args, **kwargs)
    note('tensor/weight', weight)
    return weight
  return cumprod


def _kl(original, note):
  def kl_divergence(*args, **kwargs):
    value = original(*args, **kwargs)
    note('kl_raw', tf.reduce_mean(value))  # before the free nats
    return value
  return kl_divergence


def _adam(original, note):
  def call(self, tape, loss):
    note.optimizer = self
    return original(self, tape, loss)
  return call


def _gradients(original, note):
  def gradients(self, scaled):
    found = original(self, scaled)
    for variable, grad in zip(note.optimizer._variables, found):
      note('grad/' + note.names[id(variable)], grad)
    return found
  return gradients
