"""States of NumPy's generators as arrays, for checkpoints."""

from __future__ import annotations

import numpy as np


def pack_rng(rng: np.random.Generator) -> np.ndarray:
  """State of a PCG64 np.random.Generator as uint64 [6]."""
  state = rng.bit_generator.state
  assert state['bit_generator'] == 'PCG64', state['bit_generator']
  words = []
  for value in (state['state']['state'], state['state']['inc']):
    words += [value >> 64, value & (2 ** 64 - 1)]
  words += [state['has_uint32'], state['uinteger']]
  return np.array(words, np.uint64)


def unpack_rng(rng: np.random.Generator, words: np.ndarray) -> None:
  """Puts a generator into a state of `pack_rng`."""
  values = [int(x) for x in words]
  rng.bit_generator.state = {
      'bit_generator': 'PCG64',
      'state': {'state': values[0] << 64 | values[1],
                'inc': values[2] << 64 | values[3]},
      'has_uint32': values[4], 'uinteger': values[5]}
