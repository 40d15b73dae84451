"""`python -m dreamer.export AGENT --out DIR ...`, or `./run.sh export`."""

import sys

from dreamer import cli
from dreamer.export import stablehlo

if __name__ == '__main__':
  cli.guard(stablehlo.main, sys.argv[1:])
