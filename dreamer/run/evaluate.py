"""Episodes by a fixed policy: for the score, and for videos."""

import contextlib
import math
import os
import pathlib
import typing

import numpy as np

from dreamer import cli
from dreamer.envs.base import has_images
from dreamer.errors import UserError
from dreamer.log.jsonlines import to_line
from dreamer.log.video import write_gif
from dreamer.run import protocol, resume
from dreamer.run.checkpoint import below
from dreamer.run.driver import Driver, RandomPolicy
from dreamer.stats import confidence

POLICIES = 'trained', 'untrained', 'random'
OWN = 'own_'  # start of the task of runs in a user's environment


class Result(typing.NamedTuple):
  """One evaluation: undiscounted returns, lengths in agent steps, a video."""

  returns: list
  lengths: list
  video: np.ndarray  # uint8 [T, H, W, C] of the first episode, or None


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
    if video and index == 0 and not frames and 'image' in episode:
      frames.append(episode['image'])

  driver = Driver(envs, act_space, seed, name, on_episode, restarts)
  while any(len(x) < n for x, n in zip(found, quotas, strict=True)):
    driver.send(policy)
    driver.receive()
  results = [found[i % len(envs)][i // len(envs)] for i in range(episodes)]
  returns, lengths = map(list, zip(*results, strict=True))
  return Result(returns, lengths, frames[0] if frames else None)


def evaluate_run(agent, make_envs, logdir, episodes=10, policy='trained',
                 seed=0, amount=None, video=False):
  """Evaluates the newest checkpoint of a run.

  agent: a dreamer.run.interface.Interface.
  policy: trained, untrained (new weights) or random (uniform actions).
  amount: environments in parallel, by default as many as in training.
  Returns the line for eval.jsonl as a dict, and the Result. Raises UserError.
  """
  config, arrays, meta = resume.load_run(agent.schema(), logdir, agent.name)
  config = config.update({'envs.amount': amount or config.envs.amount})
  with contextlib.ExitStack() as stack:
    envs = make_envs(config, 'eval', min(config.envs.amount, episodes))
    for env in envs:
      stack.callback(env.close)
    act, counters = _make_policy(
        policy, config, agent.make_agent, envs[0], arrays, meta, seed)
    result = evaluate(
        act, envs, envs[0].act_space, seed, 'test', episodes, video,
        config.envs.restarts)
  line = _line(agent.name, policy, config, seed, counters, result, len(envs))
  return line, result


def main(agent, make_envs, argv):
  """The command line of an agent's evaluation; see `evaluate_run`.

  Prints one line of JSON and appends it to eval.jsonl in the logdir.
  """
  def make(config, mode, amount):
    if config.task.startswith(OWN):
      raise UserError(
          f'task: {config.task} is an environment of your own; evaluate it '
          f'from Python by {agent.name}.evaluate(env, logdir)')
    return make_envs(config, mode, amount)

  args = _parse(agent.name, argv)
  if args.video:
    _check_renders(resume.load_run(
        agent.schema(), args.logdir, agent.name)[0])
  line, result = evaluate_run(
      agent, make, args.logdir, args.episodes, args.policy, args.seed,
      args.amount, bool(args.video))
  print(to_line(line), end='', flush=True)
  _append(pathlib.Path(args.logdir) / 'eval.jsonl', to_line(line))
  if args.video:
    write_gif(args.video, result.video, fps=20)


def _check_renders(config):
  if config.get('images') == 'none':
    raise UserError(
        f'--video: the run in {config.logdir} has images none, nothing is '
        'rendered; leave --video out')


def _parse(name, argv):
  parser = cli.Parser(
      prog=f'python -m {name} eval',
      description='Evaluates the newest checkpoint of a run; prints one line '
      'of JSON and appends it to eval.jsonl in the logdir.')
  parser.add_argument('--logdir', required=True, help='folder of the run')
  parser.add_argument('--episodes', type=int, default=10)
  parser.add_argument('--policy', choices=protocol.POLICIES, default='trained')
  parser.add_argument('--seed', type=int, default=0, help='of the episodes')
  parser.add_argument('--video', help='GIF of the first episode')
  parser.add_argument(
      '--envs.amount', dest='amount', type=int,
      help='environments in parallel; default: as in training')
  args = parser.parse_args(argv)
  for key, least in (('episodes', 1), ('seed', 0), ('amount', 1)):
    value = getattr(args, key)
    if value is not None and not least <= value < 2 ** 31:
      raise UserError(f'--{key}: {value} is not allowed; allowed: {least}..')
  if args.video and not args.video.endswith('.gif'):
    raise UserError(f'--video: {args.video} has to end with .gif')
  return args


def _make_policy(policy, config, make_agent, env, arrays, meta, seed):
  """Returns (function for Driver.send, counters of what it learned from)."""
  counters = dict.fromkeys(('env_steps', 'agent_steps', 'updates'), 0)
  if policy == 'random':
    return RandomPolicy(env.act_space, seed), counters
  spaces = {key: space for key, space in env.obs_space.items()
            if key != 'image' or has_images(config, 'train')}
  agent = make_agent(config, spaces, env.act_space)
  if policy == 'trained':
    agent.restore(below(arrays, 'agent/'))
    counters = {key: meta[key] for key in counters}
  steps = counters['env_steps']
  return lambda obs, state: agent.policy(obs, state, 'eval', steps), counters


def _line(name, policy, config, seed, counters, result, amount):
  """As a line of scores.jsonl, and what only an evaluation of its own has."""
  mean, low, high = confidence(result.returns)
  origin = protocol.describe(config, name)
  measured = {
      **origin.pop('protocol'), 'episodes': len(result.returns),
      'every': None, 'envs': amount}
  if policy == 'random':
    measured.update(mode='random', noise=None)
  return {
      'step': counters['env_steps'], 'agent_steps': counters['agent_steps'],
      'updates': counters['updates'], 'returns': result.returns,
      'lengths': [x * config.action_repeat for x in result.lengths],
      **origin, 'policy': policy, 'eval_seed': seed,
      'episodes': len(result.returns), 'mean': mean,
      'low': low if math.isfinite(low) else None,
      'high': high if math.isfinite(high) else None, 'protocol': measured}


def _append(path, line):
  """Adds a whole line, also behind one that a crash has cut."""
  try:
    cut = path.exists() and path.read_bytes()[-1:] not in (b'', b'\n')
    with open(path, 'a', encoding='utf-8') as file:
      file.write('\n' * cut + line)
      file.flush()
      os.fsync(file.fileno())
  except OSError as e:
    raise UserError(f'can not write {path}: {e.strerror or e}') from e
