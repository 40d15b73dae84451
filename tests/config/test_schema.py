"""Settings: types, bounds, presets, command line, files, error messages."""

import copy
import subprocess
import sys

import numpy as np
import pytest

from dreamer.config import help as usage
from dreamer.config.schema import Schema, diff
from dreamer.errors import ConfigError
from tests.support import ROOT

FILES = 'configs/dreamerv1.yaml', 'configs/dreamerv2.yaml'

@pytest.fixture(scope='module')
def schema():
  return Schema.load(FILES[0])


def error(function, *args):
  """Returns the message; one line, and it names no Python internals."""
  with pytest.raises(ConfigError) as info:
    function(*args)
  text = str(info.value)
  assert text and '\n' not in text and 'Traceback' not in text
  assert len(text) < 900
  return text


def small(**parts):
  content = {
      'shapes': {},
      'defaults': {'count': '3 in 0..10', 'rate': '0.5 > 0', 'flag': True,
                   'name': 'a', 'net': {
                       'units': '8 in 1..', 'deep': {'act': 'elu | relu'}}},
      'presets': {'big': {'net': {'units': 64}, 'net.deep.act': 'relu'},
                  'one': {'count': 1, 'net.units': 1}}}
  return Schema({**content, **parts}, None, 'small.yaml')


class TestFile:

  @pytest.mark.parametrize('file', FILES)
  def test_every_preset_resolves(self, file):
    schema = Schema.load(file)
    for name in schema.presets:
      parts = name.split('+')
      config = schema.config(parts)
      assert set(config.flat) == set(schema.defaults.flat)
      changed = {key for key, _, _ in diff(schema.defaults, config)}
      assert changed <= set().union(
          *(schema.presets[part] for part in [*parts, name]))

  @pytest.mark.parametrize('file', FILES)
  def test_every_allowed_value_works(self, file):
    schema = Schema.load(file)
    for key, default in schema.defaults.flat.items():
      assert schema.check(key, default) == default
      if isinstance(default, str) and key in schema.allowed:
        for value in str(schema.allowed[key]).split(', '):
          assert schema.config(overrides={key: value}).flat[key] == value

  @pytest.mark.parametrize('file', FILES)
  def test_joint_presets_win_over_their_parts(self, file):
    schema = Schema.load(file)
    joint = [name for name in schema.presets if '+' in name]
    assert joint
    for name in joint:
      parts = name.split('+')
      assert set(parts) <= set(schema.names)
      config, flat = schema.config(parts), schema.presets[name]
      assert {key: config.flat[key] for key in flat} == flat

  def test_off_is_a_text(self, schema):
    # YAML 1.1 would read a boolean.
    assert schema.config(['laptop']).dmc.shadows == 'off'
    assert schema.config(overrides={'dmc.shadows': 'off'}).dmc.shadows == 'off'

  def test_profiles(self, schema):
    config = schema.config(['dmc', 'released'])
    assert config.actor.layers == 4 and config.kl.free_by == 'mean'
    assert config.model_opt.eps == 1e-7
    assert schema.config(['paper']) == schema.defaults

  def test_help_names_every_key_and_preset(self, schema, capsys):
    with pytest.raises(SystemExit) as info:
      schema.parse(['--seed', '1', '--help'])
    assert info.value.code == 0
    out = capsys.readouterr().out
    assert 'usage: python -m dreamerv1 train' in out
    for key, value in schema.defaults.flat.items():
      shown = str(value).lower() if isinstance(value, bool) else value
      assert f'  --{key} {shown if value != "" else repr("")}' in out
    for name in schema.names:
      assert f'\n  {name} ' in out
    assert '[uniform, permutation]' in out and 'S = 5' in out
    assert max(map(len, out.splitlines())) < 80


