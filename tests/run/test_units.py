"""Agent steps and environment steps."""

import types

from dreamer.run import units

CONFIG = types.SimpleNamespace(action_repeat=4)


def test_a_decision_is_as_many_steps_as_it_is_repeated():
  assert units.env_steps(3, CONFIG) == 12
  assert [units.agent_steps(x, CONFIG) for x in (11, 12)] == [2, 3]
