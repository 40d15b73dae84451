"""The checker of other programs: verdicts, order, bad input."""

import json
import re

import numpy as np
import pytest

from dreamer import conform
from dreamer.conform import __main__ as command
from dreamer.conform import flow, rounding
from dreamer.conform.compare import HEAD
from dreamer.conform.verdict import judge
from dreamer.errors import UserError
from tests.support import GOLDEN
from tests.support.arrays import whole

TRAINING = sorted(
    path.parent.name for path in GOLDEN.glob('*/case.json')
    if 'function' not in json.loads(path.read_text()))
V1, V2 = 'v1_dmc_small', 'v2_atari_small'


class TestVerdict:

  @pytest.mark.parametrize('name', TRAINING)
  def test_the_release_conforms_to_itself(self, name):
    verdict = judge(conform.case(name), whole(conform.case(name)))
    assert verdict.conforms
    assert len(verdict.given) > 5

  @pytest.mark.parametrize('name', [
      'tensor/embed', 'tensor/prior/mean', 'tensor/imag_reward',
      'step0/loss/kl', 'grad/dynamics/gru/kernel', 'grad/actor/hout/bias',
      'step2/loss/value', 'param/encode/h1/kernel'])
  def test_the_first_difference_is_named(self, name):
    case = conform.case(V1)
    arrays = whole(case)
    later = case.names[case.names.index(name):]
    for key in later:
      if key in arrays:
        arrays[key] = arrays[key] * 1.5 + 0.1
    verdict = judge(case, arrays)
    assert verdict.first.name == name
    assert len(verdict.agreeing) == len(verdict.given) - sum(
        x in arrays for x in later)

  def test_what_is_absent_is_no_difference_but_counted(self):
    case = conform.case(V2)
    verdict = judge(case, {'tensor/embed': case.expected['tensor/embed']})
    assert verdict.conforms
    assert '1 of 213 arrays' in verdict.summary

  def test_nothing_given_does_not_conform(self):
    assert not judge(conform.case(V2), {}).conforms

  def test_parameters_before_the_first_step(self):
    case = conform.case(V1)
    arrays = {f'init/{key}': x for key, x in case.parameters.items()}
    assert judge(case, arrays).first is None
    assert not judge(case, arrays).conforms  # nothing is computed
    arrays['init/encode/h2/kernel'] = arrays['init/encode/h2/kernel'] + 1e-3
    assert judge(case, arrays).first.name == 'init/encode/h2/kernel'

  def test_the_time_step_is_said(self):
    case = conform.case(V2)
    arrays = whole(case)
    arrays['tensor/post/logit'][1, 4] += 1
    arrays['tensor/imag_reward'][2:] += 1
    findings = {x.name: x for x in judge(case, arrays).findings}
    assert 'time step 4' in findings['tensor/post/logit'].note
    assert 'imagined step 2' in findings['tensor/imag_reward'].note

  def test_an_argmax_near_its_rival_is_not_held_against_a_program(self):
    case = conform.case('v2_atari_full')
    assert case.margin < rounding.MARGIN
    verdict = judge(case, whole(case))
    assert verdict.conforms

  def test_near_ties_are_forgiven_where_the_case_says_so(self):
    case = conform.case('tf1_free_nats_above_small')
    arrays = whole(case)
    for name in ('grad/encode/h1/kernel', 'grad/reward/h0/kernel'):
      arrays[name] = arrays[name] * 1.002
    verdict = judge(case, arrays)
    assert [x.name for x in verdict.findings if x.status == 'off'] == [
        'grad/reward/h0/kernel']
    assert any('ReLU' in x for x in verdict.notes)

  def test_flipped_sample_with_close_logits_is_said_to_be_rounding(self):
    case = conform.case(V2)
    logit, stoch = 'tensor/post/logit', 'tensor/post/stoch'
    near = case.expected[logit].copy()
    order = near[0, 0, 0].argsort()
    near[0, 0, 0, order[-2]] = near[0, 0, 0, order[-1]] - 1e-6
    case.expected[logit] = near
    arrays = whole(case)
    flipped = np.zeros(near.shape[-1], np.float32)
    flipped[order[-2]] = 1
    arrays[stoch][0, 0, 0] = flipped
    assert any('rounding' in x and stoch in x
               for x in judge(case, arrays).notes)


