"""The agent computes what the released code computed (tests/golden)."""

import json
import shutil

import numpy as np
import pytest

import dreamerv1
from dreamer.errors import UserError
from tests.parity import __main__ as parity
from tests.parity import cases as parity_cases
from tests.parity.references import REFERENCES
from tests.support import GOLDEN, quick

ALL = sorted(x.name for x in GOLDEN.iterdir() if x.name.split('_')[0] in (
    'tf1', 'v1', 'v2', 'v3'))
CASES = [name for name in ALL if name.split('_')[0] in ('tf1', 'v1')]
SMALL = GOLDEN / 'v1_dmc_small'


@pytest.mark.parametrize('name', [
    quick.slow(name) if name.endswith('_full') else name for name in CASES])
def test_case(name):
  comparison = parity.run_case(GOLDEN / name, eager=True)
  assert comparison.problems == []
  assert len(comparison.rows) > 5


def test_compiled_graph_computes_the_same():
  """As in training: a traced function, gradients from the graph itself."""
  comparison = parity.run_case(SMALL)
  assert comparison.problems == []


@pytest.mark.slow
@pytest.mark.parametrize('name', [
    'v1_dmc_small', 'tf1_dreamer_small', 'v2_atari_small',
    'v2_dmc_vision_small_kl_above'])
def test_compiled_by_xla(name):
  comparison = parity.run_case(GOLDEN / name, jit=True)
  assert comparison.problems == []


def test_every_case_is_described():
  text = (GOLDEN / 'README.md').read_text()
  prefixes = [name.removesuffix('_below_small') for name in ALL]
  for name in prefixes:
    stem = name.replace('_kl_below', '_kl_above')
    assert stem in text, name


@pytest.fixture
def case(tmp_path):
  """A copy of the smallest case: path, with functions to change its files."""
  path = tmp_path / 'renamed'
  shutil.copytree(SMALL, path)
  return path


def edit_json(path, **changes):
  data = json.loads((path / 'case.json').read_text())
  for key, value in changes.items():
    if isinstance(value, dict):
      data[key] = {**data[key], **value}
    else:
      data[key] = value
  (path / 'case.json').write_text(json.dumps(data))


def edit_npz(path, **changes):
  data = parity_cases.read_npz(path)
  data.update(changes)
  np.savez(path, **data)


def problems(path):
  return parity.run_case(path, eager=True).problems


@pytest.fixture(scope='module')
def small():
  """A Comparison that passes."""
  return parity.run_case(SMALL, eager=True)


def compared(small, **changes):
  """Problems of the same arrays with other expected ones."""
  return parity_cases.Comparison(
      {**small.expected, **changes}, small.arrays, small.steps,
      small.lrs).problems


