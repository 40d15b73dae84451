"""Runs of a sweep as a shell script, or as a Slurm job array."""

from __future__ import annotations

import pathlib
import shlex
from collections.abc import Sequence

from dreamer.errors import UserError
from dreamer.files import ROOT
from dreamer.sweep.estimate import estimate
from dreamer.sweep.jobs import Job
from dreamer.tables import number

ARRAY = 1000  # tasks of one job array; clusters refuse more by default


def script(name: str, found: Sequence[tuple[Job, int]], root: str,
           rates: dict, notes: Sequence[str] = ()) -> list[str]:
  """Returns the lines of a shell script, for the folder we are in.

  found: [(Job, environment steps it has already)]; finished ones are left
  out. rates: tflops, updates_per_second, steps_per_second. notes: for the
  reader.
  """
  program, folder = './run.sh', root
  if pathlib.Path.cwd() != ROOT:
    program, folder = str(ROOT / 'run.sh'), str(pathlib.Path(root).resolve())
  missing = [(job, steps) for job, steps in found if steps < job.steps]
  estimates = [estimate(job, rates) for job, _ in missing]
  lines = [
      f'# {name}: {len(missing)} runs'
      + (f' of {len(found)}; the others are finished in {root}'
         if len(missing) < len(found) else ''),
      f'# about {_hours([x.hours for x in estimates])} on one device and '
      f'{number(sum(x.disk for x in estimates), 0)} GB of disk',
      f'# assumed, not measured: {_assumed(rates)}']
  lines += [f'# {note}' for note in notes]
  before = None
  for (job, steps), cost in zip(missing, estimates, strict=True):
    if (job.method, job.task) != before:
      before = job.method, job.task
      lines.append(
          f'# {job.method} {job.task}: {_hours([cost.hours], 1)}, '
          f'{cost.updates:,} updates, {cost.disk:,.1f} GB each')
    if steps:
      lines.append(f'# seed {job.seed} goes on at {steps:,} of {job.steps:,}')
    lines.append(job.command(folder, program))
  return lines


def slurm(name: str, found: Sequence[tuple[Job, int]], root: str,
          rates: dict) -> list[str]:
  """Returns a job array of what `script` would run, or several of them.

  The script submits itself. Submitted again, it goes on: runs continue from
  their checkpoints, and those that are finished end at once. Two minutes
  before its limit a run is asked to stop, which it does after a checkpoint.
  """
  folder = pathlib.Path(root).resolve()  # It is started from elsewhere.
  lines = script(name, found, str(folder), rates)
  program = str(ROOT / 'run.sh')
  commands = [job.command(str(folder), program)
              for job, steps in found if steps < job.steps]
  if not commands:
    raise UserError(f'{name}: no run is missing, there is nothing to submit')
  logs = folder / 'slurm'
  arrays = {start: min(ARRAY, len(commands) - start)
            for start in range(0, len(commands), ARRAY)}
  output = str(logs).replace('%', '%%') + '/%A_%a.log'
  return [
      '#!/usr/bin/env bash', *lines[:3],
      f'# To submit {len(arrays)} job array(s): bash this file; again to go on '
      'with what is unfinished',
      f'#SBATCH --job-name={name}',
      *([f'#SBATCH --array=0-{len(commands) - 1}'] if len(arrays) == 1 else ()),
      '#SBATCH --cpus-per-task=4', '#SBATCH --gpus=1',
      '#SBATCH --time=24:00:00', '#SBATCH --signal=B:INT@120',
      f'#SBATCH --output={shlex.quote(output)}',
      'if [[ -z ${SLURM_ARRAY_TASK_ID:-} ]]; then',
      f'  mkdir -p {shlex.quote(str(logs))} || exit',
      *(f'  sbatch --array=0-{amount - 1} "$0" {start} || exit'
        for start, amount in arrays.items()),
      '  exit', 'fi', 'commands=(',
      *(f'  {shlex.quote(command)}' for command in commands), ')',
      # Where it was submitted: VENV and PYTHONPATH may count from there.
      # exec: the signal reaches the run itself.
      'eval "exec ${commands[${1:-0} + SLURM_ARRAY_TASK_ID]}"']


def _hours(hours, digits=0):
  """Their sum in words."""
  if None in hours:
    return ('unknown hours (write `flops` of the entry, or give '
            '--updates-per-second)')
  return f'{number(sum(hours), digits)} hours'


def _assumed(rates):
  speed = (f'{rates["updates_per_second"]:g} updates per second'
           if rates['updates_per_second'] else
           f'updates at {rates["tflops"]:g} TFLOP/s')
  return (f'{speed}, {rates["steps_per_second"]:g} agent steps per second; '
          'see --help')
