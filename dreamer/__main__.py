"""`python -m dreamer train|eval [AGENT] ...`: the command line of an agent."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dreamer import cli
from dreamer.config import agents


def main(argv: Sequence[str] | None = None) -> None:
  """Runs a command of the agent that is named, by default of the first one."""
  argv = list(sys.argv[1:] if argv is None else argv)
  command, rest = argv[:1], argv[1:]
  named = rest[:1] if rest and rest[0][:1] != '-' else []
  entry = agents.find(named[0] if named else agents.known()[0])
  entry.main([*command, *rest[len(named):]])


if __name__ == '__main__':
  cli.guard(main)
