"""The form of a parity case, for our own agents; see dreamer/conform."""

from dreamer.conform.cases import (
  is_function,
  read_json,
  read_npz,
  rule_parameter,
)
from dreamer.conform.compare import TOLERANCE, Comparison, Row, nonzero, stats
from dreamer.errors import UserError

__all__ = [
    'REQUIRED', 'TOLERANCE', 'Comparison', 'Row', 'is_function',
    'load_parameters', 'nonzero', 'read_json', 'read_npz', 'rule_parameter',
    'stats']

REQUIRED = ('agent', 'reference', 'action_space', 'batch', 'image', 'steps',
            'overrides', 'param_shapes')


def load_parameters(parameters, case, path):
  """Assigns the case's parameters; names and shapes must agree exactly.

  Only those that the case lists as without gradient may be absent here.
  Their names are returned.
  """
  ours = {key: tuple(value.shape) for key, value in parameters.items()}
  theirs = {key: tuple(value) for key, value in case['param_shapes'].items()}
  absent = set(case.get('no_gradient', ())) - set(ours)
  for key in sorted((set(ours) | set(theirs)) - absent):
    if ours.get(key) != theirs.get(key):
      raise UserError(f'parameter {key}: shape {ours.get(key)} here, '
                      f'{theirs.get(key)} in the case')
  stored = {}
  if case.get('params') == 'file':
    stored = read_npz(path / 'params.npz')
  for key, value in parameters.items():
    if stored and key not in stored:
      raise UserError(f'params.npz: lacks {key}')
    value.assign(stored[key] if stored else rule_parameter(
        key, value.shape, case['agent']))
  return absent
