"""Whether another program computes what a release of Dreamer computes.

NumPy is all that this room needs: it reads the cases of tests/golden, hands
out what they are made of (`case`) and compares arrays with what the release
computed (`python -m dreamer.conform`). conform/README.md says how to use it.
"""

from dreamer.conform.cases import Case, case

__all__ = ['Case', 'case']
