"""A batch as the release's replay hands it out, for a case without one.

Row 0 is from the middle of an episode, row 1 holds a terminal and the start of
the next episode, row 2 starts an episode and ends with a time limit.
"""
import numpy as np


def make(image, vectors, action, size, length, seed):
  """Arrays [B, T, ...]; action[t] led to the observation at t."""
  rng = np.random.RandomState(seed)
  first, last, terminal = np.zeros((3, size, length), bool)
  middle = length // 2
  if size > 1:
    last[1, middle - 1] = terminal[1, middle - 1] = first[1, middle] = True
  if size > 2:
    first[2, 0] = last[2, -1] = True
  batch = {}
  if image:
    batch['image'] = _image(rng, size, length, *image)
  for key, width in (vectors or {}).items():
    batch[key] = rng.randn(size, length, width).astype(np.float32)
  kind, width = action
  if kind == 'discrete':
    chosen = np.eye(width)[rng.randint(0, width, (size, length))]
  else:
    chosen = rng.uniform(-1, 1, (size, length, width))
  batch['action'] = np.where(first[..., None], 0, chosen).astype(np.float32)
  reward = 2 * rng.randn(size, length)
  batch['reward'] = np.where(first, 0, reward).astype(np.float32)
  return dict(batch, is_first=first, is_last=last, is_terminal=terminal)


def _image(rng, B, T, H, W, C):
  """Eight by eight patches of random colour."""
  patches = rng.randint(0, 256, (B, T, 8, 8, C))
  rows, columns = np.arange(H) * 8 // H, np.arange(W) * 8 // W
  return patches[:, :, rows][:, :, :, columns].astype(np.uint8)