class TestOrder:

  @pytest.mark.parametrize('name', TRAINING)
  def test_every_array_of_every_case_has_a_place(self, name):
    case = conform.case(name)
    stages = {flow.place(x, list(case.shapes)).stage for x in case.names}
    assert 'other' not in stages

  @pytest.mark.parametrize('before, after', [
      ('tensor/embed', 'tensor/post/deter'),
      ('tensor/post/stoch', 'tensor/prior/logit'),
      ('tensor/prior/stoch', 'tensor/kl'),
      ('tensor/kl', 'tensor/like/image'),
      ('tensor/like/image', 'step0/loss/image'),
      ('step0/loss/image', 'step0/loss/model'),
      ('step0/loss/model', 'grad/wm/heads/reward/out/out/bias'),
      ('grad/wm/heads/reward/out/out/bias', 'grad/wm/rssm/gru/dense/kernel'),
      ('grad/wm/rssm/gru/dense/kernel', 'grad/wm/encoder/conv0/kernel'),
      ('grad/wm/encoder/conv3/kernel', 'tensor/imag_deter'),
      ('grad/wm/encoder/conv3/kernel', 'grad/wm/encoder/conv0/kernel'),
      ('tensor/imag_feat', 'tensor/imag_reward'),
      ('tensor/imag_value', 'tensor/returns'),
      ('tensor/returns', 'tensor/weight'),
      ('tensor/weight', 'step0/loss/actor'),
      ('step0/loss/critic', 'grad/critic/dense0/kernel'),
      ('grad/actor/dense0/kernel', 'step1/loss/kl'),
      ('step1/loss/critic', 'step2/loss/kl'),
      ('step2/loss/critic', 'param/wm/encoder/conv0/kernel')])
  def test_data_flows(self, before, after):
    names = conform.case(V2).names
    assert names.index(before) < names.index(after)


