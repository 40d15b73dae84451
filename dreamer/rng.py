"""States of NumPy's generators as arrays, for checkpoints."""

import numpy as np


def pack_rng(rng):
  """State of a PCG64 np.random.Generator as uint64 [6]."""
  state = rng.bit_generator.state
  assert state['bit_generator'] == 'PCG64', state['bit_generator']
  words = []
  for value in (state['state']['state'], state['state']['inc']):
    words += [value >> 64, value & (2 ** 64 - 1)]
  words += [state['has_uint32'], state['uinteger']]
  return np.array(words, np.uint64)


def unpack_rng(rng, words):
  """Puts a generator into a state of `pack_rng`."""
  words = [int(x) for x in words]
  rng.bit_generator.state = {
      'bit_generator': 'PCG64',
      'state': {'state': words[0] << 64 | words[1],
                'inc': words[2] << 64 | words[3]},
      'has_uint32': words[4], 'uinteger': words[5]}
