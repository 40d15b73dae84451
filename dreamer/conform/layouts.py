"""Parameters between the layout of the cases and those of other libraries.

The cases have Keras's: Dense [in, out], convolutions [height, width, in, out],
transposed ones [height, width, out, in]. All functions are linear, so that
they turn gradients and moments just as well.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Array = np.ndarray


def to_torch(array: Array) -> Array:
  """A Dense or a convolution, also a transposed one, for PyTorch.

  Dense [in, out] -> [out, in]; convolution -> [out, in, height, width];
  transposed -> [in, out, height, width]. Vectors stay as they are.
  """
  axes = {1: (0,), 2: (1, 0), 4: (3, 2, 0, 1)}
  return np.ascontiguousarray(array.transpose(axes[array.ndim]))


def from_torch(array: Array) -> Array:
  """The inverse of `to_torch`."""
  axes = {1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}
  return np.ascontiguousarray(array.transpose(axes[array.ndim]))


def to_flax(array: Array, transposed: bool = False) -> Array:
  """A kernel for Flax: as it is, but that of a transposed convolution.

  Flax's ConvTranspose (with transpose_kernel=False) slides its kernel
  [height, width, in, out] over the spread input; Keras's is the gradient of a
  convolution, which turns the kernel around.
  """
  if not transposed:
    return array
  return np.ascontiguousarray(array[::-1, ::-1].swapaxes(2, 3))


def from_flax(array: Array, transposed: bool = False) -> Array:
  """The inverse of `to_flax`."""
  return to_flax(array, transposed)


def flat_from_torch(array: Array, channels: int, axis: int) -> Array:
  """Rows of what reads images that were flattened as channels, height, width.

  The cases flatten height, width, channels. array: a parameter in the layout
  of the cases whose `axis` counts such elements, in PyTorch's order.
  """
  rest = array.shape[axis] // channels
  array = np.moveaxis(array, axis, -1)
  shape = array.shape
  array = array.reshape(*shape[:-1], channels, rest).swapaxes(-1, -2)
  return np.moveaxis(array.reshape(shape), -1, axis)


def flat_to_torch(array: Array, channels: int, axis: int) -> Array:
  """The inverse of `flat_from_torch`."""
  return flat_from_torch(array, array.shape[axis] // channels, axis)


def swap(array: Array, first: int, axis: int = 0) -> Array:
  """What reads [one, two] for a program that joins [two, one].

  first: the size of `one`. The inverse is `swap` with the size of `two`.
  """
  one, two = np.split(array, [first], axis)
  return np.concatenate([two, one], axis)


def gates(array: Array, have: str, want: str) -> Array:
  """Parts of the last axis in another order.

  have, want: names with blanks between, such as 'reset cand update'.
  """
  parts = dict(zip(have.split(), np.split(array, len(have.split()), -1),
                   strict=True))
  return np.concatenate([parts[x] for x in want.split()], -1)


def gru_to_torch(kernel: Array, recurrent: Array, bias: Array
                 ) -> dict[str, Array]:
  """V1's GRU for torch.nn.GRUCell, by the names of its parameters.

  Keras has the gates z, r, candidate, PyTorch r, z, candidate; both reset
  after the matrix product and have a bias for the input and for the state.
  """
  turn = lambda x: gates(x, 'z r h', 'r z h')
  return {'weight_ih': turn(kernel).T.copy(),
          'weight_hh': turn(recurrent).T.copy(),
          'bias_ih': turn(bias[0]), 'bias_hh': turn(bias[1])}


def gru_from_torch(weight_ih: Array, weight_hh: Array, bias_ih: Array,
                   bias_hh: Array) -> tuple[Array, Array, Array]:
  """The inverse of `gru_to_torch`: kernel, recurrent kernel, bias."""
  turn = lambda x: gates(x, 'r z h', 'z r h')
  return (turn(weight_ih.T), turn(weight_hh.T),
          np.stack([turn(bias_ih), turn(bias_hh)]))


def gru_to_flax(kernel: Array, recurrent: Array, bias: Array
                ) -> dict[str, dict[str, Array]]:
  """V1's GRU for flax.linen.GRUCell, by the names of its parameters.

  Flax has one bias for r and z each, the sum of both, so that there is no way
  back for gradients of single biases.
  """
  parts = lambda x: dict(zip('zrn', np.split(x, 3, -1), strict=True))
  inputs, states = parts(kernel), parts(recurrent)
  of_input, of_state = parts(bias[0]), parts(bias[1])
  found = {f'h{gate}': {'kernel': states[gate]} for gate in 'rzn'}
  found['hn']['bias'] = of_state['n']
  for gate in 'rzn':
    both = of_input[gate] if gate == 'n' else of_input[gate] + of_state[gate]
    found[f'i{gate}'] = {'kernel': inputs[gate], 'bias': both}
  return found


def split_rows(kernel: Array, sizes: Sequence[int]) -> list[Array]:
  """The rows of a kernel for each of its joined inputs."""
  return np.split(kernel, np.cumsum(sizes)[:-1].tolist(), 0)
