"""How many kernels XLA makes of an update, by loops and by what they do.

Small updates on a GPU wait for launches. What a GPU would launch isn't seen
without one; XLA's program for this processor, after its fusion, shows how many
there are of each part, and whether a change makes them fewer.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

# What costs no launch: names, views and constants.
FREE = {'parameter', 'constant', 'tuple', 'get-tuple-element', 'bitcast',
        'after-all', 'partition-id', 'replica-id'}
# Sections of what is outside of loops, by words in the names of operations.
SECTIONS = {
    'optimisers': r'optimizer', 'noise': r'stateless_random',
    'convolutions': r'conv2d', 'gradients': r'gradients'}
_INSTRUCTION = re.compile(
    r'(?:ROOT )?%?[\w.-]+ = .*? (?P<kind>[a-z][a-z-]*)\(')


class Instruction(NamedTuple):
  """One line of a program: what it does, its operation, what it calls."""

  kind: str
  operation: str
  calls: Mapping[str, str]
  trips: int  # of a loop


def count(text: str) -> dict[str, int]:
  """Kernels of one run of a program, by section, and their sum.

  text: an HLO module after optimisation, as XLA prints it. A loop is a section
  of its own, NAME xTRIPS, its body's kernels times its trips.
  """
  programs, entry = parse(text)
  programs = _with_trips(programs)
  found: collections.Counter[str] = collections.Counter()
  for line in programs[entry]:
    amount = _kernels(line, programs)
    if amount:
      found[_section(line)] += amount
  return {'kernels': sum(found.values()), **dict(found.most_common())}


def parse(text: str) -> tuple[dict[str, list[Instruction]], str]:
  """A module's computations by name, and the name of its entry."""
  programs: dict[str, list[Instruction]] = {}
  lines: list[Instruction] = []
  entry = ''
  for line in text.splitlines():
    if head := re.match(r'(ENTRY )?%?([\w.-]+) .*\{$', line):
      lines = programs.setdefault(head[2], [])
      entry = head[2] if head[1] else entry
    elif found := _INSTRUCTION.match(line.strip()):
      lines.append(_instruction(found['kind'], line))
  return programs, entry


def _instruction(kind, line):
  calls = dict(re.findall(
      r'(body|to_apply|true_computation|false_computation)=%?([\w.-]+)', line))
  if branches := re.search(r'branch_computations=\{([^}]*)\}', line):
    calls.update((f'branch{index}', name.strip(' %')) for index, name
                 in enumerate(branches[1].split(',')))
  operation = re.search(r'op_name="([^"]*)"', line)
  trips = re.search(r'"known_trip_count":\{"n":"(\d+)"', line)
  return Instruction(kind, operation[1] if operation else '', calls,
                     int(trips[1]) if trips else 1)


def _with_trips(programs):
  """Gradients of loops have the trips of these, which only names tell."""
  lines = [line for program in programs.values() for line in program]
  known = {x.operation: x.trips for x in lines if x.trips > 1}

  def complete(line):
    forward = re.search(r'([^/]+/while)_grad', line.operation)
    if line.kind != 'while' or line.trips > 1 or not forward:
      return line
    return line._replace(trips=known.get(forward[1], 1))
  return {name: [complete(x) for x in program]
          for name, program in programs.items()}


def _kernels(line: Instruction, programs: Mapping[str, Sequence]) -> int:
  """Of one instruction, once."""
  inside = lambda name: sum(_kernels(x, programs) for x in programs[name])
  if line.kind in FREE:
    return 0
  if line.kind == 'while':
    return line.trips * inside(line.calls['body'])
  if line.kind == 'call':
    return inside(line.calls['to_apply'])
  if line.kind == 'conditional':  # The branch that does something.
    return max(inside(x) for x in line.calls.values())
  return 1


def _section(line):
  if line.kind == 'while':
    name = re.sub(r'.*?([^/]+)/while_grad.*', r"\1's gradient", line.operation)
    return f'{name.removesuffix("/while") or "loop"} x{line.trips}'
  names = line.operation.lower()
  return next((name for name, words in SECTIONS.items()
               if re.search(words, names)), 'rest')
