"""What people write in place of the right word: taken, or the word is named."""

import numpy as np
import pytest

import dreamerv1
import dreamerv2
import dreamerv3
from dreamer.config.rules import Rule
from dreamer.errors import ConfigError

MODULES = dreamerv1, dreamerv2, dreamerv3
SCHEMAS = {
    module.__name__: module.schema() for module in MODULES}


def refusal(function, *args, **kwargs):
  with pytest.raises(ConfigError) as info:
    function(*args, **kwargs)
  assert '\n' not in str(info.value)
  return str(info.value)


def switches():
  """Keys whose choices are on and off, among others."""
  return [(name, key) for name, schema in SCHEMAS.items()
          for key, rule in schema.allowed.items()
          if {'on', 'off'} <= set(str(rule).split(', '))]


@pytest.mark.parametrize('agent, key', switches())
@pytest.mark.parametrize('given, wanted', [
    (True, 'on'), (False, 'off'), (np.True_, 'on'), ('true', 'on'),
    ('False', 'off'), ('on', 'on'), ('off', 'off')])
def test_truth_values_are_on_and_off(agent, key, given, wanted):
  schema = SCHEMAS[agent]
  assert schema.config(overrides={key: given}).flat[key] == wanted
  if isinstance(given, str):
    assert schema.parse([f'--{key}', given]).flat[key] == wanted


def test_there_are_switches():
  assert ('dreamerv1', 'jit') in switches() and ('dreamerv2', 'jit') in (
      switches())


def test_only_where_they_are_choices():
  assert Rule(['auto', 'always']).meant(True) is True
  assert Rule(['on', 'auto']).meant('true') == 'true'
  assert Rule('0..').meant(True) is True
  assert Rule(['on', 'off']).meant(1) == 1
  assert 'not a text' in refusal(
      SCHEMAS['dreamerv1'].config, (), {'precision': True})
  assert 'allowed: auto, on, off' in refusal(
      SCHEMAS['dreamerv1'].config, (), {'jit': 'yes'})


@pytest.mark.parametrize('key', ['config', 'configs', 'preset', 'presets'])
@pytest.mark.parametrize('module', MODULES)
def test_presets_are_named_elsewhere(module, key):
  if key != 'presets':
    text = refusal(module.configure, **{key: ['debug']})
    assert 'first argument' in text and 'configure([NAME, ...]' in text
  text = refusal(module.configure(['debug']).update, {key: 'debug'})
  assert f'unknown key {key!r}' in text
  if key != 'configs':
    text = refusal(module.schema().parse, [f'--{key}', 'debug'])
    assert 'presets are named by --configs NAME' in text


@pytest.mark.parametrize('key', ['confgs', 'cofigs', 'config_s'])
def test_a_slip_in_configs(key):
  text = refusal(SCHEMAS['dreamerv1'].parse, [f'--{key}', 'debug'])
  assert 'did you mean configs?' in text


@pytest.mark.parametrize('given', [b'debug', bytearray(b'debug')])
def test_bytes_are_no_names(given):
  text = refusal(dreamerv1.configure, given)
  assert f'an object of type {type(given).__name__}' in text
  assert "configure(['laptop']" in text


@pytest.mark.parametrize('key, given, wanted', [
    ('steps', np.int64(5000), 5000), ('steps', np.array(5000), 5000),
    ('parallel', np.True_, True), ('discount', np.float64(0.9), 0.9),
    ('precision', np.str_('float16'), 'float16')])
def test_scalars_of_libraries_are_values(key, given, wanted):
  value = dreamerv1.configure(['debug'], **{key: given}).flat[key]
  assert value == wanted and type(value) is type(wanted)


def test_names_of_presets_from_an_array(tmp_path):
  config = dreamerv1.configure(np.array(['debug']))
  config.save(tmp_path / 'config.yaml')
  assert type(config.presets[-1]) is str


@pytest.mark.parametrize('given', [{'steps': {}}, {'rssm': {'deter': {}}}])
def test_an_empty_group_is_no_value(given):
  assert '{} is not a whole number' in refusal(
      dreamerv1.configure, ['debug'], **given)
  assert '{} is not a whole number' in refusal(
      dreamerv1.configure(['debug']).update, given)
  assert dreamerv1.configure(['debug'], rssm={}).rssm.deter


@pytest.mark.parametrize('key, given, wanted', [
    ('jit', 1, 'allowed: auto, on, off'), ('steps', 'abc', 'allowed: '),
    ('precision', None, 'allowed: float32, float16, bfloat16')])
def test_another_type_names_what_is_allowed(key, given, wanted):
  assert wanted in refusal(dreamerv1.configure, ['debug'], **{key: given})
