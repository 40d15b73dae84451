"""Several seeds of an exported agent side by side on one accelerator.

    python -m dreamer.export.seeds export AGENT --out DIR --seeds 5 [...]
    python -m dreamer.export.seeds train DIR --logdir RUNS --minutes 12 [...]

The first command needs TensorFlow and writes DIR/seed0, DIR/seed1, ..., as
`dreamer.export` does, one after the other. The second one needs JAX alone. It
trains each of them in RUNS/seedN by a process of its own, which draws its
environments in processes of their own: the small updates of one agent leave
most of an accelerator idle. When the minutes are over, or at Ctrl-C, all write
checkpoints and end. The same command goes on from these; also after kill -9.
"""

from __future__ import annotations

import concurrent.futures
import math
import os
import pathlib
import signal
import sys
import time

from dreamer import cli, launch
from dreamer.config import agents
from dreamer.errors import UserError
from dreamer.export import jax_agent, stablehlo
from dreamer.files import ROOT
from dreamer.log.jsonlines import read_lines
from dreamer.run import resume
from dreamer.run.run_folder import RunFolder
from dreamer.run.stop import Stop
from dreamer.sweep import live, supervise
from dreamer.tables import Table, to_text

PERIOD = 0.5  # s between two looks at the runs
STOPPED = 128 + signal.SIGTERM, -signal.SIGTERM  # as exit status
LAST = 8  # lines of a failed run that are shown
# Of JAX, unless they are set: each process takes the memory that it needs, and
# programs are compiled once for a run and its continuations.
MEMORY = 'XLA_PYTHON_CLIENT_PREALLOCATE'
COMPILED = 'JAX_COMPILATION_CACHE_DIR'


def main(argv: list[str] | None = None) -> None:
  """Exports or trains several seeds."""
  args, rest = _parser().parse_known_args(argv)
  if args.command == 'export':
    export(args.agent, pathlib.Path(args.out).expanduser(), args.seeds, rest)
  else:
    sys.exit(train(pathlib.Path(args.folder).expanduser(),
                   pathlib.Path(args.logdir).expanduser(), args.minutes, rest))


def _parser():
  parser = cli.Parser(prog='python -m dreamer.export.seeds',
                      description=__doc__.split('\n')[0])
  commands = parser.add_subparsers(dest='command', required=True)
  one = commands.add_parser('export', help='agents, one for each seed')
  one.add_argument('agent')
  one.add_argument('--out', required=True, metavar='DIR')
  one.add_argument('--seeds', type=int, default=5, help='default: %(default)s')
  two = commands.add_parser('train', help='all of them side by side')
  two.add_argument('folder', metavar='DIR')
  two.add_argument('--logdir', required=True, metavar='RUNS')
  two.add_argument('--minutes', type=float, default=math.inf,
                   help='after which all end; default: when they are done')
  for each in (one, two):
    each.epilog = 'Settings of the run follow, as in training: --key value'
  return parser


def export(agent: str, out: pathlib.Path, seeds: int, rest: list[str]) -> None:
  """Writes out/seed0, ..., as `dreamer.export` does."""
  if seeds < 1:
    raise UserError(f'--seeds: {seeds} is not allowed; allowed: 1..')
  if any(x.split('=')[0] in ('--seed', '--logdir') for x in rest):
    raise UserError('--seed, --logdir: are not for several seeds; leave them '
                    'out')
  agents.find(agent)
  for seed in range(seeds):
    stablehlo.main([agent, '--out', str(out / f'seed{seed}'),
                    '--seed', str(seed), *rest])


def train(folder: pathlib.Path, logdir: pathlib.Path,
          minutes: float = math.inf, rest: list[str] | None = None) -> int:
  """Trains the agents of folder/seed* in logdir/seed*, all at once.

  minutes: after which they write checkpoints and end. rest: settings of all,
  as on the command line. Returns the exit status: 1 where one has failed, 128
  and the signal where one has come.
  """
  if not minutes > 0:
    raise UserError(f'--minutes: {minutes:g} is not allowed; allowed: above 0')
  tasks = _tasks(folder, logdir, rest or [])
  jax_agent.load_jax()
  os.environ.setdefault(MEMORY, 'false')
  os.environ.setdefault(COMPILED, str(logdir / 'compiled'))
  with resume.locked(str(logdir), 'another command trains'), Stop() as stop:
    print(f'{len(tasks)} seeds at once in {logdir}' + (
        f', for {minutes:g} minutes' if minutes < math.inf else ''))
    print(f'JAX: {MEMORY}={os.environ[MEMORY]}, compiled programs in '
          f'{os.environ[COMPILED]}', flush=True)
    before = _updates(tasks)
    start = time.monotonic()
    states = _run(tasks, stop, start + 60 * minutes)
    _tell(tasks, states, before, time.monotonic() - start)
  if stop.signum:
    return 128 + stop.signum
  return int('failed' in states.values())


