"""Evaluates a run: `python -m dreamerv1.eval --logdir DIR --episodes 10`."""

import sys

import dreamerv1
from dreamer import cli
from dreamer.envs import make_envs
from dreamer.run import evaluate


def main(argv=None):
  """Prints one JSON line and appends it to eval.jsonl in the logdir."""
  argv = sys.argv[1:] if argv is None else argv
  evaluate.main(
      dreamerv1.schema(), dreamerv1.NAME, dreamerv1.make_agent, make_envs,
      argv)


if __name__ == '__main__':
  cli.guard(main)
