"""Adam with global norm clipping and, for float16, a dynamic loss scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

BETAS = (0.9, 0.999)
GROWTH_UPDATES = 2000  # good updates until the loss scale doubles


def gradient_tape() -> tf.GradientTape | GraphTape:
  """A persistent GradientTape, or its equal for graphs.

  Under a GradientTape, TensorFlow traces a loop and its gradient three times
  over: half of the time until the first update.
  """
  if tf.executing_eagerly():
    return tf.GradientTape(persistent=True)
  return GraphTape()


class GraphTape:
  """Gradients from the graph itself; the part of GradientTape used here."""

  def __enter__(self):
    return self

  def __exit__(self, *args):
    pass

  def gradient(
      self, target: tf.Tensor, sources: list,
      unconnected_gradients: tf.UnconnectedGradients) -> list:
    return tf.gradients(
        target, sources, unconnected_gradients=unconnected_gradients)


class Adam:
  """One group of parameters with its own moments, step count and scale.

  p -= lr * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + eps): epsilon stands
  outside the bias correction. Gradients that aren't finite change nothing;
  they count as `skipped`. Before each step every parameter shrinks by the
  share `decay`, whatever the learning rate.
  """

  def __init__(
      self, name: str, variables: Mapping[str, tf.Variable], config: Any,
      loss_scale: float | None = None, decay: float = 0.0):
    self.name = name
    self.params = dict(variables)
    self.lr, self.eps, self.clip = config.lr, config.eps, config.clip
    self.decay = decay
    zeros = lambda p: np.zeros(p.shape, np.float32)
    self.m = {k: tf.Variable(zeros(p)) for k, p in variables.items()}
    self.v = {k: tf.Variable(zeros(p)) for k, p in variables.items()}
    self.step = tf.Variable(0, dtype=tf.int64)
    self.dynamic = loss_scale is not None
    self.loss_scale = tf.Variable(
        loss_scale if self.dynamic else 1.0, dtype=tf.float32)
    self.good = tf.Variable(0, dtype=tf.int64)

  @property
  def variables(self) -> dict[str, tf.Variable]:
    """Dict of checkpoint name to tf.Variable."""
    found = {f'{self.name}/m/{k}': m for k, m in self.m.items()}
    found.update({f'{self.name}/v/{k}': v for k, v in self.v.items()})
    for key in ('step', 'loss_scale', 'good'):
      found[f'{self.name}/{key}'] = getattr(self, key)
    return found

  def gradients(
      self, tape: tf.GradientTape | GraphTape,
      loss: tf.Tensor) -> dict[str, tf.Tensor]:
    """d loss / d params by name, zeros where nothing depends on them."""
    with tape:
      scaled = loss * self.loss_scale if self.dynamic else loss
    params = list(self.params.values())
    grads = tape.gradient(
        scaled, params, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    grads = [tf.convert_to_tensor(g) for g in grads]
    if self.dynamic:
      grads = [g / self.loss_scale for g in grads]
    return dict(zip(self.params, grads, strict=True))

  def apply(self, grads: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """One step; returns the metrics of the group."""
    grads = list(grads.values())
    norm = tf.linalg.global_norm(grads)
    finite = tf.math.is_finite(norm)
    factor = self.clip / tf.maximum(norm, self.clip)
    tf.cond(finite, lambda: self._step(grads, factor), lambda: None)
    metrics = {f'grad_norm/{self.name}': norm,
               f'skipped/{self.name}': 1.0 - tf.cast(finite, tf.float32)}
    if self.dynamic:
      self._rescale(finite)
      metrics[f'loss_scale/{self.name}'] = tf.identity(self.loss_scale)
    return metrics

  def _step(self, grads, factor):
    step = tf.cast(self.step.assign_add(1), tf.float32)
    powers = [tf.pow(np.float32(beta), step) for beta in BETAS]
    lr, eps, *betas = map(tf.constant, np.float32((self.lr, self.eps, *BETAS)))
    lists = self.params.values(), self.m.values(), self.v.values(), grads
    for param, m, v, grad in zip(*lists, strict=True):
      if self.decay:
        param.assign(param * np.float32(1 - self.decay))
      tf.raw_ops.ResourceApplyAdam(
          var=param.handle, m=m.handle, v=v.handle, beta1_power=powers[0],
          beta2_power=powers[1], lr=lr, beta1=betas[0], beta2=betas[1],
          epsilon=eps, grad=grad * factor)

  def _rescale(self, finite):
    good = tf.where(finite, self.good + 1, tf.zeros_like(self.good))
    grow = good >= GROWTH_UPDATES
    scale = tf.where(grow, self.loss_scale * 2, self.loss_scale)
    scale = tf.where(finite, scale, tf.maximum(self.loss_scale / 2, 1.0))
    self.loss_scale.assign(scale)
    self.good.assign(tf.where(grow, tf.zeros_like(good), good))
