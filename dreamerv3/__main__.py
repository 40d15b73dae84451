"""`python -m dreamerv3 train ...` and `python -m dreamerv3 eval ...`."""

import dreamerv3
from dreamer import cli

if __name__ == '__main__':
  cli.guard(dreamerv3.main)
