"""DreamerV3 computes what its release computes."""

import json
import shutil

import numpy as np
import pytest

from dreamer.config.schema import Schema
from dreamer.errors import UserError
from tests.parity import __main__ as parity
from tests.parity import keys_v3
from tests.support import GOLDEN, quick

CASES = sorted(path.name for path in GOLDEN.glob('v3_*')
               if (path / 'case.json').exists())
SLOW = 'v3_size1m',
SMALL = 'v3_dmc_proprio_small'


def test_all_cases_are_here():
  assert len(CASES) == 13


@pytest.mark.parametrize('name', [
    quick.slow(name) if name in SLOW else name for name in CASES])
def test_case(name):
  comparison = parity.run_case(GOLDEN / name, eager=name not in SLOW)
  assert comparison.ok, comparison.problems
  assert len(comparison.rows) > 500


@pytest.mark.parametrize('name, jit', [
    (SMALL, False), quick.slow(SMALL, True, seconds=1800),
    *(quick.slow(name, False, seconds=900) for name in CASES if name != SMALL)])
def test_case_as_compiled_graph(name, jit):
  """As in training: traced functions; policy steps where they are given."""
  comparison = parity.run_case(GOLDEN / name, jit=jit)
  assert comparison.ok, comparison.problems
  given = (GOLDEN / name / 'policy.npz').exists()
  assert given == any(x.name.startswith('policy/') for x in comparison.rows)


def test_functions():
  comparison = parity.run_case(GOLDEN / 'v3_misc')
  assert comparison.ok, comparison.problems
  files = {row.name.split('/')[0] for row in comparison.rows}
  assert files == {path.stem for path in (GOLDEN / 'v3_misc').iterdir()}


def copy_of(tmp_path, settings=(), **changes):
  """A copy of a case with other settings or entries in its case.json."""
  path = tmp_path / 'case'
  shutil.copytree(GOLDEN / SMALL, path)
  case = json.loads((path / 'case.json').read_text())
  case['resolved_config'].update(settings)
  (path / 'case.json').write_text(json.dumps({**case, **changes}))
  return path


@pytest.mark.parametrize('key, value, noticed', quick.every(3, [
    ('agent.loss_scales.rep', 0.2, 'grad/dyn/obs0'),
    ('agent.opt.beta2', 0.99, 'slot/rms/dyn/obs0'),
    ('agent.dyn.rssm.unimix', 0.0, 'tensor/loss/dyn'),
    ('agent.opt.agc', 0.2, 'extra/agc_scale'),
    ('agent.slowvalue.rate', 0.03, 'param/slowval'),
    ('agent.retnorm.rate', 0.02, 'step0/extra/retnorm/hi')]))
def test_wrong_setting_is_noticed(tmp_path, key, value, noticed):
  path = copy_of(tmp_path, {key: value})
  problems = parity.run_case(path, eager=True).problems
  assert any(line.startswith(f'over: {noticed}') for line in problems)


def test_unknown_key(tmp_path):
  path = copy_of(tmp_path, {'agent.dyn.rssm.heads': 8})
  with pytest.raises(UserError, match='agent.dyn.rssm.heads.*no mapping'):
    parity.run_case(path)


def test_unknown_value(tmp_path):
  path = copy_of(tmp_path, {'agent.conhead.output': 'mse'})
  with pytest.raises(UserError, match='agent.conhead.output.*only'):
    parity.run_case(path)


def test_patterns_alone_are_refused(tmp_path):
  path = copy_of(tmp_path, resolved_config={})
  with pytest.raises(UserError, match='resolved_config'):
    parity.run_case(path)


def test_uncompared_array(tmp_path):
  path = copy_of(tmp_path)
  with np.load(path / 'expected.npz') as data:
    arrays = dict(data)
  np.savez(path / 'expected.npz', **arrays, **{'tensor/new': np.zeros(3)})
  problems = parity.run_case(path, eager=True).problems
  assert problems == ['not compared: tensor/new']


def test_keys_exist():
  """Every rule that is a name is a key of ours."""
  known = Schema.load('configs/dreamerv3.yaml').defaults.flat
  rules = keys_v3.RULES.values()
  assert {rule for rule in rules if isinstance(rule, str)} <= set(known)
