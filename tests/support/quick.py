"""What the quick suite runs of a long table; `test --all` runs every row."""

import pytest


def every(n, rows):
  """Rows (tuples of arguments) for parametrize, all but each nth as slow."""
  return [pytest.param(*row, marks=pytest.mark.slow if i % n else ())
          for i, row in enumerate(rows)]


def slow(*args, seconds=None):
  """One row that only `test --all` runs, with its own limit if need be."""
  limit = [pytest.mark.timeout(seconds)] if seconds else []
  return pytest.param(*args, marks=[pytest.mark.slow, *limit])
