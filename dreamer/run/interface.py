"""What a user calls, once for all agents: Python interface, command line."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dreamer import cli, files
from dreamer.config import agents
from dreamer.config.rules import nearest
from dreamer.config.schema import Config, Schema
from dreamer.envs import make_envs
from dreamer.envs.spaces import ActionSpace
from dreamer.errors import UserError
from dreamer.files import DATA
from dreamer.replay.stored import Stored
from dreamer.run import (
  actor,
  arguments,
  env_identity,
  evaluate,
  replays,
  training,
)
from dreamer.run.protocols import Agent, MakeEnvs, MakeReplay, ObsSpace
from dreamer.run.stop import Stop, Stopped


class Interface:
  """The entry of an agent: all that others ask it; TensorFlow only if needed.

  A package is an agent by having one as its `entry`, and offers its methods as
  functions, for instance `dreamerv1.train(env, config)`.

  name: of the agent, of its package, and of the module of its command line.
  load: imports TensorFlow and returns the class Agent, or a function of
    config, spaces of observations and space of actions that makes one.
  validate: raises UserError, see `dreamer.run.checks`.
  replay: makes what the agent learns from, see `dreamer.run.replays`.
  title: its name for people.
  settings: its schema file; by default configs/NAME.yaml. parent: the entry
    of the agent whose settings that file extends.
  sources: the file of what its paper and releases say of each key, for
    `audit`; by default configs/paper_NAME.yaml, where that is.
  flops: (config, channels of the image, act_space) to the GFLOP of an update,
    for estimates and benchmarks.
  stored: (config) to what the replay keeps of the agent beside each row, for
    estimates.
  losses: names of its losses, which no observation may have.
  sizes: what `bench` measures, by name.
  published: the scores that runs are shown beside; the first that fits.
  """

  def __init__(
      self, name: str, load: Callable[[], Callable],
      validate: Callable[..., None],
      replay: MakeReplay = replays.episodes, *, title: str | None = None,
      settings: str | os.PathLike | None = None,
      sources: str | os.PathLike | None = None,
      flops: Callable[..., float] | None = None,
      stored: Callable[..., Mapping[str, Stored]] = lambda config: {},
      losses: Sequence[str] = (),
      sizes: Mapping[str, agents.Size] | None = None,
      published: Sequence[agents.Published] = (),
      parent: Interface | None = None) -> None:
    self.name = self.module = name
    self.title = title or name
    self.validate = validate
    self.replay = replay
    self.settings = DATA / (settings or f'configs/{name}.yaml')
    found = DATA / (sources or f'configs/paper_{name}.yaml')
    self.sources = found if sources or found.exists() else None
    self.flops, self.stored, self.losses = flops, stored, losses
    self.sizes, self.published = sizes or {}, published
    self._load, self._parent = load, parent

  def extend(
      self, name: str, load: Callable[[], Callable],
      settings: str | os.PathLike, **other: Any) -> Interface:
    """Another agent, which is as this one but for what is given.

    settings: its schema file: what is other or new in this one's; see
    `dreamer.config.schema`. other: as in the constructor; what is published
    of this one is shown beside runs of that one too.
    """
    same = {key: getattr(self, key) for key in (
        'validate', 'replay', 'sources', 'flops', 'stored', 'losses',
        'published')}
    return Interface(
        name, load, settings=settings, parent=self, **{**same, **other})

  def schema(self) -> Schema:
    """Defaults, presets and allowed values of every key."""
    return self._schema

  @functools.cached_property
  def _schema(self):
    parent = self._parent.schema() if self._parent else None
    return Schema.load(self.settings, self.name, parent)

  def configure(
      self, presets: str | Sequence[str] = (), **overrides: Any) -> Config:
    """Returns the Config of presets, left to right, and overrides.

    Overrides are nested, `rssm={'deter': 16}`, or dotted, `**{'rssm.deter':
    16}`. Where neither they nor a preset name a task, it is for environments
    of users: the preset `own` is beneath. Raises ConfigError.
    """
    names, schema = arguments.presets(presets), self.schema()
    if not arguments.names_task(schema, names, overrides):
      overrides['task'] = env_identity.OWN
    config = schema.config(names, overrides)
    return config.update({'logdir': files.expand(config.logdir)})

  def make_agent(
      self, config: Config, obs_space: ObsSpace, act_space: ActionSpace
  ) -> Agent:
    """Returns the Agent; imports and sets up TensorFlow.

    Raises UserError before that where settings and spaces do not fit.
    """
    self.validate(config, (obs_space, act_space))
    from dreamer.nn import device  # Imports TensorFlow.
    device.setup(config)
    from dreamer.nn import replicas  # As above; not before it is set up.
    agent = self._load()
    return replicas.make(
        lambda: agent(config, obs_space, act_space), config.devices)

  def train(self, env: Any, config: Config) -> None:
    """Trains in a user's environment, or continues in config.logdir.

    env: a gym, gymnasium or dm_env object, or a function without arguments
      that makes one (needed for several environments and for OpenGL; one
      that can be imported by name runs in worker processes).
    config: from `configure`. Its `task` names the environment where it
      starts with `own_`, and is not used otherwise.
    Raises UserError, and KeyboardInterrupt after saving a checkpoint.
    """
    arguments.environment(env, self.name)
    config = arguments.config(config, self.name)
    self.validate(config)
    config = config.update({'task': env_identity.task(env, config)})
    try:
      with cli.warnings_to(cli.tell), Stop() as stop:
        training.train(
            config, self.name, self.make_agent, _environments(env), stop,
            self.module, make_replay=self.replay)
    except Stopped as e:
      raise KeyboardInterrupt(f'{e}, after a checkpoint') from None

  def evaluate(
      self, env: Any, logdir: str | os.PathLike, episodes: int = 10,
      policy: str = 'trained', seed: int = 0, amount: int | None = None,
      video: bool | str | os.PathLike = False
  ) -> tuple[dict, evaluate.Result]:
    """Evaluates the newest checkpoint of a run of `train(env, config)`.

    policy: trained, untrained (new weights) or random (uniform actions).
    amount: environments in parallel; by default as many as in training, of
      an environment object one.
    video: of the first episode: True, or the path of a GIF to write.
    Returns a dict with returns, mean, low, high and how they were measured,
    and the Result with the video. Raises UserError.
    """
    wish = arguments.evaluation(
        logdir, episodes, policy, seed, amount, video)
    arguments.environment(env, self.name)
    if wish.amount is None and arguments.is_object(env):
      wish = wish._replace(amount=1)
    line, result = evaluate.evaluate_run(
        self, _environments(env), wish, env_identity.task(env))
    evaluate.keep(wish, line)
    evaluate.save_video(wish, result)
    return line, result

  def main(self, argv: Sequence[str] | None = None, beside: str = '') -> None:
    """The command line: `train ...` or `eval ...`.

    beside: what a training shows beside each score.
    """
    argv = list(sys.argv[1:] if argv is None else argv)
    command = argv[0] if argv else None
    if command in ('-h', '--help', 'help'):
      print(_USAGE.format(name=self.name), end='')
    elif command == actor.COMMAND:  # of another process, for no user
      actor.main(self, argv[1:])
    elif command == 'train':
      training.main(self, make_envs, argv[1:], beside)
    elif command == 'eval':
      evaluate.main(self, make_envs, argv[1:])
    else:
      raise UserError(_no_command(self.name, command))


_COMMANDS = 'train', 'eval'
_USAGE = '''\
usage: python -m {name} COMMAND ...

  train [--configs PRESET ...] [--key value ...] --logdir DIR
                  trains, or continues the run in DIR
  eval --logdir DIR [--episodes N] [--policy trained|untrained|random] ...
                  evaluates a run

`python -m {name} train --help` lists every preset and key, `python -m {name}
eval --help` every option.
'''


def _no_command(name: str, given: str | None) -> str:
  allowed = ', '.join(_COMMANDS)
  what = 'the command is missing' if given is None or given[:1] == '-' else (
      f'unknown command {given!r}{nearest(given, _COMMANDS)}')
  return f'{what}; write python -m {name} COMMAND ..., one of: {allowed}'


def _environments(env: Any) -> MakeEnvs:
  return functools.partial(make_envs, factory=env)
