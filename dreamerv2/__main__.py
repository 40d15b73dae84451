"""`python -m dreamerv2 train ...` and `python -m dreamerv2 eval ...`."""

import dreamerv2
from dreamer import cli

if __name__ == '__main__':
  cli.guard(dreamerv2.main)
