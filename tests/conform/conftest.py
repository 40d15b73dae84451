"""Files of arrays."""

import numpy as np
import pytest


@pytest.fixture
def save(tmp_path):
  def write(arrays, name='mine.npz'):
    path = tmp_path / name
    np.savez(path, **arrays)
    return str(path)
  return write
