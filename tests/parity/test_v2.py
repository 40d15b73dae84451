"""DreamerV2 computes what its release computes."""

import json

import numpy as np
import pytest

from dreamer.errors import UserError
from tests.parity import __main__ as parity
from tests.parity import keys_v2 as parity_keys_v2
from tests.support import GOLDEN, quick

CASES = sorted(path.name for path in GOLDEN.glob('v2_*')
               if (path / 'case.json').exists())


def test_all_cases_are_here():
  assert len(CASES) == 26


@pytest.mark.parametrize('name', [
    quick.slow(name) if name.endswith('_full') else name for name in CASES])
def test_case(name):
  comparison = parity.run_case(GOLDEN / name, eager=True)
  assert comparison.ok, comparison.problems
  assert len(comparison.rows) > 120


@pytest.mark.parametrize('name', [
    'v2_atari_small', quick.slow('v2_plan2explore_small')])
def test_case_as_compiled_graph(name):
  """As in training: a traced function, gradients from the graph itself."""
  comparison = parity.run_case(GOLDEN / name)
  assert comparison.ok, comparison.problems


def test_functions():
  comparison = parity.run_case(GOLDEN / 'v2_misc')
  assert comparison.ok, comparison.problems
  files = {row.name.split('/')[0] for row in comparison.rows}
  assert files == {path.stem for path in (GOLDEN / 'v2_misc').iterdir()}


def _copy(tmp_path, **changes):
  """A copy of a case with other entries in its case.json."""
  source = GOLDEN / 'v2_atari_small'
  case = json.loads((source / 'case.json').read_text())
  for name in ('batch.npz', 'expected.npz'):
    (tmp_path / name).write_bytes((source / name).read_bytes())
  (tmp_path / 'case.json').write_text(json.dumps({**case, **changes}))
  return case, tmp_path


def test_case_by_preset_and_overrides_alone(tmp_path):
  _, path = _copy(tmp_path, resolved_config={})
  assert parity.run_case(path, eager=True).ok


def test_wrong_setting_is_noticed(tmp_path):
  case, _ = _copy(tmp_path)
  overrides = {**case['overrides'], 'kl.balance': 0.7}
  _, path = _copy(tmp_path, overrides=overrides)
  problems = parity.run_case(path, eager=True).problems
  assert any('grad/wm/rssm' in line for line in problems)


def test_unknown_key(tmp_path):
  case, _ = _copy(tmp_path)
  _, path = _copy(tmp_path, overrides={**case['overrides'], 'kl.unimix': 0.1})
  with pytest.raises(UserError, match='kl.unimix.*no mapping'):
    parity.run_case(path, eager=True)


def test_unknown_value(tmp_path):
  case, _ = _copy(tmp_path)
  overrides = {**case['overrides'], 'critic.dist': 'normal'}
  _, path = _copy(tmp_path, overrides=overrides)
  with pytest.raises(UserError, match='critic.dist.*only'):
    parity.run_case(path, eager=True)


def test_uncompared_array(tmp_path):
  _, path = _copy(tmp_path)
  with np.load(path / 'expected.npz') as data:
    arrays = dict(data)
  np.savez(path / 'expected.npz', **arrays, **{'tensor/new': np.zeros(3)})
  problems = parity.run_case(path, eager=True).problems
  assert problems == ['not compared: tensor/new']


def test_keys_exist():
  """Every rule that is a name is a key of ours."""
  from dreamer.config.schema import Schema  # For this test only.
  known = Schema.load('configs/dreamerv2.yaml').defaults.flat
  rules = parity_keys_v2.KEYS.values()
  assert {rule for rule in rules if isinstance(rule, str)} <= set(known)
