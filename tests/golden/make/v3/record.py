"""Notes what the release computes while its jitted train step runs.

No function of the release is replaced by another: each one below is called as
it is, and what it was given or gave back is noted. A note made inside a
compiled loop or inside a gradient can't be read there. It leaves that loop or
gradient as one more output of it:

    train   note ------------------------------> returned with the metrics
      loss    note --> auxiliary value of the loss --> train's notes
        scan    note --> stacked output of the loop --> loss' notes

Notes of one name in one place form a list, in the order they were made.
"""
import contextlib

import embodied.jax.heads as heads
import embodied.jax.opt as opt
import embodied.jax.outs as outs
import embodied.jax.utils as utils
import jax
import jax.numpy as jnp
import ninjax as nj
import optax

from dreamerv3 import agent, rssm

LEVELS = []  # dicts of notes, the innermost place last
DRAWN = []   # draws that wait for the name of what was drawn
RATES = []   # the learning rate over updates, of the agent made last


def note(name, value):
  """Keeps a value, as it is in the place that runs."""
  if LEVELS:
    LEVELS[-1].setdefault(name, []).append(value)


def collect(fn):
  """fn that returns (what it gave, what was noted while it ran)."""
  def collecting(*args, **kwargs):
    LEVELS.append({})
    try:
      out = fn(*args, **kwargs)
    finally:
      notes = LEVELS.pop()
    return out, notes
  return collecting


def hand_on(notes):
  """Notes of an inner place become notes of the one around it."""
  for name, values in notes.items():
    for value in values:
      note(name, value)


@contextlib.contextmanager
def recording():
  """While this is open, the release makes notes."""
  wrappers = {
      (nj, 'scan'): _scan,
      (outs.Categorical, 'sample'): _categorical,
      (outs.Normal, 'sample'): _normal,
      (agent, 'sample'): _sample,
      (rssm.RSSM, '_observe'): _observe,
      (rssm.RSSM, 'imagine'): _imagine,
      (rssm.RSSM, '_prior'): _prior,
      (rssm.Decoder, '__call__'): _decoder,
      (heads.MLPHead, '__call__'): _head,
      (utils.Normalize, '__call__'): _normalize,
      (agent, 'imag_loss'): _imag_loss,
      (agent, 'lambda_return'): _lambda_return,
      (opt, 'clip_by_agc'): _clip_by_agc,
      (optax, 'scale_by_learning_rate'): _scale_by_learning_rate,
      (agent.Agent, 'loss'): _loss,
  }
  before = {place: getattr(*place) for place in wrappers}
  for (owner, name), wrap in wrappers.items():
    setattr(owner, name, wrap(before[owner, name]))
  try:
    yield
  finally:
    for (owner, name), value in before.items():
      setattr(owner, name, value)


# Places that notes have to leave.


def _scan(original):
  def scan(fun, carry, xs, *args, **kwargs):
    def body(carry, x):
      (carry, y), notes = collect(fun)(carry, x)
      return carry, (y, notes)
    carry, (ys, notes) = original(body, carry, xs, *args, **kwargs)
    hand_on(notes)
    return carry, ys
  return scan


def _loss(original):
  def loss(self, carry, obs, prevact, training):
    (total, aux), notes = collect(original)(self, carry, obs, prevact, training)
    carry, entries, outputs, metrics = aux
    notes = dict(notes, outputs=[outputs])
    return total, (carry, entries, outputs, dict(metrics, notes=notes))
  return loss


# Draws. jax.random.categorical is argmax(logits + Gumbel noise), and the noise
# of a seed is a function of the seed: it is computed again beside the draw.


def _categorical(original):
  def sample(self, seed, shape=()):
    noise = jax.random.gumbel(seed, shape + self.logits.shape, jnp.float32)
    best = jax.lax.top_k(self.logits + noise, 2)[0]
    DRAWN.append(dict(noise=noise, margin=best[..., 0] - best[..., 1]))
    return original(self, seed, shape)
  return sample


