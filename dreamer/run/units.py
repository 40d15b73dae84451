"""Environment steps, in which all counts are told, and decisions of an agent.

A decision counts as `action_repeat` environment steps, also the last one of an
episode that ends in the middle of it, as in the releases.
"""

from __future__ import annotations

from typing import Any


def env_steps(agent_steps: int, config: Any) -> int:
  """Environment steps of so many agent steps."""
  return agent_steps * config.action_repeat


def agent_steps(env_steps: int, config: Any) -> int:
  """Whole agent steps in so many environment steps."""
  return env_steps // config.action_repeat
