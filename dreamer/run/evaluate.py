"""Episodes by a fixed policy: for the score, and for videos."""

from __future__ import annotations

import contextlib
import math
import os
import pathlib
import typing
import zlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from dreamer import cli, files
from dreamer.config.schema import Config
from dreamer.envs.base import has_images
from dreamer.envs.spaces import ActionSpace
from dreamer.errors import UserError
from dreamer.log.jsonlines import to_line
from dreamer.log.video import write_gif
from dreamer.processes import nested
from dreamer.run import arguments, env_identity, provenance, resume, units
from dreamer.run.arguments import Evaluation
from dreamer.run.checkpoint import below
from dreamer.run.driver import Driver
from dreamer.run.protocols import Env, EvalPolicy, MakeEnvs, Named
from dreamer.stats import confidence

POLICIES = 'trained', 'untrained', 'random'

class RandomEpisodes:
  """Uniform actions; those of episode k depend on the seed and k only."""

  def __init__(self, act_space: ActionSpace, seed: int) -> None:
    self._act_space = act_space
    self._seed = [seed, zlib.crc32(b'random_policy')]
    self._rngs: dict[int, np.random.Generator] = {}  # by number of the episode

  def __call__(
      self, obs: dict, state: None, numbers: list[int]
  ) -> tuple[np.ndarray, None]:
    for number, is_first in zip(numbers, obs['is_first'], strict=True):
      if is_first:
        self._rngs[number] = np.random.default_rng([*self._seed, number])
    actions = [self._act_space.sample(self._rngs[x]) for x in numbers]
    return np.stack(actions), state


class Result(typing.NamedTuple):
  """One evaluation: undiscounted returns, lengths in agent steps, a video."""

  returns: list[float]
  lengths: list[int]
  video: np.ndarray | None  # uint8 [T, H, W, C] of the first episode, or None