def _normal(original):
  def sample(self, seed, shape=()):
    noise = jax.random.normal(seed, shape + self.mean.shape, jnp.float32)
    DRAWN.append(dict(noise=noise))
    return original(self, seed, shape)
  return sample


def _note_draws(*names):
  """Names the draws made since the last call of this."""
  assert len(DRAWN) == len(names), (len(DRAWN), names)
  for name, draw in zip(names, DRAWN):
    for part, value in draw.items():
      note(f'{part}/{name}', value)
  DRAWN.clear()


def _sample(original):
  def sample(policy):
    DRAWN.clear()
    action = original(policy)
    _note_draws(*[f'act/{key}' for key in sorted(action)])  # as trees go
    return action
  return sample


def _observe(original):
  def observe(self, *args, **kwargs):
    DRAWN.clear()
    carry, (entry, feat) = original(self, *args, **kwargs)
    _note_draws('post')
    note('post', feat)
    return carry, (entry, feat)
  return observe


def _imagine(original):
  def imagine(self, carry, policy, length, training, single=False):
    DRAWN.clear()
    result = original(self, carry, policy, length, training, single)
    if single:
      _note_draws('imag')
    else:
      note('imag', result[1])
    return result
  return imagine


# Values.


def _prior(original):
  def prior(self, feat):
    logit = original(self, feat)
    if feat.ndim == 3:  # [B, T, D]: beside the posterior, not imagined
      note('prior', logit)
    return logit
  return prior


def _decoder(original):
  def call(self, *args, **kwargs):
    carry, entries, recons = original(self, *args, **kwargs)
    note('recon', {k: statistics(v) for k, v in recons.items()})
    return carry, entries, recons
  return call


def _head(original):
  def call(self, x, bdims):
    output = original(self, x, bdims)
    if bdims == 2:  # whole sequences, not one step of a rollout
      note(f'head/{self.path}', statistics(output))
    return output
  return call


def statistics(output):
  """What a predicted distribution is made of, and its prediction."""
  if isinstance(output, dict):
    return {k: statistics(v) for k, v in output.items()}
  if isinstance(output, outs.Agg):
    output = output.output
  if isinstance(output, outs.TwoHot):
    return dict(logits=output.logits, pred=output.pred())
  if isinstance(output, outs.Normal):
    return dict(mean=output.mean, std=output.stddev)
  names = ('logits', 'logit', 'mean')
  return {k: getattr(output, k) for k in names if hasattr(output, k)}


def _normalize(original):
  def call(self, x, update):
    offset, scale = original(self, x, update)
    note(f'norm/{self.path}', dict(
        x=x, offset=jnp.asarray(offset, jnp.float32),
        scale=jnp.asarray(scale, jnp.float32)))
    return offset, scale
  return call


def _imag_loss(original):
  def imag_loss(act, *args, **kwargs):
    note('action', act)
    return original(act, *args, **kwargs)
  return imag_loss


def _lambda_return(original):
  def lambda_return(last, term, rew, val, boot, disc, lam):
    ret = original(last, term, rew, val, boot, disc, lam)
    note('return', dict(ret=ret, boot=boot, term=jnp.float32(term), disc=disc))
    return ret
  return lambda_return


def _clip_by_agc(original):
  def clip_by_agc(*args, **kwargs):
    inner = original(*args, **kwargs)
    def update(grads, state, params=None):
      clipped, state = inner.update(grads, state, params)
      note('grad', dict(grads))
      note('clipped', dict(clipped))
      return clipped, state
    return optax.GradientTransformation(inner.init, update)
  return clip_by_agc


def _scale_by_learning_rate(original):
  def scale_by_learning_rate(rate, *args, **kwargs):
    RATES[:] = [rate]
    return original(rate, *args, **kwargs)
  return scale_by_learning_rate
