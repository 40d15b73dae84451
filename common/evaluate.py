"""Episodes by a fixed policy: for the score, and for videos."""

import typing

import numpy as np

from common.driver import Driver


class Result(typing.NamedTuple):
  """One evaluation: undiscounted returns, lengths in agent steps, a video."""

  returns: list
  lengths: list
  video: np.ndarray  # uint8 [T, H, W, C] of the first episode, or None

  @property
  def mean(self):
    return float(np.mean(self.returns))


def evaluate(policy, envs, act_space, seed, name, episodes, video=False,
             restarts=10):
  """Runs exactly `episodes` episodes and returns a Result.

  How many each environment runs is fixed beforehand: the first ones to end
  would favour short episodes. policy and the seed made of seed, name,
  environment and episode: see Driver. Raises WorkerError.
  """
  envs = envs[:episodes]
  quotas = [len(range(i, episodes, len(envs))) for i in range(len(envs))]
  found = [[] for _ in envs]
  frames = []

  def on_episode(episode, index):
    if len(found[index]) == quotas[index]:
      return
    total = float(episode['reward'].astype(np.float64).sum())
    found[index].append((total, len(episode['reward']) - 1))
    if video and index == 0 and not frames:
      frames.append(episode['image'])

  driver = Driver(envs, act_space, seed, name, on_episode, restarts)
  while any(len(x) < n for x, n in zip(found, quotas, strict=True)):
    driver.send(policy)
    driver.receive()
  results = [found[i % len(envs)][i // len(envs)] for i in range(episodes)]
  returns, lengths = map(list, zip(*results, strict=True))
  return Result(returns, lengths, frames[0] if frames else None)