class TestNoticesDifferences:

  def test_copy_elsewhere_passes_but_for_an_extra_array(self, case):
    edit_npz(case / 'expected.npz', **{'tensor/unheard_of': np.zeros(3)})
    assert problems(case) == ['not compared: tensor/unheard_of']

  def test_array_of_unknown_kind(self, small):
    assert compared(small, mystery=np.zeros(3)) == ['not compared: mystery']

  @pytest.mark.parametrize('name, factor', [
      ('step0/loss/reward', 1.001), ('step2/grad_norm/actor', 1.001),
      ('tensor/feat', 1.001), ('tensor/imag_value', -1),
      ('grad/encode/h2/kernel', 1.01), ('param/actor/hout/bias', 1.01)])
  def test_wrong_number(self, small, name, factor):
    found = compared(small, **{name: factor * small.expected[name]})
    assert len(found) == 1 and found[0].startswith(f'over: {name} ')

  @pytest.mark.parametrize('name', [
      'tensor/weight', 'step1/loss/actor', 'param/value/hout/bias'])
  def test_nan_and_wrong_shape(self, small, name):
    value = small.expected[name]
    assert len(compared(small, **{name: np.nan * value})) == 1
    assert len(compared(small, **{name: value[..., None]})) == 1

  def test_one_wrong_element_of_a_small_parameter(self, small):
    value = small.expected['param/actor/hout/bias'].copy()
    value[1] += 1e-5  # lr is 8e-5, N is 3
    assert len(compared(small, **{'param/actor/hout/bias': value})) == 1

  def test_head_of_a_parameter_names_its_elements(self):
    ours = {'param/x/kernel': np.zeros((30, 10))}
    head = np.zeros(16)
    head[3] = 0.04 * 1e-3
    found = parity_cases.Comparison(
        {'param/x/kernel.head': head}, ours, 1, {'x/kernel': 1e-3}).problems
    assert found == [
        'over: param/x/kernel.head 4.00e-02 > 2e-02: 1 of the 16 elements '
        'given of 300; of a whole array 1 % may be over']

  def test_nothing_expected(self, small):
    empty = parity_cases.Comparison({}, small.arrays)
    assert empty.problems == ['nothing to compare']

  @pytest.mark.parametrize('key, value, sign', [
      ('discount', 0.98, 'tensor/weight'), ('free_nats', 0.0, 'loss/kl'),
      ('model_lr', 1e-3, 'param/encode/h1/kernel'),
      ('clip_rewards', 'tanh', 'loss/reward')])
  def test_other_hyperparameter(self, case, key, value, sign):
    # `overrides` repeat some keys; `config` has the last word.
    edit_json(case, config={key: value}, steps=1)
    assert any(sign in line for line in problems(case))

  def test_other_bootstrap(self, monkeypatch):
    preset = REFERENCES['danijar/dreamer']
    keys = {**preset.keys, 'horizon': lambda x: {
        'horizon': x, 'bootstrap': 'second_last'}}
    monkeypatch.setitem(
        REFERENCES, 'danijar/dreamer', preset._replace(keys=keys))
    found = problems(SMALL)
    assert any('tensor/returns' in line for line in found)
    assert any('grad/actor/h0/kernel' in line for line in found)
    assert not any('loss/model' in line for line in found)

  def test_broken_kl(self, monkeypatch):
    from dreamerv1.world_model import WorldModel  # TensorFlow with it.
    right = WorldModel.kl_loss
    monkeypatch.setattr(
        WorldModel, 'kl_loss', lambda self, post, prior: right(
            self, prior, post))
    assert any('metric/kl_raw' in line for line in problems(SMALL))

  def test_other_contrast(self, tmp_path):
    path = shutil.copytree(
        GOLDEN / 'tf1_contrastive_window_small', tmp_path / 'x')
    edit_json(path, config={'cpc_time_amount': 3}, steps=1)
    assert any('tensor/cpc_objective' in line for line in problems(path))

  def test_other_draws_of_the_planner(self, tmp_path):
    path = shutil.copytree(GOLDEN / 'tf1_planet_small', tmp_path / 'x')
    normals = parity_cases.read_npz(path / 'cem.npz')['normals']
    edit_npz(path / 'cem.npz', normals=1.01 * normals)
    edit_json(path, steps=1)
    found = [x for x in problems(path) if x.startswith('over: tensor/cem')]
    assert len(found) == 5  # four iterations and the plan

  def test_stored_parameters(self, case):
    shapes = json.loads((case / 'case.json').read_text())['param_shapes']
    values = {name: parity_cases.rule_parameter(name, shape)
              for name, shape in shapes.items()}
    edit_json(case, params='file', steps=1)
    np.savez(case / 'params.npz', **values)
    lost = ('not compared: step1', 'not compared: step2', 'over: param/')
    assert [x for x in problems(case) if not x.startswith(lost)] == []
    del values['reward/hout/bias']
    np.savez(case / 'params.npz', **values)
    with pytest.raises(UserError, match='params.npz: lacks reward/hout/bias'):
      parity.run_case(case)


