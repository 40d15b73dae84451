"""Parts of episodes, as the release stores them, for a case without any.

Row 1 holds a terminal and the start of the next episode.
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
  pcont = np.ones((size, length), np.float32)
  pcont[min(1, size - 1), length // 2] = 0
  return dict(
      image=image, action=chosen.astype(np.float32),
      reward=(2 * rng.randn(size, length)).astype(np.float32),
      pcont=pcont, reward_mask=np.ones((size, length, 1), np.float32))
