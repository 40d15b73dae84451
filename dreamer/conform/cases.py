"""What a case is made of: batch, parameters, settings, expected arrays."""

from __future__ import annotations

import difflib
import functools
import json
import os
import pathlib
import typing
import zlib

import numpy as np

from dreamer import npz
from dreamer.conform import flow, terms
from dreamer.conform.compare import split
from dreamer.errors import UserError
from dreamer.files import ROOT

Arrays = dict[str, np.ndarray]
SCHEMA = pathlib.Path(__file__).with_name('case.schema.json')
FUNCTIONS = ('about single functions; conform compares train steps, ./run.sh '
             'parity our own functions')
JSON_TYPES: dict[str, typing.Any] = {
    'object': dict, 'array': list, 'string': str, 'integer': int,
    'number': (int, float), 'boolean': bool, 'null': type(None)}


def case(path: str | os.PathLike) -> Case:
  """Reads the case in a folder; its name alone means tests/golden/NAME.

  Raises UserError where it is none, or no case of train steps.
  """
  folder = pathlib.Path(path)
  golden = ROOT / 'tests' / 'golden' / folder
  if not folder.exists():
    if not golden.exists():
      raise UserError(_unknown(folder))
    folder = golden
  if folder.is_file() or folder.is_dir() and not (
      folder / 'case.json').exists() and (folder / 'dists.npz').exists():
    raise UserError(f'{folder}: {FUNCTIONS}')
  return Case(folder)


def _unknown(folder):
  """What to give in place of a folder that is not there."""
  found = sorted(x.parent.name for x in (ROOT / 'tests' / 'golden').glob(
      '*/case.json'))
  near = difflib.get_close_matches(folder.name, found, 1)
  if near:
    return f'{folder}: no such case (did you mean {near[0]}?)'
  return (f'{folder}: no such folder; give a case folder, such as '
          'tests/golden/v2_atari_small of a checkout of this project')


class Case:
  """One case: what a program is given, and what a release computes from it.

  Attributes:
    path, name: its folder, and the name of that
    data: case.json as it is
    reference: the release, as owner/repository@commit
    agent: 'dreamerv1', 'dreamerv2' or 'dreamerv3'
    batch: arrays [B, T, ...] under the release's keys
    noise, policy: what the release drew, and calls of its policy, by name,
      where the case records them (V3)
    expected: arrays of the release; `<name>.stats` and `<name>.head` stand
      for one that is large
    steps: number N of train steps, each on the same batch
    settings: values by the terms of the papers; see dreamer/conform/terms.py
  """

  def __init__(self, path: str | os.PathLike) -> None:
    self.path = pathlib.Path(path)
    self.name = self.path.resolve().name
    self.data = read_json(self.path / 'case.json')
    check(self.data, self.path / 'case.json')
    self.reference: str = self.data['reference']
    self.agent: str = self.data['agent']
    self.steps: int = self.data['steps']
    self.batch = read_npz(self.path / 'batch.npz')
    self.expected = read_npz(self.path / 'expected.npz')
    self.noise = self._optional('noise.npz')
    self.policy = self._optional('policy.npz')
    self.expected.update({f'policy/{key}': x for key, x in self.policy.items()
                          if key.startswith('out/')})
    self.settings = terms.settings(self.data)

  def _optional(self, name):
    path = self.path / name
    return read_npz(path) if path.exists() else {}

  @property
  def release(self) -> str:
    """The release in short: dreamerv2@07d906e.

    Two owners have a `dreamer`, which keeps its owner therefore.
    """
    name, _, commit = self.reference.partition('@')
    short = name.split('/')[-1]
    return f'{name if short == "dreamer" else short}@{commit[:7]}'

  @property
  def shapes(self) -> dict[str, tuple[int, ...]]:
    """The shape of each parameter."""
    return {key: tuple(x) for key, x in self.data['param_shapes'].items()}

  @functools.cached_property
  def parameters(self) -> Arrays:
    """All parameters before the first step, by name, in the case's layout."""
    if self.data.get('params') == 'file':
      return read_npz(self.path / 'params.npz')
    return {key: rule_parameter(key, shape, self.agent)
            for key, shape in self.shapes.items()}

  @functools.cached_property
  def names(self) -> list[str]:
    """Names of the expected arrays in the order in which data flows."""
    bases = dict.fromkeys(split(name)[0] for name in self.expected)
    parameters = list(self.shapes)
    return sorted(bases, key=lambda x: flow.place(x, parameters).order)

  @property
  def optional(self) -> set[str]:
    """Arrays of parameters that nothing trains: they may be absent."""
    untrained = self.data.get('no_gradient') or []
    if self.agent != 'dreamerv1':
      return set()
    return {f'{kind}/{x}' for kind in ('grad', 'param') for x in untrained}

  @property
  def margin(self) -> float | None:
    """How far the closest argmax is from its rival; None without one."""
    return self.data.get('argmax_margin_min')

  @functools.cached_property
  def units(self) -> dict[str, float]:
    """What errors of parameters are shares of; see terms.units.

    Raises UserError where case.json does not say it.
    """
    path = self.path / 'case.json'
    try:
      found = terms.units(self.data)
    except KeyError as e:
      raise UserError(f'{path}: lacks {e.args[0]}, without which errors of '
                      'parameters have no unit') from None
    for name in self.names:
      if name.startswith(('param/', 'param1/')) and name not in found:
        raise UserError(f'{path}: param_shapes lacks the parameter of {name}')
    return found