class TestErrors:

  @pytest.mark.parametrize('changes, words', [
      ({'config': {'unheard_of': 3}}, 'config key unheard_of: 3'),
      ({'reference': 'someone/else@1'}, 'reference: someone/else; known: '),
      ({'agent': 'dreamerv9'}, 'agent: dreamerv9; danijar/dreamer is'),
      ({'config': {'expl': 'boltzmann'}}, "config key expl: 'boltzmann'"),
      ({'config': {'free_nats': -1.0}}, 'kl.free'),
      ({'config': {'action_dist': 'onehot'}}, 'action_dist: onehot'),
      ({'param_shapes': {'extra/kernel': [2]}}, 'parameter extra/kernel'),
      ({'param_shapes': {'reward/h0/bias': [17]}},
       'parameter reward/h0/bias')])
  def test_case_json(self, case, changes, words):
    edit_json(case, **changes)
    with pytest.raises(UserError) as error:
      parity.run_case(case)
    assert words in str(error.value) and '\n' not in str(error.value)

  @pytest.mark.parametrize('changes, words', [
      ({'config': {'cpc_contrast': 'moon'}}, 'cpc.contrast'),
      ({'overrides': {'defaults': ['debug']}}, "config key defaults: ['deb"),
      ({'config': {'gradient_heads': ['height', 'reward']}}, 'gradient_heads'),
      ({'config': {'gradient_heads': ['cpc', 'reward']}}, 'cpc.window_batch'),
      ({'overrides': {'planner_topk': 0}}, 'planner.elites'),
      ({'config': {'overshooting_distance': 2}}, 'overshooting_distance: 2'),
      ({'loss_scales': {'value': 2.0}}, 'loss_scales')])
  def test_features_of_tf1_that_do_not_exist(self, tmp_path, changes, words):
    path = tmp_path / 'case'
    shutil.copytree(GOLDEN / 'tf1_dreamer_small', path)
    edit_json(path, **changes)
    with pytest.raises(UserError) as error:
      parity.run_case(path)
    assert words in str(error.value) and '\n' not in str(error.value)

  @pytest.mark.parametrize('name', ['case.json', 'batch.npz', 'expected.npz'])
  @pytest.mark.parametrize('content', [None, b'', b'PK\x03\x04 and no more'])
  def test_damaged_files(self, case, name, content, monkeypatch):
    from dreamerv1.agent import Agent  # TensorFlow with it.
    monkeypatch.setattr(Agent, 'learn', None)  # files are read first
    (case / name).unlink()
    if content is not None:
      (case / name).write_bytes(content)
    with pytest.raises(UserError, match=name):
      parity.run_case(case)

  def test_unknown_function(self, tmp_path):
    path = tmp_path / 'other.json'
    path.write_text(json.dumps({'function': 'tools.magic (line 3)'}))
    with pytest.raises(UserError, match='function: tools.magic; known: '):
      parity.run_case(path)

  def test_lacking_entry(self, case):
    data = json.loads((case / 'case.json').read_text())
    del data['param_shapes']
    (case / 'case.json').write_text(json.dumps(data))
    with pytest.raises(UserError, match='lacks param_shapes'):
      parity.run_case(case)


class TestCommand:

  def test_exit_status_and_report(self, tmp_path, capsys):
    path = shutil.copytree(GOLDEN / 'v1_lambda_return', tmp_path / 'x')
    assert parity.main([str(path)]) == 0
    out = capsys.readouterr().out
    assert 'ok, 8 arrays compared' in out and '1 of 1 cases pass' in out
    data = parity_cases.read_npz(path / 'data.npz')
    data['returns_lambda_0.95'] = data['returns_lambda_0.95'] + 1e-3
    np.savez(path / 'data.npz', **data)
    assert parity.main([str(path), str(tmp_path / 'none')]) == 1
    out, err = capsys.readouterr()
    assert 'FAIL' in out and 'over: returns_lambda_0.95' in out
    assert 'none/case.json: No such file or directory' in err
    assert '0 of 2 cases pass' in out

  def test_help(self, capsys):
    assert parity.main(['--help']) == 0
    assert 'python -m tests.parity' in capsys.readouterr().out
    assert parity.main([]) == 2


def test_keys_exist():
  """Every rule that is a name is a key of ours."""
  known = dreamerv1.schema().defaults.flat
  for reference in ('danijar/dreamer', 'google-research/dreamer'):
    rules = REFERENCES[reference].keys.values()
    assert {rule for rule in rules if isinstance(rule, str)} <= set(known)


class TestParameterRule:

  def test_kinds(self):
    kernel = parity_cases.rule_parameter('a/kernel', (30, 20))
    assert kernel.dtype == np.float32
    assert abs(kernel.std() - 30 ** -0.5) < 0.02
    bias = parity_cases.rule_parameter('a/bias', (2, 99))
    assert abs(bias.std() - 0.02) < 0.003
    gamma = parity_cases.rule_parameter('a/gamma', (99,))
    assert abs(gamma.mean() - 1) < 0.01

  def test_is_a_function_of_the_name(self):
    rule = parity_cases.rule_parameter
    assert np.array_equal(rule('x/bias', (3,)), rule('x/bias', (3,)))
    assert not np.array_equal(rule('x/bias', (3,)), rule('y/bias', (3,)))
