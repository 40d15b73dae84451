"""Comparisons run in TensorFlow as a training sets it up."""

import pytest

from dreamer.config import agents
from dreamer.nn import device


@pytest.fixture(scope='session', autouse=True)
def _as_in_training():
  device.setup(agents.schema('dreamerv1').defaults)
