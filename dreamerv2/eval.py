"""Evaluates a run: `python -m dreamerv2.eval --logdir DIR --episodes 10`."""

import sys

import dreamerv2
from dreamer import cli
from dreamer.envs import make_envs
from dreamer.run import evaluate


def main(argv=None):
  """Prints one JSON line and appends it to eval.jsonl in the logdir."""
  argv = sys.argv[1:] if argv is None else argv
  evaluate.main(
      dreamerv2.schema(), dreamerv2.NAME, dreamerv2.make_agent, make_envs,
      argv)


if __name__ == '__main__':
  cli.guard(main)
