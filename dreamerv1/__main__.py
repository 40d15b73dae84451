"""`python -m dreamerv1 train ...` and `python -m dreamerv1 eval ...`."""

import dreamerv1
from dreamer import cli

if __name__ == '__main__':
  cli.guard(dreamerv1.main)
