"""Starts runs and continues them, from a config or a command line."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Sequence

from dreamer import cli, files
from dreamer.config.schema import Config
from dreamer.errors import UserError
from dreamer.log.logger import Logger
from dreamer.processes import nested
from dreamer.run import (
  env_identity,
  env_probe,
  pace,
  parallel,
  provenance,
  replays,
  resume,
  units,
)
from dreamer.run.actor import Actor
from dreamer.run.loop import Loop
from dreamer.run.parallel import ParallelLoop
from dreamer.run.protocols import MakeAgent, MakeEnvs, MakeReplay, Named
from dreamer.run.stop import Stop, Stopped


def main(agent: Named, make_envs: MakeEnvs, argv: Sequence[str],
         beside: str = '', again: str = '') -> None:
  """The command line of an agent's training; see `train`.

  again: what continues it, by default the agent's command with argv.
  """
  config = agent.schema().parse(argv, cli.command('train', agent.name))
  agent.validate(config)
  try:
    with Stop() as stop:
      train(config, agent.name, agent.make_agent, make_envs, stop,
            agent.module, beside, agent.replay)
  except Stopped as e:
    again = again or cli.command('train', agent.name, *argv)
    cli.tell(f'Stopped, with a checkpoint; to continue: {again}')
    sys.exit(e.code)


def train(
    config: Config, name: str, make_agent: MakeAgent, make_envs: MakeEnvs,
    stop: Stop, module: str | None = None, beside: str = '',
    make_replay: MakeReplay = replays.episodes) -> None:
  """Starts the run of a config in its logdir, or continues it.

  name: the agent's, kept in checkpoints. make_agent(config, obs_space,
  act_space) and make_envs(config, mode, amount) make its parts. stop: a
  dreamer.run.stop.Stop. module: what `python -m` runs for the acting process
  of a parallel run, by default the name. beside: what each score is shown with.
  make_replay: of the agent's paper.
  Raises UserError, or Stopped after a checkpoint.
  """
  nested.refuse('train')
  config = config.update({'logdir': files.expand(config.logdir)})
  with contextlib.ExitStack() as stack:
    stack.enter_context(resume.locked(config.logdir))
    config, saved = resume.open_logdir(config, name)
    arrays, meta = saved or (None, {'env_steps': 0})
    if arrays is not None and arrays['done/run'] >= config.steps:
      steps = 'steps' if env_identity.is_own(config.task) else '--steps'
      cli.tell(f'{config.logdir} has its {meta["env_steps"]} steps already; '
               f'raise {steps} to continue')
      return
    envs, eval_envs = _open_envs(stack, config, make_envs)
    _check_cuts(config, envs[0])
    _check_threads(config, envs[0])
    # The spaces come first: a wrong task shows before TensorFlow's seconds.
    seen = env_identity.probe(envs[0], config.task)
    about = {**envs[0].about(), 'place': getattr(envs[0], 'place', '')}
    env_identity.check(
        config.logdir, envs[0], config.task, saved is None, seen.first,
        about.get('mapping'))
    for env in eval_envs[:1]:
      if set(env.obs_space) != set(envs[0].obs_space):
        env.reset(env_probe.SEED)  # Only this one renders: does it?
    spaces = envs[0].obs_space, envs[0].act_space
    make_loop = _loop_maker(stack, config, module or name, *spaces)
    agent = make_agent(config, *spaces)
    logger = stack.enter_context(
        Logger(config.logdir, config.steps, meta['env_steps']))
    stack.enter_context(cli.warnings_to(logger.info))
    _tell(config, about, agent, logger, seen.differs)
    loop = make_loop(config, name, agent, envs, eval_envs, logger, stop,
                     make_replay=make_replay)
    loop.note = beside
    needs = loop.replay.describe(units.agent_steps(config.steps, config))
    for line in (provenance.told(config), pace.describe(config), needs):
      if line:
        logger.info(line)
    if arrays is not None:
      loop.restore(arrays)
      arrays = saved = None  # It would be in memory as long as the run lasts.
    loop.run()


def _check_cuts(config, env):
  """Refuses evaluations that would leave no training episode whole."""
  if env.shared_steps is None or not config.eval_every:
    return
  longest = int(min(config.time_limit, env.shared_steps))
  if config.eval_every < longest:
    raise UserError(
        f'eval_every={config.eval_every}: evaluations use the same '
        'environment object and would cut every training episode that lasts '
        f'until its limit of {longest} steps; pass a function that makes '
        f'environments, or set eval_every to 0 or to at least {longest}, or '
        'lower time_limit')


def _check_threads(config, env):
  """Refuses environments that can't be stepped beside learning."""
  if not config.parallel:
    return
  if env.shared_steps is not None and config.eval_every:
    raise UserError(
        'parallel: evaluations use the same environment object, in which '
        'acting goes on meanwhile; pass a function that makes environments, '
        'or set eval_every to 0')
  if getattr(env, 'opengl', False):
    raise UserError(
        'parallel: the environment draws with OpenGL in this process, and is '
        'stepped by a thread of its own; pass a function that can be imported '
        'by name: it then runs in a worker process')


def _loop_maker(stack, config, module, obs_space, act_space):
  """Loop, or its parallel kind with the process that acts."""
  if not config.parallel:
    return Loop
  # It starts while this process imports TensorFlow as well.
  actor = Actor(module, config, obs_space, act_space)
  stack.callback(actor.close)
  return functools.partial(ParallelLoop, actor=actor)


def _tell(config, about, agent, logger, differs):
  """Says what the run makes of its environment."""
  logger.info(agent.computes)
  logger.text('environment', env_probe.describe(about, config, agent))
  if agent.compiled:
    logger.info('jit: XLA compiles the first action and the first update, a '
                'minute or more each, in which nothing moves here')
  if config.parallel:
    logger.info(parallel.describe(config))
  if differs:
    files.warn(env_probe.warning(about['name'], differs))


def _open_envs(stack, config, make_envs):
  """Returns environments for training and evaluation; the stack closes."""
  amounts = {'train': config.envs.amount, 'eval': 0}
  if config.eval_every:
    amounts['eval'] = min(config.envs.amount, config.eval_episodes)
  opened = []
  for mode, amount in amounts.items():
    opened.append(make_envs(config, mode, amount) if amount else [])
    for env in opened[-1]:
      stack.callback(env.close)
  return opened
