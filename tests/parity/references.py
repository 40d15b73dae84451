"""The released programs that cases are from, and what of ours they meet."""

import collections

from dreamer.errors import UserError
from tests.parity import cases as parity_cases
from tests.parity import keys_v1, keys_v2, keys_v3

# What one released code base needs: our agent and preset, the meaning of its
# config keys, and the module whose `run` computes the arrays of a case.
Reference = collections.namedtuple('Reference', 'agent preset keys runner')

REFERENCES = {
    'danijar/dreamer': Reference(
        'dreamerv1', 'released', keys_v1.TF2, 'tests.parity.v1'),
    'google-research/dreamer': Reference(
        'dreamerv1', 'paper_code', keys_v1.TF1, 'tests.parity.v1'),
    'danijar/dreamerv2': Reference(
        'dreamerv2', 'released', keys_v2.KEYS, 'tests.parity.v2'),
    'danijar/dreamerv3': Reference(
        'dreamerv3', 'released', keys_v3.KEYS, 'tests.parity.v3')}


def find_reference(case):
  """The Reference of a case, whose required entries are checked."""
  required = parity_cases.REQUIRED
  if case.get('agent') == 'dreamerv1':
    required = (*required, 'config')
  for key in required:
    if key not in case:
      raise UserError(f'case.json: lacks {key}; see tests/golden/README.md')
  name = str(case['reference']).split('@')[0]
  if name not in REFERENCES:
    raise UserError(f'reference: {name}; known: {", ".join(REFERENCES)}')
  reference = REFERENCES[name]
  if case['agent'] != reference.agent:
    raise UserError(f'agent: {case["agent"]}; {name} is {reference.agent}')
  return reference
