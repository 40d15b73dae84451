"""What `conform --explain` calls: sets TensorFlow up, then runs our agents."""

from dreamer.config import agents
from dreamer.nn import device


def lines(case, arrays, verdict, words=()):
  """Lines that name what explains the first difference of a Verdict."""
  device.setup(agents.schema('dreamerv1').defaults)
  from tests.parity import explain  # imports TensorFlow, after its set-up
  return explain.explain(case, arrays, verdict, words=words)