def _tasks(folder, logdir, rest):
  if any(x.split('=')[0] in ('--seed', '--logdir') for x in rest):
    raise UserError('--seed: each agent has its own; leave it out')
  found = sorted((path for path in folder.glob('seed*') if path.is_dir()),
                 key=lambda path: (len(path.name), path.name))
  if not found:
    raise UserError(f'{folder}: holds no seed0, seed1, ...; write them by '
                    'python -m dreamer.export.seeds export')
  tasks = []
  for path in found:
    agent = jax_agent.Exported(path)
    agent.fits(agent.schema().parse(agent.settings(rest), agent.name))
    run = logdir / path.name
    argv = launch.command('dreamer.export.jax_agent', 'train', str(path),
                          '--logdir', str(run), *rest)[1:]
    tasks.append(supervise.Task(
        path.name, argv, os.getcwd(), str(ROOT), str(run),
        str(logdir / 'logs' / f'{path.name}.log'), 0, True))
  return tasks


class _Told:
  """What one run says, and whether it should stop."""

  def __init__(self, stopped):
    self._stopped, self.said = stopped, ('starts', '')

  @property
  def stopping(self):
    return self._stopped()

  def __call__(self, progress, score):
    self.said = progress, score
    return self.stopping


def _run(tasks, stop, end):
  """Runs all until they have ended; returns {name: state}."""
  stopped = lambda: bool(stop.signum) or time.monotonic() > end
  states = {x.name: 'waiting' for x in tasks}
  told = {x.name: _Told(stopped) for x in tasks}
  with concurrent.futures.ThreadPoolExecutor(
      len(tasks)) as pool, live.View(states) as view:
    waiting = {pool.submit(_attempt, x, told[x.name]): x
               for x in tasks}
    while waiting:
      time.sleep(PERIOD)
      view.update({x.name: ('this machine', *told[x.name].said)
                   for x in waiting.values()})
      for future in [x for x in waiting if x.done()]:
        task = waiting.pop(future)
        _ended(view, task, future.result(), stopped())
  return states


def _attempt(task, told):
  """Exit status of a run, when that of a command before has let go of it."""
  if not supervise.free(task.logdir, told):
    return STOPPED[0]
  return supervise.attempt_once(task, told)


def _ended(view, task, code, stopped):
  done = 'stopped' if stopped and code in STOPPED else 'failed'
  view.ended(task.name, done if code else 'finished', 1,
             supervise.tail(task.log, LAST), task.log)


def _updates(tasks):
  """{name: updates so far}, by the last line of each run's metrics."""
  return {x.name: _last(x).get('updates', 0) for x in tasks}


def _last(task):
  path = pathlib.Path(task.logdir) / 'metrics.jsonl'
  lines, _ = read_lines(path) if path.exists() else ([], 0)
  return lines[-1] if lines else {}


def _returns(logdir):
  """Means of the last training returns; none where it has not begun."""
  last = RunFolder(logdir).training[-10:] if logdir.exists() else []
  return [value for _, values in last for value in values]


def _tell(tasks, states, before, seconds):
  """What has become of the runs, and how fast all together were."""
  rows, total = [], 0
  for task in tasks:
    last = _last(task)
    made = last.get('updates', 0) - before[task.name]
    total += made
    mean = _returns(pathlib.Path(task.logdir))
    rows.append([task.name, states[task.name], f'{last.get("step", 0):,}',
                 f'{last.get("updates", 0):,}',
                 f'{sum(mean) / len(mean):.1f}' if mean else '-'])
  note = (f'{total / seconds:.2f} updates/s of all seeds together, over '
          f'{seconds:.0f} s with compilation')
  print(to_text(Table('', ['seed', 'is', 'env steps', 'updates',
                           'last returns'], rows, [note])))


if __name__ == '__main__':
  cli.guard(main, sys.argv[1:])
