"""How a schema file declares keys: defaults, rules, shapes."""

import pytest

from dreamer.config import declare
from dreamer.errors import ConfigError


def one(value):
  return declare.keys({'key': value}, {})['key']


@pytest.mark.parametrize('value, default, allowed', [
    ('3 in ..', 3, '..'), ('0.5 in ..', 0.5, '..'), (True, True, None),
    ('', '', None), ('text', 'text', None), ('5', '5', None),
    ('3 in 0..10', 3, '0..10'), ('3 in 0..', 3, '0..'),
    ('-1 in -1..', -1, '-1..'), ('1.0 in 0..1', 1.0, '0..1'),
    ('0.00001 > 0', 1e-5, '>0'), ('1.0e-8 > 0', 1e-8, '>0'),
    ('b | a', 'b', 'b, a'), ('9 | 7 | 3', 9, '9, 7, 3'),
    ('0.5 | 1.5', 0.5, '0.5, 1.5')])
def test_declarations(value, default, allowed):
  found = one(value)
  assert found.default == default and type(found.default) is type(default)
  assert (found.rule and str(found.rule)) == allowed


@pytest.mark.parametrize('value, wanted', [
    ('3 in', 'neither a value nor'), ('3 in 0', "'LOW..HIGH'"),
    ('3 in many', "'LOW..HIGH'"), ('3 in 0..1 x', 'neither a value nor'),
    ('3 >= 0', 'neither a value nor'), ('3 > x', "'>LOW'"),
    ('3>0', 'neither a value nor'), ('a|b', 'neither a value nor'),
    ('a |b', 'neither a value nor'), ('a | b c', 'neither a value nor'),
    ('a | ', 'neither a value nor'), ('two words', 'neither a value nor'),
    ('a in 0..1', "'a' is no number"), ('a | a', 'each once'),
    ('a | 1', 'one type'), ('1 | 1.0', 'one type'), (None, 'no plain value'),
    ([1, 2], 'no plain value'), (3, '3 needs bounds'), (0.5, 'needs bounds')])
def test_mistakes(value, wanted):
  with pytest.raises(ConfigError) as info:
    one(value)
  text = str(info.value)
  assert text.startswith('key: ') and wanted in text and '\n' not in text


class TestShapes:
  SHAPES = {'head': {'layers': '3 in 0..', 'act': 'elu | relu'},
            'opt': {'lr': '0.1 > 0'}}

  def keys(self, **defaults):
    return declare.keys(defaults, self.SHAPES)

  def test_keys_stand_where_the_word_stands(self):
    found = self.keys(
        a={'x': True, 'like': 'head', 'y': 'z'}, b={'like': 'opt'})
    assert list(found) == ['a.x', 'a.layers', 'a.act', 'a.y', 'b.lr']
    assert found['a.layers'].default == 3
    assert str(found['a.act'].rule) == 'elu, relu'

  def test_own_values_replace_defaults_and_keep_the_rule(self):
    for a in ({'like': 'head', 'act': 'relu', 'layers': 5},
              {'act': 'relu', 'layers': 5, 'like': 'head'}):
      found = self.keys(a=a)
      assert found['a.act'].default == 'relu'
      assert str(found['a.act'].rule) == 'elu, relu'
      assert found['a.layers'].default == 5
    assert self.keys(a={'like': 'opt'})['a.lr'].default == 0.1

  def test_own_values_have_the_type_of_the_shape(self):
    found = self.keys(a={'like': 'opt', 'lr': 1})['a.lr'].default
    assert found == 1 and type(found) is float

  def test_own_rules_replace_those_of_the_shape(self):
    found = self.keys(a={'like': 'opt', 'lr': '0.2 in 0..1'})['a.lr']
    assert found.default == 0.2 and str(found.rule) == '0..1'

  def test_groups_inside_groups(self):
    found = self.keys(a={'b': {'like': 'opt', 'lr': 0.3}})
    assert found['a.b.lr'].default == 0.3
    assert list(self.keys(like='opt', z=True)) == ['lr', 'z']

  def test_a_shape_may_be_like_one_above(self):
    shapes = {'act': {'act': 'elu | relu | tanh'},
              'head': {'units': '3 in 0..', 'like': 'act', 'act': 'relu',
                       'norm': 'none | layer'}}
    found = declare.keys({'a': {'like': 'head'}}, shapes)
    assert list(found) == ['a.units', 'a.act', 'a.norm']
    assert found['a.act'] == ('relu', found['a.act'].rule, 'act.act')
    assert str(found['a.act'].rule) == 'elu, relu, tanh'
    assert found['a.norm'].shape == 'head.norm'
    with pytest.raises(ConfigError, match="shape head: like: unknown shape"):
      declare.keys({}, dict(reversed(shapes.items())))

  @pytest.mark.parametrize('section, wanted', [
      ({'like': 'haed'}, "a.like: unknown shape 'haed' (did you mean head?)"),
      ({'like': 3}, 'unknown shape 3'),
      ({'like': 'head', 'layers': 'many'}, "a.layers: 'many' is not a whole"),
      ({'like': 'opt', 'lr': '0.2 in'}, 'a.lr: ')])
  def test_mistakes(self, section, wanted):
    with pytest.raises(ConfigError) as info:
      self.keys(a=section)
    assert wanted in str(info.value) and '\n' not in str(info.value)

  @pytest.mark.parametrize('shapes, wanted', [
      ({'head': {'layers': None}}, 'shape head: layers: None'),
      ({'head': 3}, 'shape head: 3 is no mapping'),
      ([1], 'no mapping'),
      ({'head': {'like': 'opt'}}, 'shape head: like: ')])
  def test_mistakes_in_shapes(self, shapes, wanted):
    with pytest.raises(ConfigError) as info:
      declare.keys({}, shapes)
    assert wanted in str(info.value) and '\n' not in str(info.value)


class TestPresets:

  def test_inherited_values(self):
    found = declare.presets({
        'a': {'x': 1, 'n': {'y': 2}}, 'b': {'inherits': 'a', 'n.y': 3},
        'c': {'z': 4, 'inherits': 'b'}, 'd': None})
    assert found == {
        'a': {'x': 1, 'n.y': 2}, 'b': {'x': 1, 'n.y': 3},
        'c': {'x': 1, 'n.y': 3, 'z': 4}, 'd': {}}

  def test_parents_may_stand_below_and_be_joint(self):
    found = declare.presets({
        'b': {'inherits': 'a'}, 'a': {'x': 1}, 'a+b': {'x': 2},
        'a+c': {'inherits': 'a+b'}})
    assert found['b'] == {'x': 1} and found['a+c'] == {'x': 2}

  @pytest.mark.parametrize('content, wanted', [
      ({'dmc': {}, 'b': {'inherits': 'dcm'}},
       "preset b: inherits: unknown preset 'dcm' (did you mean dmc?)"),
      ({'b': {'inherits': 3}}, 'preset b: inherits: unknown preset 3'),
      ({'b': {'inherits': 'b'}}, 'preset b: inherits: b from b is a circle'),
      ({'a': {'inherits': 'c'}, 'b': {'inherits': 'a'},
        'c': {'inherits': 'b'}}, 'a from c from b from a is a circle'),
      ({'a': [1]}, 'preset a: [1] is no mapping'), ([1], 'no mapping')])
  def test_mistakes(self, content, wanted):
    with pytest.raises(ConfigError) as info:
      declare.presets(content)
    assert wanted in str(info.value) and '\n' not in str(info.value)
