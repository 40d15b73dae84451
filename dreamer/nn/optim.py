"""Optimisers with clipping and dynamic loss scales.

Those that the released programs offer, as Keras computes them, and LaProp.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from dreamer.config.choices import Choices
from dreamer.nn import clipping, replicas, schedules

BETAS = (0.9, 0.999)
MOMENTUM = 0.9
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


class Optimizer:
  """One group of parameters with its own slots, step count and loss scale.

  Gradients that aren't finite change nothing; they count as `skipped`. Others
  are scaled down as `clipping` says, by the section's `clip`, 0 for none.
  Before each step every parameter shrinks by the share `decay`, whatever the
  learning rate.

  A subclass says how a step is made: `SLOTS` are the arrays that it keeps
  for each parameter, `_rule` gives a step's function of a parameter, its
  gradient and its slots.
  """

  SLOTS: tuple[str, ...] = ()
  clipping: Callable[[float], Any] = clipping.GlobalNorm  # of what is in there

  def __init__(
      self, name: str, variables: Mapping[str, tf.Variable], config: Any,
      loss_scale: float | None = None, decay: float = 0.0):
    """Takes {parameter's name: it} and a section with lr, eps and clip.

    loss_scale: the first one; None: none at all.
    """
    self.name = name
    self.params = dict(variables)
    self.lr, self.eps = config.lr, config.eps
    self.clip = self.clipping(config.clip)
    self.decay = decay
    self.slots = {slot: {
        key: tf.Variable(np.zeros(param.shape, np.float32))
        for key, param in variables.items()} for slot in self.SLOTS}
    self.step = tf.Variable(0, dtype=tf.int64)
    self.dynamic = loss_scale is not None
    self.loss_scale = tf.Variable(
        loss_scale if self.dynamic else 1.0, dtype=tf.float32)
    self.good = tf.Variable(0, dtype=tf.int64)

  @property
  def variables(self) -> dict[str, tf.Variable]:
    """Dict of checkpoint name to tf.Variable."""
    found = {f'{self.name}/{slot}/{key}': x for slot, arrays
             in self.slots.items() for key, x in arrays.items()}
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
    grads = replicas.mean([tf.convert_to_tensor(g) for g in grads])
    if self.dynamic:
      grads = [g / self.loss_scale for g in grads]
    return dict(zip(self.params, grads, strict=True))

  def apply(self, grads: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """One step; returns the metrics of the group."""
    values = list(grads.values())
    norm = tf.linalg.global_norm(values)
    finite = tf.math.is_finite(norm)
    factors = self.clip.factors(list(self.params.values()), values, norm)
    with tf.name_scope('optimizer'):
      tf.cond(finite, lambda: self._step(values, factors), lambda: None)
    metrics = {f'grad_norm/{self.name}': norm,
               f'skipped/{self.name}': 1.0 - tf.cast(finite, tf.float32)}
    if self.dynamic:
      self._rescale(finite)
      metrics[f'loss_scale/{self.name}'] = tf.identity(self.loss_scale)
    return metrics

  def _step(self, grads, factors):
    move = self._rule(tf.cast(self.step.assign_add(1), tf.float32))
    for (key, param), grad, factor in zip(
        self.params.items(), grads, factors, strict=True):
      if self.decay:
        param.assign(param * np.float32(1 - self.decay))
      move(param, grad * factor, *(x[key] for x in self.slots.values()))

  def _rule(self, step: tf.Tensor) -> Callable:
    """The function (param, gradient, *slots) of step 1, 2, ..."""
    raise NotImplementedError

  def _rescale(self, finite):
    good = tf.where(finite, self.good + 1, tf.zeros_like(self.good))
    grow = good >= GROWTH_UPDATES
    scale = tf.where(grow, self.loss_scale * 2, self.loss_scale)
    scale = tf.where(finite, scale, tf.maximum(self.loss_scale / 2, 1.0))
    self.loss_scale.assign(scale)
    self.good.assign(tf.where(grow, tf.zeros_like(good), good))


def _floats(*values: float) -> np.ndarray:
  return np.array(values, np.float32)


class Adam(Optimizer):
  """Divides the mean gradient by the root of the mean square (1412.6980).

  p -= lr * sqrt(1 - b2^t) / (1 - b1^t) * m / (sqrt(v) + eps): epsilon stands
  outside the bias correction.
  """

  SLOTS = 'm', 'v'

  def _rule(self, step):
    powers = [tf.pow(np.float32(beta), step) for beta in BETAS]
    lr, eps, *betas = map(
        tf.constant, _floats(self.lr, self.eps, *BETAS))
    return lambda param, grad, m, v: tf.raw_ops.ResourceApplyAdam(
        var=param.handle, m=m.handle, v=v.handle, beta1_power=powers[0],
        beta2_power=powers[1], lr=lr, beta1=betas[0], beta2=betas[1],
        epsilon=eps, grad=grad)


class Adamax(Optimizer):
  """Adam with the largest gradient, decayed, in place of the mean square.

  v = max(b2 * v, |g|); p -= lr / (1 - b1^t) * m / (v + eps)
  """

  SLOTS = 'm', 'v'

  def _rule(self, step):
    power = tf.pow(np.float32(BETAS[0]), step)
    lr, eps, *betas = map(
        tf.constant, _floats(self.lr, self.eps, *BETAS))
    return lambda param, grad, m, v: tf.raw_ops.ResourceApplyAdaMax(
        var=param.handle, m=m.handle, v=v.handle, beta1_power=power, lr=lr,
        beta1=betas[0], beta2=betas[1], epsilon=eps, grad=grad)


class Nadam(Optimizer):
  """Adam with Nesterov's momentum, which grows with the steps (Dozat, 2015).

  b(t) = b1 * (1 - 0.96^(0.004 t) / 2), c(t) = b(1) * ... * b(t);
  p -= lr * n / (sqrt(v / (1 - b2^t)) + eps) with
  n = (1 - b(t)) * g / (1 - c(t)) + b(t + 1) * m / (1 - c(t + 1))
  """

  SLOTS = 'm', 'v'
  BASE, RATE = np.float32(0.96), np.float32(0.004)

  def __init__(
      self, name: str, variables: Mapping[str, tf.Variable], config: Any,
      loss_scale: float | None = None, decay: float = 0.0):
    super().__init__(name, variables, config, loss_scale, decay)
    self.product = tf.Variable(1.0)  # c(t)

  @property
  def variables(self) -> dict[str, tf.Variable]:
    """Dict of checkpoint name to tf.Variable."""
    return {**super().variables, f'{self.name}/product': self.product}

  def _rule(self, step):
    lr, eps, *betas = _floats(self.lr, self.eps, *BETAS)
    beta, later = (betas[0] * (1 - 0.5 * tf.pow(self.BASE, self.RATE * t))
                   for t in (step, step + 1))
    product = self.product.assign(self.product * beta, read_value=True)
    product = tf.identity(product)
    correction = 1 - tf.pow(betas[1], step)

    def move(param, grad, m, v):
      m.assign(betas[0] * m + (1 - betas[0]) * grad)
      v.assign(betas[1] * v + (1 - betas[1]) * tf.square(grad))
      mean = (1 - beta) * (grad / (1 - product)) + later * (
          m / (1 - product * later))
      param.assign_sub(lr * mean / (tf.sqrt(v / correction) + eps))

    return move


class SGD(Optimizer):
  """p -= lr * g"""

  def _rule(self, step):
    lr = tf.constant(self.lr, tf.float32)
    return lambda param, grad: tf.raw_ops.ResourceApplyGradientDescent(
        var=param.handle, alpha=lr, delta=grad)


class Momentum(Optimizer):
  """velocity = 0.9 * velocity - lr * g; p += velocity"""

  SLOTS = 'velocity',

  def _rule(self, step):
    lr, momentum = map(tf.constant, _floats(self.lr, MOMENTUM))
    return lambda param, grad, velocity: (
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=param.handle, accum=velocity.handle, lr=lr, grad=grad,
            momentum=momentum))


class LaProp(Optimizer):
  """Momentum of gradients that were divided before (2002.04839).

    v = b2 v + (1 - b2) g^2          u = g / (sqrt(v / (1 - b2^t)) + eps)
    m = b1 m + (1 - b1) u            p -= lr (m / (1 - b1^t) + decay p)

  `decay` concerns kernels only. The learning rate is read from its schedule at
  the number of earlier steps. Its config has beta1, beta2, nesterov, warmup,
  schedule and anneal as well.
  """

  SLOTS = 'rms', 'momentum'
  clipping = clipping.Adaptive

  def __init__(
      self, name: str, variables: Mapping[str, tf.Variable], config: Any,
      loss_scale: float | None = None, decay: float = 0.0):
    super().__init__(name, variables, config, loss_scale)
    self.config, self.share = config, decay

  def learning_rate(self, step: tf.Tensor) -> tf.Tensor:
    """That of the update after `step` others."""
    return schedules.learning_rate(self.config, step)

  def _rule(self, step):
    config = self.config
    beta1, beta2, eps = _floats(config.beta1, config.beta2, self.eps)
    new1, new2 = _floats(1 - config.beta1, 1 - config.beta2)
    lr = self.learning_rate(step - 1)
    scale1, scale2 = (1 / (1 - tf.pow(x, step)) for x in (beta1, beta2))
    kernels = {id(param) for key, param in self.params.items()
               if key.endswith('/kernel')}

    def move(param, grad, rms, momentum):
      rms.assign(beta2 * rms + new2 * tf.square(grad))
      unit = grad / (tf.sqrt(rms * scale2) + eps)
      momentum.assign(beta1 * momentum + new1 * unit)
      mean = momentum
      if config.nesterov:
        mean = beta1 * momentum + new1 * unit
      mean = mean * scale1
      if self.share and id(param) in kernels:
        mean += np.float32(self.share) * param
      param.assign_sub(lr * mean)

    return move


KINDS: Choices[type[Optimizer]] = Choices('kind of optimiser', {
    'adam': Adam, 'nadam': Nadam, 'adamax': Adamax, 'sgd': SGD,
    'momentum': Momentum, 'laprop': LaProp})
