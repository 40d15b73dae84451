"""One batch, learned from by copies of an agent on several devices.

Each copy takes its share of the rows. What they compute is what one device
would, to rounding:

- a replica draws the random numbers of all rows and takes those of its own;
- means over rows of which anything but a mean is made later, free nats and
  running magnitudes, are taken over all replicas at once, as percentiles are;
- gradients are averaged before they are clipped and applied.

So the copies stay equal, and the first one acts and is saved.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import tensorflow as tf

from dreamer.errors import UserError

A = TypeVar('A')


def mean(value: Any) -> Any:
  """The mean over all replicas, of tensors in any nest; differentiable."""
  context, _, amount = _here()
  if amount == 1:
    return value
  flat = context.all_reduce(tf.distribute.ReduceOp.MEAN, tf.nest.flatten(value))
  return tf.nest.pack_sequence_as(value, flat)


def gather(value: tf.Tensor) -> tf.Tensor:
  """The values [N, ...] of all replicas, one after the other."""
  context, _, amount = _here()
  if amount == 1:
    return value
  return tf.ensure_shape(context.all_gather(value, axis=0), [
      value.shape[0] * amount, *value.shape[1:]])


def percentiles(value: tf.Tensor, *percents: float) -> list[tf.Tensor]:
  """Of the values of all replicas, between the two nearest ones."""
  flat = tf.sort(gather(tf.reshape(value, [-1])))
  return [_between(flat, percent / 100) for percent in percents]


def _between(flat, share):
  place = share * (flat.shape[0] - 1)
  low, high = flat[math.floor(place)], flat[math.ceil(place)]
  return low + (place - math.floor(place)) * (high - low)


def draw(kind: Callable, name: str, shape: Sequence[int],
         axis: int) -> tf.Tensor:
  """Random numbers `kind(name, shape)`, of which `axis` counts the rows."""
  _, index, amount = _here()
  if amount == 1:
    return kind(name, shape)
  whole, begin = list(shape), [0] * len(shape)
  whole[axis] *= amount
  begin[axis] = index * shape[axis]
  return tf.slice(kind(name, whole), begin, shape)


def _here():
  """The context, this replica's index, and how many there are."""
  context = tf.distribute.get_replica_context()
  if context is None or context.num_replicas_in_sync == 1:
    return context, 0, 1
  index = context.replica_id_in_sync_group
  return context, int(tf.get_static_value(index)), context.num_replicas_in_sync


def devices(amount: int) -> list[str]:
  """Names of the devices that so many replicas are on.

  Raises UserError where TensorFlow sees fewer.
  """
  kind = 'GPU' if tf.config.list_physical_devices('GPU') else 'CPU'
  found = tf.config.list_logical_devices(kind)
  if amount > len(found):
    raise UserError(
        f'devices: {amount} are more than TensorFlow sees here, {len(found)} '
        f'{kind}{"s" * (len(found) != 1)}; allowed: 1..{len(found)}')
  return [x.name for x in found[:amount]]


class Replicas:
  """Agents, each with variables of its own on its device, that learn as one.

  make: makes an agent; all of them have to begin with the same values.
  """

  def __init__(self, names: Sequence[str], make: Callable[[], Any]) -> None:
    self.agents = []
    for name in names:
      with tf.device(name):
        self.agents.append(make())
    self._strategy = tf.distribute.MirroredStrategy(list(names))

  def step(self, batch: Mapping[str, tf.Tensor],
           env_steps: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
    """The train step of all: metrics, their mean; refreshed rows, of all."""
    def share():
      _, index, amount = _here()
      rows = {key: _share(x, index, amount) for key, x in batch.items()}
      values, fresh = self.agents[index].train_step(rows, env_steps)
      return mean(values), {key: gather(x) for key, x in fresh.items()}

    values = self._strategy.run(share)
    return tf.nest.map_structure(
        lambda x: self._strategy.experimental_local_results(x)[0], values)


def _share(rows, index, amount):
  size = rows.shape[0] // amount
  return rows[index * size: (index + 1) * size]


def make(agent: Callable[[], Any], amount: int) -> Any:
  """An agent, or the first one of several that learn as one.

  agent: makes one; always the same one. Raises UserError where there are not
  so many devices.
  """
  if amount == 1:
    return agent()
  replicas = Replicas(devices(amount), agent)
  first = replicas.agents[0]
  first.learn_with(replicas.agents[1:], replicas.step)
  return first
