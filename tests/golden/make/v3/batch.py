"""A batch as the release's replay hands it out, from a seed.

Every batch holds the traps: a terminal and a new episode inside a sequence, a
time limit without a terminal, a new episode at the first trained step, a
terminal at the very end, actions beyond [-1, 1], rewards that differ by orders
of magnitude.
"""
import numpy as np


def make(obs, act, latents, size, length, context, seed):
  """Arrays [B, K + T, ...]: context rows K in front of the trained ones.

  obs: {key: (kind, shape[, values])}; act: {key: (kind, size)};
  latents: {name: shape} of the stored latents, empty without context.
  """
  rng = np.random.RandomState(seed)
  B, L = size, context + length
  first, last, terminal = _flags(B, L, context)
  batch = {k: _observation(rng, B, L, *v) for k, v in obs.items()}
  reward = rng.randn(B, L).astype(np.float32)
  reward = reward * rng.choice([0, 1, 1, 10], (B, L))
  batch['reward'] = np.where(first, 0, reward).astype(np.float32)
  first, last = _as_replay_marks(first, last)
  batch.update(is_first=first, is_last=last, is_terminal=terminal)
  for key, (kind, n) in act.items():
    batch[key] = _action(rng, kind, n, last)
  batch['consec'] = np.zeros((B, L), np.int32)
  batch['stepid'] = rng.randint(0, 256, (B, L, 20)).astype(np.uint8)
  batch.update({k: _latent(rng, k, B, L, v) for k, v in latents.items()})
  return batch


def _flags(B, L, K):
  """is_first, is_last, is_terminal, as environments give them."""
  first, last, terminal = np.zeros((3, B, L), bool)
  # Row 0 is from the middle of an episode.
  if B > 1:  # ends inside, and another episode follows
    last[1, L // 2] = terminal[1, L // 2] = True
    first[1, L // 2 + 1] = True
  if B > 2:  # starts at the first trained step; a time limit near the end
    first[2, K] = True
    last[2, L - 2] = True
    first[2, L - 1] = True
    if K:
      last[2, K - 1] = True
  if B > 3:  # ends at the end
    last[3, -1] = terminal[3, -1] = True
  return first.copy(), last.copy(), terminal.copy()


def _as_replay_marks(first, last):
  """Replay calls row 0 a first one, and the row before any first one a last."""
  first, last = first.copy(), last.copy()
  first[:, 0] = True
  last[:, :-1] |= first[:, 1:]
  return first, last


def _observation(rng, B, L, kind, shape, values=None):
  if kind == 'image':
    return _image(rng, B, L, *shape)
  if kind == 'int':
    return rng.randint(0, values, (B, L, *shape)).astype(np.int32)
  value = rng.randn(B, L, *shape)
  return (value * 10 ** rng.uniform(-1, 2, (B, L) + (1,) * len(shape))).astype(
      np.float32)


def _image(rng, B, L, H, W, C):
  """Six by six patches of random colour, and a wave from left to right."""
  patches = rng.uniform(0, 255, (B, L, 6, 6, C))
  rows, columns = np.arange(H) * 6 // H, np.arange(W) * 6 // W
  image = patches[:, :, rows][:, :, :, columns]
  image = image + 12 * np.sin(np.arange(W) / 5)[:, None]
  return np.clip(image, 0, 255).astype(np.uint8)


def _action(rng, kind, n, last):
  """Drawn without bounds; the driver sends zeros after the last row."""
  if kind == 'discrete':
    action = rng.randint(0, n, last.shape).astype(np.int32)
  else:
    action = rng.randn(*last.shape, n).astype(np.float32)
    last = last[..., None]
  return action * (~last).astype(action.dtype)


def _latent(rng, name, B, L, shape):
  if name == 'dyn/deter':
    return np.tanh(rng.randn(B, L, *shape)).astype(np.float32)
  groups, classes = shape
  index = rng.randint(0, classes, (B, L, groups))
  return np.eye(classes, dtype=np.float32)[index]