def rule_parameter(name: str, shape: typing.Sequence[int],
                   agent: str = '') -> np.ndarray:
  """The rule-made value of the variable `name`; see tests/golden/README.md."""
  rng = np.random.RandomState(  # noqa: NPY002, the rule is this generator's
      zlib.crc32(name.encode()) & 0x7fffffff)
  value = rng.randn(*shape)
  if name.endswith(('/gamma', '/scale')):
    return (1 + 0.02 * value).astype(np.float32)
  if len(shape) >= 2 and not name.endswith('/bias'):
    return (value / np.sqrt(np.prod(shape[:-1]))).astype(np.float32)
  value = 0.02 * value
  if agent == 'dreamerv3' and name.endswith('/head/logits/bias') and (
      name.startswith(('rew/', 'val/', 'slowval/'))):
    value = value - 27 * np.abs(np.linspace(-1, 1, shape[0]))
  return value.astype(np.float32)


def is_function(data: dict) -> bool:
  """Whether a case is that of a single function."""
  return 'function' in data or 'mpc_agent' in data


def check(data: dict, path: pathlib.Path) -> None:
  """Raises UserError where case.json lacks a key or has one that can't be.

  Keys, types and what is allowed are those of case.schema.json.
  """
  if is_function(data):
    raise UserError(f'{path}: {FUNCTIONS}')
  schema = json.loads(SCHEMA.read_text(encoding='utf-8'))
  for key in schema['required']:
    if key not in data:
      raise UserError(f'{path}: lacks {key}; see tests/golden/README.md')
  for key, value in data.items():
    rule = schema['properties'].get(key, {})
    kinds = rule.get('type', [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(isinstance(value, JSON_TYPES[x]) for x in kinds):
      raise UserError(f'{path}: {key}: {value!r} is no {" or ".join(kinds)}')
    if value not in rule.get('enum', [value]):
      raise UserError(f'{path}: {key}: {value!r} is not allowed; allowed: '
                      f'{", ".join(map(str, rule["enum"]))}')
    if 'minimum' in rule and value < rule['minimum']:
      raise UserError(f'{path}: {key}: {value!r} is not allowed; allowed: '
                      f'{rule["minimum"]}..')


def read_json(path: pathlib.Path) -> dict:
  """The object in a JSON file. Raises UserError."""
  try:
    data = json.loads(path.read_text(encoding='utf-8'))
  except OSError as error:
    raise UserError(f'{path}: {error.strerror}; give a case folder') from error
  except ValueError as error:
    raise UserError(f'{path}: not JSON ({error})') from error
  if not isinstance(data, dict) and path.name == 'case.json':
    raise UserError(f'{path}: not a JSON object; give a case folder')
  return data


def read_npz(path: str | os.PathLike) -> Arrays:
  """All arrays of an `.npz` of a case. Raises UserError; reads no pickle."""
  try:
    return npz.read(path)
  except (OSError, *npz.DAMAGE) as error:
    raise UserError(f'{path}: {error}') from error
