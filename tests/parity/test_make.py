"""The programs that make the golden cases know every one, as it is stored."""

import importlib
import json
import pathlib

import pytest

GOLDEN = pathlib.Path(__file__).parents[1] / 'golden'
MAKERS = ('v3', 'v2', 'v1', 'tf1')
TABLES = {
    maker: importlib.import_module(f'tests.golden.make.{maker}.cases')
    for maker in MAKERS}
STORED = [path.parent.name for path in sorted(GOLDEN.glob('*/case.json'))
          if path.parent.name.split('_')[0] in MAKERS
          and 'param_shapes' in json.loads(path.read_text())]


@pytest.mark.parametrize('name', STORED)
def test_table_says_what_the_stored_case_says(name):
  table = TABLES[name.split('_')[0]]
  assert name in table.CASES, f'{name}: no program makes it'
  stored = json.loads((GOLDEN / name / 'case.json').read_text())
  says = json.loads(json.dumps(table.recorded(name)))
  assert {'agent', 'reference', 'overrides'} <= stored.keys() & says.keys()
  assert {key: says[key] for key in says if key in stored} == {
      key: stored[key] for key in says if key in stored}
