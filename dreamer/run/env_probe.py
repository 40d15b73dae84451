"""What a run finds out about its environment at its start, and tells."""

from __future__ import annotations

import hashlib
from typing import Any, NamedTuple

import numpy as np

from dreamer.config.schema import Config
from dreamer.processes.failure import WorkerError

SEED = 0  # of the episodes that are compared
STEPS = 3  # at most, of each
COST = (
    'does not follow the seed of its resets: a run that continues drops its '
    'unfinished episode, and two evaluations with one seed differ; let reset '
    'seed all that it draws from, such as self.np_random')


class Probe(NamedTuple):
  """Two beginnings of an episode with one seed and the same actions.

  first: digests of the first observation by name; None: they differ, or the
    environment failed.
  differs: names of what differed, at the reset or in the steps after it.
  """

  first: dict | None
  differs: tuple


def probe(env: Any) -> Probe:
  """Resets an environment twice, for the comparison."""
  try:
    one, two = _begin(env), _begin(env)
  except WorkerError:  # It fails now and then; the run will tell.
    _restart(env)
    return Probe(None, ())
  names = dict.fromkeys(
      name for left, right in zip(one, two, strict=False)
      for name in left if left[name] != right[name])
  first = {name: one[0][name] for name in sorted(env.obs_space)}
  again = {name: two[0][name] for name in sorted(env.obs_space)}
  return Probe(first if first == again else None, tuple(names))


def warning(name: str, differs: tuple) -> str:
  """The line about an environment that a seed does not reach."""
  return f'environment {name}: {", ".join(differs)} differ: it {COST}'


def describe(about: dict, config: Config, agent: Any) -> str:
  """What a run tells about its environment, in a few lines.

  about: see dreamer.envs.base.Env; also place: where it runs, if that is to
  be told. agent: its obs_keys are the observations
  that it reads or predicts, its learns_ends whether ends are part of what it
  imagines.
  """
  names = [name for name in about['vectors'] if name in agent.obs_keys]
  unread = [name for name in about['vectors'] if name not in agent.obs_keys]
  left_out = [f'{name}: {why}' for name, why in about['left_out'].items()]
  if unread:
    left_out.append(f'{", ".join(unread)}: not read by this agent')
  unseen = about['image'] != 'none' and 'image' not in agent.obs_keys
  image = about['image'] + unseen * ', not read by this agent'
  lines = [
      ', '.join(filter(None, (
          f'environment {about["name"]}', about['interface'],
          about.get('place')))),
      f'image: {image}; vectors: ' + (', '.join(
          f'{name} ({about["vectors"][name]})' for name in names) or 'none'),
      *(['left out: ' + '; '.join(left_out)] if left_out else []),
      f'actions: {about["actions"]}; {_repeat(about["repeats"], config)}',
      f'rewards: {_transform(config)}; time_limit '
      f'{config.time_limit} steps, longer episodes are cut there',
      f'ends: {about["ends"]}; ' + (
          'learned, and part of what is imagined' if agent.learns_ends else
          'recorded, but no part of what is imagined')]
  return '\n  '.join(lines)


def _repeat(own, config):
  text = f'action_repeat {config.action_repeat}'
  if own == [1, 1]:
    return text
  text += f'; the environment repeats each {_times(own)} times itself'
  both = [config.action_repeat * times for times in own]
  return text + (
      f', together {_times(both)}' if config.action_repeat > 1 else '')


def _times(pair):
  low, high = pair
  return f'{low}' if low == high else f'{low} to {high}'


def _transform(config):
  name = config.get('reward_transform', 'none')
  return 'as they are' if name == 'none' else f'{name} of them'


def _begin(env):
  """Digests of the first observations, by name."""
  rng, found = np.random.default_rng(SEED), []
  obs = env.reset(SEED)
  found.append(_digests(obs))
  while len(found) <= STEPS and not obs['is_last']:
    obs = env.step(env.act_space.sample(rng))
    found.append(_digests(obs))
  return found


def _digests(obs):
  return {name: hashlib.sha256(np.ascontiguousarray(value).tobytes())
          .hexdigest()[:16] for name, value in obs.items()}


def _restart(env):
  try:
    env.restart()
  except WorkerError:
    pass  # As above.