class TestBadInput:
  """One line each, status 2 where nothing can be compared."""

  def refused(self, path, case=V1):
    with pytest.raises(UserError) as error:
      command.main([case, path])
    assert '\n' not in str(error.value)
    return str(error.value)

  @pytest.mark.parametrize('content', [
      b'', b'PK\x03\x04 and no more', b'text'])
  def test_damaged(self, tmp_path, content):
    path = tmp_path / 'x.npz'
    path.write_bytes(content)
    assert 'damaged, or no .npz' in self.refused(str(path))

  def test_cut_off(self, save, tmp_path):
    data = open(save({'tensor/embed': np.zeros((3, 6, 128))}), 'rb').read()
    for size in (len(data) // 2, len(data) - 10):
      path = tmp_path / 'cut.npz'
      path.write_bytes(data[:size])
      assert 'damaged' in self.refused(str(path))

  def test_absent_and_one_array(self, tmp_path):
    assert 'No such file' in self.refused(str(tmp_path / 'none.npz'))
    np.save(tmp_path / 'one.npy', np.zeros(3))
    assert 'one array' in self.refused(str(tmp_path / 'one.npy'))

  def test_a_pickle_is_not_read(self, tmp_path, save):
    # Names a function to call: this module's, which notices it.
    (tmp_path / 'p.npz').write_bytes(
        b'c' + __name__.encode() + b'\nspring\n(tR.')
    assert 'no .npz' in self.refused(str(tmp_path / 'p.npz'))
    path = save({'tensor/embed': np.array([Trap()], object)})
    assert 'tensor/embed: Python objects' in self.refused(path)
    assert not Trap.sprung

  def test_unknown_names(self, save):
    words = self.refused(save({'tensor/embd': np.zeros(3)}))
    assert 'did you mean tensor/embed?' in words
    words = self.refused(save({'tensor/recon.head': np.zeros(16)}))
    assert 'give the whole array as tensor/recon' in words
    many = {f'x{i}': np.zeros(1) for i in range(9)}
    assert 'and 4 more' in self.refused(save(many))

  @pytest.mark.parametrize('value', [
      np.zeros(3, complex), np.array(['a', 'b'])])
  def test_no_numbers(self, save, value):
    assert 'write numbers' in self.refused(save({'tensor/embed': value}))

  def test_nothing_to_compare(self, save):
    case = conform.case(V1)
    name, value = next(iter(case.parameters.items()))
    for arrays in ({}, {f'init/{name}': value}):
      assert 'nothing can be compared' in self.refused(save(arrays))
    assert command.main([V1, save({f'init/{name}': value + 1})]) == 1

  def test_case(self, tmp_path, save):
    mine = save({'tensor/embed': np.zeros(3)})
    assert f'did you mean {V1}?' in self.refused(mine, 'v1_dmc_smal')
    assert 'give a case folder' in self.refused(mine, str(tmp_path / 'none'))
    for name in ('v1_lambda_return', 'v2_misc', 'v1_exploration.json'):
      assert 'single functions' in self.refused(mine, name)

  @pytest.mark.parametrize('change, words', [
      ({'steps': 'three'}, "steps: 'three' is no integer"),
      ({'param_shapes': None}, 'param_shapes: None is no object'),
      ({'reference': 'a/b@123'}, 'reference: a/b; known: ')])
  def test_case_json(self, tmp_path, save, change, words):
    data = json.loads((GOLDEN / V1 / 'case.json').read_text())
    (tmp_path / 'case.json').write_text(json.dumps({**data, **change}))
    for name in ('batch.npz', 'expected.npz'):
      (tmp_path / name).write_bytes((GOLDEN / V1 / name).read_bytes())
    mine = save({'tensor/embed': np.zeros(3)})
    assert words in self.refused(mine, str(tmp_path))

  def test_other_shape_and_nan_are_differences(self):
    case = conform.case(V1)
    arrays = whole(case)
    arrays['tensor/embed'] = arrays['tensor/embed'].swapaxes(0, 1)
    arrays['tensor/imag_value'][2, 1] = np.nan
    found = {x.name: x for x in judge(case, arrays).findings}
    assert found['tensor/embed'].status == 'off'
    assert found['tensor/embed'].note == (
        'shape (6, 3, 128), expected (3, 6, 128) (the same axes in another '
        'order)')
    assert found['tensor/imag_value'].note == 'nan first at [2, 1]'

  @pytest.mark.parametrize('change, words', [
      (lambda x: x.swapaxes(0, 1), r'not of shape \(10, 50, 1024\)'),
      (lambda x: x[0, 0, :5], '5 elements are too few'),
      (lambda x: x[:0], '0 elements are too few')])
  def test_arrays_given_by_statistics_have_a_shape(self, change, words):
    case = conform.case('v1_dmc_full')
    given = np.zeros((10, 50, 1024), np.float32)
    found, = judge(case, {'tensor/embed': change(given)}).given
    assert found.status == 'off' and re.match(words, found.note)

  def test_small_arrays_are_given_whole(self):
    case = conform.case('v1_dmc_full')
    heads = {name.removesuffix('.head'): case.expected[name]
             for name in case.expected if name.endswith('.head')}
    small = {name: x for name, x in heads.items() if len(x) < HEAD}
    assert len(small) == 8
    assert {x.status for x in judge(case, small).given} == {'agrees'}
    longer = {name: np.append(x, 0) for name, x in small.items()}
    for found in judge(case, longer).given:
      assert found.status == 'off' and found.note

  def test_what_is_not_whole_has_another_unit(self):
    case = conform.case('v1_dmc_full')
    array = case.expected['grad/actor/hout/bias.head']
    found, = judge(case, {'grad/actor/hout/bias': 2 * array}).given
    assert found.unit == "of the array's largest element"
    case = conform.case(V1)
    array = case.expected['grad/actor/hout/bias']
    found, = judge(case, {'grad/actor/hout/bias': 2 * array}).given
    assert found.unit == "of the gradient's norm"

  def test_rounding_of_large_initial_parameters_is_none(self):
    case = conform.case('v3_dmc_vision_small')
    name = 'rew/head/logits/bias'
    value = case.parameters[name]
    arrays = {f'init/{name}': np.nextafter(value, np.float32(99))}
    assert np.abs(arrays[f'init/{name}'] - value).max() > 1e-6
    assert judge(case, arrays).findings[0].status == 'agrees'

  def test_the_list_says_no_shape_that_is_not_known(self):
    lines = command.names(conform.case('v1_dmc_full'))
    assert [x for x in lines if x.endswith(' tensor/embed ?')]
    assert [x for x in lines if x.endswith(' step0/loss/kl ()')]

  def test_other_widths_are_said(self):
    case = conform.case(V1)
    arrays = whole(case)
    half = arrays['tensor/embed'].astype(np.float16)
    wide = arrays['tensor/feat'].astype(np.float64)
    verdict = judge(case, {'tensor/embed': half, 'tensor/feat': wide})
    assert any('float16: tensor/embed' in x for x in verdict.notes)
    assert any('float64: tensor/feat' in x for x in verdict.notes)
    assert not judge(case, arrays).notes

  def test_a_number_in_an_array_of_its_own(self):
    case = conform.case(V1)
    assert judge(case, {
        'step0/loss/kl': case.expected['step0/loss/kl'].reshape(1)}).conforms


class Trap:
  """Runs code when it is unpickled."""

  sprung = False

  def __reduce__(self):
    return spring, ()


def spring():
  Trap.sprung = True
