"""A batch as the release's loader hands it out, for a case without one.

Row 1 ends with a terminal; an episode never ends inside a row.
"""
import numpy as np


def make(action, size, length, seed):
  """Arrays [B, T, ...]; action[t] led to the observation at t."""
  rng = np.random.RandomState(seed)
  patches = rng.randint(0, 256, (size, length, 8, 8, 3))
  image = patches.repeat(8, 2).repeat(8, 3).astype(np.uint8)
  kind, width = action
  if kind == 'discrete':
    chosen = np.eye(width)[rng.randint(0, width, (size, length))]
  else:
    chosen = rng.uniform(-1, 1, (size, length, width))
  discount = np.ones((size, length), np.float32)
  discount[min(1, size - 1), -1] = 0
  return dict(
      image=image, action=chosen.astype(np.float32),
      reward=(2 * rng.randn(size, length)).astype(np.float32),
      discount=discount)
