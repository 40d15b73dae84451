"""How arrays of an agent are kept."""

import ml_dtypes
import numpy as np
import pytest

from dreamer.replay.stored import Packed, Stored


@pytest.mark.parametrize('dtype', ['float32', 'float16', 'bfloat16'])
def test_kept_in_the_precision_that_computes(dtype):
  rng = np.random.default_rng(0)
  value = rng.normal(0, 3, (50, 7)).astype(np.float32)
  value[0, :4] = 0, 1, -1, 1 + 2 ** -8  # a tie
  own = value.astype(ml_dtypes.bfloat16 if dtype == 'bfloat16' else dtype)
  spec = Stored((7,), dtype)
  assert spec.encode(value).dtype.itemsize == own.dtype.itemsize
  for given in (value, own):
    np.testing.assert_array_equal(
        spec.decode(spec.encode(given)), own.astype(np.float32))


@pytest.mark.parametrize('classes, bytes_', [(16, 1), (256, 1), (257, 2)])
@pytest.mark.parametrize(
    'dtype', ['float32', 'float16', ml_dtypes.bfloat16, 'int32'])
def test_onehot_is_kept_as_indices(classes, bytes_, dtype):
  index = np.random.default_rng(0).integers(0, classes, (20, 3))
  index[0, 0] = classes - 1
  value = np.eye(classes, dtype=np.float32)[index]
  spec = Stored((3, classes), onehot=True)
  for given in (value.astype(dtype), index):
    kept = spec.encode(given)
    assert kept.shape == (20, 3) and kept.dtype.itemsize == bytes_
    np.testing.assert_array_equal(spec.decode(kept), value)


def test_several_in_one_record():
  packed = Packed({
      'a': Stored((5,), 'bfloat16'), 'b': Stored((2, 300), onehot=True),
      'c': Stored((2, 2)), 'd': Stored(())})
  assert packed.size == 10 + 4 + 16 + 4
  rng = np.random.default_rng(0)
  given = {
      'a': rng.integers(-8, 8, (6, 5)).astype(np.float32),
      'b': np.eye(300, dtype=np.float32)[rng.integers(0, 300, (6, 2))],
      'c': rng.normal(size=(6, 2, 2)).astype(np.float32),
      'd': np.arange(6, dtype=np.float32)}
  records = np.zeros((6, packed.size), np.uint8)
  packed.encode(given, records)
  found = packed.decode(records, np.array([True] * 5 + [False]))
  assert found.keys() == given.keys()
  for key, value in given.items():
    np.testing.assert_array_equal(found[key][:5], value[:5], key)
    assert not found[key][5].any()