class TestConfig:

  def test_access(self):
    config = small().config(['big'])
    assert config.net.units == config['net']['units'] == 64
    assert config.net.deep.act == 'relu'
    assert dict(**config.net.deep) == {'act': 'relu'}
    assert config.flat['net.deep.act'] == 'relu'
    assert config.net.flat == {'units': 64, 'deep.act': 'relu'}
    assert list(config) == ['count', 'rate', 'flag', 'name', 'net']
    with pytest.raises(AttributeError, match='net.unit .did you mean units'):
      _ = config.net.unit

  def test_python_keyword(self, schema):
    assert schema.defaults['lambda'] == 0.95

  def test_frozen(self):
    config = small().config()
    with pytest.raises(AttributeError, match='frozen'):
      config.count = 4
    with pytest.raises(AttributeError, match='frozen'):
      config.net.units = 4
    with pytest.raises(AttributeError, match='frozen'):
      del config.net.units
    with pytest.raises(TypeError):
      config['count'] = 4
    config.flat['count'] = 9
    assert config.count == 3

  def test_update_is_checked(self):
    config = small().config()
    new = config.update({'net': {'units': 16}, 'net.deep.act': 'relu'})
    assert (new.net.units, new.net.deep.act) == (16, 'relu')
    assert config.net.units == 8 and new.update({}) == new
    assert 'net.units: 0' in error(config.update, {'net.units': 0})
    assert 'given twice' in error(
        config.update, {'net': {'units': 1}, 'net.units': 2})

  def test_presets_apply_in_order(self):
    schema = small()
    assert schema.config(['big', 'one']).net.units == 1
    assert schema.config(['one', 'big']).net.units == 64
    assert schema.config(['one'], {'net.units': 7}).net.units == 7

  def test_joint_presets_apply_where_both_are_named(self):
    """Right after the later of the two, in either order."""
    schema = small(presets={
        'a': {'count': 1, 'rate': 0.1}, 'b': {'count': 2, 'net.units': 2},
        'c': {'count': 4, 'net.units': 4}, 'a+b': {'count': 3, 'rate': 0.3},
        'b+a+c': {'name': 'abc'}})
    values = lambda *presets: [
        schema.config(presets)[key] for key in ('count', 'rate', 'name')]
    assert values('a') == [1, 0.1, 'a'] and values('b') == [2, 0.5, 'a']
    assert values('a', 'b') == values('b', 'a') == [3, 0.3, 'a']
    assert schema.config(['a', 'b']).net.units == 2
    # What comes later still wins, and presets of three parts need all three.
    assert values('a', 'b', 'c') == [4, 0.3, 'abc']
    assert values('c', 'a', 'b') == [3, 0.3, 'abc']
    assert values('a', 'c') == [4, 0.1, 'a']
    assert schema.config(['a', 'b'], {'count': 7}).count == 7

  def test_a_preset_may_be_beneath_the_tasks_of_suites(self):
    schema = small(
        defaults={'task': 'dmc_run', 'count': '1 in ..', 'rate': '0.5 in ..'},
        presets={'own': {'beneath': 'own gym', 'count': 2, 'rate': 2.0},
                 'fast': {'rate': 3.0}, 'own+fast': {'count': 4}})
    config = schema.config
    assert config().count == 1 and config(['fast']).count == 1
    for task in ('own_x', 'gym_x'):
      assert config(overrides={'task': task}).count == 2
      named = config(['fast'], {'task': task})
      assert named.rate == 3.0 and named.count == 4
      assert named.presets == ('own', 'fast')
      assert config(['fast'], {'task': task, 'count': 7}).count == 7
      assert config(['own'], {'task': task}).presets == ('own',)

  def test_another_suite_has_another_preset_beneath(self):
    schema = small(
        defaults={'task': 'dmc_run', 'count': '1 in ..', 'rate': '0.5 in ..'},
        presets={'own': {'beneath': 'own', 'count': 2}, 'fast': {'rate': 3.0}})
    config = schema.config(['fast'])
    own = config.update({'task': 'own_x'})
    assert (own.count, own.rate) == (2, 3.0)
    assert own.update({'task': 'dmc_run'}) == config
    said = schema.config(['fast'], {'count': 5}).update({'task': 'own_x'})
    assert said.count == 5
    # What a run has recorded stands for itself.
    recorded = schema.complete(config.flat).update({'task': 'own_x'})
    assert recorded.count == 1

  def test_joint_presets_have_no_name_of_their_own(self):
    schema = small(presets={'a': {}, 'b': {}, 'a+b': {'count': 4}})
    assert schema.names == ['a', 'b'] and set(schema.presets) == {
        'a', 'b', 'a+b'}
    text = error(schema.config, ['a+b'])
    assert "unknown preset 'a+b'" in text and text.endswith('allowed: a, b')

  def test_joint_presets_are_checked(self):
    text = error(lambda: small(presets={'a': {}, 'a+b': {'cout': 4}}))
    assert 'preset a+b: unknown key' in text

  def test_equality_and_diff(self):
    a, b = small().config(), small().config(['one'])
    assert a == small().config() and a != b
    assert diff(a, b) == [('count', 3, 1), ('net.units', 8, 1)]
    assert diff(a, a) == []

  def test_copies(self):
    config = small().config()
    assert copy.deepcopy(config) == config
    assert copy.copy(config.net) == config.net

  @pytest.mark.parametrize('key, value, wanted', [
      ('count', '5', 5), ('count', '1e1', 10), ('count', 2.0, 2),
      ('count', np.int64(4), 4), ('count', '+5', 5), ('rate', 1, 1.0),
      ('rate', '2e-3', 0.002), ('rate', np.float32(0.5), 0.5),
      ('flag', 'false', False), ('flag', 'True', True), ('name', '', ''),
      ('name', '5', '5'), ('name', 'true', 'true')])
  def test_types(self, key, value, wanted):
    found = small().config(overrides={key: value})[key]
    assert found == wanted and type(found) is type(wanted)

  @pytest.mark.parametrize('key, value', [
      ('count', '1.5'), ('count', 1.5), ('count', True), ('count', ''),
      ('count', 'nan'), ('count', 1e300), ('count', '9' * 5000),
      ('count', None), ('count', [1]), ('rate', 'nan'), ('rate', 'inf'),
      ('rate', '1e999'), ('rate', float('-inf')), ('rate', 10 ** 400),
      ('rate', True), ('rate', 'x\ny'), ('rate', 1j), ('flag', 1),
      ('flag', '1'), ('flag', 'yes'), ('name', 5), ('name', None),
      ('name', True)])
  def test_wrong_types(self, key, value):
    text = error(small().config, (), {key: value})
    assert text.startswith(f'{key}: ') and ' is not ' in text

  def test_large_whole_numbers_are_exact(self):
    schema = small(defaults={'count': '3 in ..'}, presets={})
    for value in (2 ** 53 + 1, str(2 ** 53 + 1)):
      config = schema.config(overrides={'count': value})
      assert config.count == 2 ** 53 + 1

  @pytest.mark.parametrize('key, value, wanted', [
      ('count', 11, '0..10'), ('count', -1, '0..10'), ('rate', 0, '>0'),
      ('net.units', 0, '1..'), ('net.deep.act', 'rely', 'relu?')])
  def test_bounds(self, key, value, wanted):
    text = error(small().config, (), {key: value})
    assert text.startswith(f'{key}: ') and wanted in text
    assert 'is not allowed' in text and str(value) in text

  def test_bounds_are_inclusive(self):
    assert small().config(overrides={'count': 0}).count == 0
    assert small().config(overrides={'count': 10}).count == 10


