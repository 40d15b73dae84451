"""The programs that make the golden cases know every one, as it is stored."""

import importlib
import json
import pathlib

import numpy as np
import pytest

from tests.golden.make.tf1 import batch as tf1
from tests.golden.make.v1 import batch as v1
from tests.golden.make.v2 import batch as v2
from tests.golden.make.v3 import batch as v3

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'
TABLES = {
    maker: importlib.import_module(f'tests.golden.make.{maker}.cases')
    for maker in ('v3', 'v2', 'v1', 'tf1')}
STORED = sorted(
    path.name for path in GOLDEN.iterdir()
    if path.name != 'make' and path.suffix != '.md')


@pytest.mark.parametrize('name', STORED)
def test_table_says_what_the_stored_case_says(name):
  table = TABLES[name.split('_')[0]]
  assert name in (*table.CASES, *table.FUNCTIONS), 'no program makes it'
  if name in table.FUNCTIONS:
    return
  stored = json.loads((GOLDEN / name / 'case.json').read_text())
  says = json.loads(json.dumps(table.recorded(name)))
  assert {'agent', 'reference', 'overrides'} <= stored.keys() & says.keys()
  assert {key: says[key] for key in says if key in stored} == {
      key: stored[key] for key in says if key in stored}


V3 = [name for name in TABLES['v3'].CASES if (GOLDEN / name).exists()]


@pytest.mark.parametrize('name', V3)
def test_batches_of_v3_come_from_their_seeds(name):
  with np.load(GOLDEN / name / 'batch.npz') as stored:
    stored = {key: stored[key] for key in stored.files}
  case = json.loads((GOLDEN / name / 'case.json').read_text())
  spec = TABLES['v3'].spec(name)
  latents = {key: value.shape[2:] for key, value in stored.items()
             if key.startswith('dyn/')}
  made = v3.make(spec['obs'], spec['act'], latents, *case['batch'],
                 case['context'], spec['seed'])
  assert made.keys() == stored.keys()
  for key, value in stored.items():
    np.testing.assert_array_equal(made[key], value, strict=True)


def test_new_batches_hold_what_is_easily_overlooked():
  image, action = [64, 64, 3], ('continuous', 2)
  made = v3.make({'image': ('image', (8, 8, 3))}, {'action': action},
                 {'dyn/deter': (4,)}, 4, 6, 1, 0)
  assert made['is_first'][:, 2:].any() and made['is_first'][:, 1].any()
  assert made['is_terminal'][:, 1:-1].any() and made['is_terminal'][:, -1].any()
  assert (made['is_last'] & ~made['is_terminal'])[:, 1:].any()
  assert np.abs(made['action']).max() > 1
  made = v2.make(image, {'vector': 3}, action, 3, 6, 0)
  assert made['is_first'][:, 1:].any() and made['is_terminal'][:, :-1].any()
  assert (made['is_last'] & ~made['is_terminal']).any()
  assert not made['action'][made['is_first']].any()
  assert not v1.make(('discrete', 4), 3, 6, 0)['discount'].all()
  assert not tf1.make(action, 3, 6, 0)['pcont'][:, :-1].all()