def evaluate(
    policy: EvalPolicy, envs: Sequence[Env], act_space: ActionSpace, seed: int,
    name: str, episodes: int, video: bool = False, restarts: int = 10
) -> Result:
  """Runs exactly `episodes` episodes and returns a Result.

  How many each environment runs is fixed beforehand: the first ones to end
  would favour short episodes. Episode k is reset with a seed made of seed,
  name and k, however many environments there are.

  policy: as that of Driver, with a third argument: which episode each
    environment plays, a list of n numbers.
  Raises WorkerError.
  """
  envs = envs[:episodes]
  quotas = [len(range(i, episodes, len(envs))) for i in range(len(envs))]
  found: list[list] = [[] for _ in envs]
  frames: list[np.ndarray] = []

  def on_episode(episode, index):
    total = float(episode['reward'].astype(np.float64).sum())
    found[index].append((total, len(episode['reward']) - 1))
    if video and index == 0 and not frames and 'image' in episode:
      frames.append(episode['image'])

  driver = Driver(envs, act_space, seed, name, on_episode, restarts, quotas)
  while not driver.finished:
    driver.send(lambda obs, state: policy(obs, state, driver.numbers))
    driver.receive()
  results = [found[i % len(envs)][i // len(envs)] for i in range(episodes)]
  returns, lengths = map(list, zip(*results, strict=True))
  return Result(returns, lengths, frames[0] if frames else None)


def evaluate_run(
    agent: Named, make_envs: MakeEnvs, wish: Evaluation,
    task: str | None = None) -> tuple[dict, Result]:
  """Evaluates the newest checkpoint of a run.

  task: of the environments, if they are a user's; by default the run's.
  Returns the line for eval.jsonl as a dict, and the Result. Raises UserError.
  """
  nested.refuse('evaluate')
  config, arrays, meta = resume.load_run(
      agent.schema(), wish.logdir, agent.name)
  config = config.update({
      'envs.amount': wish.amount or config.envs.amount, 'devices': 1})
  if wish.video and config.get('images') == 'none':
    raise UserError(
        f'video: the run in {config.logdir} has images none, nothing is '
        'rendered; leave the video out')
  with contextlib.ExitStack() as stack:
    envs = make_envs(config, 'eval', min(config.envs.amount, wish.episodes))
    for env in envs:
      stack.callback(env.close)
    config = config.update({'task': env_identity.evaluated(
        wish.logdir, envs[0], config.task, task or config.task)})
    act, counters = make_policy(
        wish.policy, config, agent.make_agent, envs[0], arrays, meta,
        wish.seed)
    result = evaluate(
        act, envs, envs[0].act_space, wish.seed, 'test', wish.episodes,
        bool(wish.video), config.envs.restarts)
  line = _line(agent.name, config, wish, counters, result, len(envs))
  return line, result


def told(returns: Sequence[float]) -> str:
  """A score for people: mean, its 95 % interval, episodes."""
  if not all(map(math.isfinite, returns)):
    return f'no score, not all returns are finite: {list(returns)}'
  mean, low, high = confidence(returns)
  episodes = f'{len(returns)} episode{"s" * (len(returns) > 1)}'
  if not math.isfinite(low):
    return f'score {mean:,.1f} of {episodes}'
  return f'score {mean:,.1f} [{low:,.1f}, {high:,.1f}] of {episodes}'


def keep(wish: Evaluation, line: dict) -> None:
  """Adds a line to the run's eval.jsonl.

  Where that can't be it is printed, with a warning.
  """
  path = pathlib.Path(wish.logdir) / 'eval.jsonl'
  try:
    _append(path, to_line(line))
  except OSError as e:
    files.warn(
        f'can not write {path}: {e.strerror or e}; its line is printed')
    print(to_line(line), end='', flush=True)


def save_video(wish: Evaluation, result: Result) -> None:
  """Writes the video where one with a path was asked for, or UserError."""
  if isinstance(wish.video, pathlib.Path):
    assert result.video is not None  # Without images it was refused.
    write_gif(wish.video, result.video, fps=20)


def main(agent: Named, make_envs: MakeEnvs, argv: Sequence[str]) -> None:
  """The command line of an agent's evaluation; see `evaluate_run`.

  Prints the score, and appends all about it to eval.jsonl in the logdir.
  """
  def make(config, mode, amount):
    if env_identity.is_own(config.task):
      raise UserError(
          f'task: {config.task} is an environment of your own; evaluate it '
          f'from Python by {agent.name}.evaluate(env, logdir)')
    return make_envs(config, mode, amount)

  wish = _parse(agent.name, argv)
  line, result = evaluate_run(agent, make, wish)
  try:
    print(f'{line["task"]}, {wish.policy}: {told(result.returns)}', flush=True)
  finally:  # Also where nobody reads.
    keep(wish, line)
  save_video(wish, result)


def _parse(name, argv):
  parser = cli.Parser(
      prog=cli.command('eval', name),
      description='Evaluates the newest checkpoint of a run; prints the score, '
      'and appends all about it to eval.jsonl in the logdir, as JSON.')
  parser.add_argument('--logdir', required=True, help='folder of the run')
  parser.add_argument('--episodes', default=10)
  parser.add_argument(
      '--policy', default='trained', help=', '.join(provenance.POLICIES))
  parser.add_argument('--seed', default=0, help='of the episodes')
  parser.add_argument('--video', help='GIF of the first episode')
  parser.add_argument(
      '--envs.amount', dest='amount',
      help='environments in parallel; default: as in training')
  return arguments.evaluation(**vars(parser.parse_args(argv)), label=_option)


def _option(name):
  return '--envs.amount' if name == 'amount' else f'--{name}'


def make_policy(
    policy: str, config: Config, make_agent: Callable, env: Env,
    arrays: Mapping[str, np.ndarray], meta: Mapping[str, typing.Any], seed: int
) -> tuple[EvalPolicy, dict[str, int]]:
  """A policy for `evaluate`, and counters of what it learned from.

  policy: one of POLICIES; `trained` is the agent of a checkpoint, arrays and
    meta.
  seed: of random actions.
  """
  counters = dict.fromkeys(('env_steps', 'agent_steps', 'updates'), 0)
  if policy == 'random':
    return RandomEpisodes(env.act_space, seed), counters
  spaces = {key: space for key, space in env.obs_space.items()
            if key != 'image' or has_images(config, 'train')}
  agent = make_agent(config, spaces, env.act_space)
  if policy == 'trained':
    agent.restore(below(arrays, 'agent/'))
    counters = {key: meta[key] for key in counters}
  steps = counters['env_steps']
  act = lambda obs, state, numbers: agent.policy(obs, state, 'eval', steps)
  return act, counters


def _line(name, config, wish, counters, result, amount):
  """As a line of scores.jsonl, and what only an evaluation of its own has."""
  mean, low, high = confidence(result.returns)
  run = provenance.describe(config, name)
  measured = {
      **run.pop('protocol'), 'episodes': len(result.returns),
      'every': None, 'envs': amount}
  if wish.policy == 'random':
    measured.update(mode='random', noise=None)
  return {
      'step': counters['env_steps'], 'agent_steps': counters['agent_steps'],
      'updates': counters['updates'], 'returns': result.returns,
      'lengths': [units.env_steps(x, config) for x in result.lengths],
      **run, 'policy': wish.policy, 'eval_seed': wish.seed,
      'episodes': len(result.returns), 'mean': mean,
      'low': low if math.isfinite(low) else None,
      'high': high if math.isfinite(high) else None, 'protocol': measured}


def _append(path, line):
  """Adds a whole line, also behind one that a crash has cut."""
  cut = path.exists() and path.read_bytes()[-1:] not in (b'', b'\n')
  with open(path, 'a', encoding='utf-8') as file:
    file.write('\n' * cut + line)
    file.flush()
    os.fsync(file.fileno())