class TestParse:

  def test_forms(self, schema):
    config = schema.parse([
        '--configs', 'dmc', 'debug', '--seed=3', '--steps', '5e6',
        '--image_noise', 'false', '--dmc.camera', '-1', '--rssm.deter', '8',
        '--logdir=--odd', '--seed', '4'])
    assert (config.seed, config.steps, config.dmc.camera) == (4, 5000000, -1)
    assert config.image_noise is False and config.rssm.deter == 8
    assert config.logdir == '--odd' and config.batch_size == 4
    assert schema.parse([]) == schema.defaults
    assert schema.parse(['--configs=debug']) == schema.config(['debug'])

  def test_overrides_beat_presets_wherever_they_stand(self, schema):
    config = schema.parse(['--batch_size', '7', '--configs', 'debug'])
    assert config.batch_size == 7

  @pytest.mark.parametrize('line, wanted', [
      ('--configs dmx', "unknown preset 'dmx' (did you mean dmc?)"),
      ('--configs dmc --configs debug', '--configs given twice'),
      ('--configs', 'no preset named; allowed: dmc, atari'),
      ('--rssm.detr 3', '(did you mean rssm.deter?)'),
      ('--sead 3', '(did you mean seed?)'),
      ('--zzzzzzzz 3', "unknown key 'zzzzzzzz'; --help"),
      ('--rssm 3', 'rssm.stoch, rssm.deter'),
      ('--seed', 'its value is missing'),
      ('--logdir --seed 1', '--logdir: its value is missing'),
      ('--image_noise', 'its value is missing'),
      ('--seed 1 2', "'2' stands alone"),
      ('walker', "'walker' stands alone"),
      ('-x', "'-x' stands alone"),
      ('--', "'--' stands alone"),
      ('--seed=', "'' is not a whole number"),
      ('--precision float17', '(did you mean float1'),
      ('--discount 1.01', 'discount: 1.01 is not allowed; allowed: 0..1')])
  def test_errors(self, schema, line, wanted):
    assert wanted in error(schema.parse, line.split())

  def test_any_line_gives_a_config_or_one_line(self, schema):
    rng = np.random.default_rng(0)
    words = [
        '--configs', 'debug', 'dmc', '--seed', '--rssm', '--rssm.deter', '=',
        '--=', '1', '-1', '1e400', 'nan', '', ' ', '--steps=', '--x.y.z', '-',
        '\n', '\0', 'é', '--lambda', '0.5', '--task', '{a: 1}', '--.', '..']
    for _ in range(500):
      argv = list(rng.choice(words, rng.integers(1, 5)))
      try:
        schema.parse(argv)
      except ConfigError as e:
        assert '\n' not in str(e), argv


