"""Norms between a linear map and its activation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from dreamer.config.choices import Choices
from dreamer.nn.module import Module


class LayerNorm(Module):
  """Normalises the last axis, then scales and shifts; float32 inside."""

  EPS = 1e-3
  float32 = True

  def __init__(self, name: str, size: int, eps: float = EPS):
    super().__init__(name)
    self.eps = eps
    self.add('gamma', np.ones(size))
    self.add('beta', np.zeros(size))

  def __call__(self, x: tf.Tensor) -> tf.Tensor:
    dtype, x = x.dtype, tf.cast(x, tf.float32)
    mean, variance = tf.nn.moments(x, -1, keepdims=True)
    scale = tf.math.rsqrt(variance + self.eps)
    scale *= self.w['gamma']
    return tf.cast((x - mean) * scale + self.w['beta'], dtype)


class RMSNorm(Module):
  """x / sqrt(mean(x^2) + eps) * gamma over the last axis; float32 inside."""

  float32 = True

  def __init__(self, name: str, size: int, eps: float = 1e-4):
    super().__init__(name)
    self.eps = eps
    self.add('gamma', np.ones(size))

  def __call__(self, x: tf.Tensor) -> tf.Tensor:
    normed = _rms(tf.cast(x, tf.float32), self.w['gamma'], self.eps)
    return tf.cast(normed, x.dtype)


@tf.custom_gradient
def _rms(x, gamma, eps):
  """x r gamma, r = rsqrt(mean(x^2) + eps); and its gradient by hand.

  With g = upstream gamma: g r - x r^3 mean(g x), in half of the passes over
  the memory that TensorFlow's own takes.
  """
  inverse = tf.math.rsqrt(
      tf.reduce_mean(tf.square(x), -1, keepdims=True) + eps)
  out = x * inverse * gamma

  def backward(upstream):
    normed = x * inverse
    product = upstream * normed
    scaled = tf.reduce_mean(product * gamma, -1, keepdims=True)
    grad = inverse * (upstream * gamma - normed * scaled)
    return grad, tf.raw_ops.BiasAddGrad(out_backprop=product), None

  return out, backward


NORMS: Choices[Callable[..., Any]] = Choices('norm', {
    'none': lambda name, size, eps=0: None, 'layer': LayerNorm,
    'rms': RMSNorm})


def make(norm: str | tuple[str, float], name: str, size: int) -> Any:
  """A norm by its name, perhaps with another epsilon than its own; or None."""
  kind, *eps = (norm,) if isinstance(norm, str) else norm
  return NORMS[kind](name, size, *eps)
