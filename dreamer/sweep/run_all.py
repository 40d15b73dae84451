"""All runs of a table, or of a file, on this machine or a cluster, by Ray.

Each run is the ordinary training command with a folder of its own, so a sweep
that ends in whatever way goes on from the checkpoints of its runs. Ray places
them, and places those of a lost machine elsewhere; all machines see the same
folder.
"""

from __future__ import annotations

import os
import pathlib
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dreamer import cli, launch
from dreamer.errors import UserError
from dreamer.files import ROOT
from dreamer.run import resume
from dreamer.run.stop import Stop
from dreamer.sweep import live, supervise
from dreamer.sweep.jobs import LOGS, Job, config_of, progress
from dreamer.sweep.ray_cluster import cluster

LOST = 20  # machines that a run may lose before it counts as failed


class Options(NamedTuple):
  """Of a sweep: where its runs go, and what each of them gets.

  address: of a Ray cluster, None: this machine. cpus_per_run, gpus_per_run:
  None: two CPUs where there are as many, one GPU where there is any. retries:
  of a run that fails.
  """

  address: str | None = None
  cpus_per_run: int | None = None
  gpus_per_run: float | None = None
  retries: int = 2


def run(name: str, jobs: Sequence[Job], root: str,
        options: Options) -> tuple[dict[str, str], int | None]:
  """Runs what is unfinished, beneath root; shows all of it meanwhile.

  Returns the state of each run by its folder, of `live.STATES`, and the
  signal that has stopped the sweep, or None. Raises UserError.
  """
  _check(options)
  with resume.locked(root, 'another sweep runs'):
    waiting = [x for x in jobs if progress(x, root) < x.steps]
    states = {x.folder: 'waiting' if x in waiting else 'finished'
              for x in jobs}
    if not waiting:
      return states, None
    logs = _folder_of_logs(root)
    with cluster(str(logs), options.address) as ray, Stop() as stop:
      needs = _needs(ray, options)
      with cli.may_be_lost(sys.stdout):
        print(_plan(name, jobs, waiting, root, needs, ray), flush=True)
      tasks = {x.folder: _task(x, root, options.retries, needs)
               for x in waiting}
      with live.View(states) as view:
        _drive(ray, tasks, needs, view, stop)
    return states, stop.signum


def _folder_of_logs(root):
  """Makes it; refused before Ray's seconds where it can't be written."""
  logs = pathlib.Path(root) / LOGS
  try:
    logs.mkdir(exist_ok=True)
    with tempfile.TemporaryFile(dir=logs):
      pass
  except OSError as e:
    raise UserError(
        f'can not write into {logs}: {e.strerror}; --logdir names another '
        'folder for a sweep') from None
  return logs


def _check(options):
  for key, least in (('cpus_per_run', 1), ('gpus_per_run', 0),
                     ('retries', 0)):
    value = getattr(options, key)
    if value is not None and not least <= value < 10_000:
      raise UserError(f'--{key.replace("_", "-")}: {value:g} is not allowed; '
                      f'allowed: {least}..')
  gpus = options.gpus_per_run or 0
  if gpus > 1 and gpus != int(gpus):
    raise UserError(f'--gpus-per-run: {gpus:g} is not allowed; allowed: parts '
                    'of one, or whole numbers')


# Ray


def _needs(ray, options):
  """What Ray is to keep for each run; refused where no machine has it."""
  nodes = [x['Resources'] for x in ray.nodes() if x['Alive']]
  most = {key: max(x.get(key, 0) for x in nodes) for key in ('CPU', 'GPU')}
  wanted = {
      'CPU': min(2, most['CPU']) if options.cpus_per_run is None else (
          options.cpus_per_run),
      'GPU': float(most['GPU'] > 0) if options.gpus_per_run is None else (
          options.gpus_per_run)}
  for key, value in wanted.items():
    if value > most[key]:
      raise UserError(
          f'--{key.lower()}s-per-run: {value:g} are more than any machine of '
          f'the cluster has; allowed: up to {most[key]:g}')
  return wanted


def _plan(name, jobs, waiting, root, needs, ray):
  nodes = [x['Resources'] for x in ray.nodes() if x['Alive']]
  at_once = sum(int(min(x.get(key, 0) // value
                        for key, value in needs.items() if value))
                for x in nodes)
  return (f'sweep {name}: {len(jobs)} runs, '
          f'{len(jobs) - len(waiting)} finished already; '
          f'{needs["CPU"]:g} CPUs and {needs["GPU"]:g} GPUs each, '
          f'{at_once} at once on {len(nodes)} machine(s); in {root}')


def _task(job, root, retries, needs):
  agent, *options = job.argv(root)
  if not any(x.split('=')[0] == '--threads' for x in options):
    least = max(1, config_of(job).threads_per_op)
    options += ['--threads', str(max(least, int(needs['CPU'])))]
  log = pathlib.Path(root) / LOGS / f'{job.folder.replace("/", "-")}.log'
  return supervise.Task(
      job.folder, launch.command(agent, 'train', *options)[1:], os.getcwd(),
      str(ROOT),
      str(pathlib.Path(root) / job.folder), str(log), retries,
      needs['GPU'] > 0)


def _drive(ray, tasks: Mapping[str, supervise.Task], needs, view, stop):
  """Until all have ended, or all that run have stopped."""
  board = _board(ray)
  start = ray.remote(supervise.supervise).options(
      num_cpus=needs['CPU'], num_gpus=needs['GPU'], max_retries=LOST)
  left = {start.remote(task, board): name for name, task in tasks.items()}
  asked = False
  while left:
    done, _ = ray.wait(list(left), timeout=1)
    for ref in done:
      view.ended(left[ref], *_outcome(ray, ref), tasks[left.pop(ref)].log)
    said = ray.get(board.read.remote())
    view.update({left[ref]: said[left[ref]] for ref in left
                 if left[ref] in said})
    if stop.signum and not asked:
      asked = True
      ray.get(board.stop.remote())
      for ref, name in left.items():
        if name not in said:
          ray.cancel(ref)


def _board(ray):
  """On this machine: what ends with it ends the sweep anyway."""
  from ray.util import scheduling_strategies as strategies  # As ray itself.
  here = strategies.NodeAffinitySchedulingStrategy(
      ray.get_runtime_context().get_node_id(), soft=False)
  return ray.remote(supervise.Board).options(
      num_cpus=0, scheduling_strategy=here).remote()


def _outcome(ray, ref):
  """(state, attempts, lines) of a task that has ended."""
  try:
    return ray.get(ref)
  except ray.exceptions.TaskCancelledError:
    return 'stopped', 0, []
  except ray.exceptions.RayError as e:
    return 'failed', 1, [cli.one_line(e)[:300]]
