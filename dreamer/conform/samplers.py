"""Draws without chance for programs in PyTorch, and a look into their steps.

PyTorch is handed in as a module: nothing here imports it.
"""

from __future__ import annotations

import contextlib
import sys
import types
import typing
from collections.abc import Callable, Iterator
from unittest import mock

import numpy as np

Frames = dict[str, list[dict[str, typing.Any]]]


@contextlib.contextmanager
def fixed(torch: typing.Any) -> Iterator[None]:
  """Samples of torch.distributions as in the cases, while a block runs.

  Normal: mean + std / 2, with gradients to both where a program asks for
  them (`rsample`); what is built of it (Independent, TransformedDistribution)
  follows. Categorical: the largest logit; one-hot accordingly, so that
  OneHotCategoricalStraightThrough keeps its gradient.
  """
  found = torch.distributions
  patches = [
      (found.Normal, 'rsample', _half),
      (found.Normal, 'sample', _detached(_half)),
      (found.Categorical, 'sample', _largest),
      (found.OneHotCategorical, 'sample', _onehot)]
  with contextlib.ExitStack() as stack:
    for owner, name, function in patches:
      stack.enter_context(mock.patch.object(owner, name, function))
    yield


def _half(self, sample_shape=()):
  return (self.loc + 0.5 * self.scale).expand(
      self._extended_shape(sample_shape))


def _detached(function):
  return lambda self, sample_shape=(): function(self, sample_shape).detach()


def _largest(self, sample_shape=()):
  return self.logits.argmax(-1).expand(self._extended_shape(sample_shape))


def _onehot(self, sample_shape=()):
  logits = self.logits.detach()
  values, indices = logits.max(-1, keepdim=True)
  onehot = (logits * 0).scatter(-1, indices, 1.0)
  return onehot.expand(self._extended_shape(sample_shape)).clone()


@contextlib.contextmanager
def recorded(torch: typing.Any, draws: typing.Iterable,
             normals: typing.Iterable = ()) -> Iterator[None]:
  """Samples by recorded noise (V3), while a block runs.

  draws: an array for each call of Categorical.sample, in their order, of the
  shape of its logits; None: the largest logit is taken. A sample is
  argmax(log p + draw). normals: an array for each call of Normal.rsample or
  Normal.sample; a sample is mean + std * draw.
  """
  order, others = iter(draws), iter(normals)

  def sample(self, sample_shape=()):
    del sample_shape
    noise = next(order)
    logits = self.logits
    if noise is not None:
      logits = logits + torch.from_numpy(noise)
    return logits.argmax(-1)

  def normal(self, sample_shape=()):
    del sample_shape
    return self.loc + self.scale * torch.from_numpy(next(others))

  found = torch.distributions
  with mock.patch.object(found.Categorical, 'sample', sample), \
       mock.patch.object(found.Normal, 'rsample', normal), \
       mock.patch.object(found.Normal, 'sample', _detached(normal)):
    yield


def truncated(loc: typing.Any, scale: typing.Any, low: float = -1.0,
              high: float = 1.0) -> typing.Any:
  """The sample of a truncated Normal in the cases, tensors of PyTorch.

  loc + scale / 2, clipped to 1e-6 inside the limits, without the gradient of
  the clip. Use it in place of the `rsample` of a port's own class.
  """
  x = loc + 0.5 * scale
  return x - x.detach() + x.detach().clip(low + 1e-6, high - 1e-6)


@contextlib.contextmanager
def gradients(torch: typing.Any) -> Iterator[list[dict[int, typing.Any]]]:
  """The gradients of each group before clip_grad_norm_ shrinks them.

  Yields a list that grows by one dict per call: id of a parameter -> its
  gradient as an array; None is the norm that the call returned.
  """
  found: list[dict[typing.Any, typing.Any]] = []
  right = torch.nn.utils.clip_grad_norm_

  def clip(parameters, *args, **kwargs):
    parameters = [parameters] if hasattr(parameters, 'grad') else list(
        parameters)
    group = {id(x): array(x.grad) for x in parameters if x.grad is not None}
    norm = right(parameters, *args, **kwargs)
    found.append({**group, None: array(norm)})
    return norm

  with mock.patch.object(torch.nn.utils, 'clip_grad_norm_', clip):
    yield found


@contextlib.contextmanager
def watch(**functions: Callable) -> Iterator[Frames]:
  """The local variables of functions at their end, while a block runs.

  Yields name -> list of dicts, one per call, filled also where a call ends
  by an exception. So a port's tensors are read without a change of its code.
  """
  codes = {_code(x): name for name, x in functions.items()}
  found: Frames = {name: [] for name in functions}
  before = sys.getprofile()

  def profile(frame: types.FrameType, event: str, arg: object) -> None:
    if event == 'return' and frame.f_code in codes:
      found[codes[frame.f_code]].append(dict(frame.f_locals))

  sys.setprofile(profile)
  try:
    yield found
  finally:
    sys.setprofile(before)


def _code(function):
  function = getattr(function, '__func__', function)
  return getattr(function, '__wrapped__', function).__code__


def array(tensor: typing.Any) -> np.ndarray:
  """A tensor of PyTorch as an array."""
  if hasattr(tensor, 'detach'):
    tensor = tensor.detach().cpu().numpy()
  return np.array(tensor)