class TestOrigin:
  """A Config knows its agent and the presets that it was made of."""

  def test_presets(self):
    config = small().config(['one', 'big'], {'count': 3})
    assert config.presets == ('one', 'big') and config.agent == 'small'
    assert small().config().presets == ()
    assert config.update({'count': 4}).presets == ('one', 'big')
    assert copy.deepcopy(config).presets == ('one', 'big')

  def test_they_are_no_settings(self):
    config = small().config(['one'])
    same = small().config(overrides=config.flat)
    assert config == same and diff(config, same) == []
    assert not {'agent', 'presets'} & set(config.flat)

  def test_from_the_command_line(self, schema):
    config = schema.parse(['--configs', 'dmc', 'debug', '--seed', '3'])
    assert config.presets == ('dmc', 'debug') and config.agent == 'dreamerv1'


class TestSchema:

  @pytest.mark.parametrize('parts, wanted', [
      ({'presets': {'p': {'cout': 1}}}, 'preset p: unknown key'),
      ({'presets': {'p': {'count': 'x'}}}, 'preset p: count'),
      ({'presets': {'p': {'net.units': 1, 'net': {'units': 2}}}}, 'twice'),
      ({'presets': {'p': [1]}}, 'no mapping'),
      ({'defaults': {'a': '3 in 5..'}}, 'a: 3 is not allowed; allowed: 5..'),
      ({'defaults': {'items': 'x'}}, 'meaning already'),
      ({'defaults': {'inherits': 'x'}}, 'meaning already'),
      ({'defaults': {'presets': 'x'}}, 'meaning already'),
      ({'presets': {'p': {'inherits': 'q'}}}, 'preset p: inherits: unknown'),
      ({'shapes': [1]}, 'no mapping'),
      ({'presets': {'p': {'beneath': 3}}}, 'preset p: beneath: 3 is no text'),
      ({'presets': {'p': {'beneath': 'own'}, 'q': {'beneath': 'gym own'}}},
       'preset q: beneath: p is beneath own already'),
      ({'more': 1}, 'differs in more')])
  def test_mistakes_in_the_file(self, parts, wanted):
    if 'defaults' in parts:
      parts = {**parts, 'presets': {}}
    text = error(lambda: small(**parts))
    assert text.startswith('small.yaml: ') and wanted in text

  def test_shared_shapes(self, tmp_path):
    path, other = tmp_path / 'one.yaml', tmp_path / 'more.yaml'
    other.write_text('envs:\n  amount: 1 in 1..  # how many\n')
    path.write_text(
        'shared: more.yaml\nshapes: {}\ndefaults:\n'
        '  envs: {like: envs, amount: 2}\npresets: {}\n')
    schema = Schema.load(path)
    assert schema.defaults.flat == {'envs.amount': 2}
    assert usage.comments(schema) == {'envs.amount': 'how many'}
    assert 'envs.amount: 0' in error(schema.check, 'envs.amount', 0)
    text = path.read_text()
    path.write_text(text.replace('shapes: {}', 'shapes: {envs: {a: true}}'))
    assert 'one.yaml: shapes: envs is in' in error(Schema.load, path)
    path.write_text(text.replace('more.yaml', 'none.yaml'))
    assert 'none.yaml: cannot read' in error(Schema.load, path)

  def test_comments_of_shapes(self):
    """A section's own comment is before that of its shape."""
    found = usage.comments(Schema.load(FILES[1]))
    assert found['atari.sticky'].startswith('probability per emulator frame')
    assert found['kl.free'] == 'free nats'
    assert found['critic.layers'] == ''

  def test_missing_file(self):
    assert 'none.yaml: cannot read' in error(Schema.load, 'configs/none.yaml')


def test_import_is_light():
  code = ('import sys, dreamer.config.schema; print([x for x in ("tensorflow", '
          '"numpy", "ruamel.yaml", "scipy") if x in sys.modules])')
  root = ROOT
  found = subprocess.run(
      [sys.executable, '-c', code], cwd=root, capture_output=True, text=True,
      check=True)
  assert found.stdout.strip() == '[]'


def test_readme_names_every_preset(schema):
  readme = (ROOT / 'configs' / 'README.md').read_text()
  assert [x for x in schema.names if f'`{x}`' not in readme] == []
