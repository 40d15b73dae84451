"""The programs that make the golden cases know every one, as it is stored."""

import importlib
import json
import pathlib

import pytest

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
